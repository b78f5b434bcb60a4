"""FAT12, FAT16 and FAT32 cards made by mkfs.vfat and mtools, then damaged as cameras and attackers do."""

import calendar
import random
import struct
from itertools import pairwise
from pathlib import Path

import pytest
import pytsk3

from agent.card import open_source
from agent.source import FindingKind, SourceKind, TimeBasis
from tests.integration.cards import (
    content,
    digests,
    expected,
    fat_card,
    faulty_card,
    listing,
    locate,
    needs,
    of_kind,
    patch,
    run,
)

CLIP = random.Random(1).randbytes(70_001)
TREE = {
    "DCIM/100MEDIA/VID00001.MP4": CLIP,
    "DCIM/100MEDIA/VID00002.MP4": b"",
    "DCIM/执法记录/前摄像头 第1段.MP4": CLIP[:5000],
    "DCIM/" + "n" * 200 + ".MP4": b"long",
    "LOG/camera.log": b"power on\n",
}


def entry_of(card: Path, name: bytes, attributes: int = 0x20) -> int:
    """Where the short directory entry of an 11-byte name stands."""
    return locate(card, name.ljust(11) + bytes([attributes]))


def cluster_of(card: Path, name: bytes, attributes: int = 0x20) -> int:
    """The first cluster that this entry names."""
    low, high = 26, 20
    record = card.read_bytes()[entry_of(card, name, attributes) :][:32]
    return int(struct.unpack_from("<H", record, low)[0] | struct.unpack_from("<H", record, high)[0] << 16)


def link(card: Path, cluster: int, value: int) -> None:
    """Set a cluster's link in both copies of a FAT32 table."""
    boot = card.read_bytes()[:512]
    reserved, table_sectors = struct.unpack_from("<H", boot, 14)[0], struct.unpack_from("<I", boot, 36)[0]
    for copy in range(2):
        patch(card, (reserved + copy * table_sectors) * 512 + cluster * 4, struct.pack("<I", value))


def offset_of(card: Path, cluster: int) -> int:
    """Where a cluster of a FAT32 card with one sector a cluster lies."""
    boot = card.read_bytes()[:512]
    reserved, table_sectors = struct.unpack_from("<H", boot, 14)[0], struct.unpack_from("<I", boot, 36)[0]
    return int(reserved + 2 * table_sectors + cluster - 2) * 512


@pytest.mark.parametrize(("bits", "size_mib", "sectors"), [(12, 4, 4), (16, 20, 1), (32, 40, 1), (32, 300, 8)])
def test_every_fat_gives_every_byte(tmp_path: Path, bits: int, size_mib: int, sectors: int) -> None:
    card = fat_card(tmp_path / "card.img", TREE, bits, size_mib, sectors)
    source = open_source(card)
    assert source.facts.file_systems == (f"FAT{bits}",)
    assert source.facts.labels == ("CAMERA",)
    assert source.facts.volume_ids == ("1234-ABCD",)
    assert source.facts.kind is SourceKind.IMAGE
    assert source.facts.time_basis is TimeBasis.CAMERA_LOCAL
    assert digests(source) == expected(TREE)
    assert listing(source)[1] == []
    source.close()


def test_an_empty_card_lists_nothing(tmp_path: Path) -> None:
    source = open_source(fat_card(tmp_path / "card.img", {}))
    assert listing(source) == ({}, [])


def test_the_cameras_wall_clock_is_kept(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": b"x"})
    stamp = struct.pack("<HH", 13 << 11 | 45 << 5 | 29, (2026 - 1980) << 9 | 3 << 5 | 1)
    patch(card, entry_of(card, b"A       MP4") + 22, stamp)
    (entry,) = listing(open_source(card))[0].values()
    assert entry.modified_ns == calendar.timegm((2026, 3, 1, 13, 45, 58)) * 10**9
    patch(card, entry_of(card, b"A       MP4") + 22, bytes(4))
    (entry,) = listing(open_source(card))[0].values()
    assert entry.modified_ns is None


def test_fragmented_files_are_read_in_order(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {f"F{i:03}.BIN": bytes([i]) * 1024 for i in range(100)})
    for i in range(0, 100, 2):
        run("mdel", "-i", card, f"::F{i:03}.BIN")
    (tmp_path / "BIG.MP4").write_bytes(CLIP)
    # mtools goes on after the last file; let it begin again in the holes
    patch(card, 512 + 492, struct.pack("<I", 2))
    run("mcopy", "-i", card, tmp_path / "BIG.MP4", "::")
    source = open_source(card)
    files, findings = listing(source)
    entry = files[b"BIG.MP4",]
    assert content(source, entry) == (CLIP, [])
    assert content(source, entry, step=777) == (CLIP, [])
    assert len(of_kind(findings, FindingKind.DELETED_ENTRY)) >= 49
    reader = source.open(entry)
    assert reader.read_into(memoryview(bytearray(10)), len(CLIP)) == 0


def test_deleted_entries_are_reported_with_name_and_size(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", TREE)
    for name in ("DCIM/100MEDIA/VID00001.MP4", "DCIM/执法记录/前摄像头 第1段.MP4"):
        run("mdel", "-i", card, f"::{name}")
    findings = of_kind(listing(open_source(card))[1], FindingKind.DELETED_ENTRY)
    assert {(f.path, f.length_bytes) for f in findings} == {
        ((b"DCIM", b"100MEDIA", b"?ID00001.MP4"), 70_001),
        ((b"DCIM", "执法记录".encode(), "前摄像头 第1段.MP4".encode()), 5000),
    }


def test_hostile_names_are_data(tmp_path: Path) -> None:
    names = [b"A", b"B", b"C", b"D", b"E", b"F"]
    card = fat_card(tmp_path / "card.img", {name.decode() + ".MP4": b"x" + name for name in names})
    hostile = [b"..      MP4", b"../ETC/ MP4", b"\n\x1b[2J   \x07P4", "执法记录".encode("gbk") + b"MP4"]
    hostile += [b".          ", b"a       MP4"]
    for name, new in zip(names, hostile, strict=True):
        patch(card, entry_of(card, name + b"       MP4"), new)
    source = open_source(card)
    files, _ = listing(source)
    assert {path: content(source, entry)[0] for path, entry in files.items()} == {
        (b"...MP4",): b"xA",
        (b"../ETC/.MP4",): b"xB",
        (b"\n\x1b[2J.\x07P4",): b"xC",
        ("执法记录".encode("gbk") + b".MP4",): b"xD",
        (b".",): b"xE",
        (b"a.MP4",): b"xF",
    }


def test_case_and_unicode_twins_are_two_files(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"执é.mp4": b"one", "执e\u0301.mp4": b"two", "UP.MP4": b"3", "XX.MP4": b"4"})
    patch(card, entry_of(card, b"XX      MP4"), b"up")
    files, _ = listing(open_source(card))
    assert {(b"UP.MP4",), (b"up.MP4",), ("执é.mp4".encode(),), ("执e\u0301.mp4".encode(),)} == set(files)


def test_a_size_beyond_the_card_is_bounded_and_said(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": CLIP})
    patch(card, entry_of(card, b"A       MP4") + 28, b"\xff\xff\xff\xff")
    source = open_source(card)
    files, findings = listing(source)
    data, gaps = content(source, files[b"A.MP4",])
    assert data.startswith(CLIP)
    assert (len(data), gaps) == (-(-len(CLIP) // 512) * 512, [])
    assert "more than the volume holds" in of_kind(findings, FindingKind.UNREADABLE_ENTRY)[0].detail


@pytest.mark.parametrize(
    ("value", "problem"),
    [(0, "free cluster"), (0x0FFFFFF7, "marked bad"), (0x00FFFFFF, "leaves the volume"), (0x0FFFFFFF, "too short")],
)
def test_a_broken_chain_gives_its_start_and_a_gap(tmp_path: Path, value: int, problem: str) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": CLIP})
    link(card, cluster_of(card, b"A       MP4") + 9, value)
    source = open_source(card)
    files, findings = listing(source)
    data, gaps = content(source, files[b"A.MP4",])
    assert gaps == [(5120, len(CLIP) - 5120)]
    assert data[:5120] == CLIP[:5120]
    assert problem in of_kind(findings, FindingKind.UNREADABLE_ENTRY)[0].detail
    assert sum(f.length_bytes or 0 for f in of_kind(findings, FindingKind.ORPHAN)) == -(-len(CLIP) // 512) * 512 - 5120


@pytest.mark.parametrize("back_to", [0, 4, 9])
def test_a_looping_chain_ends_where_it_repeats(tmp_path: Path, back_to: int) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": CLIP})
    first = cluster_of(card, b"A       MP4")
    link(card, first + 9, first + back_to)
    source = open_source(card)
    files, findings = listing(source)
    data, gaps = content(source, files[b"A.MP4",])
    assert (data[:5120], gaps) == (CLIP[:5120], [(5120, len(CLIP) - 5120)])
    assert "loop" in of_kind(findings, FindingKind.UNREADABLE_ENTRY)[0].detail


def test_a_directory_that_contains_itself(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"DCIM/SUB/A.MP4": b"x"})
    above = cluster_of(card, b"DCIM", 0x10)
    patch(card, entry_of(card, b"SUB", 0x10) + 26, struct.pack("<H", above))
    files, findings = listing(open_source(card))
    assert files == {}
    assert [f.path for f in of_kind(findings, FindingKind.DIRECTORY_LOOP)] == [(b"DCIM", b"SUB")]


def test_files_that_share_clusters_are_both_given_and_said(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": CLIP, "B.MP4": CLIP[::-1]})
    patch(card, entry_of(card, b"B       MP4") + 26, struct.pack("<H", cluster_of(card, b"A       MP4")))
    files, findings = listing(open_source(card))
    assert len(files) == 2
    assert "shares clusters" in of_kind(findings, FindingKind.UNREADABLE_ENTRY)[0].detail


def test_a_card_cannot_list_more_than_twice_its_size(tmp_path: Path) -> None:
    names = [f"B{i:07}.MP4" for i in range(40)]
    card = fat_card(tmp_path / "card.img", {"A.MP4": bytes(20 << 20)} | dict.fromkeys(names, b"x"))
    data = bytearray(card.read_bytes())
    first = cluster_of(card, b"A       MP4")
    for name in names:
        at = data.index(name.replace(".", "").encode() + b"\x20")
        data[at + 20 : at + 22], data[at + 26 : at + 28] = (
            struct.pack("<H", first >> 16),
            struct.pack("<H", first & 0xFFFF),
        )
        data[at + 28 : at + 32] = struct.pack("<I", 20 << 20)
    card.write_bytes(data)
    files, findings = listing(open_source(card))
    assert sum(entry.size_bytes for entry in files.values()) <= 2 * 64 << 20
    assert len(files) + sum("left out" in f.detail for f in findings) == 41


def test_a_card_with_an_unreadable_directory_sector_is_not_silent(tmp_path: Path) -> None:
    """The kernel's driver lists such a card without its 16 files and without an error (FIELD-NOTES)."""
    tree = {f"DCIM/VID{i:05}.MP4": random.Random(i).randbytes(3000) for i in range(300)}
    card = fat_card(tmp_path / "card.img", tree)
    sector = entry_of(card, b"VID00100MP4") // 512 * 512
    lost = {
        f"DCIM/{record[:8].decode()}.{record[8:11].decode()}"
        for record in (card.read_bytes()[sector + i : sector + i + 32] for i in range(0, 512, 32))
    }
    assert len(lost) == 16
    source, _ = faulty_card(card, [(sector, 512)])
    files, findings = listing(source)
    (unreadable,) = of_kind(findings, FindingKind.UNREADABLE_DIRECTORY)
    assert (unreadable.path, unreadable.offset_bytes, unreadable.length_bytes) == ((b"DCIM",), sector, 512)
    named = {b"/".join(path).decode(): entry for path, entry in files.items() if path[0] == b"DCIM"}
    assert set(named) == set(tree) - lost
    saved = {content(source, entry)[0][:3000] for path, entry in files.items() if path[0] == b"$ORPHANS"}
    assert saved == {tree[name] for name in lost}
    assert len(of_kind(findings, FindingKind.ORPHAN)) == 16


def test_a_lost_folder_is_found_by_its_own_clusters(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {f"DCIM/F{i}/{i}.MP4": bytes([i]) * 900 for i in range(40)})
    sector = entry_of(card, b"F7", 0x10) // 512 * 512
    source, _ = faulty_card(card, [(sector, 512)])
    found = digests(source)
    tree = expected({f"DCIM/F{i}/{i}.MP4": bytes([i]) * 900 for i in range(40)})
    assert sorted(found.values()) == sorted(tree.values())
    lost = sum(card.read_bytes()[sector + i : sector + i + 1] == b"F" for i in range(0, 512, 32))
    assert sum(name.startswith("$ORPHANS/FOLDER_") for name in found) == lost >= 8
    assert not any("CLUSTER" in name for name in found)


def test_a_bad_sector_in_a_file_is_exactly_its_gap(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": CLIP, "B.MP4": CLIP})
    start = offset_of(card, cluster_of(card, b"A       MP4"))
    source, device = faulty_card(card, [])
    files, _ = listing(source)
    device.bad = [(start + 1024, 512), (start + 4096, 1536), (start + 70_000, 1)]
    data, gaps = content(source, files[b"A.MP4",])
    assert gaps == [(1024, 512), (4096, 1536), (69_632, 70_001 - 69_632)]
    for before, after in pairwise([(0, 0), *gaps]):
        assert data[sum(before) : after[0]] == CLIP[sum(before) : after[0]]
    assert content(source, files[b"B.MP4",]) == (CLIP, [])
    assert content(source, files[b"A.MP4",], step=100)[0] == data


def test_a_bad_sector_of_the_table_costs_nothing_while_its_copy_is_good(tmp_path: Path) -> None:
    tree = {f"VID{i:05}.MP4": random.Random(i).randbytes(3000) for i in range(50)}
    card = fat_card(tmp_path / "card.img", tree)
    table = struct.unpack_from("<H", card.read_bytes(), 14)[0] * 512
    source, device = faulty_card(card, [(table, 512)])
    assert digests(source) == expected(tree)
    (finding,) = listing(source)[1]
    assert (finding.kind, finding.offset_bytes, finding.length_bytes) == (FindingKind.SKIPPED_SPECIAL, table, 512)
    device.bad.append((table + struct.unpack_from("<I", card.read_bytes(), 36)[0] * 512, 512))
    files, findings = listing(source)
    assert {f.path for f in of_kind(findings, FindingKind.UNREADABLE_DIRECTORY)} == {()}
    assert any("where some files lie is unknown" in finding.detail for finding in findings)
    assert 0 < len(files) < 50


def test_the_copy_of_the_boot_sector_opens_the_card(tmp_path: Path) -> None:
    source, _ = faulty_card(fat_card(tmp_path / "card.img", TREE), [(0, 512)])
    assert digests(source) == expected(TREE)
    assert "boot sector" in listing(source)[1][0].detail


def test_an_image_that_was_cut_off_has_gaps_not_zeros(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": CLIP})
    end = offset_of(card, cluster_of(card, b"A       MP4")) + 5000
    with card.open("r+b") as file:
        file.truncate(end)
    source = open_source(card)
    files, _ = listing(source)
    data, gaps = content(source, files[b"A.MP4",])
    assert (data[:5000], gaps) == (CLIP[:5000], [(5000, len(CLIP) - 5000)])


def test_what_follows_the_end_of_a_directory_is_no_file(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": b"a", "B.MP4": b"b", "C.MP4": b"c"})
    patch(card, entry_of(card, b"B       MP4"), b"\0")
    files, findings = listing(open_source(card))
    assert set(files) == {(b"A.MP4",)}
    assert [f.path for f in of_kind(findings, FindingKind.DELETED_ENTRY)] == [(b"C.MP4",)]


def test_a_changed_entry_is_noticed(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": CLIP})
    source = open_source(card)
    reader = source.open(listing(source)[0][b"A.MP4",])
    assert not reader.changed()
    patch(card, entry_of(card, b"A       MP4") + 28, struct.pack("<I", 7))
    assert reader.changed()


def test_we_list_all_that_the_sleuth_kit_lists(tmp_path: Path) -> None:
    needs("mkfs.vfat")
    rng = random.Random(7)
    tree = {
        f"D{rng.randrange(9)}/{i:04} 文件 {rng.randrange(10**9)}.MP4": rng.randbytes(rng.randrange(9000))
        for i in range(300)
    }
    card = fat_card(tmp_path / "card.img", tree)
    for name in rng.sample(sorted(tree), 60):
        run("mdel", "-i", card, f"::{name}")
    theirs = {}
    fs = pytsk3.FS_Info(pytsk3.Img_Info(str(card)))
    for folder in fs.open_dir("/"):
        if folder.info.name.type == pytsk3.TSK_FS_NAME_TYPE_DIR and folder.info.name.name[:1] == b"D":
            for file in folder.as_directory():
                if (
                    file.info.name.flags == pytsk3.TSK_FS_NAME_FLAG_ALLOC
                    and file.info.meta.type == pytsk3.TSK_FS_META_TYPE_REG
                ):
                    size = file.info.meta.size
                    theirs[folder.info.name.name, file.info.name.name] = file.read_random(0, size) if size else b""
    source = open_source(card)
    ours = {path: content(source, entry)[0] for path, entry in listing(source)[0].items()}
    assert ours == theirs
    assert len(ours) == 240
