"""The player in a real browser: it plays, seeks, and says what happened when footage is not what was sealed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.digest import CHUNK_BYTES
from hub.site import SESSION_COOKIE
from tests.e2e.test_browser import ARGUMENTS, AXE, CHROMIUM
from tests.e2e.viewing_hub import HubProcess, running, session_of
from tests.integration.viewing_scene import ViewingScene, make_video

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
SECONDS = 20


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ViewingScene, HubProcess]]:
    root = tmp_path_factory.mktemp("viewing")
    good, bad = root / "good.mp4", root / "bad.mp4"
    try:
        make_video(good, SECONDS)
    except FileNotFoundError:
        pytest.skip("ffmpeg is not installed")
    bad.write_bytes(good.read_bytes() + b"\0\0\0\x08free")  # plays the same, and is another file
    made = ViewingScene(root / "scene", {"GOOD.MP4": good, "BAD.MP4": bad})
    for name in ("GOOD.MP4", "BAD.MP4"):
        made.grant(name)
    with made.serving(), running(made) as hub:
        yield made, hub
    made.close()


@pytest.fixture
def page(scene: tuple[ViewingScene, HubProcess]) -> Iterator[playwright.Page]:
    made, hub = scene
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(base_url=hub.address, locale="zh-CN", viewport={"width": 1280, "height": 900})
        context.add_cookies([{"name": SESSION_COOKIE, "value": session_of(made, "holder"), "url": hub.address}])
        yield context.new_page()
        browser.close()


PLAY = "async () => { const v = document.getElementById('footage'); v.muted = true; await v.play(); }"
RUNS = """
() => new Promise((done) => {
    const v = document.getElementById("footage");
    v.addEventListener("timeupdate", () => { if (v.currentTime > 0.2) done(); });
})
"""
SHOWN = """
(at) => new Promise((done) => {
    const v = document.getElementById("footage");
    v.requestVideoFrameCallback((_now, frame) => done(frame.mediaTime));
    v.currentTime = at;
})
"""


def test_it_plays_and_seeks_and_the_watermark_lies_over_it(
    scene: tuple[ViewingScene, HubProcess], page: playwright.Page
) -> None:
    page.goto(f"/recordings/{scene[0].saved('GOOD.MP4').recording}/viewing")
    page.get_by_role("button", name="开始查看").click()
    page.wait_for_url("**/viewing/*")
    page.evaluate(PLAY)
    page.evaluate(RUNS)  # not by polling: the page's policy refuses what playwright evaluates for it
    for at in (SECONDS - 4, 2, SECONDS / 2):
        assert page.evaluate(SHOWN, at) == pytest.approx(at, abs=0.5)
    assert page.locator(".watermark span").first.inner_text().startswith("holder ")
    assert page.locator("#broken-off").is_hidden()
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(AXE.read_text())
        found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})")
        # the camera records no captions, and nobody else can say what is in the footage
        faults = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"] if v["id"] != "video-caption"]
        assert faults == []
    page.get_by_role("button", name="结束查看").click()
    page.get_by_text("本次查看已结束").wait_for()
    assert page.locator("video").count() == 0


def test_an_altered_file_stops_with_a_message(scene: tuple[ViewingScene, HubProcess], page: playwright.Page) -> None:
    saved = scene[0].saved("BAD.MP4")
    content = bytearray(saved.path.read_bytes())
    content[2 * CHUNK_BYTES + 1000] ^= 1
    saved.path.chmod(0o600)
    Path(saved.path).write_bytes(content)
    page.goto(f"/recordings/{saved.recording}/viewing")
    page.get_by_role("button", name="开始查看").click()
    page.wait_for_url("**/viewing/*")
    page.evaluate("() => { const v = document.getElementById('footage'); v.muted = true; v.play().catch(() => 0); }")
    page.get_by_text("已停止：采集站中的录像与封存时不符").wait_for(timeout=30_000)
    assert page.locator("#player").is_hidden()
    assert page.locator("#broken-off").is_hidden()
