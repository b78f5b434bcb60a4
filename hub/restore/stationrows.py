"""Rows of stations and their enrolment, written again when a lost part of the log comes back."""

from __future__ import annotations

from typing import assert_never

from sqlalchemy import Connection, insert, update

from custody.hubevents import (
    StationEnrolled,
    StationEnrolledV2,
    StationEnrolmentRefused,
    StationEnrolmentRequested,
    StationFrozen,
)
from hub.stations.derived import AboutStation, decision
from hub.stations.service import insert_station
from hub.tables import station, station_request


def write_station_rows(tx: Connection, event: AboutStation, received_at: str) -> None:
    """Write what the hub wrote when it stated `event`."""
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
        case _:
            assert_never(event)


def _decide(tx: Connection, event: StationEnrolledV2 | StationEnrolmentRefused, received_at: str) -> None:
    this = update(station_request).where(station_request.c.id == event.request_id)
    tx.execute(this.values(**decision(event, received_at)))
