"""The page /verify in a real browser: what it proves of one file, and which chunk it names. Needs Chromium."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from custody.digest import CHUNK_BYTES
from custody.envelope import parse_envelope, seal
from custody.errors import CustodyError
from custody.events import decode_event
from tests.e2e.test_browser import ARGUMENTS, CHROMIUM
from tests.integration.site_data import Hub
from tests.vectors.bundles import LOG_KEY, Bundle, make_bundle
from tests.vectors.dockings import OTHER_KEY, STATION_KEY, pattern

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
CHUNKS = 19  # more than the page reads at once, and not a power of two
NAME = "执法/VID00001.MP4"
FILES = {NAME: pattern(1, (CHUNKS - 1) * CHUNK_BYTES + 70), "one.mp4": pattern(2, 300), "empty.log": b""}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    for name, content in make_bundle(Bundle(FILES)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for path in [p for p in (folder / "data").rglob("*") if p.is_file()]:  # under plain names, to be chosen
        shutil.copy(path, folder / path.name)
    shutil.copy(next((folder / "leaves").rglob("VID00001.MP4.leaves")), folder / "leaves.bin")
    return folder


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[playwright.BrowserContext]:
    hub = Hub(tmp_path_factory.mktemp("hub"))
    server = uvicorn.Server(uvicorn.Config(hub.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser.new_context(
            base_url=f"http://127.0.0.1:{port}", locale="zh-CN", viewport={"width": 390, "height": 800}
        )
        browser.close()
    server.should_exit = True
    thread.join()
    hub.close()


@pytest.fixture
def page(context: playwright.BrowserContext) -> Iterator[playwright.Page]:
    """The page, which must stay without script errors, refused resources and uploads."""
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("request", lambda r: complaints.append(f"{r.method} {r.url}") if r.method != "GET" else None)
    opened.goto("/verify")
    yield opened
    opened.close()
    assert complaints == []


def verify(page: playwright.Page, **given: Path | str) -> dict[str, str]:
    """Fill in what is given, and the answer by code."""
    for name, value in given.items():
        field = page.locator(f"#{name}")
        if isinstance(value, Path):
            field.set_input_files(value)
        else:
            field.fill(value)
    page.get_by_role("button", name="核验").click()
    page.locator(".verify-verdict").wait_for(timeout=60_000)
    items = page.locator("#verify-result li")
    return {items.nth(i).get_attribute("data-code") or "": items.nth(i).inner_text() for i in range(items.count())}


def test_everything_proved(page: playwright.Page, bundle: Path) -> None:
    said = verify(
        page,
        footage=bundle / "VID00001.MP4",
        seal=bundle / "envelopes/3.dsse.json",
        leaves=bundle / "leaves.bin",
        proof=bundle / "proofs/3.tlog-proof",
        station_key=STATION_KEY.verify_key.line,
        log_key=LOG_KEY.verify_key.line,
    )
    assert list(said) == ["as_sealed", "signed", "logged"]
    assert NAME in said["as_sealed"]
    assert page.locator(".verify-verdict").inner_text() == "文件与封存时一致。"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("chunk", [0, 7, 8, 18])
def test_a_flipped_byte_names_its_chunk_and_seconds(
    page: playwright.Page, bundle: Path, tmp_path: Path, chunk: int
) -> None:
    content = bytearray((bundle / "VID00001.MP4").read_bytes())
    content[chunk * CHUNK_BYTES + 5] ^= 1
    (tmp_path / "flipped.mp4").write_bytes(content)
    given = {"footage": tmp_path / "flipped.mp4", "seal": bundle / "envelopes/3.dsse.json"}
    said = verify(page, **given, leaves=bundle / "leaves.bin", station_key=STATION_KEY.verify_key.line)
    assert list(said) == ["altered", "chunks_seconds", "signed", "no_proof"]
    start = 60 * chunk * CHUNK_BYTES / len(content)
    assert f"分块 {chunk} 至 {chunk} 不同（自 0 起，共 {CHUNKS} 块）：约第 {start:.1f} 至" in said["chunks_seconds"]
    assert page.locator(".verify-verdict").inner_text() == "核验不通过。"


def test_a_short_file_and_one_without_leaves(page: playwright.Page, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "short.mp4").write_bytes((bundle / "VID00001.MP4").read_bytes()[:-1])
    said = verify(page, footage=tmp_path / "short.mp4", seal=bundle / "envelopes/3.dsse.json")
    assert list(said) == ["size_differs", "chunks_unknown", "no_station_key", "no_proof"]


def test_small_and_empty_files(page: playwright.Page, bundle: Path) -> None:
    said = verify(page, footage=bundle / "one.mp4", seal=bundle / "envelopes/4.dsse.json")
    assert "as_sealed" in said
    page.reload()
    said = verify(page, footage=bundle / "empty.log", seal=bundle / "envelopes/5.dsse.json")
    assert "as_sealed" in said


def test_wrong_keys_proofs_and_files_are_told(page: playwright.Page, bundle: Path) -> None:
    given = {"footage": bundle / "one.mp4", "seal": bundle / "envelopes/4.dsse.json"}
    other = OTHER_KEY.verify_key.line
    said = verify(page, **given, proof=bundle / "proofs/3.tlog-proof", station_key=other, log_key=other)
    assert list(said) == ["as_sealed", "not_signed", "not_included"]
    page.reload()
    said = verify(page, **given, proof=bundle / "proofs/4.tlog-proof", station_key="dock", log_key=other)
    assert list(said) == ["as_sealed", "bad_key", "checkpoint_not_signed"]
    page.reload()
    said = verify(page, **given, proof=bundle / "bagit.txt", leaves=bundle / "bagit.txt")
    assert list(said) == ["leaves_wrong", "as_sealed", "no_station_key", "bad_proof_file"]
    page.reload()
    said = verify(page, footage=bundle / "one.mp4", seal=bundle / "bagit.txt")
    assert list(said) == ["bad_envelope"]


def test_english(page: playwright.Page, bundle: Path) -> None:
    page.get_by_role("link", name="English").click()
    page.locator("#footage").set_input_files(bundle / "one.mp4")
    page.locator("#seal").set_input_files(bundle / "envelopes/4.dsse.json")
    page.get_by_role("button", name="Verify", exact=True).click()
    page.get_by_text("The file is as sealed.").wait_for()
    page.get_by_role("link", name="中文").click()
    page.get_by_role("button", name="核验").wait_for()


def sealed(payload: bytes) -> bytes:
    return seal("application/vnd.in-toto+json", payload, STATION_KEY)


def test_seals_that_custody_refuses_are_none_here_either(page: playwright.Page, bundle: Path, tmp_path: Path) -> None:
    """Signed by the station, so that only their form speaks against them."""
    good = parse_envelope((bundle / "envelopes/4.dsse.json").read_bytes()).payload
    bent = [
        good.replace(b'"size_bytes":300', b'"size_bytes":300,"size_bytes":300'),
        good.replace(b'"size_bytes":300', b'"size_bytes":300,"media\\u005f":1,"media_":2'),
        good.replace(b"Statement/v1", b"Statement/v2"),
        good.replace(b"urn:custodock:event:segment", b"urn:custodock:event:other"),
    ]
    for number, payload in enumerate(bent):
        assert payload != good
        raw = sealed(payload)
        with pytest.raises(CustodyError):
            decode_event("application/vnd.in-toto+json", payload)
        (tmp_path / f"{number}.json").write_bytes(raw)
        said = verify(page, footage=bundle / "one.mp4", seal=tmp_path / f"{number}.json")
        assert list(said) == ["bad_envelope"], f"case {number}"
        page.reload()
    (tmp_path / "good.json").write_bytes(sealed(good.replace(b"one.mp4", "\u202e4pm.a:\u200b".encode())))
    said = verify(page, footage=bundle / "one.mp4", seal=tmp_path / "good.json")
    assert "⟨U+202E⟩4pm.a:⟨U+200B⟩" in said["as_sealed"]
