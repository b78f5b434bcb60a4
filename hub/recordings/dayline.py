"""One day's recordings on one line: pieces, gaps with their length, clock jumps (Art. 9, 11). Pure.

Times are the camera's own. A gap is between the end of one recording and the beginning of the next; cameras cut long
recordings into files, so what is shorter than `SHORTEST_GAP_SECONDS` is none. A clock that jumps back shows where a
file that was written later begins earlier; one that jumps forward cannot be told from a gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from hub.recordings.queries import RecordingRow

SHORTEST_GAP_SECONDS = 5
_MOST_TICKS = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """One recording on the line; `left` and `width` in percent of the line, `jumped`: begins before an earlier file."""

    row: RecordingRow
    start: datetime
    end: datetime | None  # None: its length is not known
    left: float
    width: float
    jumped: bool

    @property
    def seconds(self) -> float | None:
        """Its length."""
        return None if self.end is None else (self.end - self.start).total_seconds()


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing was recorded from `start` to `end`."""

    start: datetime
    end: datetime
    left: float
    width: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True, slots=True)
class Line:
    """A camera's day. `items`: pieces and gaps in their order; `ticks`: full hours and where they stand, in percent."""

    camera: str
    items: tuple[Piece | Gap, ...]
    ticks: tuple[tuple[str, float], ...]
    untimed: tuple[RecordingRow, ...]  # no time or length is known: not on the line

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Recordings alone."""
        return tuple(item for item in self.items if isinstance(item, Piece))

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Gaps alone."""
        return tuple(item for item in self.items if isinstance(item, Gap))

    @property
    def recorded_seconds(self) -> float:
        """All lengths together."""
        return sum(piece.seconds or 0 for piece in self.pieces)

    @property
    def gap_seconds(self) -> float:
        """All gaps together."""
        return sum(gap.seconds for gap in self.gaps)


def lay_out(camera: str, rows: Sequence[RecordingRow], day: date) -> Line:
    """The line of one camera on `day`. `rows` are its recordings that begin on it, in any order."""
    begun = [(_start(row), row) for row in rows]
    timed = [(start, row) for start, row in begun if start is not None and start.date() == day]
    untimed = tuple(row for start, row in begun if start is None or start.date() != day)
    if not timed:
        return Line(camera, (), (), untimed)
    jumped = _jumped(timed)
    timed.sort(key=lambda pair: (pair[0], pair[1].log_index))
    ends = [_end(start, row) for start, row in timed]
    first = min(start for start, _ in timed).replace(minute=0, second=0, microsecond=0)
    last = max(end or start for (start, _), end in zip(timed, ends, strict=True))
    hours = max(1, math.ceil((last - first).total_seconds() / 3600))
    scale = 100 / (hours * 3600)

    def place(start: datetime, end: datetime) -> tuple[float, float]:
        return (start - first).total_seconds() * scale, (end - start).total_seconds() * scale

    items: list[Piece | Gap] = []
    reached: datetime | None = None
    for (start, row), end in zip(timed, ends, strict=True):
        if reached is not None and (start - reached).total_seconds() >= SHORTEST_GAP_SECONDS:
            items.append(Gap(reached, start, *place(reached, start)))
        items.append(Piece(row, start, end, *place(start, end or start), row.log_index in jumped))
        # a file of unknown length may reach anywhere: what follows it is not called a gap
        reached = None if end is None else max(end, reached or end)
    return Line(camera, tuple(items), _ticks(first, hours), untimed)


def _jumped(timed: Sequence[tuple[datetime, RecordingRow]]) -> frozenset[int]:
    """Files that begin before one of the same offload that was listed, and so written, before them."""
    found: set[int] = set()
    newest: dict[tuple[str, str], datetime] = {}
    for start, row in sorted(timed, key=lambda pair: pair[1].log_index):
        key = row.station, row.docking
        if key in newest and start < newest[key]:
            found.add(row.log_index)
        newest[key] = max(start, newest.get(key, start))
    return frozenset(found)


def _start(row: RecordingRow) -> datetime | None:
    return datetime.fromisoformat(row.recorded_at) if row.recorded_at else None


def _end(start: datetime, row: RecordingRow) -> datetime | None:
    return None if row.duration_seconds is None else start + timedelta(seconds=row.duration_seconds)


def _ticks(first: datetime, hours: int) -> tuple[tuple[str, float], ...]:
    step = next(step for step in (1, 2, 3, 4, 6, 12, 24, 48) if hours // step <= _MOST_TICKS)
    marks = range(0, hours + 1, step)
    return tuple((f"{first + timedelta(hours=hour):%H:%M}", hour * 100 / hours) for hour in marks)
