"""Which entries of the log fit a filter: by index alone, the newest first, in a time that does not grow with the log.

Rows of `log_entry` hold the envelopes, so they are never scanned. Kind: an index. Source: its numbers are gapless, so
a log index is found among them by halving, as a time of receipt is found among the log's indexes. Camera: the index of
recordings, dockings and camera events. Account and what the hub states of a recording: `hub_subject`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Column, Connection, Select, bindparam, select

from custody.stationevents import DockingClosed, DockingStarted, SegmentSealed
from hub import log, search
from hub.problems import BadQuery
from hub.tables import camera_event, docking, hub_subject, log_entry, segment, station
from hub.times import to_text
from hub.wording import BEIJING

MAX_NAME_CHARACTERS = 200
_AT_ONCE = 500  # candidates looked at together
_RECEIVED = select(log_entry.c.received_at).where(log_entry.c.idx == bindparam("place"))
_INDEX_OF = select(log_entry.c.idx).where(
    log_entry.c.source == bindparam("source"), log_entry.c.seq == bindparam("place")
)


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """What a list of entries is limited to; an empty value limits nothing. Days are Beijing days of receipt."""

    event_type: str = ""
    source: str = ""
    camera: str = ""
    recording: int | None = None  # log index of its seal
    account: str = ""
    day_from: date | None = None  # both included
    day_to: date | None = None

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """As an address or a form has it, without what is empty."""
        named = (
            ("type", self.event_type),
            ("source", self.source),
            ("camera", self.camera),
            ("recording", "" if self.recording is None else str(self.recording)),
            ("account", self.account),
            ("from", self.day_from.isoformat() if self.day_from else ""),
            ("to", self.day_to.isoformat() if self.day_to else ""),
        )
        return [(name, value) for name, value in named if value]

    @property
    def text(self) -> str:
        """As the log says it: ``type=docking.closed.v1 from=2026-03-01``; empty for the whole log."""
        return " ".join(f"{name}={value}" for name, value in self.parameters)


def parse_filter(
    event_type: str, source: str, camera: str, recording: str, account: str, day_from: str, day_to: str
) -> EntryFilter:
    """A filter from the texts of an address, a form or a command line. Raises BadQuery for what no entry could have."""
    texts = [text.strip() for text in (event_type, source, camera, account)]
    if any("\x00" in text or len(text) > MAX_NAME_CHARACTERS for text in texts):
        raise BadQuery  # PostgreSQL refuses even to be asked for a NUL
    recording = recording.strip()
    if recording and not (recording.isascii() and recording.isdigit() and len(recording) < 19):
        raise BadQuery
    try:
        first, last = (date.fromisoformat(day) if day else None for day in (day_from, day_to))
    except ValueError:
        raise BadQuery from None
    if first and last and first > last:
        raise BadQuery
    kind, by, of_camera, of_account = texts
    return EntryFilter(kind, by, of_camera, int(recording) if recording else None, of_account, first, last)


def newest_indexes(connection: Connection, asked: EntryFilter, size: int, before: int | None, limit: int) -> list[int]:
    """Log indexes of the newest `limit` entries below `before` that fit, the newest first, in a log of `size`."""
    low, high = _bounds(connection, asked, size)
    high = high if before is None else min(high, before)
    return list(islice(_walk(connection, asked, low, high, limit), limit))


def all_indexes(connection: Connection, asked: EntryFilter, size: int) -> Sequence[int]:
    """Log indexes of every entry that fits, rising, in a log of `size`; 8 bytes of memory for each at most."""
    low, high = _bounds(connection, asked, size)
    if asked == EntryFilter(day_from=asked.day_from, day_to=asked.day_to):
        return range(low, high)
    found = array("q", _walk(connection, asked, low, high, _AT_ONCE))
    found.reverse()
    return found


# --- which entries come into question ---


def _walk(connection: Connection, asked: EntryFilter, low: int, high: int, at_once: int) -> Iterable[int]:
    """Fitting indexes from `high` - 1 down to `low`."""
    chunk = _chunks(asked)
    while low < high:
        found = chunk(connection, asked, high, at_once)
        kept = [index for index in found if index >= low]
        yield from _fitting(connection, asked, kept)
        if len(found) < at_once or len(kept) < len(found):
            return
        high, at_once = found[-1], max(at_once, _AT_ONCE)


Chunk = Callable[[Connection, EntryFilter, int, int], list[int]]


def _chunks(asked: EntryFilter) -> Chunk:
    """The narrowest way to the entries: a function that gives the next `limit` candidates below an index."""
    if asked.recording is not None:
        return _of_recording
    if asked.account:
        return _of_account
    if asked.camera:
        return _of_camera
    if asked.source and not asked.event_type:
        return _of_source
    return _of_kind if asked.event_type else _of_log


def _of_log(_connection: Connection, _asked: EntryFilter, below: int, limit: int) -> list[int]:
    return list(range(below - 1, max(-1, below - 1 - limit), -1))


def _of_kind(connection: Connection, asked: EntryFilter, below: int, limit: int) -> list[int]:
    c = log_entry.c
    query = select(c.idx).where(c.event_type == asked.event_type)
    if asked.source:  # in the index too
        query = query.where(c.source == asked.source)
    return _newest(connection, query, c.idx, below, limit)


def _of_source(connection: Connection, asked: EntryFilter, below: int, limit: int) -> list[int]:
    """By the source's own numbers: with its order by index, a planner may read everybody's entries."""
    place = {"source": asked.source}
    last = _last_seq(connection, asked.source)
    seq = _halve(last, lambda at: connection.execute(_INDEX_OF, place | {"place": at + 1}).scalar_one() >= below)
    c = log_entry.c
    return list(
        connection.execute(
            select(c.idx).where(c.source == asked.source, c.seq <= seq).order_by(c.seq.desc()).limit(limit)
        ).scalars()
    )


def _of_account(connection: Connection, asked: EntryFilter, below: int, limit: int) -> list[int]:
    return _newest(connection, _subject(asked, "account", asked.account), hub_subject.c.log_index, below, limit)


def _of_camera(connection: Connection, asked: EntryFilter, below: int, limit: int) -> list[int]:
    """Out of four lists in the order of the log, each as long as may be needed."""
    kind, by = asked.event_type, asked.source
    found: list[int] = []
    if kind in ("", SegmentSealed.TYPE):
        filters = search.Filters(camera=asked.camera, station=by or None)
        found += search.find(connection, "", filters, (None, None), before=below, limit=limit)
    for column, its_kind in (
        (docking.c.started_index, DockingStarted.TYPE),
        (docking.c.closed_index, DockingClosed.TYPE),
    ):
        if kind in ("", its_kind):
            found += _newest(
                connection, _where(select(column), docking.c.camera, asked, docking.c.station), column, below, limit
            )
    events = _where(select(camera_event.c.log_index), camera_event.c.camera, asked, camera_event.c.station)
    if kind:
        events = events.where(camera_event.c.kind == kind)
    found += _newest(connection, events, camera_event.c.log_index, below, limit)
    about = _subject(asked, "camera", asked.camera)
    found += _newest(connection, about, hub_subject.c.log_index, below, limit)
    return sorted(set(found), reverse=True)[:limit]


def _of_recording(connection: Connection, asked: EntryFilter, below: int, limit: int) -> list[int]:
    """Its seal, the opening and closing of its docking, and what the hub stated of it."""
    row = connection.execute(
        select(segment.c.log_index, docking.c.started_index, docking.c.closed_index)
        .outerjoin(docking, (docking.c.station == segment.c.station) & (docking.c.id == segment.c.docking))
        .where(segment.c.log_index == asked.recording)
    ).one_or_none()
    found = [index for index in (row or ()) if index is not None and index < below]
    about = _subject(asked, "recording", str(asked.recording))
    return sorted({*found, *_newest(connection, about, hub_subject.c.log_index, below, limit)}, reverse=True)[:limit]


def _subject(asked: EntryFilter, kind: str, name: str) -> Select[Any]:
    c = hub_subject.c
    query = select(c.log_index).where(c.kind == kind, c.name == name)
    return query.where(c.event_type == asked.event_type) if asked.event_type else query


def _where(query: Select[Any], camera: Column[Any], asked: EntryFilter, station: Column[Any]) -> Select[Any]:
    query = query.where(camera == asked.camera)
    return query.where(station == asked.source) if asked.source else query


def _newest(connection: Connection, query: Select[Any], index: Column[Any], below: int, limit: int) -> list[int]:
    return list(connection.execute(query.where(index < below).order_by(index.desc()).limit(limit)).scalars())


# --- which of them fit ---


def _fitting(connection: Connection, asked: EntryFilter, found: list[int]) -> list[int]:
    """Those of `found` that fit the parts of the filter by which they were not found; the order stays."""
    wanted = {f.name for f in fields(asked) if getattr(asked, f.name) not in ("", None)} - {"day_from", "day_to"}
    if len(wanted) <= 1 or wanted == {"event_type", "source"} or not found:
        return found
    kept = set(found)
    c = log_entry.c
    query = select(c.idx).where(c.idx.in_(found))
    if asked.event_type:
        query = query.where(c.event_type == asked.event_type)
    if asked.source:
        query = query.where(c.source == asked.source)
    if asked.event_type or asked.source:
        kept &= set(connection.execute(query).scalars())
    if asked.account and asked.recording is not None:
        kept &= _about(connection, "account", asked.account, found)
    if asked.camera and (asked.recording is not None or asked.account):
        kept &= _about(connection, "camera", asked.camera, found) | _at_camera(connection, asked.camera, found)
    return [index for index in found if index in kept]


def _about(connection: Connection, kind: str, name: str, found: list[int]) -> set[int]:
    c = hub_subject.c
    query = select(c.log_index).where(c.kind == kind, c.name == name, c.log_index.in_(found))
    return set(connection.execute(query).scalars())


def _at_camera(connection: Connection, camera: str, found: list[int]) -> set[int]:
    places = (
        (segment.c.log_index, segment.c.camera),
        (docking.c.started_index, docking.c.camera),
        (docking.c.closed_index, docking.c.camera),
    )
    return {
        index
        for at, of in places
        for index in connection.execute(select(at).where(of == camera, at.in_(found))).scalars()
    }


# --- places in the log ---


def _bounds(connection: Connection, asked: EntryFilter, size: int) -> tuple[int, int]:
    """First log index of the days, and the one after the last."""
    low = _first_of(connection, asked.day_from, size) if asked.day_from else 0
    high = size
    if asked.day_to and asked.day_to < date.max:
        high = _first_of(connection, asked.day_to + timedelta(days=1), size)
    return low, high


def _first_of(connection: Connection, day: date, size: int) -> int:
    """The first entry received on `day` or later. Times of receipt rise with the index, but for a hub's clock put back:
    then a day's border lies somewhere within what was received twice."""
    try:
        start = to_text(datetime(day.year, day.month, day.day, tzinfo=BEIJING))
    except OverflowError:  # the first of all years has no day before it in UTC
        return 0
    return _halve(size, lambda at: connection.execute(_RECEIVED, {"place": at}).scalar_one() >= start)


def _last_seq(connection: Connection, source: str) -> int:
    """How many entries a source has: its numbers are gapless from 1."""
    if source == log.HUB_SOURCE:
        return log.read_head(connection).own_seq
    return connection.execute(select(station.c.last_seq).where(station.c.id == source)).scalar_one_or_none() or 0


def _halve(count: int, reached: Callable[[int], bool]) -> int:
    """The first place in ``range(count)`` that has `reached` it, else `count`; about 20 questions a million."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if reached(middle):
            high = middle
        else:
            low = middle + 1
    return low
