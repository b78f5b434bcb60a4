"""ext2/3/4 and NTFS cards, read by The Sleuth Kit on our medium."""

import os
import random
import struct
from pathlib import Path

import pytest

from agent.card import open_source
from agent.errors import SourceUnreadable
from agent.source import FindingKind, TimeBasis
from tests.integration.cards import (
    content,
    digests,
    expected,
    ext_card,
    faulty_card,
    listing,
    locate,
    mounted,
    needs,
    ntfs_card,
    of_kind,
    patch,
    plant,
    run,
)

CLIP = random.Random(4).randbytes(3_000_001)
TREE = {
    "DCIM/VID1.MP4": CLIP,
    "DCIM/EMPTY.MP4": b"",
    "执法记录/第1段.MP4": CLIP[:9000],
    "new\nline \\ * ?.MP4": b"odd",
    "Case.MP4": b"1",
    "case.mp4": b"2",
    "é.MP4": b"composed",
    "e\u0301.MP4": b"decomposed",
}


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_every_byte_and_every_name(tmp_path: Path, kind: str) -> None:
    root = plant(tmp_path / "root", TREE)
    (root / os.fsdecode(b"bad-utf8-\xff.MP4")).write_bytes(b"raw")
    source = open_source(ext_card(tmp_path / "card.img", root, kind))
    assert digests(source) == expected(TREE | {os.fsdecode(b"bad-utf8-\xff.MP4"): b"raw"})
    assert (source.facts.file_systems, source.facts.labels) == ((kind,), ("CAMERA",))
    assert source.facts.time_basis is TimeBasis.UTC
    assert listing(source)[1] == []


def test_links_and_special_files_are_reported_and_never_followed(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"DCIM/A.MP4": b"x"})
    (root / "escape").symlink_to("/etc/passwd")
    (root / "loop").symlink_to(".")
    os.mkfifo(root / "fifo")
    source = open_source(ext_card(tmp_path / "card.img", root))
    files, findings = listing(source)
    assert set(files) == {(b"DCIM", b"A.MP4")}
    assert {f.path[0] for f in of_kind(findings, FindingKind.SKIPPED_SYMLINK)} == {b"escape", b"loop"}
    assert {f.path[0] for f in of_kind(findings, FindingKind.SKIPPED_SPECIAL)} == {b"fifo"}


@pytest.mark.needs_root
def test_holes_unwritten_space_and_fragments(tmp_path: Path) -> None:
    needs("losetup", root=True)
    card = ext_card(tmp_path / "card.img", plant(tmp_path / "root", {"A": b"a"}))
    with mounted(card, "mount -t ext4") as folder:
        with (folder / "hole.mp4").open("wb") as file:
            file.seek(5_000_000)
            file.write(CLIP)
        (folder / "only-a-hole.mp4").touch()
        os.truncate(folder / "only-a-hole.mp4", 1_000_000)
        (folder / "ends-in-a-hole.mp4").write_bytes(CLIP)
        os.truncate(folder / "ends-in-a-hole.mp4", 4_000_000)
        with (folder / "reserved.mp4").open("wb") as file:
            file.write(CLIP[:100_000])
            os.posix_fallocate(file.fileno(), 0, 2_000_000)
        one, other = (folder / "one.mp4").open("wb"), (folder / "other.mp4").open("wb")
        for at in range(0, 2_000_000, 20_000):
            for file in (one, other):
                file.write(CLIP[at : at + 20_000])
                file.flush()
                os.fsync(file.fileno())
        one.close()
        other.close()
        tree = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert digests(open_source(card)) == expected(tree)


def test_a_bad_sector_in_a_file_is_exactly_its_gap(tmp_path: Path) -> None:
    card = ext_card(tmp_path / "card.img", plant(tmp_path / "root", TREE))
    at = locate(card, CLIP[1_000_000:1_000_100])
    source, device = faulty_card(card, [])
    files, _ = listing(source)
    device.bad = [(at // 512 * 512, 512)]
    data, gaps = content(source, files[b"DCIM", b"VID1.MP4"])
    start = 1_000_000 - at % 512
    assert gaps == [(start, 512)]
    assert data == CLIP[:start] + bytes(512) + CLIP[start + 512 :]


def test_an_unreadable_directory_block_is_not_silent(tmp_path: Path) -> None:
    tree = {f"DCIM/VID{i:05}_{'x' * 100}.MP4": b"%d" % i for i in range(300)}
    card = ext_card(tmp_path / "card.img", plant(tmp_path / "root", tree))
    sector = locate(card, b"VID00150_") // 512 * 512
    source, _ = faulty_card(card, [(sector, 512)])
    files, findings = listing(source)
    assert 0 < len(files) < 300
    (unreadable,) = of_kind(findings, FindingKind.UNREADABLE_DIRECTORY)
    assert (unreadable.path, unreadable.offset_bytes, unreadable.length_bytes) == ((b"DCIM",), sector, 512)


def test_an_unreadable_inode_is_not_silent(tmp_path: Path) -> None:
    tree = {f"VID{i:05}.MP4": b"%d" % i for i in range(100)}
    card = ext_card(tmp_path / "card.img", plant(tmp_path / "root", tree))
    table = int(run("dumpe2fs", card).decode().split("Inode table at ")[1].split("-")[0]) * int(
        run("dumpe2fs", "-h", card).decode().split("Block size:")[1].split()[0]
    )
    source, _ = faulty_card(card, [(table + 256 * 40, 1024)])
    files, findings = listing(source)
    assert len(files) + len(of_kind(findings, FindingKind.UNREADABLE_ENTRY)) == 100
    assert len(of_kind(findings, FindingKind.UNREADABLE_ENTRY)) == 4
    assert of_kind(findings, FindingKind.UNREADABLE_DIRECTORY)[0].offset_bytes == table + 256 * 40


def test_lost_block_pointers_fail_the_file_and_never_read_as_holes(tmp_path: Path) -> None:
    card = ext_card(tmp_path / "card.img", plant(tmp_path / "root", {"A.MP4": CLIP, "B.MP4": b"b"}), "ext2")
    blocks = run("debugfs", "-R", "stat A.MP4", card).decode().split("(IND):")[1].split(",")[0]
    size = int(run("dumpe2fs", "-h", card).decode().split("Block size:")[1].split()[0])
    source, _ = faulty_card(card, [(int(blocks) * size, 512)])
    files, _ = listing(source)
    with pytest.raises(SourceUnreadable, match="where this file lies"):
        source.open(files[b"A.MP4",])
    assert content(source, files[b"B.MP4",]) == (b"b", [])


def test_a_journal_that_waits_is_said(tmp_path: Path) -> None:
    card = ext_card(tmp_path / "card.img", plant(tmp_path / "root", TREE))
    flags = 1024 + 96
    (features,) = struct.unpack_from("<I", card.read_bytes(), flags)
    patch(card, flags, struct.pack("<I", features | 4))
    (finding,) = listing(open_source(card))[1]
    assert "journal" in finding.detail


@pytest.mark.needs_root
def test_ntfs(tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    with ntfs_card(card) as folder:
        tree = {name: data for name, data in TREE.items() if "\n" not in name} | {"small.txt": b"resident"}
        plant(folder, tree)
        os.setxattr(folder / "DCIM/VID1.MP4", "user.secret", b"hidden stream")
        with (folder / "hole.mp4").open("wb") as file:
            file.seek(2_000_000)
            file.write(b"end")
        (folder / "gone.mp4").write_bytes(CLIP)
        (folder / "gone.mp4").unlink()
    tree["hole.mp4"] = bytes(2_000_000) + b"end"
    source = open_source(card)
    assert digests(source) == expected(tree)
    assert (source.facts.file_systems, source.facts.labels) == (("NTFS",), ("CAMERA",))
    findings = listing(source)[1]
    (stream,) = of_kind(findings, FindingKind.SKIPPED_SPECIAL)
    assert (stream.path, "'secret' of 13 bytes" in stream.detail) == ((b"DCIM", b"VID1.MP4"), True)
    assert {f.path for f in of_kind(findings, FindingKind.DELETED_ENTRY)} <= {(b"gone.mp4",)}


@pytest.mark.needs_root
def test_a_bad_sector_on_ntfs_is_exactly_its_gap(tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    with ntfs_card(card) as folder:
        plant(folder, {"A.MP4": CLIP})
    at = locate(card, CLIP[1_000_000:1_000_100])
    source, _ = faulty_card(card, [(at // 512 * 512, 512)])
    data, gaps = content(source, listing(source)[0][b"A.MP4",])
    start = 1_000_000 - at % 512
    assert gaps == [(start, 512)]
    assert data == CLIP[:start] + bytes(512) + CLIP[start + 512 :]
