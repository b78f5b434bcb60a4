"""Dockings that could be released, one of them file by file, and what became of a release that was ordered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from custody.releasebody import Release
from custody.stationevents import (
    CameraCheckedOut,
    CameraCheckedOutV2,
    CameraDocked,
    CameraLeft,
    CameraLeftV2,
    CameraReturned,
    CameraReturnedV2,
    ReleaseFinished,
    ReleaseIntended,
)
from hub.access import Action, Actor, may
from hub.audit.queries import read_events
from hub.commands.holds import load_holds
from hub.commands.queries import CommandRow, load_command, load_commands
from hub.db import Database
from hub.errors import NotFound
from hub.releases.policy import File, Kept, Known, divide, why_later, why_not
from hub.sections import scope_of, station_subject
from hub.tables import camera_event, cosignature, docking, segment, station_state
from hub.times import from_text

MAX_DOCKINGS = 50
_LONGEST_KEEP_DAYS = 3650  # as agent.toml allows; what is said beyond it is not believed
_OUT = (CameraCheckedOut.TYPE, CameraCheckedOutV2.TYPE)
_LEFT = (CameraLeft.TYPE, CameraLeftV2.TYPE)
_STAY = (CameraDocked.TYPE, *_OUT, CameraReturned.TYPE, CameraReturnedV2.TYPE, *_LEFT)


@dataclass(frozen=True, slots=True)
class Candidate:
    """The newest offload of a camera. `why_not` empty: its release can be asked for."""

    known: Known
    why_not: tuple[str, ...]
    why_later: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clearing:
    """One offload: what its release would clear, what stays and why, and the releases of it so far, newest first."""

    known: Known
    clear: tuple[File, ...]
    kept: tuple[Kept, ...]
    why_not: tuple[str, ...]
    why_later: tuple[str, ...]
    releases: tuple[Outcome, ...]

    @property
    def under_way(self) -> Outcome | None:
        """A release of it that has not ended."""
        return next((one for one in self.releases if not one.ended), None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A release that was asked for. `intended`, `finished`: what the station stated, with the log indexes."""

    row: CommandRow
    body: dict[str, Any]  # {} when its content was lost with a restore
    intended: tuple[int, ReleaseIntended] | None
    finished: tuple[int, ReleaseFinished] | None

    @property
    def ended(self) -> bool:
        """Nothing more will come of it."""
        return self.finished is not None or self.row.state in ("withdrawn", "refused", "expired", "lost")


def load_candidates(db: Database, actor: Actor, now: datetime) -> tuple[Candidate, ...]:
    """The newest closed offload of every camera at every station that `actor` may see, newest first."""
    newest = select(func.max(docking.c.closed_index).label("idx")).group_by(docking.c.station, docking.c.camera)
    with db.read() as connection:
        scope = scope_of(connection, actor, Action.SEE_COMMANDS)
        if scope.stations is not None:
            newest = newest.where(docking.c.station.in_(scope.stations))
        order = newest.order_by(func.max(docking.c.closed_index).desc()).limit(MAX_DOCKINGS).subquery()
        query = select(docking).join(order, docking.c.closed_index == order.c.idx)
        query = query.order_by(docking.c.closed_index.desc())
        found = [_known(connection, row) for row in connection.execute(query).all()]
    return tuple(Candidate(known, why_not(known), why_later(known, now)) for known in found)


def load_clearing(db: Database, actor: Actor, station: str, docking_id: str, now: datetime) -> Clearing:
    """One offload. Raises NotFound."""
    with db.read() as connection:
        row = connection.execute(
            select(docking).where(docking.c.station == station, docking.c.id == docking_id)
        ).first()
        theirs = station_subject(connection, station)
        if row is None or theirs is None or not may(actor, Action.SEE_COMMANDS, theirs):
            raise NotFound("there is no such offload")
        known, files = _known(connection, row), _files(connection, row)
    clear, kept = divide(known, files)
    against = why_not(known)
    if not against and files and not clear and not known.already_saved:
        against = ("file_held",)
    releases = load_outcomes(db, actor, station, docking_id)
    return Clearing(known, clear, kept, against, why_later(known, now), releases)


def load_outcomes(db: Database, actor: Actor, station: str, docking_id: str) -> tuple[Outcome, ...]:
    """Every release of this offload that was asked for, newest first."""
    page = load_commands(db, actor, station, kind=Release.KIND, naming=docking_id)
    return tuple(_outcome(db, row) for row in page.rows)


def load_outcome(db: Database, actor: Actor, command_id: str) -> Outcome:
    """One release. Raises NotFound, also for a command of another kind."""
    row = load_command(db, actor, command_id)
    if row.kind != Release.KIND:
        raise NotFound("this command is no release")
    return _outcome(db, row)


def _outcome(db: Database, row: CommandRow) -> Outcome:
    body: dict[str, Any] = json.loads(row.body) if row.body else {}
    intended, finished = None, None
    with db.read() as connection:
        for index, event in _stated(connection, row.station, row.answer_index).items():
            if isinstance(event, ReleaseIntended) and event.command_sha256 == row.command_sha256:
                intended = index, event
            elif isinstance(event, ReleaseFinished) and event.command_sha256 == row.command_sha256:
                finished = index, event
    return Outcome(row, body, intended, finished)


def _stated(connection: Connection, station: str, answer_index: int | None) -> dict[int, Any]:
    """What the station stated of releases since it answered the command; nothing of one that is not answered."""
    if answer_index is None:
        return {}
    c = camera_event.c
    query = select(c.log_index).where(
        c.station == station, c.log_index > answer_index, c.kind.in_((ReleaseIntended.TYPE, ReleaseFinished.TYPE))
    )
    return dict(read_events(connection, set(connection.execute(query.limit(200)).scalars())))


def _files(connection: Connection, row: Row[Any]) -> tuple[File, ...]:
    """The files that this docking saved: they lie in the log between its start and its end."""
    first, last = row.first_index, row.closed_index
    if last is None:
        return ()
    c = segment.c
    query = select(c.log_index, c.entry, c.path, c.size_bytes, c.sha256).where(
        c.log_index.between(first, last), c.station == row.station, c.docking == row.id
    )
    return tuple(File(*found) for found in connection.execute(query.order_by(c.entry)).all())


def _known(connection: Connection, row: Row[Any]) -> Known:
    said = connection.execute(select(station_state).where(station_state.c.station == row.station)).first()
    state: dict[str, Any] = json.loads(said.json) if said else {}
    keep, switched = state.get("release_keep_days"), state.get("release")
    mine = cosignature.c.witness == f"{row.station}/witness"
    stay = _stay(connection, row)
    return Known(
        station=row.station, docking=row.id, camera=row.camera, bay=row.bay, complete=bool(row.complete),
        listed=row.listed or 0, already_saved=row.already_saved or 0, closed_index=row.closed_index,
        closed_at=from_text(row.closed_at),
        cosigned_size=connection.execute(select(func.max(cosignature.c.size)).where(mine)).scalar_one(),
        left_since=any(e.kind in _LEFT and e.log_index > (row.closed_index or 0) for e in stay),
        disputed=next((bool(e.disputed) for e in stay if e.kind == CameraDocked.TYPE), False),
        checked_out=bool(stay) and stay[0].kind in _OUT,
        online=bool(said and said.online), release_on=switched if isinstance(switched, bool) else None,
        keep_days=keep if type(keep) is int and 0 <= keep <= _LONGEST_KEEP_DAYS else 0,
        holds=load_holds(connection, row.station),
    )  # fmt: skip


def _stay(connection: Connection, row: Row[Any]) -> Sequence[Any]:
    """What this station stated last of the camera's coming and going, newest first."""
    c = camera_event.c
    query = select(c.log_index, c.kind, c.disputed).where(
        c.camera == row.camera, c.station == row.station, c.kind.in_(_STAY)
    )
    return connection.execute(query.order_by(c.log_index.desc()).limit(20)).all()
