"""What a disk may hold after a power cut, computed from the log of its writes and flushes (power_disk.py).

Everything logged before the last flush is on the disk. Of what was written after it, any part may be: whole writes,
4 KiB blocks or 512-byte sectors of them, later ones without earlier ones. Only ext4's superblock, whose one checksum
spans two sectors, is never torn: such a disk no ext4 mounts before `e2fsck -y` took a backup copy of it.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tests.integration.power_disk import RECORD, Kind

SECTOR_BYTES, BLOCK_BYTES = 512, 4096
SUPERBLOCK_OFFSET = 1024


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the log; `position` is where its bytes lie in the log file."""

    kind: Kind
    offset: int
    length: int
    position: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The power goes after `at` records. `keep` of the unflushed `unit_bytes` units survive (0: whole writes)."""

    at: int
    keep: float
    unit_bytes: int
    seed: int
    flushes_lie: bool = False  # control: a disk that answers a flush and writes nothing


class Log:
    """A finished log, read into memory but for the data."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.records = list(_records(self._file, path.stat().st_size))

    def data(self, record: Record) -> bytes:
        self._file.seek(record.position)
        return self._file.read(record.length)

    def marks(self, until: int) -> Iterator[dict[str, Any]]:
        """What was announced within the first `until` records."""
        for record in self.records[:until]:
            if record.kind is Kind.MARK:
                yield json.loads(self.data(record))

    def last_flush(self, until: int) -> int:
        """How many records the last flush covers, among the first `until`."""
        for index in range(until - 1, -1, -1):
            if self.records[index].kind is Kind.FLUSH:
                return index
        return 0

    def close(self) -> None:
        self._file.close()


def _records(file: BinaryIO, size: int) -> Iterator[Record]:
    at = 0
    while at < size:
        file.seek(at)
        number, length, offset = RECORD.unpack(file.read(RECORD.size))
        kind = Kind(number)
        at += RECORD.size
        yield Record(kind, offset, length, at)
        at += length if kind in (Kind.WRITE, Kind.MARK) else 0


def apply(log: Log, disk: BinaryIO, first: int, last: int) -> None:
    """Write records first…last-1 to a disk image."""
    for record in log.records[first:last]:
        if record.kind is Kind.WRITE:
            disk.seek(record.offset)
            disk.write(log.data(record))


def apply_survivors(log: Log, disk: BinaryIO, cut: Cut, flushed: int) -> int:
    """Write what survives of the records after `flushed`, in order; returns how many bytes did not survive."""
    chance = random.Random(cut.seed)
    lost = 0
    for record in log.records[flushed : cut.at]:
        if record.kind is Kind.WRITE:
            lost += _apply_some(disk, record.offset, log.data(record), cut, lambda: chance.random() < cut.keep)
    return lost


def _apply_some(disk: BinaryIO, offset: int, data: bytes, cut: Cut, survives: Callable[[], bool]) -> int:
    unit = cut.unit_bytes or len(data)
    if offset <= SUPERBLOCK_OFFSET:
        unit = max(unit, BLOCK_BYTES)
    lost = 0
    for at in range(0, len(data), unit):
        piece = data[at : at + unit]
        if survives():
            disk.seek(offset + at)
            disk.write(piece)
        else:
            lost += len(piece)
    return lost


def choose_cuts(log: Log, number: int, seed: int) -> list[Cut]:
    """Cuts spread evenly over the log, each at a random place of its stretch, rising; what survives varies.

    Most come right after a write, so that something is unflushed; one in four within four records after a mark, when
    the least has been written behind an announcement.
    """
    chance = random.Random(seed)
    writes = [index for index, record in enumerate(log.records) if record.kind is Kind.WRITE]
    marks = [index for index, record in enumerate(log.records) if record.kind is Kind.MARK]
    places = [index + 1 for index in _spread(writes, number - number // 4, chance)]
    places += [min(index + chance.randint(1, 4), len(log.records)) for index in _spread(marks, number // 4, chance)]
    return [
        Cut(
            at=at,
            keep=chance.choice((0.0, 0.1, 0.5, 0.5, 0.9, 1.0)),
            unit_bytes=chance.choice((0, BLOCK_BYTES, BLOCK_BYTES, SECTOR_BYTES)),
            seed=chance.getrandbits(32),
        )
        for at in sorted(places)
    ]


def _spread(among: Sequence[int], number: int, chance: random.Random) -> list[int]:
    size = len(among)
    return [among[min(size - 1, int((n + chance.random()) * size / number))] for n in range(number)]
