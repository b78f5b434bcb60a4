"""What is going on right now: totals, the last offloads, and everything else that the first page is made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, and_, case, func, select

from hub.access import Action, Actor
from hub.alerts.queries import AlertPanel, load_panel
from hub.overview.cameras import CameraBook, Cameras, load_cameras
from hub.overview.tasks import Task, load_tasks
from hub.sections import Scope, scope_of
from hub.stations.concerns import concerns
from hub.stations.now import StationNow
from hub.tables import docking
from hub.times import from_text

MAX_DOCKINGS = 200
SHOWN_DOCKINGS = 12


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
class Recorded:
    """What the index holds of everything within two scopes."""

    totals: Totals
    cameras: Cameras
    dockings: tuple[DockingRow, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first page takes from the index, limited to what its reader may see: `stations` are those."""

    stations: Scope
    recorded: Recorded
    tasks: tuple[Task, ...]
    alerts: AlertPanel | None


Shared = dict[tuple[Scope, Scope], Recorded]


def load_facts(
    connection: Connection,
    actor: Actor,
    stations: tuple[StationNow, ...],
    book: CameraBook,
    now: datetime,
    shared: Shared | None = None,
) -> Facts:
    """From one consistent view of the database; `stations`: all of them, as they are now.

    `shared` holds what was read a moment ago for others who see the same, and gets what is read now.
    """
    scopes = scope_of(connection, actor, Action.SEE_STATIONS), scope_of(connection, actor, Action.SEE_DOCKINGS)
    mine = within(stations, scopes[0])
    shared = {} if shared is None else shared
    if scopes not in shared:
        shared[scopes] = _load_recorded(connection, book, *scopes, mine, now)
    recorded = shared[scopes]
    urgent = sum(any(one.urgent for one in concerns(station)) for station in mine)
    tasks = load_tasks(connection, actor, recorded.cameras, len(mine), urgent)
    return Facts(scopes[0], recorded, tasks, load_panel(connection, actor))


def _load_recorded(
    connection: Connection,
    book: CameraBook,
    seen: Scope,
    recorded: Scope,
    stations: tuple[StationNow, ...],
    now: datetime,
) -> Recorded:
    return Recorded(
        load_totals(connection, recorded, stations),
        load_cameras(connection, book, seen, recorded, now),
        load_dockings(connection, recorded, SHOWN_DOCKINGS),
    )


def within(stations: tuple[StationNow, ...], scope: Scope) -> tuple[StationNow, ...]:
    """Those of `scope`."""
    return tuple(one for one in stations if scope.stations is None or one.id in scope.stations)


def load_dockings(
    connection: Connection, scope: Scope, limit: int, before: int | None = None
) -> tuple[DockingRow, ...]:
    """The newest offloads; those with an index below `before` when it is given."""
    found: list[RowMapping] = []
    for part in scope.docking_parts():
        query = select(docking).where(part).order_by(docking.c.first_index.desc()).limit(limit)
        if before is not None:
            query = query.where(docking.c.first_index < before)
        found += connection.execute(query).mappings()
    found.sort(key=lambda row: -row["first_index"])
    return tuple(read_docking(row) for row in found[:limit])


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
    sums = (
        func.count(),
        func.sum(case((and_(docking.c.closed_at.is_not(None), docking.c.complete.is_(False)), 1), else_=0)),
        func.sum(docking.c.copied),
        func.sum(docking.c.bytes_copied),
    )
    counted = [0, 0, 0, 0]
    cameras: set[str] = set()
    for part in scope.docking_parts():
        for name, *row in connection.execute(select(docking.c.camera, *sums).where(part).group_by(docking.c.camera)):
            cameras.add(name)
            counted = [total + int(value or 0) for total, value in zip(counted, row, strict=True)]
    online = sum(1 for s in stations if s.reachable)
    dockings, incomplete, recordings, size_bytes = counted
    return Totals(len(stations), online, len(cameras), dockings, incomplete, recordings, size_bytes)
