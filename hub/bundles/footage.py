"""Copies footage from a vault into a bundle, proving each file against its seal on the way and after it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from custody.bundle import footage_path, seal_fault
from custody.digest import RollingHash, read_chunks
from custody.disk import Hasher, NotRegular, open_regular, reason
from custody.stationevents import SegmentSealed
from hub.errors import DomainError

COPYING = ".copying"  # at the top of the bundle, where no footage lies: no name from a card can meet it
SPARE_BYTES = 64 << 20  # besides the footage: leaves, statements, proofs, pages


class FootageUnusable(DomainError):
    """Footage is not in any of the given vaults, or is not what its station sealed."""

    code = "footage_unusable"


class NoRoom(DomainError):
    """The bundle does not fit on its disk."""

    code = "no_room"


class TargetFailed(DomainError):
    """The disk of the bundle gives back other bytes than were written, or refuses them."""

    code = "target_failed"


def find_footage(vaults: Sequence[Path], seals: Iterable[SegmentSealed]) -> dict[str, bytes]:
    """Where each file lies, by its place in the bundle, judged by type and size alone.

    Raises FootageUnusable, naming the first that is in no vault or that no verifier would follow; nothing was copied
    then.
    """
    found: dict[str, bytes] = {}
    lacking = []
    for seal in seals:
        fault = seal_fault(seal)
        if fault is not None or footage_path(seal).decode() in found:
            raise _no_good_seal(seal, fault or "another recording of this export claims the same file")
        place = next((p for p in _candidates(vaults, seal.vault_path) if _size(p) == seal.size_bytes), None)
        if place is None:
            lacking.append(seal)
        else:
            found[footage_path(seal).decode()] = place
    if lacking:
        first = lacking[0]
        where = ", ".join(map(str, vaults))
        raise FootageUnusable(
            f"在 {where} 中找不到 {len(lacking)} 个文件（或大小不符），首个为采集站 {first.source} 的 "
            f"{first.vault_path}。未复制任何内容；请用 --footage 指明该采集站库的位置。 / "
            f"{len(lacking)} files are not in {where}, or not with their sealed size; the first is "
            f"{first.vault_path} of station {first.source}. Nothing was copied; name "
            "that station's vault with --footage."
        )
    return found


def _no_good_seal(seal: SegmentSealed, fault: str) -> FootageUnusable:
    return FootageUnusable(
        f"采集站 {seal.source} 对 {seal.vault_path} 的封存记录自相矛盾，任何核验都不会通过，未导出任何内容。 / station "
        f"{seal.source} has sealed {seal.vault_path} in a way that no verifier accepts: {fault}. Nothing was exported; "
        "leave this recording out."
    )


def _candidates(vaults: Sequence[Path], vault_path: str) -> list[bytes]:
    parts = vault_path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        return []
    return [os.path.join(os.fsencode(vault), vault_path.encode()) for vault in vaults]


def _size(path: bytes) -> int | None:
    try:
        with open_regular(path) as descriptor:
            return os.fstat(descriptor).st_size
    except (OSError, NotRegular):
        return None


def check_room(folder: Path, needed_bytes: int) -> None:
    """Raise NoRoom unless so many more bytes and some to spare fit on the disk of `folder`."""
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < needed_bytes + SPARE_BYTES:
        raise NoRoom(
            f"目标磁盘可用 {free} 字节，需要 {needed_bytes + SPARE_BYTES} 字节。未复制任何内容；请换用更大的磁盘。 / "
            f"the disk has {free} bytes free and {needed_bytes + SPARE_BYTES} are needed. Nothing was copied; use a "
            "larger disk."
        )


def bring(source: bytes, bundle: Path, seal: SegmentSealed, hasher: Hasher) -> bytes:
    """Have the file of `seal` in its place in `bundle`, durable and read back from the disk; return its leaves.

    A file that is there already, from an interrupted export, is read instead of copied. Raises FootageUnusable when
    the vault's file is not what was sealed, TargetFailed when the target's is not what was written.
    """
    try:
        return _bring(source, bundle, seal, hasher)
    except (OSError, NotRegular) as error:
        why = reason(error) if isinstance(error, OSError) else "not a regular file"
        raise TargetFailed(
            f"复制 {seal.vault_path} 时出错：{why}。库中原件未受影响；可在排除故障后以同一命令继续。 / "
            f"copying {seal.vault_path} failed: {why}. The vault is untouched; the same command goes on here "
            "once the fault is mended."
        ) from None


def _bring(source: bytes, bundle: Path, seal: SegmentSealed, hasher: Hasher) -> bytes:
    target, copying = bundle / footage_path(seal).decode(), bundle / COPYING
    leaves = _leaves_of(target, seal, hasher)
    if leaves is not None:
        return leaves
    target.parent.mkdir(parents=True, exist_ok=True)
    _copy(source, copying, seal)
    copying.rename(target)  # a crash before this leaves only the copy, which is written anew
    leaves = _leaves_of(target, seal, hasher)
    if leaves is None:
        raise TargetFailed(
            f"目标磁盘读回的 {seal.vault_path} 与写入内容不符，请更换该磁盘。库中原件未受影响。 / the target's "
            "disk gives back "
            f"{seal.vault_path} with other bytes than were written; replace it. The vault is untouched."
        )
    return leaves


def _leaves_of(path: Path, seal: SegmentSealed, hasher: Hasher) -> bytes | None:
    """The leaves of a file that is as sealed; None for any other, or none."""
    leaves: list[bytes] = []
    try:
        with open_regular(os.fsencode(path)) as descriptor:
            if os.fstat(descriptor).st_size != seal.size_bytes:
                return None
            digests = hasher.digest(descriptor, seal.size_bytes, leaves.append)
    except (FileNotFoundError, NotRegular):
        return None
    as_sealed = (digests.sha256.hex(), digests.tree_root.hex()) == (seal.sha256, seal.tree_root)
    return b"".join(leaves) if as_sealed else None


def _copy(source: bytes, part: Path, seal: SegmentSealed) -> None:
    """Copy, fsync, and drop the copy from the page cache, so that what is read next comes from the disk."""
    rolling = RollingHash()
    with (
        open_regular(source) as descriptor,
        open(descriptor, "rb", buffering=0, closefd=False) as reading,
        part.open("wb") as writing,
    ):
        for chunk in read_chunks(reading):
            rolling.update(chunk)
            writing.write(chunk)
            if rolling.size_bytes > seal.size_bytes:
                break
        writing.flush()
        os.fsync(writing.fileno())
        os.posix_fadvise(writing.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    digest = rolling.digest()
    if (digest.size_bytes, digest.sha256.hex(), digest.tree_root.hex()) != (
        seal.size_bytes,
        seal.sha256,
        seal.tree_root,
    ):
        part.unlink()
        raise FootageUnusable(
            f"采集站 {seal.source} 库中的 {seal.vault_path} 与封存时不符，导出已停止，该文件未被导出。请用 "
            "custody verify "
            f"检查该库。 / {seal.vault_path} in the vault of station {seal.source} is not what was sealed. The "
            "export has "
            "stopped and this file was not exported; check that vault with custody verify."
        )
