"""FAT12, FAT16 and FAT32 as bytes: the boot sector and directory records. Pure.

Written from Microsoft's "FAT: General Overview of On-Disk Format" 1.03. Why not The Sleuth Kit here: pytsk3 20260715
(TSK 7.0.1) turns short names in GBK into '^^^^' and leaves out, in silence, an entry whose size exceeds the volume.
"""

import calendar
import struct
from collections.abc import Iterable, Iterator

from agent.clusters import Layout, Node

DIRECTORY_BYTES_MAX = 65536 * 32  # "a directory must not be larger than 65,536 * 32 bytes"
RECORD_BYTES = 32
_READ_ONLY_TO_ARCHIVE = 0x3F
_VOLUME, _DIRECTORY, _LONG_NAME = 0x08, 0x10, 0x0F
_DELETED, _LAST_LONG = 0xE5, 0x40


def parse_boot(sector: bytes, start: int) -> Layout | None:
    """The layout of a FAT volume that begins at byte `start` of the medium; None if this is no FAT boot sector."""
    (sector_bytes, per_cluster, reserved, copies, root_entries, total16, _, table16) = struct.unpack_from(
        "<HBHBHHBH", sector, 11
    )
    total32, table32 = struct.unpack_from("<II", sector, 32)
    total, table_sectors = total16 or total32, table16 or table32
    if (
        sector[0] not in (0xEB, 0xE9)
        or sector_bytes not in (512, 1024, 2048, 4096)
        or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128)
        or not (reserved and copies and total and table_sectors)
    ):
        return None
    root_offset = start + (reserved + copies * table_sectors) * sector_bytes
    root_bytes = -(-root_entries * RECORD_BYTES // sector_bytes) * sector_bytes
    data_offset = root_offset + root_bytes
    clusters = (total * sector_bytes - (data_offset - start)) // (per_cluster * sector_bytes)
    if clusters <= 0 or (table16 and not root_entries):
        return None
    bits = 32 if not table16 else 12 if clusters < 4085 else 16
    extended = 64 if bits == 32 else 36  # where drive number, signature, id and label stand
    signed = sector[extended + 2] in (0x28, 0x29)
    serial = struct.unpack_from("<I", sector, extended + 3)[0] if signed else 0
    table_bytes = table_sectors * sector_bytes
    first_table = start + reserved * sector_bytes
    return Layout(
        file_system=f"FAT{bits}",
        table_offsets=tuple(first_table + i * table_bytes for i in range(min(copies, 2))),
        table_bytes=table_bytes,
        entry_bits=bits,
        entry_mask={12: 0xFFF, 16: 0xFFFF, 32: 0x0FFFFFFF}[bits],
        data_offset=data_offset,
        cluster_bytes=per_cluster * sector_bytes,
        clusters=min(clusters, table_bytes * 8 // bits - 2),
        root_cluster=struct.unpack_from("<I", sector, 44)[0] if bits == 32 else 0,
        root_offset=root_offset,
        root_bytes=root_bytes,
        label=sector[extended + 7 : extended + 18].rstrip(b" \x00") if signed else b"",
        volume_id=f"{serial >> 16:04X}-{serial & 0xFFFF:04X}" if signed else "",
        start=start,
    )


def parse_label(blocks: Iterable[tuple[int, bytes | None, int]]) -> bytes | None:
    """The volume label that a root directory holds, if any."""
    for _, data, _ in blocks:
        for at in range(0, len(data or b"") - RECORD_BYTES + 1, RECORD_BYTES):
            record = (data or b"")[at : at + RECORD_BYTES]
            if not record[0]:
                return None
            if record[0] != _DELETED and record[11] & (_LONG_NAME | _DIRECTORY) == _VOLUME:
                return record[:11].rstrip(b" ")
    return None


def parse_directory(blocks: Iterable[tuple[int, bytes | None, int]], layout: Layout) -> Iterator[Node]:
    """The entries of one directory, given as (offset, bytes or None where unreadable, length).

    '.', '..' and volume labels are left out. After the end mark only what is plausible is given, as deleted: where a
    camera did not clear a directory's clusters, old bytes follow.
    """
    long_name: list[bytes] = []
    ended = False
    for offset, data, _ in blocks:
        if data is None:
            long_name = []
            continue
        for at in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
            record = data[at : at + RECORD_BYTES]
            if record[0] == 0:
                ended, long_name = True, []
            elif record[11] & _READ_ONLY_TO_ARCHIVE == _LONG_NAME:
                long_name = [*long_name[-19:], record]  # 20 records hold the longest name
            else:
                if not record[11] & _VOLUME and not _is_dot(record):
                    node = _node(record, offset + at, _own(long_name), ended, layout)
                    if not ended or _is_plausible(record, node, layout):
                        yield node
                long_name = []


def looks_like_directory(head: bytes) -> bool:
    """Whether a cluster begins as every FAT subdirectory does, with '.' and '..'."""
    return _is_dot(head[:32]) and _is_dot(head[32:64]) and head[1] == 0x20 and head[33] == 0x2E


def _node(record: bytes, offset: int, long_name: list[bytes], ended: bool, layout: Layout) -> Node:
    high, time, day, low, size = struct.unpack_from("<HHHHI", record, 20)
    deleted = record[0] == _DELETED
    return Node(
        name=_long(long_name, record, deleted) or _short(record, deleted),
        is_directory=bool(record[11] & _DIRECTORY),
        deleted=deleted or ended,
        first_cluster=low | (high << 16 if layout.entry_bits == 32 else 0),
        size_bytes=size,
        valid_bytes=size,
        contiguous=False,
        modified_ns=wall_time_ns(day, time),
        record=record,
        record_offset=offset,
    )


def wall_time_ns(day: int, time: int, hundredths: int = 0) -> int | None:
    """A FAT stamp as if its wall clock were UTC; None for a stamp that is no date."""
    year, month, date = 1980 + (day >> 9), day >> 5 & 15, day & 31
    hour, minute, second = time >> 11, time >> 5 & 63, (time & 31) * 2
    if not 1 <= month <= 12 or not 1 <= date <= calendar.monthrange(year, month)[1]:
        return None
    if hour > 23 or minute > 59 or second > 58 or hundredths > 199:
        return None
    return calendar.timegm((year, month, date, hour, minute, second)) * 10**9 + hundredths * 10**7


def _short(record: bytes, deleted: bool) -> bytes:
    """The 8.3 name in the camera's own code page, byte for byte; lower case where the entry says so."""
    base, extension = record[:8].rstrip(b" "), record[8:11].rstrip(b" ")
    if deleted:
        base = b"?" + base[1:]
    elif base[:1] == b"\x05":  # stands for 0xE5, which would mean "deleted"
        base = b"\xe5" + base[1:]
    base = base.lower() if record[12] & 0x08 else base
    extension = extension.lower() if record[12] & 0x10 else extension
    return base + b"." + extension if extension else base


def _long(records: list[bytes], short: bytes, deleted: bool) -> bytes | None:
    """The long name in front of a short entry; None where its parts do not belong to it."""
    if not records:
        return None
    if deleted:  # the sequence numbers are gone
        records = [r for r in records if r[0] == _DELETED and r[13] == records[-1][13]]
    elif (
        [r[0] & ~_LAST_LONG for r in records] != [*range(len(records), 0, -1)]
        or not records[0][0] & _LAST_LONG
        or any(r[13] != short_checksum(short[:11]) for r in records)
    ):
        return None
    units = b"".join(r[1:11] + r[14:26] + r[28:32] for r in reversed(records))
    text = units.decode("utf-16-le", "surrogatepass").split("\0", 1)[0]
    return text.encode("utf-8", "surrogatepass") or None


def _own(records: list[bytes]) -> list[bytes]:
    """The records from the last beginning of a long name on; earlier ones belong to no entry."""
    starts = [index for index, r in enumerate(records) if r[0] != _DELETED and r[0] & _LAST_LONG]
    return records[starts[-1] :] if starts else records


def short_checksum(name: bytes) -> int:
    """Of the 11 bytes of a short name: what the records of its long name carry."""
    total = 0
    for byte in name:
        total = ((total >> 1) + (total << 7 & 0x80) + byte) & 0xFF
    return total


def _is_dot(record: bytes) -> bool:
    return record[:11] in (b".          ", b"..         ") and bool(record[11] & _DIRECTORY)


def _is_plausible(record: bytes, node: Node, layout: Layout) -> bool:
    return (
        record[11] & 0xC0 == 0
        and all(byte >= 0x20 for byte in record[:11])
        and node.modified_ns is not None
        and (node.first_cluster == 0 or layout.holds(node.first_cluster))
        and node.size_bytes <= layout.data_bytes
    )
