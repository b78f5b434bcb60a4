"""Folders as sources: what must not be followed, what must not block, what changes underneath."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from agent.card import open_source
from agent.errors import SourceUnreadable
from agent.folder import FolderSource
from agent.source import Entry, FindingKind
from tests.integration.cards import content, digests, expected, listing, mounted, needs, of_kind, plant, run


def test_bytes_order_and_empty_files(tmp_path: Path) -> None:
    tree = {"b/2.mp4": b"two", "b/10.mp4": b"", "a.mp4": b"one", "执法/é.mp4": b"x", "new\nline": b"y"}
    root = plant(tmp_path / "root", tree)
    (root / os.fsdecode(b"\xff.mp4")).write_bytes(b"raw")
    source = open_source(root)
    assert digests(source) == expected(tree | {os.fsdecode(b"\xff.mp4"): b"raw"})
    names = [item.path for item in source.entries() if isinstance(item, Entry) and item.path[0] == b"b"]
    assert names == sorted(names)
    source.close()
    source.close()


def test_nothing_is_followed_and_nothing_blocks(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"A.MP4": b"x", "sub/B.MP4": b"y"})
    (tmp_path / "outside.mp4").write_bytes(b"not ours")
    (root / "link").symlink_to(tmp_path / "outside.mp4")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "fifo")
    (root / "sub" / "socket").parent.mkdir(exist_ok=True)
    here = os.open(root / "sub", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{here}/socket")
    os.close(here)
    files, findings = listing(open_source(root))
    assert set(files) == {(b"A.MP4",), (b"sub", b"B.MP4")}
    assert {f.path for f in of_kind(findings, FindingKind.SKIPPED_SYMLINK)} == {(b"link",), (b"loop",)}
    assert {f.path for f in of_kind(findings, FindingKind.SKIPPED_SPECIAL)} == {(b"fifo",), (b"sub", b"socket")}


@pytest.mark.parametrize("swap", ["symlink", "fifo", "directory", "other", "folder"])
def test_a_file_swapped_after_listing_is_refused(tmp_path: Path, swap: str) -> None:
    root = plant(tmp_path / "root", {"sub/A.MP4": b"x"})
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "A.MP4").write_bytes(b"s")
    source = open_source(root)
    (entry,) = listing(source)[0].values()
    target = root / "sub" / "A.MP4"
    target.unlink()
    match swap:
        case "symlink":
            target.symlink_to(secret / "A.MP4")
        case "fifo":
            os.mkfifo(target)
        case "directory":
            target.mkdir()
        case "other":
            target.write_bytes(b"y")
        case "folder":
            (root / "sub").rmdir()
            (root / "sub").symlink_to(secret)
    with pytest.raises(SourceUnreadable):
        source.open(entry)


def test_a_file_that_changes_while_it_is_read_says_so(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"A.MP4": b"x" * 100})
    source = open_source(root)
    reader = source.open(listing(source)[0][b"A.MP4",])
    buffer = memoryview(bytearray(1000))
    assert reader.read_into(buffer, 0) == 100
    assert not reader.changed()
    with (root / "A.MP4").open("ab") as file:
        file.write(b"more")
    assert reader.changed()
    assert reader.read_into(buffer, 0) == 100, "never more than was listed"
    (root / "A.MP4").write_bytes(b"short")
    assert reader.read_into(buffer, 0) == 5
    assert reader.changed()
    reader.close()
    reader.close()


def test_files_that_have_not_come_to_rest_wait(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {"old.mp4": b"x"})
    time.sleep(0.05)
    plant(root, {"new.mp4": b"y"})
    last = (root / "new.mp4").stat().st_ctime_ns
    os.utime(root / "new.mp4", ns=(0, 0))  # what the camera believed says nothing
    settled = (root / "old.mp4").stat().st_ctime_ns
    assert settled < last
    source = FolderSource(os.fsencode(root), settle_ns=10**9, now_ns=lambda: settled + 10**9)
    files, findings = listing(source)
    assert set(files) == {(b"old.mp4",)}
    assert [(f.kind, f.path) for f in findings] == [(FindingKind.STILL_BEING_WRITTEN, (b"new.mp4",))]


@pytest.mark.needs_root
def test_another_file_system_below_is_said_and_not_entered(tmp_path: Path) -> None:
    needs("mount", root=True)
    root = plant(tmp_path / "root", {"A.MP4": b"x", "other/B.MP4": b"y"})
    run("mount", "-t", "tmpfs", "tmpfs", root / "other")
    try:
        files, findings = listing(open_source(root))
    finally:
        run("umount", root / "other")
    assert set(files) == {(b"A.MP4",)}
    assert [f.path for f in of_kind(findings, FindingKind.UNREADABLE_DIRECTORY)] == [(b"other",)]


def test_a_folder_as_deep_as_the_kernel_lets_it_be(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):  # far beyond PATH_MAX and Python's own recursion limit
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    _, findings = listing(open_source(tmp_path))
    (finding,) = of_kind(findings, FindingKind.UNREADABLE_DIRECTORY)
    assert "deeper" in finding.detail
    run("rm", "-rf", tmp_path / "d")  # pytest's own cleaning would recurse too deep


def test_another_thread_removing_files_breaks_nothing(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {f"{i:04}.mp4": b"x" for i in range(2000)})
    remover = threading.Thread(target=lambda: [path.unlink() for path in sorted(root.iterdir(), reverse=True)])
    source = open_source(root)
    walk = source.entries()
    first = next(walk)
    assert isinstance(first, Entry)
    remover.start()
    remover.join()
    met = [first, *walk]
    assert len(met) == 2000
    with pytest.raises(SourceUnreadable):
        source.open(first)


@pytest.mark.needs_root
def test_a_disk_that_fails_under_a_folder(tmp_path: Path) -> None:
    """A real EIO from the kernel: ext4 on a loop device whose file was cut."""
    needs("losetup", "mke2fs", root=True)
    card = tmp_path / "card.img"
    with card.open("wb") as file:
        file.truncate(64 << 20)
    run("mke2fs", "-q", "-F", "-t", "ext2", card)
    with mounted(card, "mount -t ext2") as folder:
        plant(folder, {"A.MP4": os.urandom(8 << 20)})
        whole = (folder / "A.MP4").read_bytes()
    with mounted(card, "mount -t ext2 -o ro") as folder:
        source = open_source(folder)
        entry = listing(source)[0][b"A.MP4",]
        at = card.read_bytes().index(whole[5_000_000:5_000_100])
        with card.open("r+b") as file:
            file.truncate(at // 4096 * 4096)
        data, gaps = content(source, entry)
        source.close()
    assert gaps
    assert gaps[0][0] <= 5_000_000
    assert data[: gaps[0][0]] == whole[: gaps[0][0]]
