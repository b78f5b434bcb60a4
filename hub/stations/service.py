"""Enrolling stations: each function is one transaction and one event in the log."""

from __future__ import annotations

from sqlalchemy import insert, select

from custody.checkpoint import parse_key_line
from custody.errors import FormatError, KeyInvalid
from custody.event import NO_PREVIOUS
from custody.hubevents import StationEnrolled
from custody.topics import check_station_id
from hub import log
from hub.db import Database
from hub.errors import Conflict, Invalid
from hub.keys import HubKeys
from hub.tables import station
from hub.times import now_utc, to_text


def enrol_station(db: Database, keys: HubKeys, key_line: str) -> str:
    """Accept a station's key and return its id, which is the key's name. Enrolling the same key again changes nothing.

    Raises Invalid for a malformed key line, Conflict when the id has another key.
    """
    try:
        key = parse_key_line(key_line)
        check_station_id(key.name)
    except (KeyInvalid, FormatError) as error:
        raise Invalid(str(error)) from None
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        held = tx.execute(select(station.c.key_line).where(station.c.id == key.name)).scalar_one_or_none()
        if held == key.line:
            return key.name
        if held is not None:
            raise Conflict(f"station {key.name} is enrolled with another key; give the new station another id")
        tx.execute(
            insert(station).values(
                id=key.name, key_line=key.line, enrolled_at=to_text(now), last_seq=0, last_hash=NO_PREVIOUS
            )
        )
        entries.record(StationEnrolled, station=key.name, key_line=key.line)
    return key.name
