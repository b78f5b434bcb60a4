"""What went wrong at one station in the last days: silences, offloads that were not complete, refused messages.

Silences and refusals are the hub's own, unsigned notes; everything else is in the log, and says where.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from custody.stationevents import CameraLeft, CameraLeftV2, DeviceRefused, LogCleared, LogRefused, StationStarted
from custody.topics import station_topic
from hub import search
from hub.tables import (
    camera_event,
    command_answer,
    docking,
    log_entry,
    refused,
    segment,
    station_silence,
    station_state,
    unprojected,
)
from hub.times import to_text

HISTORY = timedelta(days=30)
MAX_ROWS = 200
_STATED = (StationStarted.TYPE, LogRefused.TYPE, LogCleared.TYPE)
Kind = Literal[
    "silence",
    "silent_now",
    "offload",
    "gaps",
    "left",
    "device",
    "command",
    "refused",
    "set_aside",
    "station.started.v1",
    "log.refused.v1",
    "log.cleared.v1",
]


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing. `seconds`: how long it lasted; `reason`: a code; `log_index`: where the log states it."""

    at: datetime
    kind: Kind
    subject: str = ""  # a camera, a file, a kind of command, a product
    reason: str = ""
    seconds: float | None = None
    count: int = 1
    log_index: int | None = None


def load_history(
    connection: Connection, station: str, now: datetime, *, dockings: bool = True, recordings: bool = True
) -> tuple[Happening, ...]:
    """The newest `MAX_ROWS` of the last 30 days, newest first. `seconds` of a silence that lasts is up to `now`.

    `dockings`, `recordings`: the reader may know of every offload, and of every recording, at this station.
    """
    since = to_text(now - HISTORY)
    c = docking.c
    closed = select(docking).where(c.station == station, c.closed_at >= since).order_by(c.first_index.desc())
    offloads = connection.execute(closed.limit(2000)).all()
    # what is found by station alone goes back to the first day: these offloads say from where in the log on to look
    first = min((row.first_index for row in offloads), default=0)
    found = [
        *_silences(connection, station, since, now),
        *(
            Happening(_at(row.closed_at), "offload", row.camera, row.reason or "", log_index=row.closed_index)
            for row in offloads
            if dockings and not row.complete
        ),
        *(_torn(connection, station, since) if recordings else ()),
        *(_cameras(connection, station, since, first) if dockings else ()),
        *_messages(connection, station, since),
        *_stated(connection, station, since),
    ]
    return tuple(sorted(found, key=lambda one: one.at, reverse=True)[:MAX_ROWS])


def _silences(connection: Connection, station: str, since: str, now: datetime) -> Iterator[Happening]:
    state = connection.execute(select(station_state).where(station_state.c.station == station)).one_or_none()
    if state is not None and not state.online and state.since is not None:
        began = _at(state.since)
        yield Happening(began, "silent_now", seconds=(now - began).total_seconds())
    c = station_silence.c
    over = select(station_silence).where(c.station == station, c.ended_at >= since)
    for row in connection.execute(over.order_by(c.began_at.desc()).limit(MAX_ROWS)):
        yield Happening(_at(row.began_at), "silence", seconds=(_at(row.ended_at) - _at(row.began_at)).total_seconds())


def _torn(connection: Connection, station: str, since: str) -> Iterator[Happening]:
    """Recordings with unreadable parts."""
    filters = search.Filters(station=station, labels=("gaps",))
    hits = search.find(connection, "", filters, (None, None), before=None, limit=MAX_ROWS)
    s = segment.c
    torn = select(s.log_index, s.file_name, s.sealed_at, s.gap_count).where(s.log_index.in_(hits), s.sealed_at >= since)
    for row in connection.execute(torn):
        yield Happening(_at(row.sealed_at), "gaps", row.file_name, count=row.gap_count, log_index=row.log_index)


def _cameras(connection: Connection, station: str, since: str, first: int) -> Iterator[Happening]:
    """Devices that were refused, and cameras that left too early."""
    c = camera_event.c
    kinds = (DeviceRefused.TYPE, CameraLeft.TYPE, CameraLeftV2.TYPE)
    query = select(camera_event).where(c.station == station, c.log_index >= first, c.at >= since, c.kind.in_(kinds))
    for row in connection.execute(query.order_by(c.log_index.desc()).limit(2000)):
        if row.kind == DeviceRefused.TYPE:
            reason = next(iter(json.loads(row.reasons)), "")
            yield Happening(_at(row.at), "device", row.bay, reason, log_index=row.log_index)
        elif row.offload in ("copying", "incomplete"):
            yield Happening(_at(row.at), "left", row.camera, row.offload, log_index=row.log_index)


def _messages(connection: Connection, station: str, since: str) -> Iterator[Happening]:
    """What was refused of it, what it refused, and what could not be read."""
    c, own = refused.c, station_topic(station, "events").removesuffix("events")
    told = select(c.reason, func.max(c.last_at).label("at"), func.sum(c.count).label("times")).where(
        c.last_at >= since, c.topic.startswith(own, autoescape=True)
    )
    for row in connection.execute(told.group_by(func.substr(c.minute, 1, 10), c.reason)):
        yield Happening(_at(row.at), "refused", reason=row.reason, count=int(row.times))
    a = command_answer.c
    answers = select(command_answer).where(a.station == station, a.at >= since, a.result != "accepted")
    for row in connection.execute(answers.order_by(a.log_index.desc()).limit(MAX_ROWS)):
        yield Happening(_at(row.at), "command", row.kind, row.reason, log_index=row.log_index)
    u = unprojected.c
    aside = select(unprojected).where(u.source == station, u.received_at >= since)
    for row in connection.execute(aside.order_by(u.log_index.desc()).limit(MAX_ROWS)):
        yield Happening(_at(row.received_at), "set_aside", row.event_type, row.reason, log_index=row.log_index)


def _stated(connection: Connection, station: str, since: str) -> Iterator[Happening]:
    c = log_entry.c
    for kind in _STATED:
        query = select(c.idx, c.received_at).where(c.event_type == kind, c.source == station)
        for row in connection.execute(query.order_by(c.idx.desc()).limit(50)):
            if row.received_at >= since:
                yield Happening(_at(row.received_at), kind, log_index=row.idx)  # type: ignore[arg-type]


def _at(text: Any) -> datetime:
    return datetime.fromisoformat(text)
