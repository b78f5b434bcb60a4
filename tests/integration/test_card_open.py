"""What a source can be: partition tables, devices that leave, things that are no card at all."""

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from agent.card import open_source
from agent.errors import NotAFileSystem, ReadFault, SourceGone, SourceUnreadable
from agent.source import FindingKind, SourceKind, TimeBasis
from tests.integration.cards import (
    MIB,
    blank,
    content,
    digests,
    expected,
    ext_card,
    fat_card,
    faulty_card,
    listing,
    needs,
    partitioned,
    patch,
    plant,
    run,
)

CLIP = random.Random(6).randbytes(3_000_001)


@pytest.mark.parametrize("table", ["dos", "gpt"])
def test_one_partition_with_files_needs_no_prefix(tmp_path: Path, table: str) -> None:
    one = fat_card(tmp_path / "one.img", {"DCIM/A.MP4": CLIP})
    empty = fat_card(tmp_path / "two.img", {})
    source = open_source(partitioned(tmp_path / "card.img", [empty, one], table))
    assert digests(source) == expected({"DCIM/A.MP4": CLIP})
    assert source.facts.file_systems == ("FAT32", "FAT32")


@pytest.mark.parametrize("table", ["dos", "gpt"])
def test_several_partitions_are_one_source(tmp_path: Path, table: str) -> None:
    one = fat_card(tmp_path / "one.img", {"A.MP4": b"fat"})
    two = ext_card(tmp_path / "two.img", plant(tmp_path / "root", {"A.MP4": b"ext"}))
    source = open_source(partitioned(tmp_path / "card.img", [one, two], table))
    assert digests(source) == expected({"p1/A.MP4": b"fat", "p2/A.MP4": b"ext"})
    assert source.facts.file_systems == ("FAT32", "ext4")
    assert source.facts.time_basis is TimeBasis.CAMERA_LOCAL
    files, _ = listing(source)
    assert files[b"p1", b"A.MP4"].modified_ns is not None
    assert files[b"p2", b"A.MP4"].modified_ns is None


def test_a_partition_that_we_cannot_read_is_said(tmp_path: Path) -> None:
    one = fat_card(tmp_path / "one.img", {"A.MP4": b"fat"})
    strange = blank(tmp_path / "strange.img", 4)
    patch(strange, 0, b"LUKS\xba\xbe")
    source = open_source(partitioned(tmp_path / "card.img", [one, strange], "dos"))
    (finding,) = listing(source)[1]
    assert (finding.kind, finding.path) == (FindingKind.UNREADABLE_DIRECTORY, (b"p2",))


@pytest.mark.parametrize("content_of", ["zeros", "noise", "text", "nothing"])
def test_what_is_no_file_system(tmp_path: Path, content_of: str) -> None:
    card = tmp_path / "card.img"
    noise = random.Random(8).randbytes(MIB)
    card.write_bytes({"zeros": bytes(MIB), "noise": noise, "text": b"hello\n" * 999, "nothing": b""}[content_of])
    with pytest.raises((NotAFileSystem, SourceUnreadable)) as caught:
        open_source(card)
    assert caught.value.zh
    if content_of != "nothing":
        assert caught.value.code == "not_a_file_system"


def test_what_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path / "absent", Path("/dev/null")):
        with pytest.raises(SourceUnreadable):
            open_source(path)


def test_a_card_of_bad_sectors_only_is_unreadable(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", {"A.MP4": b"x"})
    with pytest.raises(SourceUnreadable, match="does not answer"):
        faulty_card(card, [(0, 64 * MIB)])
    with pytest.raises(SourceUnreadable, match="does not answer"):
        faulty_card(card, [(0, 20 * 512)])


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.EIO])
def test_a_card_that_leaves_is_gone_and_not_damaged(tmp_path: Path, number: int) -> None:
    """After a pull the kernel says EIO for everything (USB) or ENODEV/ENXIO/ENOMEDIUM (card readers)."""
    card = fat_card(tmp_path / "card.img", {"DCIM/A.MP4": CLIP, "DCIM/B.MP4": CLIP})
    source, device = faulty_card(card, [])
    files, _ = listing(source)
    reader = source.open(files[b"DCIM", b"A.MP4"])
    buffer = memoryview(bytearray(MIB))
    assert reader.read_into(buffer, 0) == MIB
    device.gone = number
    with pytest.raises(SourceGone):
        reader.read_into(buffer, MIB)
    with pytest.raises(SourceGone):
        list(source.entries())


@pytest.mark.parametrize("kind", ["fat", "ext"])
def test_a_card_pulled_while_it_is_listed_never_looks_empty(tmp_path: Path, kind: str) -> None:
    tree = {f"D{i}/A.MP4": b"x" for i in range(50)}
    if kind == "fat":
        card = fat_card(tmp_path / "card.img", tree)
    else:
        card = ext_card(tmp_path / "card.img", plant(tmp_path / "root", tree))
    source, device = faulty_card(card, [])
    walk = source.entries()
    next(walk)
    device.gone = errno.EIO
    with pytest.raises(SourceGone):
        list(walk)


@pytest.mark.needs_root
def test_a_real_block_device(tmp_path: Path) -> None:
    needs("losetup", "blockdev", root=True)
    card = fat_card(tmp_path / "card.img", {"DCIM/A.MP4": CLIP})
    before = card.read_bytes()
    loop = run("losetup", "-r", "-f", "--show", card).decode().strip()
    try:
        source = open_source(loop)
        assert source.facts.kind is SourceKind.BLOCK_DEVICE
        assert source.facts.size_bytes == 64 * MIB
        assert digests(source) == expected({"DCIM/A.MP4": CLIP})
        source.close()
    finally:
        run("losetup", "-d", loop)
    assert card.read_bytes() == before


@pytest.mark.needs_root
def test_a_real_block_device_that_ends_early(tmp_path: Path) -> None:
    """A loop device over a file that shrinks underneath gives true EIO from the kernel, page by page."""
    needs("losetup", root=True)
    card = fat_card(tmp_path / "card.img", {"A.MP4": CLIP})
    loop = run("losetup", "-r", "-f", "--show", card).decode().strip()
    try:
        source = open_source(loop)
        entry = listing(source)[0][b"A.MP4",]
        place = int(entry.handle.split("/")[1].split(":")[0])
        layout = source._parts[0].volume.layout  # type: ignore[attr-defined]
        cut = layout.offset_of(place) + 1_000_448  # not at a page: the sectors before it in the page are readable
        with card.open("r+b") as file:
            file.truncate(cut)
        run("blockdev", "--flushbufs", loop)
        data, gaps = content(source, entry)
        assert gaps
        first = gaps[0][0]
        assert data[:first] == CLIP[:first]
        assert first in range(1_000_448 - 4096, 1_000_448 + 4096)
        source.close()
    finally:
        run("losetup", "-d", loop)


def test_nothing_is_ever_opened_for_writing(tmp_path: Path) -> None:
    needs("strace")
    card = fat_card(tmp_path / "card.img", {"DCIM/A.MP4": CLIP})
    code = (
        "import sys; from agent.card import open_source; from agent.source import Entry\n"
        "s = open_source(sys.argv[1])\n"
        "for e in s.entries():\n"
        "    s.open(e).read_into(memoryview(bytearray(1 << 20)), 0) if isinstance(e, Entry) else None\n"
    )
    argv = ["strace", "-f", "-e", "trace=open,openat,mount,ioctl", sys.executable, "-c", code, str(card)]
    trace = subprocess.run(argv, capture_output=True, check=True, text=True).stderr
    opened = [line for line in trace.splitlines() if str(card) in line and "open" in line]
    assert opened
    assert all("O_RDONLY" in line for line in opened)
    assert "mount(" not in trace


def test_folders_are_chosen_by_stat(tmp_path: Path) -> None:
    source = open_source(plant(tmp_path / "root", {"DCIM/A.MP4": CLIP}))
    assert source.facts.kind is SourceKind.FOLDER
    assert digests(source) == expected({"DCIM/A.MP4": CLIP})
    with pytest.raises(SourceUnreadable):
        source.open(next(iter(listing(source)[0].values())).__class__((b"absent",), 1, None, "1:2:3:4:5"))
    assert ReadFault.code == "read_fault"
