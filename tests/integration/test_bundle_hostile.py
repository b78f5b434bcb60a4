"""Bundles that somebody made to fool, hang or fill the verifier; whoever made some of them held every key."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from custody.bundlecheck import BundleCheck
from custody.bundleexamine import _Reader, examine_bundle
from custody.bundlefacts import claims
from custody.checkpoint import SigningKey, VerifyKey
from custody.cli import main
from custody.disk import Hasher
from custody.examine import Report
from custody.finding import Exit, Kind
from tests.vectors.bundles import HUB_KEY, LOG_KEY, Bundle, Files, Hub, bent_export, finish, make_bundle, relist
from tests.vectors.dockings import STATION_KEY, Docking, build, pattern

SMALL = {"DCIM/VID00001.MP4": pattern(1, 300), "DCIM/VID00002.MP4": pattern(2, 200)}
OTHER_LOG = SigningKey.from_seed("other.example/log", bytes(range(7, 39)))


def write(top: Path, files: Files) -> Path:
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return top


def verify(top: Path, *trusted: VerifyKey) -> Report:
    with Hasher() as hasher:
        return examine_bundle(os.fsencode(top), trusted, [], lambda _: None, hasher)


def kinds(report: Report) -> set[Kind]:
    return {f.kind for f in report.findings if not f.is_information}


def proved(report: Report) -> set[str]:
    assert report.bundle is not None
    return {c.name for c in claims(report.bundle, report.findings) if c.proved}


@contextmanager
def memory_below(limit_bytes: int) -> Iterator[None]:
    """Peak of what Python allocates inside."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit_bytes, f"{peak >> 20} MiB"


def test_a_statement_of_an_export_in_countless_parts_takes_no_memory(tmp_path: Path) -> None:
    top = write(tmp_path, make_bundle(Bundle(SMALL, bend_export=bent_export(parts=(1 << 53) - 1))))
    report = verify(top, LOG_KEY.verify_key)
    assert kinds(report) == {Kind.EXPORT_WRONG}
    assert report.exit is Exit.ALTERED


def test_a_finish_in_the_log_of_another_hub_does_not_finish_this_bundle(tmp_path: Path) -> None:
    """Both hubs' keys are given: the other hub re-lists what the first one had finished."""
    files = make_bundle(Bundle(SMALL))
    files["register.csv"] = b"time\nsomething else\n"
    relist(files)
    entries = [b"another log's entry"] * 20
    finish(Hub(), Bundle(log_key=OTHER_LOG), entries, files)
    report = verify(write(tmp_path, files), LOG_KEY.verify_key, HUB_KEY.verify_key, OTHER_LOG.verify_key)
    assert report.exit is Exit.ALTERED
    assert Kind.PROOF_ALTERED in kinds(report)
    assert "whole" not in proved(report)


@pytest.mark.parametrize(
    "gone", [["envelopes"], ["data"], ["data/dock-test/cam-7/2026/03/01/0195f000-d0c1/DCIM/VID00002.MP4"]]
)
def test_nothing_is_claimed_of_what_is_not_there(tmp_path: Path, gone: list[str]) -> None:
    files = {n: c for n, c in make_bundle(Bundle(SMALL)).items() if not n.startswith(tuple(gone))}
    report = verify(write(tmp_path, files), LOG_KEY.verify_key)
    assert report.exit is Exit.ALTERED
    assert proved(report) & {"footage", "whole", "dockings"} == set()


def test_nothing_is_claimed_of_statements_that_cannot_be_read(tmp_path: Path) -> None:
    top = write(tmp_path, make_bundle(Bundle(SMALL)))
    check = BundleCheck(os.fsencode(top), {}, [LOG_KEY.verify_key])
    check.hide(b"envelopes", "Permission denied")
    assert check.findings[0].kind is Kind.UNREADABLE
    report = verify(top, LOG_KEY.verify_key)
    assert report.bundle is not None
    found = claims(report.bundle, [*report.findings, check.findings[0]])
    assert {c.name for c in found if c.proved} & {
        "footage",
        "whole",
        "signed",
        "chained",
        "logged",
        "dockings",
    } == set()


def test_a_tag_list_of_countless_lines_takes_no_memory(tmp_path: Path) -> None:
    top = write(tmp_path, make_bundle(Bundle(SMALL)))
    digest = "0" * 64
    with (top / "tagmanifest-sha256.txt").open("w") as stream:
        stream.writelines(f"{digest}  z{number:07}\n" for number in range(100_000))
    with memory_below(12 << 20):
        report = verify(top, LOG_KEY.verify_key)
    assert report.exit is Exit.ALTERED
    assert Kind.BAG_ALTERED in kinds(report)


def test_a_manifest_of_countless_seals_takes_no_memory(tmp_path: Path) -> None:
    top = write(tmp_path, make_bundle(Bundle(SMALL)))
    manifest = next((top / "manifests").rglob("manifest.jsonl"))
    with manifest.open("w") as stream:
        stream.writelines(f'{{"entry":1,"state":"copied","envelope":{{{number}}}}}\n' for number in range(100_000))
    with memory_below(12 << 20):
        report = verify(top, LOG_KEY.verify_key)
    assert Kind.MANIFEST_ALTERED in kinds(report)


def test_a_file_that_goes_between_listing_and_reading_is_told(tmp_path: Path) -> None:
    """Every way in which a file is read: gone, or a link by now, is never nothing."""
    (tmp_path / "a").symlink_to("b")
    for name in (b"a", b"gone"):
        check = BundleCheck(os.fsencode(tmp_path), {name: "file"}, [])
        read = _Reader(check)
        assert not read.equals(name, [b"line\n"])
        assert read.small(name, 9) is None
        assert read.sha256(name) is None


def test_a_docking_manifest_that_is_a_pipe_by_now_ends_nothing(tmp_path: Path) -> None:
    files = make_bundle(Bundle(SMALL))
    top = write(tmp_path, files)
    manifest = next((top / "manifests").rglob("manifest.jsonl"))
    seen: list[int] = []

    def swap(_: int) -> None:  # after everything else was read once: what a race looks like
        seen.append(1)
        manifest.unlink()
        os.mkfifo(manifest)

    with Hasher() as hasher:
        report = examine_bundle(os.fsencode(top), [LOG_KEY.verify_key], [], swap, hasher)
    assert seen
    assert report.exit is not Exit.VERIFIED


def test_a_bundle_beside_a_whole_vault_is_not_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "vault", Docking({"a.mp4": b"a"}))
    altered = write(tmp_path / "bundle", make_bundle(Bundle(SMALL)))
    next((altered / "data").rglob("VID00001.MP4")).write_bytes(b"altered")
    assert main(["verify", str(tmp_path), "--json"]) != 0
    answer = json.loads(capsys.readouterr().out)
    assert "bundle" in json.dumps(answer["findings"])


def test_the_hubs_key_line_vouches_for_no_station(tmp_path: Path) -> None:
    """A bundle whose hub.vkey is a station's: what that key signed is not thereby known from the log."""

    def bend(files: Files) -> None:
        files["untrusted-keys/hub.vkey"] = f"{STATION_KEY.verify_key.line}\n".encode()
        for name in ("envelopes/0.dsse.json", "proofs/0.tlog-proof"):  # the enrolment
            del files[name]

    top = write(tmp_path, make_bundle(Bundle(SMALL, bend_files=bend)))
    report = verify(top, LOG_KEY.verify_key, HUB_KEY.verify_key)
    assert Kind.SIGNER_UNKNOWN in kinds(report)


@pytest.mark.parametrize("name", ["x\x1b[2J\x9b31m.mp4", "\u202e4pm.a", "a\nVERIFIED", "\\x1b"])
@pytest.mark.parametrize("words", [("--lang", "zh"), ("--lang", "en"), ("--json",)])
def test_no_name_reaches_the_terminal_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: tuple[str, ...]
) -> None:
    change: Callable[..., object] = bent_export(reason=name, recipient=name, operator=name, selection=name)
    top = write(tmp_path, make_bundle(Bundle({name: b"1"}, bend_export=change)))
    (top / "data" / name).write_bytes(b"added")
    (top / "untrusted-keys" / f"station-{name}.vkey").write_text(f"{name}+00000000+AQ==\n")
    main(["verify", str(top), *words])
    said = capsys.readouterr()
    printed = (said.out + said.err).replace("\n", "")
    assert printed.isprintable() or "--json" in words
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "\nVERIFIED" not in said.out.replace("\nVERIFIED (", "")
