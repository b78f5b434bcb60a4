"""What is known of the stations themselves, for the command line."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from hub.db import Database
from hub.errors import NotFound
from hub.tables import station, station_state


@dataclass(frozen=True, slots=True)
class StationRow:
    """An enrolled station. Times are ISO 8601 text; `online` is None for one that was never heard of."""

    id: str
    key: str
    enrolled_at: str
    frozen_at: str | None
    frozen_reason: str | None
    revoked_at: str | None
    last_seq: int
    last_received_at: str | None
    software: str | None
    online: bool | None


def list_stations(db: Database) -> tuple[StationRow, ...]:
    """All stations by id."""
    query = (
        select(station, station_state.c.online)
        .join(station_state, station_state.c.station == station.c.id, isouter=True)
        .order_by(station.c.id)
    )
    with db.read() as connection:
        return tuple(
            StationRow(
                r.id,
                r.key_line,
                r.enrolled_at,
                r.frozen_at,
                r.frozen_reason,
                r.revoked_at,
                r.last_seq,
                r.last_received_at,
                r.software,
                r.online,
            )
            for r in connection.execute(query)
        )


def show_station(db: Database, name: str) -> StationRow:
    """One station. Raises NotFound."""
    for row in list_stations(db):
        if row.id == name:
            return row
    raise NotFound(f"no station {name} is enrolled")
