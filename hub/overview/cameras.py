"""Where every camera is, by what stations stated of it: in a bay, taken out, overdue (Art. 6, 7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, func, select

from custody.stationevents import (
    CameraChecked,
    CameraCheckedOut,
    CameraCheckedOutV2,
    CameraDocked,
    CameraLeft,
    CameraLeftV2,
    CameraOverdue,
    CameraOverdueV2,
    CameraReturned,
    CameraReturnedV2,
)
from hub.sections import Scope
from hub.tables import camera, camera_event, docking
from hub.times import from_text

# ready, remarks, not_ready: in a bay, as judged there; unjudged: in a bay; out: taken out in time; overdue: not back
# when it was due, by the hub's clock too, so that a station that is away hides none
Standing = Literal["ready", "remarks", "not_ready", "unjudged", "out", "overdue"]
MAX_NAMED = 12  # cameras that a page names of one kind

_CHECKED_OUT = (CameraCheckedOut.TYPE, CameraCheckedOutV2.TYPE)
_LEFT = (CameraLeft.TYPE, CameraLeftV2.TYPE)
_OVERDUE = (CameraOverdue.TYPE, CameraOverdueV2.TYPE)
_BACK = (CameraDocked.TYPE, CameraReturned.TYPE, CameraReturnedV2.TYPE)
_TELLING = (*_CHECKED_OUT, *_LEFT, *_OVERDUE, *_BACK, CameraChecked.TYPE)
# the last event of a camera, the check-out or return before it, and its last departure (or the first of these)
_Words = tuple[Row[Any], Row[Any] | None, Row[Any]]
_JUDGED: dict[str | None, Standing] = {"ready": "ready", "attention": "remarks", "not_ready": "not_ready"}


@dataclass(frozen=True, slots=True)
class CameraNow:
    """One camera. `due_at` of one that is out; `left_unsaved`: it was taken out before everything on it was saved."""

    id: str
    station: str  # that stated it last
    standing: Standing
    since: datetime
    due_at: datetime | None
    left_unsaved: bool


@dataclass(frozen=True, slots=True)
class Cameras:
    """All cameras of a scope; those that are late and those that left too early by name, at most `MAX_NAMED`."""

    counts: dict[Standing, int]
    overdue: tuple[CameraNow, ...]
    left_unsaved: tuple[CameraNow, ...]
    left_unsaved_in_all: int

    @property
    def docked(self) -> int:
        """In bays."""
        return sum(self.counts.get(word, 0) for word in _DOCKED)

    @property
    def out(self) -> int:
        """Not in a bay, whether they are late or not."""
        return self.counts.get("out", 0) + self.counts.get("overdue", 0)


_DOCKED: tuple[Standing, ...] = ("ready", "remarks", "not_ready", "unjudged")


class CameraBook:
    """The last words on every camera, read again only when a station stated more. One per process, for any thread."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._held: tuple[tuple[int | None, int | None], list[_Words]] = ((None, None), [])

    def read(self, connection: Connection) -> list[_Words]:
        """For every camera; as this view of the database has it."""
        events, dockings = select(func.max(camera_event.c.log_index)), select(func.max(docking.c.first_index))
        row = connection.execute(select(events.scalar_subquery(), dockings.scalar_subquery())).one()
        newest = (row[0], row[1])
        held = self._held
        if held[0] != newest:
            self._held = held = newest, _last_words(connection)
        return held[1]


def load_cameras(connection: Connection, book: CameraBook, counted: Scope, named: Scope, now: datetime) -> Cameras:
    """Cameras by the stations that stated the last of them; by name only those of `named`."""
    held = [_now(*words, now) for words in book.read(connection) if _within(counted, words[0].station)]
    counts: dict[Standing, int] = {}
    for one in held:
        counts[one.standing] = counts.get(one.standing, 0) + 1
    shown = [one for one in held if _within(named, one.station)]
    late = sorted((one for one in shown if one.standing == "overdue"), key=lambda one: one.due_at or one.since)
    early = sorted((one for one in shown if one.left_unsaved), key=lambda one: one.since)
    return Cameras(counts, tuple(late[:MAX_NAMED]), tuple(early[:MAX_NAMED]), sum(one.left_unsaved for one in held))


def _within(scope: Scope, name: str) -> bool:
    return scope.stations is None or name in scope.stations


def _last_words(connection: Connection) -> list[_Words]:
    rows = connection.execute(_events(_TELLING)).all()
    # whoever left was checked out before, or was not: an older check-out is that of another duty
    out = _told(connection, [row.camera for row in rows if row.kind in _LEFT], (*_CHECKED_OUT, *_BACK))
    left = _told(connection, [row.camera for row in rows if row.kind in _OVERDUE], _LEFT)
    return [(row, out.get(row.camera), left.get(row.camera, row)) for row in rows]


def _told(connection: Connection, cameras: list[str], kinds: tuple[str, ...]) -> dict[str, Row[Any]]:
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(cameras), 500):
        some = camera.c.id.in_(cameras[start : start + 500])
        found |= {row.camera: row for row in connection.execute(_events(kinds).where(some))}
    return found


def _events(kinds: tuple[str, ...]) -> Select[Any]:
    """The last of these events of every camera."""
    c = camera_event.alias().c
    newest = select(c.log_index).where(c.camera == camera.c.id, c.kind.in_(kinds)).order_by(c.log_index.desc()).limit(1)
    last = newest.correlate(camera).scalar_subquery()
    return select(camera_event).select_from(camera).join(camera_event, camera_event.c.log_index == last)


def _now(row: Row[Any], out: Row[Any] | None, left: Row[Any], now: datetime) -> CameraNow:
    checked_out = out if out is not None and out.kind in _CHECKED_OUT else None
    due_at = from_text(row.due_at if row.kind in _OVERDUE else checked_out.due_at if checked_out else None)
    standing: Standing = "unjudged"
    if row.kind in _OVERDUE or (due_at is not None and due_at < now):
        standing = "overdue"
    elif row.kind in _LEFT:
        standing = "out"
    elif row.verdict is not None:
        standing = _JUDGED.get(row.verdict, "unjudged")
    early = row.kind in (*_LEFT, *_OVERDUE) and left.offload in ("copying", "incomplete")
    return CameraNow(row.camera, row.station, standing, datetime.fromisoformat(row.at), due_at, early)
