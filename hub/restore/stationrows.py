"""Rows of stations and their enrolment, written again when a lost part of the log comes back."""

from __future__ import annotations

from typing import assert_never

from sqlalchemy import Connection, insert, update

from custody.hubevents import (
    KeyRevocationRequested,
    KeyRevoked,
    StationEnrolled,
    StationEnrolledV2,
    StationEnrolmentRefused,
    StationEnrolmentRequested,
    StationFrozen,
)
from hub.stations.derived import AboutStation, asked_for, carried_out, decision
from hub.stations.service import insert_station
from hub.tables import station, station_request, station_revocation


def write_station_rows(tx: Connection, event: AboutStation, index: int, received_at: str) -> None:
    """Write what the hub wrote when it stated `event` at this log index."""
    match event:
        case StationEnrolled(station=name, key_line=line):
            insert_station(tx, name, line, received_at)
            if isinstance(event, StationEnrolledV2) and event.request_id is not None:
                _decide(tx, event, received_at)
        case StationEnrolmentRequested():
            names = ("station", "key_line", "requested_by")
            asked = {name: getattr(event, name) for name in names}
            tx.execute(insert(station_request).values(id=event.request_id, requested_at=received_at, **asked))
        case StationEnrolmentRefused():
            _decide(tx, event, received_at)
        case StationFrozen(station=name, reason=reason):
            frozen = {"frozen_at": received_at, "frozen_reason": reason}
            tx.execute(update(station).where(station.c.id == name).values(frozen))
        case KeyRevocationRequested():
            tx.execute(insert(station_revocation).values(**asked_for(event, received_at)))
        case KeyRevoked(station=name):
            this = update(station_revocation).where(station_revocation.c.id == event.change_id)
            tx.execute(this.values(**carried_out(event, index, received_at)))
            tx.execute(update(station).where(station.c.id == name).values(revoked_at=received_at))
        case _:
            assert_never(event)


def _decide(tx: Connection, event: StationEnrolledV2 | StationEnrolmentRefused, received_at: str) -> None:
    this = update(station_request).where(station_request.c.id == event.request_id)
    tx.execute(this.values(**decision(event, received_at)))
