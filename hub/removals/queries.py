"""Revocations of keys and removals of personal detail, asked for and done, as one list."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select

from hub.tables import opening_removal, station, station_revocation, witness, witness_removal
from hub.times import from_text

MAX_ROWS = 200  # of each kind, the newest


@dataclass(frozen=True, slots=True)
class Removal:
    """One of them. `kind`: stations, witnesses or details.

    `what`: the station or witness; "" for personal detail, which is told by its `count` of entries alone. `waits`:
    nobody has decided, and no newer request took its place.
    """

    kind: str
    id: str
    what: str
    key: str
    count: int
    from_seq: int | None
    reason: str  # words; of personal detail a code
    requested_by: str
    requested_at: datetime | None
    approved_by: str | None
    approved_at: datetime | None
    waits: bool


def load_removals(connection: Connection) -> list[Removal]:
    """All kinds, newest first."""
    revoked = _rows(connection, station_revocation)
    found = [_key("stations", row, row.station, row.from_seq, row.revoked_at) for row in revoked]
    found += [_key("witnesses", row, row.witness, None, row.removed_at) for row in _rows(connection, witness_removal)]
    for row in _rows(connection, opening_removal):
        count = len(json.loads(row.entries))
        times = from_text(row.requested_at), row.approved_by, from_text(row.removed_at)
        waits = row.approved_by is None
        found.append(Removal("details", row.id, "", "", count, None, row.reason, row.requested_by, *times, waits))
    return _newest_wait(sorted(found, key=lambda one: one.id, reverse=True))


def station_names(connection: Connection) -> tuple[str, ...]:
    """Stations whose key counts."""
    rows = select(station.c.id).where(station.c.revoked_at.is_(None)).order_by(station.c.id)
    return tuple(connection.execute(rows).scalars())


def witness_names(connection: Connection) -> tuple[str, ...]:
    """Witnesses whose key counts."""
    rows = select(witness.c.name).where(witness.c.removed_at.is_(None)).order_by(witness.c.name)
    return tuple(connection.execute(rows).scalars())


def _rows(connection: Connection, table: Table) -> list[Any]:
    return list(connection.execute(select(table).order_by(table.c.id.desc()).limit(MAX_ROWS)))


def _key(kind: str, row: Any, what: str, from_seq: int | None, done_at: str | None) -> Removal:
    times = from_text(row.requested_at), row.approved_by, from_text(done_at)
    waits = row.approved_by is None
    return Removal(kind, row.id, what, row.key_line, 0, from_seq, row.reason, row.requested_by, *times, waits)


def _newest_wait(rows: list[Removal]) -> list[Removal]:
    """The rows; of requests about one key only the newest waits."""
    seen: set[tuple[str, str]] = set()
    found = []
    for one in rows:
        place = (one.kind, one.what)
        newest = one.kind == "details" or place not in seen
        found.append(replace(one, waits=one.waits and newest))
        seen.add(place)
    return found
