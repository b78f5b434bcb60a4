"""What is known of the log's witnesses, and the checkpoints that they cosigned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from custody.cosignature import parse_witness_line
from custody.stationevents import LogCleared, LogRefused
from hub import log
from hub.db import Database
from hub.tables import (
    checkpoint,
    cosignature,
    log_entry,
    station,
    station_state,
    witness,
    witness_policy,
    witness_state,
)


@dataclass(frozen=True, slots=True)
class InForce:
    """A witness whose cosignatures count. `known_size`: of the last checkpoint it cosigned, as far as we know."""

    name: str
    key_line: str
    station: str | None
    url: str | None
    known_size: int
    alarm: str | None
    online: bool  # of a station: not known to be away


@dataclass(frozen=True, slots=True)
class WitnessRow:
    """A witness for people. Times are ISO 8601 text; None: never. `behind`: entries that it has not cosigned yet."""

    name: str
    label: str
    key_line: str
    station: str | None
    url: str | None
    added_at: str
    removed_at: str | None
    last_size: int | None
    last_at: str | None
    behind: int
    heard_at: str | None
    alarm: str | None
    alarm_size: int | None
    alarm_at: str | None

    @property
    def last_moment(self) -> datetime | None:
        """When it cosigned last, by its own clock."""
        return datetime.fromisoformat(self.last_at) if self.last_at else None


@dataclass(frozen=True, slots=True)
class Alarmed:
    """A witness, or a station that is none yet, that holds that the log contradicts itself."""

    name: str
    code: str
    size: int  # of the largest checkpoint that it knows
    at: datetime


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Everything about the log's witnesses on one page. `needed` None: no policy is set."""

    needed: int | None
    rows: tuple[WitnessRow, ...]
    offered: tuple[tuple[str, str], ...]  # station, key line: offered and not accepted
    refusing_stations: tuple[str, ...]  # stations that stated that they refuse this log, and did not take it back
    witnessed_size: int | None
    alarms: tuple[Alarmed, ...]

    @property
    def current(self) -> tuple[WitnessRow, ...]:
        """Those that count."""
        return tuple(row for row in self.rows if row.removed_at is None)


def in_force(connection: Connection) -> list[InForce]:
    """All witnesses that count, by name."""
    query = (
        select(witness, witness_state.c.known_size, witness_state.c.alarm, station_state.c.online)
        .join(witness_state, witness_state.c.witness == witness.c.name, isouter=True)
        .join(station_state, station_state.c.station == witness.c.station, isouter=True)
        .where(witness.c.removed_at.is_(None))
        .order_by(witness.c.name)
    )
    return [
        InForce(r.name, r.key_line, r.station, r.url, r.known_size or 0, r.alarm, r.online is not False)
        for r in connection.execute(query)
    ]


def needed_now(connection: Connection) -> int | None:
    """How many witnesses make a checkpoint witnessed; None: no policy is set."""
    return connection.execute(select(witness_policy.c.needed)).scalar_one_or_none()


def witnessed_size(connection: Connection) -> int | None:
    """Size of the newest checkpoint that enough witnesses cosigned; None where there is none or no policy."""
    needed = needed_now(connection)
    if needed is None:
        return None
    names = select(witness.c.name).where(witness.c.removed_at.is_(None))
    query = (
        select(cosignature.c.size)
        .where(cosignature.c.witness.in_(names))
        .group_by(cosignature.c.size)
        .having(func.count() >= needed)
        .order_by(cosignature.c.size.desc())
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()


def note_at(connection: Connection, size: int) -> str | None:
    """The checkpoint of this size, with the log's own signature alone; None: none was signed."""
    if size >= 1 << 63:  # no database would even look for it
        return None
    return connection.execute(select(checkpoint.c.note).where(checkpoint.c.size == size)).scalar_one_or_none()


def cosigned_note(connection: Connection, size: int) -> str | None:
    """The checkpoint of this size with the cosignatures of the witnesses in force, by name; None: none was signed."""
    note = note_at(connection, size)
    if note is None:
        return None
    names = select(witness.c.name).where(witness.c.removed_at.is_(None))
    query = (
        select(cosignature.c.line)
        .where(cosignature.c.size == size, cosignature.c.witness.in_(names))
        .order_by(cosignature.c.witness)
    )
    return note + "".join(connection.execute(query).scalars())


def newest_cosigned(db: Database) -> str:
    """The newest checkpoint, with the cosignatures that it has so far."""
    with db.read() as connection:
        size = connection.execute(select(func.max(checkpoint.c.size))).scalar_one()
        return cosigned_note(connection, size) or log.newest_note(connection)


def newest_witnessed(connection: Connection) -> str | None:
    """The newest checkpoint that enough witnesses cosigned, with their cosignatures; None where there is none."""
    size = witnessed_size(connection)
    return None if size is None else cosigned_note(connection, size)


def load_witnesses(db: Database) -> Witnesses:
    """Everything about witnesses, for the log's page and the command line."""
    with db.read() as connection:
        newest = int(connection.execute(select(func.max(checkpoint.c.size))).scalar_one())
        rows = tuple(_rows(connection, newest))
        accepted = {row.key_line for row in rows if row.removed_at is None}
        offers = connection.execute(
            select(station.c.id, station.c.witness_key).where(station.c.witness_key.is_not(None)).order_by(station.c.id)
        )
        offered = tuple((r.id, r.witness_key) for r in offers if r.witness_key not in accepted)
        size = witnessed_size(connection)
        return Witnesses(needed_now(connection), rows, offered, _refusing(connection), size, _alarms(connection))


def _rows(connection: Connection, newest: int) -> list[WitnessRow]:
    last = (
        select(cosignature.c.witness, func.max(cosignature.c.size).label("size"))
        .group_by(cosignature.c.witness)
        .subquery()
    )
    query = (
        select(witness, witness_state, last.c.size, cosignature.c.cosigned_at)
        .join(witness_state, witness_state.c.witness == witness.c.name, isouter=True)
        .join(last, last.c.witness == witness.c.name, isouter=True)
        .join(
            cosignature, (cosignature.c.witness == witness.c.name) & (cosignature.c.size == last.c.size), isouter=True
        )
        .order_by(witness.c.name)
    )
    return [
        WitnessRow(
            r.name, parse_witness_line(r.key_line).label, r.key_line, r.station, r.url, r.added_at, r.removed_at,
            r.size, r.cosigned_at, newest - (r.size or 0), r.heard_at, r.alarm, r.alarm_size, r.alarm_at,
        )
        for r in connection.execute(query)
    ]  # fmt: skip


def _alarms(connection: Connection) -> tuple[Alarmed, ...]:
    query = (
        select(witness_state)
        .join(witness, witness.c.name == witness_state.c.witness, isouter=True)
        .where(witness_state.c.alarm.is_not(None), witness.c.removed_at.is_(None))
        .order_by(witness_state.c.witness)
    )
    return tuple(
        Alarmed(r.witness, r.alarm, r.alarm_size or 0, datetime.fromisoformat(r.alarm_at))
        for r in connection.execute(query)
    )


def _refusing(connection: Connection) -> tuple[str, ...]:
    """Stations whose last word on the log is that they refuse it."""
    kinds = (LogRefused.TYPE, LogCleared.TYPE)
    query = (
        select(log_entry.c.source, log_entry.c.event_type)
        .where(log_entry.c.event_type.in_(kinds), log_entry.c.source != log.HUB_SOURCE)
        .order_by(log_entry.c.idx)
    )
    last = {row.source: row.event_type for row in connection.execute(query)}
    return tuple(sorted(name for name, kind in last.items() if kind == LogRefused.TYPE))
