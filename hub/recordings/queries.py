"""Recordings in the index: filtered lists by keyset, and everything about one segment.

Order: as saved, newest first (log index). By days alone: newest day first, then as saved. So every list follows an
index, and a page deep in a million rows costs what the first one costs.
"""

from __future__ import annotations

import json
import re
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
    literal,
    or_,
    select,
    tuple_,
    union,
)

from hub import search
from hub.access import Action, Actor
from hub.db import Database
from hub.problems import BadQuery
from hub.sections import Scope, scope_of
from hub.tables import camera, disposition, docking, segment, station
from hub.vocabulary import LABELS

PAGE_ROWS = 50
MAX_PAGE_ROWS = 200
_CURSOR = re.compile(r"(?:(\d{4}-\d{2}-\d{2})~)?(\d{1,18})")


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """What a list is limited to; None and "" do not limit. Checked by `parse_filter`."""

    camera: str | None = None
    station: str | None = None
    docking: str | None = None
    day_from: date | None = None
    day_to: date | None = None
    label: str | None = None  # a key of vocabulary.LABELS, or search.ANY_LABEL
    text: str | None = None
    within: search.Within | None = None  # never asked for: what the reader may see

    @property
    def searches(self) -> bool:
        """Whether the full-text index answers: it holds every filter and crosses long lists without walking one."""
        return bool(self.text or self.docking or self.camera or self.station or self.label) or self.within is not None

    @property
    def by_day(self) -> bool:
        """Whether rows come in the order of days. The full-text index keeps the order as saved."""
        return not self.searches and (self.day_from is not None or self.day_to is not None)


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
class Choices:
    """What the filter form offers."""

    cameras: tuple[str, ...]
    stations: tuple[str, ...]


def parse_filter(
    camera: str, station: str, docking: str, day_from: str, day_to: str, label: str, text: str
) -> RecordingFilter:
    """A filter out of what a form or a call says, "" for no limit. Raises BadQuery."""
    if label and label not in LABELS and label != search.ANY_LABEL:
        raise BadQuery
    if len(text) > search.MAX_TEXT_CHARACTERS or any(len(name) > 512 for name in (camera, station, docking)):
        raise BadQuery
    if "\x00" in camera + station + docking + text:  # PostgreSQL holds no NUL, so nothing could match
        raise BadQuery
    limits = RecordingFilter(
        camera=camera or None,
        station=station or None,
        docking=docking or None,
        day_from=_parse_day(day_from),
        day_to=_parse_day(day_to),
        label=label or None,
        text=text.strip() or None,
    )
    if limits.day_from and limits.day_to and limits.day_from > limits.day_to:
        raise BadQuery
    return limits


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

    Raises BadQuery for a cursor that is not of such a list.
    """
    with db.read() as connection:
        if actor is not None:
            scope = scope_of(connection, actor, Action.SEE_RECORDINGS)
            limits = replace(limits, within=None if scope.everything else _within(connection, scope))
        after = _parse_cursor(cursor, limits) if cursor else None
        if limits.searches:
            query = _search_query(connection, limits, after, rows + 1)
        else:
            query = _list_query(limits, after).limit(rows + 1)
        found = list(connection.execute(query).mappings())
        page = _with_dispositions(connection, [_row(r) for r in found[:rows]])
    return RecordingPage(page, _cursor(found[rows - 1], limits) if len(found) > rows else None)


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


def _search_query(connection: Connection, limits: RecordingFilter, after: Place | None, rows: int) -> Select[Any]:
    """The full-text index answers text and filters together; the rows are then fetched by their keys."""
    filters = search.Filters(limits.camera, limits.station, limits.docking, (limits.label,) if limits.label else ())
    days = (limits.day_from, limits.day_to)
    before = after.log_index if after else None
    hits = search.find(connection, limits.text or "", filters, days, before=before, limit=rows, within=limits.within)
    return _all().where(segment.c.log_index.in_(hits)).order_by(segment.c.log_index.desc())


def _within(connection: Connection, scope: Scope) -> search.Within:
    return search.Within(tuple(sorted(scope.stations or ())), scope.carried(connection))


def _list_query(limits: RecordingFilter, after: Place | None) -> Select[Any]:
    query = _all().where(*_days(limits))
    if not limits.by_day:
        query = query.order_by(segment.c.log_index.desc())
        return query if after is None else query.where(segment.c.log_index < after.log_index)
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


def _parse_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise BadQuery from None
