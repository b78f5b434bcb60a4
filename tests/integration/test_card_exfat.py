"""exFAT cards, filled by exfat-fuse, then damaged."""

import os
import random
import struct
from pathlib import Path

import pytest

from agent import exfat
from agent.card import open_source
from agent.source import FindingKind, TimeBasis
from tests.integration.cards import (
    content,
    digests,
    exfat_card,
    expected,
    faulty_card,
    listing,
    locate,
    of_kind,
    patch,
    plant,
)

pytestmark = pytest.mark.needs_root
CLIP = random.Random(2).randbytes(70_001)
TREE = {
    "DCIM/100MEDIA/VID00001.MP4": CLIP,
    "DCIM/100MEDIA/EMPTY.MP4": b"",
    "执法记录仪视频资料/二〇二六年三月一日执法记录视频第一段.mp4": CLIP[:9000],
    "DCIM/" + "长" * 80 + ".MP4": b"long",
    "DCIM/emoji 🎥.MP4": b"astral",
}


def utf16(name: str) -> bytes:
    return name.encode("utf-16-le")


def sets_of(card: Path, name: str) -> int:
    """Where the entry set of a short name (up to 15 characters) stands."""
    return locate(card, b"\xc1\x00" + utf16(name) + bytes(30 - 2 * len(name))) - 64


def test_every_byte_and_every_name(tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    with exfat_card(card) as folder:
        plant(folder, TREE)
        os.utime(folder / "DCIM/100MEDIA/VID00001.MP4", ns=(0, 1_772_322_358_500_000_000))
    source = open_source(card)
    assert digests(source) == expected(TREE)
    facts = source.facts
    assert (facts.file_systems, facts.labels, facts.time_basis) == (("exFAT",), ("记录仪",), TimeBasis.UTC)
    files, findings = listing(source)
    assert findings == []
    assert files[b"DCIM", b"100MEDIA", b"VID00001.MP4"].modified_ns // 10**9 == 1_772_322_358


def test_without_an_offset_the_wall_clock_is_kept(tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    with exfat_card(card) as folder:
        plant(folder, {"A.MP4": b"x"})
    at = sets_of(card, "A.MP4")
    stamp = struct.pack("<HH", 13 << 11 | 45 << 5 | 29, (2026 - 1980) << 9 | 3 << 5 | 1)
    patch(card, at + 12, stamp)
    patch(card, at + 21, bytes([100, 0, 0x80 | 32]))  # + 1 s, UTC+8
    (entry,) = listing(open_source(card))[0].values()
    assert entry.modified_ns == (1_772_372_759 - 8 * 3600) * 10**9
    patch(card, at + 23, b"\0")
    source = open_source(card)
    assert source.facts.time_basis is TimeBasis.CAMERA_LOCAL
    (entry,) = listing(source)[0].values()
    assert entry.modified_ns == 1_772_372_759 * 10**9


def test_fragmented_and_deleted(tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    tree = {f"F{i:03}.BIN": bytes([i]) * 5000 for i in range(60)}
    with exfat_card(card, size_mib=8) as folder:
        plant(folder, tree)
        for i in range(0, 60, 2):
            (folder / f"F{i:03}.BIN").unlink()
        free = os.statvfs(folder)
        big = random.Random(3).randbytes(free.f_bavail * free.f_frsize - 8192)
        plant(folder, {"BIG.MP4": big})
    source = open_source(card)
    files, findings = listing(source)
    assert content(source, files[b"BIG.MP4",]) == (big, [])
    deleted = {f.path[0] for f in of_kind(findings, FindingKind.DELETED_ENTRY)}
    assert {b"F%03d.BIN" % i for i in range(4, 60, 2)} <= deleted


def test_an_unreadable_directory_sector_loses_no_content(tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    tree = {f"DCIM/VID{i:05}.MP4": random.Random(i).randbytes(5000) for i in range(100)}
    with exfat_card(card) as folder:
        plant(folder, tree)
    sector = sets_of(card, "VID00050.MP4") // 512 * 512
    source, _ = faulty_card(card, [(sector, 512)])
    files, findings = listing(source)
    (unreadable,) = of_kind(findings, FindingKind.UNREADABLE_DIRECTORY)
    assert (unreadable.path, unreadable.offset_bytes) == ((b"DCIM",), sector)
    named = [entry for path, entry in files.items() if path[0] == b"DCIM"]
    assert 90 <= len(named) < 100
    saved = b"".join(content(source, entry)[0] for path, entry in files.items() if path[0] == b"$ORPHANS")
    known = {content(source, entry)[0] for entry in named}
    assert all(data in known or data in saved for data in tree.values())


def test_hostile_sizes_and_places_are_bounded(tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    with exfat_card(card) as folder:
        plant(folder, dict.fromkeys(("A.MP4", "B.MP4", "C.MP4", "D.MP4"), CLIP))
    for name, size, cluster in (
        ("A.MP4", 2**63, None),
        ("B.MP4", 2**63, 0xFFFFFF),
        ("C.MP4", len(CLIP), 1),
        ("D.MP4", 5, 0),
    ):
        at = sets_of(card, name) + 32
        patch(card, at + 24, struct.pack("<Q", size))
        patch(card, at + 8, struct.pack("<Q", size))
        if cluster is not None:
            patch(card, at + 20, struct.pack("<I", cluster))
    source = open_source(card)
    files, findings = listing(source)
    assert content(source, files[b"A.MP4",])[0].startswith(CLIP)
    assert files[b"A.MP4",].size_bytes <= 64 << 20
    assert content(source, files[b"B.MP4",]) == (b"", [])
    assert content(source, files[b"C.MP4",])[1] == [(0, len(CLIP))]
    assert content(source, files[b"D.MP4",])[1] == [(0, 5)]
    assert len(of_kind(findings, FindingKind.UNREADABLE_ENTRY)) >= 4


def test_space_reserved_and_never_written_reads_as_zeros(tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    with exfat_card(card) as folder:
        plant(folder, {"A.MP4": CLIP})
    patch(card, sets_of(card, "A.MP4") + 40, struct.pack("<Q", 10_000))
    source = open_source(card)
    data, gaps = content(source, listing(source)[0][b"A.MP4",])
    assert (data, gaps) == (CLIP[:10_000] + bytes(len(CLIP) - 10_000), [])


def test_directory_records_at_random_never_raise() -> None:
    rng = random.Random(5)
    for _ in range(3000):
        data = bytearray(rng.randbytes(512))
        for at in range(0, 512, 32):
            data[at] = rng.choice([0, 5, 0x40, 0x41, 0x85, 0xC0, 0xC1, 0x81, 0x82, 0x83])
            data[at + 1] = rng.choice([0, 1, 2, 3, 255])
        blocks = [(0, bytes(data), 512), (512, None, 512), (1024, bytes(data[::-1]), 512)]
        for utc in (True, False):
            list(exfat.parse_directory(blocks, utc))
        exfat.parse_root(blocks)
        exfat.parse_boot(bytes(data), 0)
