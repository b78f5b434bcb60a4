"""Rules of viewing: byte ranges, what a browser plays as it is, how long what was streamed lasts. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from custody.viewing import chunk_count, chunk_length

IDLE = timedelta(minutes=10)  # an open viewing that nothing is streamed for ends
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
# container and video codec as MediaInfo names them; every browser plays these without help
PLAYABLE = frozenset({("MPEG-4", "AVC"), ("QuickTime", "AVC")})
MEDIA_TYPE = "video/mp4"


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file, both ends included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """How many."""
        return self.last - self.first + 1


class RangeUnsatisfiable(Exception):
    """No byte of the file is in the range that was asked for (416)."""


def parse_range(header: str | None, size_bytes: int) -> Span | None:
    """The one range of a Range header (RFC 9110 section 14.2); None: the whole file, also for what is no such range.

    Several ranges count as none: the whole is sent, as a server may. Raises RangeUnsatisfiable.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":  # the last so many
        first, end = max(0, size_bytes - int(match[2])), size_bytes - 1
    else:
        first, end = int(match[1]), int(match[2] or size_bytes - 1)
        if match[2] and end < first:
            return None
    last = min(end, size_bytes - 1)
    if first > last:
        raise RangeUnsatisfiable
    return Span(first, last)


def plays_as_it_is(container: str | None, video_codec: str | None) -> bool:
    """Whether a browser plays the sealed bytes themselves."""
    return (container, video_codec) in PLAYABLE


def seconds_of(chunks: int, size_bytes: int, duration_ms: int | None) -> int | None:
    """Playing time of so many different chunks at the file's mean bit rate, rounded up; None: its length is not known.

    An estimate by size: footage of a changing bit rate has more or less of it in a chunk.
    """
    if duration_ms is None or not size_bytes:
        return None
    share = min(1.0, chunks * chunk_length(0, size_bytes) / size_bytes)
    return -int(-(share * duration_ms) // 1000)


def add_chunks(bits: bytes | None, chunks: frozenset[int], size_bytes: int) -> bytes:
    """The bits of the chunks that were begun, with these set."""
    field = bytearray(bits or bytes(-(-chunk_count(size_bytes) // 8)))
    for index in chunks:
        field[index >> 3] |= 1 << (index & 7)
    return bytes(field)


def count_chunks(bits: bytes | None) -> int:
    """How many bits are set."""
    return int.from_bytes(bits or b"").bit_count()
