"""Vaults that somebody made to hang or fill the verifier: small files, or files with holes, that cost it much."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

from custody.digest import CHUNK_BYTES
from custody.disk import Hasher
from custody.examine import Report, examine
from custody.finding import Exit, Kind
from tests.vectors.dockings import Docking, bent, build, pattern

FILES = {"DCIM/VID00001.MP4": pattern(1, 2 * CHUNK_BYTES), "DCIM/VID00002.MP4": pattern(2, 200)}


def check(vault: Path) -> Report:
    with Hasher() as hasher:
        return examine(os.fsencode(vault), [], lambda _: None, hasher)


def kinds(report: Report) -> set[Kind]:
    return {f.kind for f in report.findings if not f.is_information}


def peak_of(vault: Path) -> tuple[Report, int]:
    tracemalloc.start()
    report = check(vault)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return report, peak


def test_countless_lines_of_sums_are_told_without_filling_the_memory(tmp_path: Path) -> None:
    folder = build(tmp_path, Docking(FILES))
    for text in (b"\n" * 20_000, b"".join(b"%064x  x%d\n" % (i, i) for i in range(100_000))):
        (folder / "SHA256SUMS").write_bytes(text)
        report, peak = peak_of(tmp_path)
        assert kinds(report) == {Kind.SUMS_ALTERED}
        assert len(report.findings) < 3000
        assert peak < 14 << 20, f"{peak >> 20} MiB"  # 8 MiB of them are buffers
        assert report.exit is Exit.ALTERED


def test_a_list_of_sums_with_a_hole_in_it_is_told_once(tmp_path: Path) -> None:
    folder = build(tmp_path, Docking(FILES))
    os.truncate(folder / "SHA256SUMS", 256 << 20)
    report = check(tmp_path)
    assert kinds(report) == {Kind.SUMS_ALTERED}
    assert len(report.findings) < 1100


def test_countless_seals_that_are_none_are_told_without_filling_the_memory(tmp_path: Path) -> None:
    folder = build(tmp_path, Docking(FILES))
    with (folder / ".custody/manifest.jsonl").open("ab") as stream:
        stream.write(b'{"entry":1,"state":"copied","envelope":{}}\n' * 20_000)
        stream.writelines(b'{"gaps_of":%d,"gaps":[]}\n' % i for i in range(50_000))
    report, peak = peak_of(tmp_path)
    assert {Kind.SEAL_ALTERED, Kind.MANIFEST_ALTERED} <= kinds(report)
    assert len(report.findings) < 1100
    assert peak < 14 << 20, f"{peak >> 20} MiB"


def test_a_whole_list_of_sums_is_not_blamed_where_most_files_are_gone(tmp_path: Path) -> None:
    folder = build(tmp_path, Docking({f"{i}.mp4": b"%d" % i for i in range(1200)}))
    for i in range(1150):
        (folder / f"{i}.mp4").unlink()
    assert kinds(check(tmp_path)) == {Kind.MISSING}


def test_a_seal_of_petabytes_over_a_short_file_takes_no_time(tmp_path: Path) -> None:
    chunks = 1 << 32
    change = bent(size_bytes=chunks * CHUNK_BYTES, chunk_count=chunks)
    build(tmp_path, Docking(FILES, bend_seal=change))
    began = time.monotonic()
    report = check(tmp_path)
    assert time.monotonic() - began < 60  # it was hours
    [found] = [f for f in report.findings if f.kind is Kind.TRUNCATED]
    assert found.path == b"DCIM/VID00001.MP4"


def test_missing_chunks_are_still_named_where_the_leaves_are_whole(tmp_path: Path) -> None:
    folder = build(tmp_path, Docking(FILES))
    os.truncate(folder / "DCIM/VID00001.MP4", 5)
    [found] = [f for f in check(tmp_path).findings if not f.is_information]
    assert [(c.first, c.last) for c in found.chunks] == [(0, 1)]
