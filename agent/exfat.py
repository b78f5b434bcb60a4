"""exFAT as bytes: the boot sector and directory entry sets. Pure; written from Microsoft's exFAT specification."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.clusters import Layout, Node
from agent.fat import wall_time_ns

DIRECTORY_BYTES_MAX = 256 * 1024 * 1024  # section 7.4: at most 256 MB
RECORD_BYTES = 32
_BITMAP, _UPCASE, _LABEL, _FILE, _STREAM, _NAME = 0x81, 0x82, 0x83, 0x85, 0xC0, 0xC1
_IN_USE = 0x80
_DIRECTORY = 0x10
_NO_CHAIN = 0x02
_SET_ENTRIES_MAX = 255


@dataclass(frozen=True, slots=True)
class Root:
    """What only the root directory says."""

    label: bytes | None
    bitmap: tuple[int, int] | None  # (first cluster, length)
    upcase: tuple[int, int] | None
    has_offset: bool  # whether the first file's time carries its distance from UTC


def parse_boot(sector: bytes, start: int) -> Layout | None:
    """The layout of an exFAT volume that begins at byte `start` of the medium; None if this is no exFAT boot sector."""
    if sector[3:11] != b"EXFAT   ":
        return None
    fat_at, fat_length, heap_at, clusters, root_cluster, serial = struct.unpack_from("<IIIIII", sector, 80)
    sector_shift, cluster_shift, copies = sector[108], sector[109], sector[110]
    if not 9 <= sector_shift <= 12 or cluster_shift > 25 - sector_shift or copies not in (1, 2) or not clusters:
        return None
    table_bytes = fat_length << sector_shift
    first_table = start + (fat_at << sector_shift)
    return Layout(
        file_system="exFAT",
        table_offsets=tuple(first_table + i * table_bytes for i in range(copies)),
        table_bytes=table_bytes,
        entry_bits=32,
        entry_mask=0xFFFFFFFF,
        data_offset=start + (heap_at << sector_shift),
        cluster_bytes=1 << (sector_shift + cluster_shift),
        clusters=max(0, min(clusters, table_bytes // 4 - 2)),
        root_cluster=root_cluster,
        root_offset=0,
        root_bytes=0,
        label=b"",
        volume_id=f"{serial >> 16:04X}-{serial & 0xFFFF:04X}",
        start=start,
    )


def parse_root(blocks: Iterable[tuple[int, bytes | None, int]]) -> Root:
    """Label, bitmap and time basis, from as much of the root directory as is given."""
    label, bitmap, upcase, offsets = None, None, None, list[bool]()
    for _, data, _ in blocks:
        for record in _records(data):
            place = struct.unpack_from("<IQ", record, 20)
            if record[0] == _LABEL:
                text = record[2 : 2 + 2 * min(record[1], 11)].decode("utf-16-le", "surrogatepass")
                label = text.encode("utf-8", "surrogatepass")
            elif record[0] == _BITMAP:
                bitmap = bitmap or place
            elif record[0] == _UPCASE:
                upcase = place
            elif record[0] == _FILE:
                offsets.append(bool(record[23] & 0x80))
    return Root(label, bitmap, upcase, bool(offsets) and offsets[0])


def parse_directory(blocks: Iterable[tuple[int, bytes | None, int]], utc: bool) -> Iterator[Node]:
    """The entry sets of one directory, given as (offset, bytes or None where unreadable, length).

    A set that breaks off (unreadable sector, other record) still gives its node when its stream record was read, with
    the part of its name that is known. After the end mark only whole sets are given, as deleted: where a camera did not
    clear a directory's clusters, old bytes follow. With `utc`, times without a distance from UTC are None.
    """
    pending: list[bytes] = []
    offset_of_set, ended = 0, False
    for offset, data, _ in blocks:
        if data is None:
            yield from _finish(pending, offset_of_set, ended, utc)
            pending = []
            continue
        for index, record in enumerate(_records(data)):
            kind = record[0] | _IN_USE
            if kind == _FILE or not pending or not _continues(pending, record):
                yield from _finish(pending, offset_of_set, ended, utc)
                pending = []
            ended = ended or not record[0]
            if kind == _FILE:
                offset_of_set = offset + index * RECORD_BYTES
                pending = [record]
            elif pending:
                pending.append(record)
    yield from _finish(pending, offset_of_set, ended, utc)


def looks_like_directory(head: bytes) -> bool:
    """Whether a cluster begins with a file entry set, as every exFAT directory that holds anything does."""
    return len(head) >= 64 and head[0] in (_FILE, _FILE & ~_IN_USE) and head[32] | _IN_USE == _STREAM


def _records(data: bytes | None) -> Iterator[bytes]:
    return (data[at : at + 32] for at in range(0, len(data) - 31, 32)) if data else iter(())


def _continues(pending: list[bytes], record: bytes) -> bool:
    """Whether a record is the next secondary of the set: same in-use bit, and the primary announced it."""
    return (
        record[0] & _IN_USE == pending[0][0] & _IN_USE
        and bool(record[0] & 0x40)
        and len(pending) <= min(pending[0][1], _SET_ENTRIES_MAX)
    )


def _finish(records: list[bytes], offset: int, ended: bool, utc: bool) -> Iterator[Node]:
    """The node of one set, or nothing without its stream record."""
    if len(records) < 2 or records[1][0] | _IN_USE != _STREAM or (ended and not is_whole(records)):
        return
    primary, stream = records[0], records[1]
    valid, first, size = struct.unpack_from("<QxxxxIQ", stream, 8)
    units = b"".join(record[2:32] for record in records[2:] if record[0] | _IN_USE == _NAME)[: 2 * stream[3]]
    yield Node(
        name=units.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass"),
        is_directory=bool(primary[4] & _DIRECTORY),
        deleted=ended or not primary[0] & _IN_USE,
        first_cluster=first,
        size_bytes=size,
        valid_bytes=min(valid, size),
        contiguous=bool(stream[1] & _NO_CHAIN),
        modified_ns=_modified_ns(primary, utc),
        record=primary,  # its checksum covers the whole set
        record_offset=offset,
    )


def is_whole(records: list[bytes]) -> bool:
    """Whether a set of records fits its checksum, section 6.3.3."""
    total = 0
    for index, byte in enumerate(b"".join(records)):
        if index not in (2, 3):  # the checksum itself
            total = ((total >> 1) + (total << 15 & 0x8000) + byte) & 0xFFFF
    return total == int.from_bytes(records[0][2:4], "little")


def _modified_ns(primary: bytes, utc: bool) -> int | None:
    time, day = struct.unpack_from("<HH", primary, 12)
    wall, zone = wall_time_ns(day, time, primary[21]), primary[23]
    if wall is None or not utc:
        return wall
    if not zone & 0x80:
        return None
    quarters = (zone & 0x7F) - (0x80 if zone & 0x40 else 0)
    return wall - quarters * 15 * 60 * 10**9
