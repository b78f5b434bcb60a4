"""Recordings in the index: filtered lists by keyset, and everything about one segment.

Order: as saved, newest first (log index). By days alone: newest day first, then as saved. So every list follows an
index, and a page deep in a million rows costs what the first one costs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    RowMapping,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
    union,
)

from hub import search
from hub.access import Action, Actor, may
from hub.db import Database
from hub.problems import BadQuery
from hub.recordings.filters import RecordingFilter
from hub.recordings.finding import find_hits
from hub.recordings.standing import MARKS, NORMAL, UNSTATED
from hub.recordings.states import read_standings
from hub.sections import Scope, hidden_from, recording_subjects, scope_of, seen_recordings
from hub.tables import camera, disposition, docking, recording_state, segment, station

PAGE_ROWS = 50
MAX_PAGE_ROWS = 200
MAX_DAY_ROWS = 500
COUNT_TO = 1001  # beyond it a list has "more than 1,000"
_CURSOR = re.compile(r"(?:(\d{4}-\d{2}-\d{2})~)?(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended; `day` in lists by day."""

    day: str | None
    log_index: int


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """One segment in a list."""

    log_index: int
    station: str
    camera: str
    bay: str
    docking: str
    path: str
    file_name: str
    version: int
    size_bytes: int
    sha256: str
    recorded_at: str | None  # the camera's own wall clock, ISO 8601 without zone
    sealed_at: datetime
    duration_seconds: float | None
    labels: tuple[str, ...]
    disposed_index: int | None = None  # log entry by which its file left the vault
    mark: str = NORMAL
    kind: str | None = None
    masked: bool = False  # restricted, and not for this reader: it exists at its station, and no more is told

    @property
    def folder(self) -> str:
        """The path without the file name."""
        return self.path[: -len(self.file_name)].rstrip("/") if self.file_name else self.path


@dataclass(frozen=True, slots=True)
class RecordingPage:
    """One page of a list; `next_cursor` is None on the last one."""

    rows: tuple[RecordingRow, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Counted:
    """How many recordings a list has, up to `COUNT_TO`, and how many restricted ones that the reader may not know."""

    number: int
    hidden: int


@dataclass(frozen=True, slots=True)
class Restricted:
    """How many of what a reader may see carry a mark, up to `COUNT_TO`, and how many of them are hidden."""

    mark: str
    number: int
    hidden: int


@dataclass(frozen=True, slots=True)
class Day:
    """A day's recordings by camera. `hidden`: restricted ones of any day that the reader may not know."""

    by_camera: dict[str, list[RecordingRow]]
    hidden: int
    cut: bool  # there are more than `MAX_DAY_ROWS`


@dataclass(frozen=True, slots=True)
class Choices:
    """What the filter form offers."""

    cameras: tuple[str, ...]
    stations: tuple[str, ...]


def load_choices(db: Database, actor: Actor) -> Choices:
    """Cameras and stations by id whose recordings `actor` may see; cameras the most recently docked 500."""
    with db.read() as connection:
        scope = scope_of(connection, actor, Action.SEE_RECORDINGS)
        cameras = select(camera.c.id).order_by(camera.c.last_seen_at.desc()).limit(500)
        stations: Select[Any] | CompoundSelect[Any] = select(station.c.id)
        if not scope.everything:
            parts = scope.docking_parts()
            cameras = cameras.where(or_(*(camera.c.id.in_(select(docking.c.camera).where(part)) for part in parts)))
            stations = union(*(select(docking.c.station).where(part) for part in parts))
        found = connection.execute(cameras).scalars()
        return Choices(tuple(sorted(found)), tuple(sorted(connection.execute(stations).scalars())))


def load_recordings(
    db: Database, actor: Actor | None, limits: RecordingFilter, cursor: str | None = None, rows: int = PAGE_ROWS
) -> RecordingPage:
    """One page of what `actor` may see; None: of all, for whoever runs the hub's computer.

    Restricted recordings that they may not know stand in it as such where nothing is asked that would tell of them, and
    are left out of every other list. Raises BadQuery for a cursor that is not of such a list.
    """
    with db.read() as connection:
        limits = _limited(connection, actor, limits)
        after = _parse_cursor(cursor, limits) if cursor else None
        name = None if actor is None else actor.name
        if limits.searches:
            hits = find_hits(connection, limits, after.log_index if after else None, rows + 1, name)
            query = _all().where(segment.c.log_index.in_(hits)).order_by(_order(limits))
        else:
            query = _list_query(limits, after, name).limit(rows + 1)
        found = list(connection.execute(query).mappings())
        page = _masked(connection, name, _with_dispositions(connection, [_row(r) for r in found[:rows]]))
    return RecordingPage(page, _cursor(found[rows - 1], limits) if len(found) > rows else None)


def count_recordings(db: Database, actor: Actor, limits: RecordingFilter, number: int | None = None) -> Counted:
    """How many `load_recordings` would show, up to `COUNT_TO`, and what is hidden from `actor` in all.

    `number`: where the list is known to be on one page, how many that page has.
    """
    with db.read() as connection:
        limits = _limited(connection, actor, limits)
        hidden = _hidden(connection, actor)
        if number is not None:
            return Counted(number, hidden)
        if limits.searches:
            number = len(find_hits(connection, limits, None, COUNT_TO, actor.name))
        else:
            query = _list_query(limits, None, actor.name).with_only_columns(segment.c.log_index)
            inner = query.order_by(None).limit(COUNT_TO).subquery()
            number = connection.execute(select(func.count()).select_from(inner)).scalar_one()
        return Counted(number, hidden)


def load_day(db: Database, actor: Actor, day: date, camera: str | None, officer: str | None) -> Day:
    """The recordings of a camera, or of what an officer carried, that began on `day` by the camera's clock."""
    limits = RecordingFilter(camera=camera, officer=officer, day_from=day, day_to=day, oldest=True)
    page = load_recordings(db, actor, limits, None, MAX_DAY_ROWS)
    by_camera: dict[str, list[RecordingRow]] = {}
    for row in page.rows:
        by_camera.setdefault(row.camera, []).append(row)
    with db.read() as connection:
        return Day(by_camera, _hidden(connection, actor), page.next_cursor is not None)


def _limited(connection: Connection, actor: Actor | None, limits: RecordingFilter) -> RecordingFilter:
    if actor is None:
        return limits
    scope = scope_of(connection, actor, Action.SEE_RECORDINGS)
    return replace(limits, within=None if scope.everything else _within(connection, scope))


def load_restricted(
    db: Database, actor: Actor, recording: int | None
) -> tuple[tuple[Restricted, ...], tuple[str, ...] | None]:
    """How much is restricted, by mark; and who may know `recording`, where `actor` may know it."""
    with db.read() as connection:
        counted = tuple(
            Restricted(mark, *(_hidden(connection, actor, mark, hidden=hidden) for hidden in (False, True)))
            for mark in MARKS[1:]
        )
        subject = recording_subjects(connection, [recording]).get(recording) if recording is not None else None
        if subject is None or subject.known_to is None or not may(actor, Action.SEE_RECORDINGS, subject):
            return counted, None
        return counted, tuple(sorted(subject.known_to))


def _hidden(connection: Connection, actor: Actor, mark: str | None = None, *, hidden: bool = True) -> int:
    """Restricted recordings within what `actor` may see, that they may not know if `hidden`; up to `COUNT_TO`."""
    scope = scope_of(connection, actor, Action.SEE_RECORDINGS)
    state = recording_state.c
    query = select(segment.c.log_index).join(recording_state, state.recording == segment.c.log_index)
    query = query.where(state.mark != NORMAL if mark is None else state.mark == mark)
    if hidden:
        query = query.where(hidden_from(actor.name))
    if not scope.everything:
        own = tuple_(segment.c.station, segment.c.docking).in_(scope.carried(connection))
        query = query.where(segment.c.station.in_(scope.stations or ()) | own)
    return int(connection.execute(select(func.count()).select_from(query.limit(COUNT_TO).subquery())).scalar_one())


def load_some(db: Database, actor: Actor, numbers: Sequence[int]) -> tuple[RecordingRow, ...]:
    """Those of these recordings that `actor` may see, by log index."""
    with db.read() as connection:
        seen = sorted(seen_recordings(connection, actor, [n for n in numbers if 0 <= n < 1 << 62]))
        query = _all().where(segment.c.log_index.in_(seen)).order_by(segment.c.log_index)
        return _masked(connection, actor.name, [_row(row) for row in connection.execute(query).mappings()])


def _masked(connection: Connection, name: str | None, rows: Sequence[RecordingRow]) -> tuple[RecordingRow, ...]:
    """The rows with what people stated of them; those that the account `name` may not know without all else."""
    standings = read_standings(connection, [row.log_index for row in rows])
    shown = []
    for row in rows:
        standing = standings.get(row.log_index, UNSTATED)
        if standing.restricted and name is not None and name not in standing.known_to:
            shown.append(_mask(row, standing.mark))
        else:
            shown.append(replace(row, mark=standing.mark, kind=standing.kind))
    return tuple(shown)


def _mask(row: RecordingRow, mark: str) -> RecordingRow:
    return RecordingRow(
        log_index=row.log_index, station=row.station, camera="", bay="", docking="", path="", file_name="", version=1,
        size_bytes=0, sha256="", recorded_at=None, sealed_at=row.sealed_at, duration_seconds=None, labels=(),
        mark=mark, masked=True,
    )  # fmt: skip


def load_row(connection: Connection, log_index: int) -> RecordingRow | None:
    """The segment sealed by this log entry."""
    row = connection.execute(_all().where(segment.c.log_index == log_index)).mappings().one_or_none()
    return None if row is None else _with_dispositions(connection, [_row(row)])[0]


def _with_dispositions(connection: Connection, rows: list[RecordingRow]) -> tuple[RecordingRow, ...]:
    """The rows, each with the entry by which its file left the vault, if it did."""
    c, gone = disposition.c, dict[int, int]()
    query = select(c.log_index, c.disposed, segment.c.entry, segment.c.log_index.label("seal"))
    here = and_(segment.c.station == c.station, segment.c.docking == c.docking)
    for found in connection.execute(
        query.join(segment, here).where(segment.c.log_index.in_([row.log_index for row in rows]))
    ):
        if found.entry in json.loads(found.disposed):
            gone[found.seal] = found.log_index
    return tuple(replace(row, disposed_index=gone.get(row.log_index)) for row in rows)


def _all() -> Select[Any]:
    return select(*(segment.c[name] for name in _COLUMNS))


def _within(connection: Connection, scope: Scope) -> search.Within:
    return search.Within(tuple(sorted(scope.stations or ())), scope.carried(connection))


def _order(limits: RecordingFilter) -> ColumnElement[Any]:
    return segment.c.log_index.asc() if limits.oldest else segment.c.log_index.desc()


def _list_query(limits: RecordingFilter, after: Place | None, name: str | None) -> Select[Any]:
    """What no search answers: everything, or days alone."""
    query = _all().where(*_days(limits))
    if limits.describes and name is not None:
        query = query.where(~hidden_from(name))
    if not limits.by_day:
        query = query.order_by(_order(limits))
        if after is None:
            return query
        at = segment.c.log_index
        return query.where(at > after.log_index if limits.oldest else at < after.log_index)
    query = query.order_by(segment.c.recorded_day.desc(), segment.c.log_index.desc())
    if after is None:
        return query
    return query.where(
        segment.c.recorded_day <= after.day,  # said twice: this bounds the index, the next line is exact
        tuple_(segment.c.recorded_day, segment.c.log_index) < tuple_(literal(after.day), literal(after.log_index)),
    )


def _days(limits: RecordingFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if limits.day_from is not None:
        found.append(segment.c.recorded_day >= limits.day_from.isoformat())
    if limits.day_to is not None:
        found.append(segment.c.recorded_day <= limits.day_to.isoformat())
    return found


def _row(row: RowMapping) -> RecordingRow:
    return RecordingRow(
        log_index=row["log_index"],
        station=row["station"],
        camera=row["camera"],
        bay=row["bay"],
        docking=row["docking"],
        path=row["path"],
        file_name=row["file_name"],
        version=row["version"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        recorded_at=row["recorded_at"],
        sealed_at=datetime.fromisoformat(row["sealed_at"]),
        duration_seconds=None if row["duration_ms"] is None else row["duration_ms"] / 1000,
        labels=tuple(json.loads(row["labels"])),
    )


_COLUMNS = (
    "log_index", "station", "camera", "bay", "docking", "path", "file_name", "version", "size_bytes", "sha256",
    "recorded_at", "recorded_day", "sealed_at", "duration_ms", "labels",
)  # fmt: skip


def _cursor(row: RowMapping, limits: RecordingFilter) -> str:
    return f"{row['recorded_day']}~{row['log_index']}" if limits.by_day else str(row["log_index"])


def _parse_cursor(cursor: str, limits: RecordingFilter) -> Place:
    match = _CURSOR.fullmatch(cursor)
    if match is None or (match[1] is not None) != limits.by_day or not cursor.isascii():
        raise BadQuery
    return Place(match[1], int(match[2]))
