"""How much of a volume is free, counted from its own allocation structures, never from a number kept beside them.

FAT32's FSInfo sector and the superblock's total are hints that a camera may leave stale, so they are not read where the
structure itself can be counted. What cannot be read counts as used: a camera is never called emptier than it is.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent.clusters import Layout, Table
from agent.medium import Medium

BITMAP_STEP_BYTES = 64 * 1024
_SUPERBLOCK_AT = 1024
_NEEDS_RECOVERY, _META_BG, _64BIT, _BIGALLOC = 0x4, 0x10, 0x80, 0x200
_DESCRIPTORS_BYTES_MAX = 16 << 20  # 32 TiB of ext4 in 128 MiB groups with 64-byte descriptors


@dataclass(frozen=True, slots=True)
class Space:
    """Size of one volume. `free_bytes` is None where it cannot be known.

    `exact`: every structure was readable and the volume was left clean; else `free_bytes` is a lower bound or old.
    """

    total_bytes: int
    free_bytes: int | None
    exact: bool


@runtime_checkable
class SpaceSource(Protocol):
    """What a `Source` also is when its volumes can say how full they are."""

    def spaces(self) -> tuple[Space, ...]:
        """In the order of `SourceFacts.file_systems`. Raises SourceGone."""
        ...


def fat_space(table: Table, layout: Layout) -> Space:
    """Free clusters of FAT12, FAT16 and FAT32, by the table. Raises SourceGone."""
    before = len(table.bad)
    free, end = 0, layout.clusters + 2
    for number in range(-(-end // table.per_page)):
        base = number * table.per_page
        first = 2 if number == 0 else 0  # entries 0 and 1 are no clusters
        free += table.page(number)[first : end - base].count(0)
    lost = [(length, copied) for _, length, copied in table.bad[before:] if not copied]
    hidden = sum(length * 8 // layout.entry_bits for length, _ in lost)  # a bad sector reads as free entries
    return Space(layout.data_bytes, max(0, free - hidden) * layout.cluster_bytes, not lost)


def bitmap_space(pieces: Iterable[tuple[bytes | None, int]], clusters: int, cluster_bytes: int) -> Space:
    """Free clusters by a bitmap of one bit each, given as (bytes or None where unreadable, length).

    A bitmap that ends early leaves the rest as used.
    """
    free, seen, exact = 0, 0, True
    for bits, length in pieces:
        if seen == clusters:
            break
        count = max(0, min(clusters - seen, 8 * length))
        if bits is None:
            exact = False
        else:
            free += count - (int.from_bytes(bits, "little") & ((1 << count) - 1)).bit_count()
        seen += count
    return Space(clusters * cluster_bytes, free * cluster_bytes, exact and seen == clusters)


def ext_space(medium: Medium, start: int) -> Space:
    """Free blocks of ext2/3/4, by the group descriptors. Raises SourceGone.

    The file system keeps them in the journal first, so after an unclean removal they are old (`exact` is false).
    """
    block, bad = medium.read_metadata(start + _SUPERBLOCK_AT, 1024)
    blocks, free = struct.unpack_from("<I4xI", block, 4)
    first, shift = struct.unpack_from("<II", block, 20)
    per_group = struct.unpack_from("<I", block, 32)[0]
    incompatible, read_only = struct.unpack_from("<II", block, 96)
    wide = bool(incompatible & _64BIT)
    if bad or shift > 6 or not per_group:
        return Space(0, None, exact=False)
    if wide:
        blocks |= struct.unpack_from("<I", block, 336)[0] << 32
        free |= struct.unpack_from("<I", block, 344)[0] << 32
    block_bytes = 1024 << shift
    if not first < blocks <= medium.size_bytes // block_bytes:  # no such volume on this medium
        return Space(blocks * block_bytes, None, exact=False)
    clean = not incompatible & _NEEDS_RECOVERY
    if not (incompatible & _META_BG or read_only & _BIGALLOC):  # there descriptors lie apart or count clusters
        size = max(32, struct.unpack_from("<H", block, 254)[0]) if wide else 32
        at = start + (first + 1) * block_bytes
        counted = _count_groups(medium, at, -(-(blocks - first) // per_group), size)
        if counted is not None:
            return Space(blocks * block_bytes, min(counted, blocks) * block_bytes, clean)
        clean = False
    return Space(blocks * block_bytes, min(free, blocks) * block_bytes, clean)


def _count_groups(medium: Medium, at: int, groups: int, size: int) -> int | None:
    """The free blocks that the descriptors add up to; None where they cannot be read."""
    if groups * size > _DESCRIPTORS_BYTES_MAX:
        return None
    data, bad = medium.read_metadata(at, groups * size)
    if bad:
        return None
    total = 0
    for offset in range(0, len(data), size):
        total += struct.unpack_from("<H", data, offset + 12)[0]
        if size >= 64:
            total += struct.unpack_from("<H", data, offset + 44)[0] << 16
    return total
