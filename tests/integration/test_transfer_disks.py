"""Vaults on other disks: full, read-only, without O_DIRECT, without asynchronous I/O. Needs root to mount."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from agent.copies import Copied
from agent.errors import VaultError, VaultFull, VaultReadOnly
from agent.transfer import CopyItem, Result, copy_items
from tests.integration.test_transfer_crash import Scene, needs_strace, strace
from tests.integration.transfer_cases import MIB, EdgeSource, judge, staged

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
    pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="mkfs.ext4 is not installed"),
]

Mounter = Callable[[str, int], Path]


@contextmanager
def mounted(kind: str, size_mib: int, base: Path) -> Iterator[Path]:
    """A fresh small file system: ext4 on a loop device, tmpfs or ramfs."""
    point = base / f"{kind}-{size_mib}"
    point.mkdir()
    if kind == "ext4":
        image = base / f"{kind}-{size_mib}.img"
        with image.open("wb") as file:
            file.truncate(size_mib * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        argv = ["mount", "-o", "loop", str(image), str(point)]
    else:
        argv = ["mount", "-t", kind, "-o", f"size={size_mib}m", kind, str(point)]
    try:
        subprocess.run(argv, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine cannot mount {kind}: {error.stderr.decode()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mounter]:
    with ExitStack() as stack:
        yield lambda kind, size_mib: stack.enter_context(mounted(kind, size_mib, tmp_path))


def copy(source: EdgeSource, items: list[CopyItem], vault: Path) -> tuple[dict[int, Copied], VaultError | None]:
    results: list[Result] = []
    error = None
    try:
        for result in copy_items(source, items, vault, lambda n, bytes_done: None):
            results.append(result)
    except VaultError as caught:
        error = caught
    return {result.n: result for result in results if isinstance(result, Copied)}, error


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
@pytest.mark.parametrize("piece", [MIB // 2, 12 * MIB])
def test_a_full_disk_stops_and_resumes(mount: Mounter, kind: str, piece: int) -> None:
    """Everything reported is there, nothing else is; with space made, the rest follows."""
    vault = mount(kind, 80)
    source = EdgeSource({f"{n:03}": os.urandom(piece + n) for n in range(100 * MIB // piece)})
    items = source.items()
    room = vault / "room"
    room.write_bytes(bytes(30 * MIB))
    first, error = copy(source, items, vault)
    assert isinstance(error, VaultFull)
    for n, copied in first.items():
        judge(vault, items[n], copied, source.contents[f"{n:03}"])

    room.unlink()
    rest = [item for item in items if item.n not in first][: 20 * MIB // piece]
    second, error = copy(source, rest, vault)
    assert error is None
    assert len(second) == len(rest)
    for n, copied in second.items():
        judge(vault, items[n], copied, source.contents[f"{n:03}"])
    known = {f"{item.key}.{suffix}" for item in items for suffix in ("part", "leaves")}
    assert staged(vault) <= known  # what is staged belongs to files still to come


def test_a_full_disk_shows_before_copying(mount: Mounter) -> None:
    vault = mount("ext4", 40)
    source = EdgeSource({"long": os.urandom(60 * MIB)})
    copied, error = copy(source, source.items(), vault)
    assert (copied, type(error), source.reads) == ({}, VaultFull, 0)
    assert staged(vault) == set()


def test_a_read_only_disk(mount: Mounter) -> None:
    vault = mount("ext4", 40)
    (vault / ".staging").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(vault)], check=True)
    source = EdgeSource({"a": b"x" * 10, "b": bytes(2 * MIB)})
    copied, error = copy(source, source.items(), vault)
    assert (copied, type(error)) == ({}, VaultReadOnly)


def test_without_direct_io(mount: Mounter) -> None:
    """ramfs knows neither O_DIRECT nor fallocate: the page cache serves, nothing else changes."""
    vault = mount("ramfs", 0)
    source = EdgeSource({"a": os.urandom(20 * MIB + 5), "b": os.urandom(7000), "c": b""})
    items = source.items()
    copied, error = copy(source, items, vault)
    assert error is None
    for item in items:
        judge(vault, item, copied[item.n], source.contents[item.entry.handle])


@needs_strace
def test_without_asynchronous_io(tmp_path: Path) -> None:
    """A sandbox that forbids io_setup: reads one by one, the same result."""
    scene = Scene(tmp_path, [20 * MIB + 5, 7000, 0, 4096])
    told = scene.run(*strace("io_setup", "error=EPERM", 1)[:-1], "inject=io_setup:error=EPERM")
    assert told.end == "complete"
    scene.finish()
