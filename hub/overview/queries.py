"""What is going on right now: stations with their bays, the last offloads, totals."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, case, func, select

from hub.access import Action, Actor
from hub.alerts.queries import AlertPanel, load_panel
from hub.db import Database
from hub.sections import Scope, scope_of
from hub.tables import bay_state, camera, docking, station, station_state
from hub.times import from_text

STALE_AFTER = timedelta(minutes=5)  # a station says how it is at least every minute
MAX_DOCKINGS = 200


@dataclass(frozen=True, slots=True)
class BayNow:
    """A bay as its station last described it; unsigned, for people only. Missing or odd values are None."""

    name: str
    camera: str | None
    state: str  # a key of vocabulary.BAY_STATES, or "unknown"
    files_done: int | None
    files_total: int | None
    bytes_done: int | None
    bytes_total: int | None
    seconds_left: int | None
    reason: str | None
    charge_percent: int | None
    verdict: str | None  # a key of vocabulary.VERDICTS, where the camera was judged
    received_at: datetime

    @property
    def percent(self) -> int | None:
        """How far copying is, by bytes, else by files."""
        for done, total in ((self.bytes_done, self.bytes_total), (self.files_done, self.files_total)):
            if done is not None and total:
                return min(100, done * 100 // total)
        return None


@dataclass(frozen=True, slots=True)
class StationNow:
    """An enrolled station as it last described itself; unsigned, for people only. Missing values are None."""

    id: str
    online: bool
    stale: bool  # says online, but has been silent for longer than `STALE_AFTER`
    state_at: datetime | None  # when the present state came in; None: never heard of
    enrolled_at: datetime
    last_event_at: datetime | None  # when the hub last took in an event of its chain
    software: str | None
    clock: str | None
    disk_free_bytes: int | None
    disk_total_bytes: int | None
    outbox_unreceipted: int | None
    outbox_oldest_seconds: int | None
    frozen_reason: str | None
    bays: tuple[BayNow, ...]

    @property
    def disk_low(self) -> bool:
        """Less than a tenth of the disk is free."""
        return self.disk_free_bytes is not None and self.disk_free_bytes * 10 < (self.disk_total_bytes or 0)


@dataclass(frozen=True, slots=True)
class DockingRow:
    """One offload. Counts are those of its signed closing event; None while it is open."""

    station: str
    id: str
    camera: str
    bay: str
    started_at: datetime | None
    closed_at: datetime | None
    complete: bool | None
    reason: str | None
    new_files: int | None
    new_bytes: int | None
    listed: int | None
    copied: int | None
    already_saved: int | None
    failed: int | None
    skipped: int | None
    deleted_seen: int | None
    unreadable: int | None
    bytes_copied: int | None
    log_index: int  # of its first event; the cursor of lists


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over what the reader may see; recordings and bytes are those of finished offloads."""

    stations: int
    stations_online: int
    cameras: int
    dockings: int
    dockings_incomplete: int
    recordings: int
    recording_bytes: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The first page."""

    at: datetime
    totals: Totals
    stations: tuple[StationNow, ...]
    dockings: tuple[DockingRow, ...]
    alerts: AlertPanel | None


def load_overview(db: Database, actor: Actor, now: datetime) -> Overview:
    """Everything the first page shows, from one consistent view of the database."""
    with db.read() as connection:
        stations = load_stations(connection, scope_of(connection, actor, Action.SEE_STATIONS), now)
        scope = scope_of(connection, actor, Action.SEE_DOCKINGS)
        dockings = load_dockings(connection, scope, limit=12)
        alerts = load_panel(connection, actor)
        return Overview(now, load_totals(connection, scope, stations), stations, dockings, alerts)


def load_stations(connection: Connection, scope: Scope, now: datetime) -> tuple[StationNow, ...]:
    """Enrolled stations, by id."""
    bays: dict[str, list[BayNow]] = defaultdict(list)
    for row in connection.execute(select(bay_state)).mappings():
        bays[row["station"]].append(_bay(row))
    rows = connection.execute(
        select(station, station_state.c.json, station_state.c.online, station_state.c.received_at)
        .outerjoin(station_state, station_state.c.station == station.c.id)
        .order_by(station.c.id)
    ).mappings()
    shown = (row for row in rows if scope.stations is None or row["id"] in scope.stations)
    return tuple(_station(row, tuple(sorted(bays[row["id"]], key=_bay_order)), now) for row in shown)


def load_dockings(
    connection: Connection, scope: Scope, limit: int, before: int | None = None
) -> tuple[DockingRow, ...]:
    """The newest offloads; those with an index below `before` when it is given."""
    query = select(docking).where(scope.dockings()).order_by(docking.c.first_index.desc()).limit(limit)
    if before is not None:
        query = query.where(docking.c.first_index < before)
    return tuple(read_docking(row) for row in connection.execute(query).mappings())


def read_docking(row: RowMapping) -> DockingRow:
    """A row of the table as pages and calls show it."""
    same = {name: row[name] for name in DockingRow.__dataclass_fields__ if name in row and not name.endswith("_at")}
    return DockingRow(
        **same,
        started_at=from_text(row["started_at"]),
        closed_at=from_text(row["closed_at"]),
        log_index=row["first_index"],
    )


def load_totals(connection: Connection, scope: Scope, stations: tuple[StationNow, ...]) -> Totals:
    """Sums over the dockings of `scope`, and over these stations."""
    sums = connection.execute(
        select(
            func.count(),
            func.sum(case((and_(docking.c.closed_at.is_not(None), docking.c.complete.is_(False)), 1), else_=0)),
            func.sum(docking.c.copied),
            func.sum(docking.c.bytes_copied),
        )
        .select_from(docking)
        .where(scope.dockings())
    ).one()
    counted = select(func.count()).select_from(camera)
    if not scope.everything:
        counted = select(func.count(func.distinct(docking.c.camera))).where(scope.dockings())
    cameras = connection.execute(counted).scalar_one()
    online = sum(1 for s in stations if s.online and not s.stale)
    return Totals(len(stations), online, cameras, sums[0], int(sums[1] or 0), int(sums[2] or 0), int(sums[3] or 0))


def _station(row: RowMapping, bays: tuple[BayNow, ...], now: datetime) -> StationNow:
    said, state_at = _object(row["json"]), from_text(row["received_at"])
    online = bool(row["online"])
    enrolled_at = datetime.fromisoformat(row["enrolled_at"])
    return StationNow(
        id=row["id"],
        online=online,
        stale=online and state_at is not None and now - state_at > STALE_AFTER,
        state_at=state_at,
        enrolled_at=enrolled_at,
        last_event_at=from_text(row["last_received_at"]),
        software=_text(said, "software") or row["software"],
        clock=_text(said, "clock"),
        disk_free_bytes=_count(said, "disk_free_bytes"),
        disk_total_bytes=_count(said, "disk_total_bytes"),
        outbox_unreceipted=_count(said, "outbox_unreceipted"),
        outbox_oldest_seconds=_count(said, "outbox_oldest_seconds"),
        frozen_reason=row["frozen_reason"],
        bays=bays,
    )


def _bay(row: RowMapping) -> BayNow:
    said = _object(row["json"])
    return BayNow(
        name=row["bay"],
        camera=_text(said, "camera"),
        state=_text(said, "state") or "unknown",
        files_done=_count(said, "files_done"),
        files_total=_count(said, "files_total"),
        bytes_done=_count(said, "bytes_done"),
        bytes_total=_count(said, "bytes_total"),
        seconds_left=_count(said, "seconds_left"),
        reason=_text(said, "reason"),
        charge_percent=_count(said, "charge_percent"),
        verdict=_text(said, "verdict"),
        received_at=datetime.fromisoformat(row["received_at"]),
    )


def _bay_order(bay: BayNow) -> tuple[int, str]:
    return (int(bay.name) if bay.name.isascii() and bay.name.isdigit() else 1 << 62, bay.name)


def _object(text: str | None) -> Mapping[str, Any]:
    """A JSON object that nobody signed; anything else counts as having said nothing."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _count(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    return (
        int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None
    )


def _text(said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    # JSON can spell lone surrogates, which no answer of ours could be encoded with
    return value[:200].encode(errors="replace").decode() if isinstance(value, str) else None
