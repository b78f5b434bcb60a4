"""What a drive with a volatile write cache keeps in a power cut: the writes up to its last flush.

QEMU's `blklogwrites` records every write to the data disk in the format of Linux's dm-log-writes: a superblock, then
for each write a header of one sector and the data.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MAGIC = 0x6A736677736872
_FLUSH, _DISCARD = 1, 4


@dataclass(frozen=True, slots=True)
class Write:
    """One entry: `length` bytes for `offset` of the disk, whose content stands at `at` of the log."""

    offset: int
    length: int
    flags: int
    at: int


@dataclass(frozen=True, slots=True)
class Cut:
    """What a cut did: writes logged, those after the last flush, and how many of these did not reach the disk."""

    writes: int
    unflushed: int
    lost: int


def read_log(log: BinaryIO) -> Iterator[Write]:
    """The entries of a log, in order. Raises ValueError for another file."""
    magic, _, _, sector_bytes = struct.unpack("<QQQI", log.read(28))
    if magic != _MAGIC:
        raise ValueError("not a write log")
    at, end = sector_bytes, os.fstat(log.fileno()).st_size
    while at + sector_bytes <= end:
        log.seek(at)
        sector, count, flags, _ = struct.unpack("<QQQQ", log.read(32))
        if not (count or flags):
            return
        at += sector_bytes
        yield Write(sector * sector_bytes, count * sector_bytes, flags, at)
        if not flags & _DISCARD:
            at += count * sector_bytes


def drop_unflushed(disk: Path, log: Path, keep: float, seed: int, *, lying: bool = False) -> Cut:
    """Replay the log onto `disk`, as it was at boot, up to the last flush.

    `keep`: the share of later writes that reach the medium all the same, each on its own (a card that reorders).
    `lying`: no flush counts, as on a disk that answers them and does nothing.
    """
    dice = random.Random(seed)
    with log.open("rb") as recorded, disk.open("r+b") as medium:
        writes = list(read_log(recorded))
        last = max((n for n, write in enumerate(writes) if write.flags & _FLUSH and not lying), default=-1)
        lost = unflushed = 0
        for number, write in enumerate(writes):
            if write.length == 0:
                continue
            unflushed += number > last
            if number > last and dice.random() >= keep:
                lost += 1
                continue
            recorded.seek(write.at)
            medium.seek(write.offset)
            content = b"" if write.flags & _DISCARD else recorded.read(write.length)
            medium.write(content.ljust(write.length, b"\0"))
    return Cut(len(writes), unflushed, lost)
