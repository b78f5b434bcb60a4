"""Builds real cards: images made by mkfs, mtools, mke2fs, exfat-fuse and ntfs-3g, then hurt byte by byte."""

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agent.card import CardSource
from agent.errors import ReadFault
from agent.medium import FileDevice
from agent.source import Entry, Finding, FindingKind, Source, SourceKind

MIB = 1 << 20
Tree = Mapping[str, bytes]


def needs(*tools: str, root: bool = False, fuse: bool = False) -> None:
    """Skip the test when this machine cannot build its card; `.ci` installs all of these."""
    missing = [tool for tool in tools if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]
    if missing:
        pytest.skip(f"needs the programs {', '.join(missing)}")
    if root and os.geteuid() != 0:
        pytest.skip("needs root (loop devices, mounts)")
    if fuse and not os.path.exists("/dev/fuse"):
        pytest.skip("needs /dev/fuse")


def run(*argv: str | bytes | Path, stdin: bytes = b"") -> bytes:
    """Run a tool with the camera's clock in UTC; its output. Raises CalledProcessError."""
    env = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
    return subprocess.run(argv, input=stdin, check=True, capture_output=True, env=env).stdout


def blank(path: Path, size_mib: int) -> Path:
    """A sparse file full of zeros."""
    with path.open("wb") as file:
        file.truncate(size_mib * MIB)
    return path


def plant(root: Path, tree: Tree) -> Path:
    """Write files (name: content) below a folder."""
    for name, content in tree.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return root


def fat_card(path: Path, tree: Tree, bits: int = 32, size_mib: int = 64, cluster_sectors: int = 1) -> Path:
    """A FAT volume without partition table, filled by mtools."""
    needs("mkfs.vfat", "mcopy")
    blank(path, size_mib)
    run("mkfs.vfat", "-F", str(bits), "-s", str(cluster_sectors), "-n", "CAMERA", "-i", "1234ABCD", path)
    root = plant(path.with_suffix(".tree"), tree)
    if tree:
        run("mcopy", "-i", path, "-s", "-Q", "-m", *sorted(root.iterdir()), "::")
    shutil.rmtree(root, ignore_errors=True)
    return path


@contextlib.contextmanager
def mounted(image: Path, mount: str) -> Iterator[Path]:
    """Mount a test image through FUSE or the kernel, to fill it as another system would."""
    loop = run("losetup", "-f", "--show", image).decode().strip()
    folder = image.with_suffix(".mounted")
    folder.mkdir()
    try:
        run(*mount.split(), loop, folder)
        try:
            yield folder
        finally:
            run("umount", folder)
    finally:
        folder.rmdir()
        run("losetup", "-d", loop)


@contextlib.contextmanager
def exfat_card(path: Path, size_mib: int = 64) -> Iterator[Path]:
    """An exFAT volume, mounted by exfat-fuse for filling; give the image its path after the block."""
    needs("mkfs.exfat", "mount.exfat-fuse", "losetup", root=True, fuse=True)
    run("mkfs.exfat", "-L", "记录仪", blank(path, size_mib))
    with mounted(path, "mount.exfat-fuse") as folder:
        yield folder


@contextlib.contextmanager
def ntfs_card(path: Path, size_mib: int = 64) -> Iterator[Path]:
    """An NTFS volume, mounted by ntfs-3g for filling."""
    needs("mkntfs", "ntfs-3g", "losetup", root=True, fuse=True)
    run("mkntfs", "-F", "-Q", "-q", "-L", "CAMERA", blank(path, size_mib))
    with mounted(path, "ntfs-3g -o streams_interface=xattr") as folder:
        yield folder


def ext_card(path: Path, root: Path, kind: str = "ext4", size_mib: int = 64) -> Path:
    """An ext volume holding a copy of a folder."""
    needs("mke2fs")
    run("mke2fs", "-q", "-F", "-t", kind, "-L", "CAMERA", "-d", root, blank(path, size_mib))
    return path


def partitioned(path: Path, parts: list[Path], table: str) -> Path:
    """One card with a partition per image; `table` is dos or gpt."""
    needs("sfdisk")
    sizes = [part.stat().st_size // MIB for part in parts]
    blank(path, sum(sizes) + 2 + len(parts))
    starts = [1 + sum(sizes[:i]) for i in range(len(parts))]
    script = f"label: {table}\n" + "".join(
        f"start={start}MiB, size={size}MiB\n" for start, size in zip(starts, sizes, strict=True)
    )
    run("sfdisk", "-q", path, stdin=script.encode())
    with path.open("r+b") as card:
        for part, start in zip(parts, starts, strict=True):
            card.seek(start * MIB)
            card.write(part.read_bytes())
    return path


def patch(image: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes of an image."""
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def locate(image: Path, content: bytes) -> int:
    """The one place in an image where these bytes stand."""
    data = image.read_bytes()
    assert data.count(content) == 1, f"{content!r} occurs {data.count(content)} times"
    return data.index(content)


class FaultyDevice(FileDevice):
    """A card with bad sectors, or one that leaves: what the kernel says in these cases, without the hardware."""

    def __init__(self, path: Path, bad: list[tuple[int, int]]) -> None:
        super().__init__(os.fsencode(path))
        self.bad = bad
        self.gone: int | None = None  # the errno that every read gives from now on

    def read_into(self, buffer: memoryview, offset: int) -> int:
        self._fail(offset, len(buffer), 4096)  # the page cache reads whole pages
        return super().read_into(buffer, offset)

    def read_into_direct(self, buffer: memoryview, offset: int) -> int:
        self._fail(offset, len(buffer), 512)
        return super().read_into_direct(buffer, offset)

    def _fail(self, offset: int, length: int, unit: int) -> None:
        offset, end = offset // unit * unit, -(-(offset + length) // unit) * unit
        if self.gone is not None:
            raise OSError(self.gone, os.strerror(self.gone))
        if any(start < end and offset < start + size for start, size in self.bad):
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def faulty_card(path: Path, bad: list[tuple[int, int]]) -> tuple[CardSource, FaultyDevice]:
    """A card image read through a device with bad (offset, length) ranges."""
    device = FaultyDevice(path, bad)
    return CardSource(device, SourceKind.BLOCK_DEVICE), device


def listing(source: Source) -> tuple[dict[tuple[bytes, ...], Entry], list[Finding]]:
    """What a source lists, files by path."""
    met = list(source.entries())
    entries = [item for item in met if isinstance(item, Entry)]
    files = {entry.path: entry for entry in entries}
    assert len(files) == len(entries), "two entries share a path"
    return files, [item for item in met if isinstance(item, Finding)]


def content(source: Source, entry: Entry, step: int = MIB) -> tuple[bytes, list[tuple[int, int]]]:
    """A whole file as the transfer reads it: its bytes with zeros in the gaps, and the gaps."""
    reader = source.open(entry)
    data, gaps = bytearray(entry.size_bytes), []
    view = memoryview(data)
    at = 0
    while at < entry.size_bytes:
        try:
            got = reader.read_into(view[at : at + step], at)
        except ReadFault as fault:
            start, length = fault.offset_bytes, fault.length_bytes
        else:
            assert got > 0, "a file ended before its size"
            at += got
            continue
        assert at <= start < start + length <= at + step
        assert start == at or reader.read_into(view[at:start], at) == start - at
        view[start : start + length] = bytes(length)
        gaps.append((start, length))
        at = start + length
    assert at >= entry.size_bytes
    assert not reader.changed()
    reader.close()
    return bytes(data), gaps


def digests(source: Source) -> dict[str, str]:
    """Every file of a source by its readable path, with the digest of its content; no gap is accepted."""
    found = {}
    for path, entry in listing(source)[0].items():
        data, gaps = content(source, entry)
        assert gaps == []
        found[b"/".join(path).decode("utf-8", "surrogateescape")] = hashlib.sha256(data).hexdigest()
    return found


def expected(tree: Tree) -> dict[str, str]:
    """The digests a tree must give."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in tree.items()}


def of_kind(findings: list[Finding], kind: FindingKind) -> list[Finding]:
    """The findings of one kind."""
    return [finding for finding in findings if finding.kind is kind]
