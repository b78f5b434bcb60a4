"""Stations as the page of all of them and the page of one show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import Connection, func, select

from custody.checkpoint import parse_key_line
from hub.access import Action, Actor, may
from hub.errors import NotFound
from hub.sections import scope_of, station_subject
from hub.stations.concerns import Concern, concerns, severity
from hub.stations.history import Happening, load_history
from hub.stations.now import StationNow, load_stations
from hub.tables import checkpoint, cosignature, station, station_key, witness, witness_state
from hub.times import from_text

Order = Literal["worst", "name", "heard", "outbox", "disk", "software"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True, slots=True)
class StationHealth:
    """A station with what speaks against it. `cosigned_size`: of the largest checkpoint that it cosigned."""

    now: StationNow
    concerns: tuple[Concern, ...]
    cosigned_size: int | None


@dataclass(frozen=True, slots=True)
class KeyOfStation:
    """A key that a station has or had. `from_seq`: of the first event that it signs."""

    label: str
    line: str
    from_seq: int


@dataclass(frozen=True, slots=True)
class Witnessing:
    """A station as a witness. `accepted`: its cosignatures count. `behind`: entries that it has not signed."""

    accepted: bool
    key_line: str | None
    cosigned_size: int | None
    cosigned_at: datetime | None
    behind: int | None
    alarm: str | None


@dataclass(frozen=True, slots=True)
class StationPage:
    """One station. `opens`: the reader may see what it stated in the log."""

    health: StationHealth
    last_seq: int
    keys: tuple[KeyOfStation, ...]
    witnessing: Witnessing
    history: tuple[Happening, ...]
    opens: bool


def load_healths(connection: Connection, actor: Actor, order: Order, now: datetime) -> tuple[StationHealth, ...]:
    """Every station that `actor` sees; first what `order` puts first: the worst, the longest silent, the fullest …"""
    sizes = _cosigned(connection)
    found = load_stations(connection, scope_of(connection, actor, Action.SEE_STATIONS), now)
    return tuple(StationHealth(one, concerns(one), sizes.get(one.id)) for one in sorted(found, key=_KEYS[order]))


def load_station_page(connection: Connection, actor: Actor, name: str, now: datetime) -> StationPage:
    """One station. Raises NotFound, also where `actor` may not see it."""
    subject = station_subject(connection, name)
    if subject is None or not may(actor, Action.SEE_STATIONS, subject):
        raise NotFound("there is no such station")
    (one,) = load_stations(connection, scope_of(connection, actor, Action.SEE_STATIONS), now, only=name)
    row = connection.execute(select(station).where(station.c.id == name)).one()
    keys = select(station_key).where(station_key.c.station == name).order_by(station_key.c.first_seq.desc())
    held = tuple(
        KeyOfStation(parse_key_line(key.key_line).label, key.key_line, key.first_seq)
        for key in connection.execute(keys)
    )
    witnessing = _witnessing(connection, name, row.witness_key)
    health = StationHealth(one, concerns(one), witnessing.cosigned_size)
    told = {
        "dockings": may(actor, Action.SEE_DOCKINGS, subject),
        "recordings": may(actor, Action.SEE_RECORDINGS, subject),
    }
    history = load_history(connection, name, now, **told)
    # an entry of this station is this station's, or also somebody else's: who may see those of the station sees it
    opens = may(actor, Action.SEE_ENTRY, subject)
    return StationPage(health, row.last_seq, held, witnessing, history, opens)


def _cosigned(connection: Connection) -> dict[str, int]:
    c = cosignature.c
    named = select(witness.c.station, witness.c.name).where(
        witness.c.station.is_not(None), witness.c.removed_at.is_(None)
    )
    last = select(func.max(c.size)).where(c.witness == witness.c.name).correlate(witness).scalar_subquery()
    return {row.station: row.size for row in connection.execute(named.add_columns(last.label("size"))) if row.size}


def _witnessing(connection: Connection, name: str, offered: str | None) -> Witnessing:
    named = select(witness).where(witness.c.station == name, witness.c.removed_at.is_(None))
    row = connection.execute(named).first()
    if row is None:
        return Witnessing(False, offered, None, None, None, None)
    c = cosignature.c
    last = select(c.size, c.cosigned_at).where(c.witness == row.name).order_by(c.size.desc()).limit(1)
    signed = connection.execute(last).first()
    newest = connection.execute(select(func.max(checkpoint.c.size))).scalar_one() or 0
    told = select(witness_state.c.alarm).where(witness_state.c.witness == row.name)
    return Witnessing(
        True, row.key_line, signed.size if signed else None, from_text(signed.cosigned_at) if signed else None,
        newest - (signed.size if signed else 0), connection.execute(told).scalar_one_or_none(),
    )  # fmt: skip


def _heard(one: StationNow) -> tuple[bool, str, str]:
    at = one.since if not one.online else one.state_at
    return one.reachable, "" if at is None else at.isoformat(), one.id


_KEYS: dict[Order, Callable[[StationNow], Any]] = {
    "worst": severity,
    "name": lambda one: one.id,
    "heard": _heard,
    "outbox": lambda one: (-(one.outbox_oldest_seconds or 0), -(one.outbox_unreceipted or 0), one.id),
    "disk": lambda one: (
        one.days_left if one.days_left is not None else 1 << 30,
        (one.disk_free_bytes or 0) / (one.disk_total_bytes or 1),
        one.id,
    ),
    "software": lambda one: (one.software or "", one.id),
}
