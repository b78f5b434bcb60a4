"""Which sectors change when one file leaves a FAT or exFAT volume, and from what to what. Reads, never writes.

First its name goes (FAT, "Directory Structure": DIR_Name[0] = E5h; exFAT specification, 6.2.1.3: InUse = 0). Only when
that is durable its clusters are given back (FAT: links 0 in every copy; exFAT, 7.1: bits of the bitmap). After a power
cut in between, clusters belong to no file and the next docking shows them as an orphan. The other order could give a
listed file's clusters to a new recording.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from agent import exfat, fat
from agent.clusters import Layout
from agent.fatvolume import FatVolume, Place
from agent.medium import Medium
from custody.release import ReleaseRefused

_LONG_NAME, _LAST_LONG, _DELETED, _IN_USE = 0x0F, 0x40, 0xE5, 0x80
_LONG_RECORDS_MAX = 20
_FSINFO = ((0, 0x41615252), (484, 0x61417272), (508, 0xAA550000))  # FAT specification, "FSInfo"
_UNKNOWN_FREE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Change:
    """One sector: what it holds, and what it is to hold."""

    offset: int  # bytes of the medium
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Removal:
    """`name` must be durable before anything of `rest` is written.

    It is one sector, which a medium writes whole or not at all: the one with the short entry (FAT) or the primary
    record (exFAT). Were the records of a long name to go first, a power cut would leave the file under its short name.
    """

    name: Change
    rest: tuple[Change, ...]


class _Sectors:
    """Sectors with single bytes changed, in the order in which they were first touched."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._sectors: dict[int, tuple[bytes, bytearray]] = {}

    def value(self, offset: int, size: int) -> int:
        """A little-endian number, with the changes made so far. Raises ReleaseRefused, SourceGone."""
        return int.from_bytes(
            bytes(self._sector(at)[at % self._medium.sector_bytes] for at in range(offset, offset + size)), "little"
        )

    def change(self, offset: int, new: bytes) -> None:
        for at, byte in enumerate(new, offset):
            self._sector(at)[at % self._medium.sector_bytes] = byte

    def changes(self) -> tuple[Change, ...]:
        return tuple(Change(at, old, bytes(new)) for at, (old, new) in self._sectors.items() if old != new)

    def _sector(self, at: int) -> bytearray:
        start = at - at % self._medium.sector_bytes
        if start not in self._sectors:
            old = read(self._medium, start, self._medium.sector_bytes)
            self._sectors[start] = (old, bytearray(old))
        return self._sectors[start][1]


def read(medium: Medium, offset: int, length: int) -> bytes:
    """Bytes of a structure, all of them. Raises ReleaseRefused `card_read_fault`, SourceGone."""
    data = bytearray(length)
    if medium.read_into(memoryview(data), offset) != length:
        raise ReleaseRefused("card_read_fault", f"{length} bytes at {offset}")
    return bytes(data)


def plan_removal(volume: FatVolume, path: tuple[bytes, ...], handle: str) -> Removal:
    """What clearing the file `path`, listed with `handle`, changes. `volume` was walked and found sound.

    Raises ReleaseRefused `card_damaged` where its structures contradict each other, SourceGone.
    """
    place = volume.place(handle)
    pieces = volume.folder_pieces(path[:-1])
    names, space = _Sectors(volume.medium), _Sectors(volume.medium)
    runs = volume.chain(place.first_cluster, place.size_bytes, place.contiguous).runs if place.size_bytes else []
    if volume.is_exfat:
        for at, first_byte in _entry_set(volume, pieces, place):
            names.change(at, bytes([first_byte & ~_IN_USE]))
        _free_bits(volume, runs, space)
    else:
        for at in _records(volume, pieces, place):
            names.change(at, bytes([_DELETED]))
        _free_links(volume, runs, space)
    first, *others = names.changes()
    return Removal(first, (*others, *space.changes()))


def plan_count(volume: FatVolume, free_clusters: int) -> tuple[Change, ...]:
    """What keeps the volume's own hint of its free space true: a camera that believes a stale one will not record."""
    sectors, start, boot = _Sectors(volume.medium), volume.layout.start, read(volume.medium, volume.layout.start, 512)
    if volume.is_exfat:
        if boot[112] != 0xFF:
            used = volume.layout.clusters - free_clusters
            sectors.change(start + 112, bytes([used * 100 // volume.layout.clusters]))  # PercentInUse
        return sectors.changes()
    number = int.from_bytes(boot[48:50], "little")
    if volume.layout.entry_bits != 32 or not 0 < number < int.from_bytes(boot[14:16], "little"):
        return ()
    at = start + number * int.from_bytes(boot[11:13], "little")
    info = read(volume.medium, at, 512)
    if any(int.from_bytes(info[place : place + 4], "little") != sign for place, sign in _FSINFO):
        return ()
    if int.from_bytes(info[488:492], "little") != _UNKNOWN_FREE:
        sectors.change(at + 488, struct.pack("<I", free_clusters))
    return sectors.changes()


def check_supported(volume: FatVolume) -> None:
    """Raises ReleaseRefused for what this module does not know how to change: several active tables, TexFAT."""
    boot = read(volume.medium, volume.layout.start, 512)
    copies = boot[110] if volume.is_exfat else boot[16]
    mirrored = volume.layout.entry_bits != 32 or volume.is_exfat or not boot[40] & 0x80
    if copies > (1 if volume.is_exfat else 2) or not mirrored:
        raise ReleaseRefused("file_system_not_supported", "its allocation tables are not mirrored as usual")
    if volume.is_exfat and volume.special.bitmap is None:
        raise ReleaseRefused("card_damaged", "it has no allocation bitmap")


# --- names -----------------------------------------------------------------------------------------------------------


def _records(volume: FatVolume, pieces: list[tuple[int, int]], place: Place) -> Iterator[int]:
    """FAT: offsets of the short entry, then of the long name's records before it, the nearest first."""
    short = read(volume.medium, place.record_offset, fat.RECORD_BYTES)
    if not volume.is_listed_record(short, place):
        raise ReleaseRefused("content_differs", "its directory entry has changed")
    yield place.record_offset
    checksum = fat.short_checksum(short[:11])
    at = place.record_offset
    for number in range(1, _LONG_RECORDS_MAX + 1):
        before = _neighbour(pieces, at, -fat.RECORD_BYTES)
        record = read(volume.medium, before, fat.RECORD_BYTES) if before is not None else b""
        belongs = record and record[11] & 0x3F == _LONG_NAME and record[13] == checksum and record[0] != _DELETED
        if before is None or not belongs or record[0] & ~_LAST_LONG != number:
            return
        yield before
        if record[0] & _LAST_LONG:
            return
        at = before


def _entry_set(volume: FatVolume, pieces: list[tuple[int, int]], place: Place) -> Iterator[tuple[int, int]]:
    """exFAT: offset and first byte of every record of the set, the primary first."""
    offsets, at = [place.record_offset], place.record_offset
    primary = read(volume.medium, at, exfat.RECORD_BYTES)
    if not volume.is_listed_record(primary, place):
        raise ReleaseRefused("content_differs", "its directory entry has changed")
    for _ in range(primary[1]):
        following = _neighbour(pieces, at, exfat.RECORD_BYTES)
        if following is None:
            raise ReleaseRefused("card_damaged", "a set of directory entries is cut off")
        offsets.append(following)
        at = following
    records = [read(volume.medium, offset, exfat.RECORD_BYTES) for offset in offsets]
    if not exfat.is_whole(records) or not all(record[0] & _IN_USE for record in records):
        raise ReleaseRefused("card_damaged", "a set of directory entries does not fit its checksum")
    return iter([(offset, record[0]) for offset, record in zip(offsets, records, strict=True)])


def _neighbour(pieces: list[tuple[int, int]], at: int, step: int) -> int | None:
    """The record before or after the one at `at`, in the order of the directory's clusters; None at its ends."""
    for index, (start, length) in enumerate(pieces):
        if start <= at < start + length:
            if start <= at + step < start + length:
                return at + step
            beside = index + (1 if step > 0 else -1)
            if not 0 <= beside < len(pieces):
                return None
            return pieces[beside][0] if step > 0 else sum(pieces[beside]) + step
    raise ReleaseRefused("card_damaged", "an entry does not lie in its directory")


# --- clusters --------------------------------------------------------------------------------------------------------


def _free_links(volume: FatVolume, runs: list[tuple[int, int]], sectors: _Sectors) -> None:
    """FAT: the links of these clusters become 0 in every copy, which must agree on them."""
    layout = volume.layout
    for first, count in runs:
        for cluster in range(first, first + count):
            seen = set()
            for table in layout.table_offsets:
                offset, size = _link_place(layout, cluster)
                at = table + offset
                value = sectors.value(at, size)
                kept, link = _split_link(layout, cluster, value)
                seen.add(link)
                sectors.change(at, kept.to_bytes(size, "little"))
            if len(seen) != 1 or 0 in seen:
                raise ReleaseRefused("card_damaged", "the copies of its allocation table differ")


def _link_place(layout: Layout, cluster: int) -> tuple[int, int]:
    """Offset in the table and bytes of one link."""
    if layout.entry_bits == 12:
        return cluster * 3 // 2, 2
    return cluster * layout.entry_bits // 8, layout.entry_bits // 8


def _split_link(layout: Layout, cluster: int, value: int) -> tuple[int, int]:
    """What of these bytes stays when the link becomes 0, and the link."""
    if layout.entry_bits == 12:
        mask = 0xFFF0 if cluster % 2 else 0x0FFF
        return value & ~mask & 0xFFFF, (value & mask) >> (4 if cluster % 2 else 0)
    return value & ~layout.entry_mask, value & layout.entry_mask


def _free_bits(volume: FatVolume, runs: list[tuple[int, int]], sectors: _Sectors) -> None:
    """exFAT: the bits of these clusters become 0; each must have been 1."""
    pieces = volume.bitmap_pieces()
    starts, end = [], 0
    for _, length in pieces:
        starts.append(end)
        end += length
    for first, count in runs:
        for cluster in range(first - 2, first - 2 + count):
            index = bisect_right(starts, cluster // 8) - 1
            if index < 0 or cluster // 8 >= starts[index] + pieces[index][1]:
                raise ReleaseRefused("card_damaged", "the allocation bitmap is too short")
            at = pieces[index][0] + cluster // 8 - starts[index]
            value, bit = sectors.value(at, 1), 1 << cluster % 8
            if not value & bit:
                raise ReleaseRefused("card_damaged", "a cluster of this file is marked free")
            sectors.change(at, bytes([value & ~bit]))
