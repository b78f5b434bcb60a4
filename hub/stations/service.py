"""Enrolling stations: each function is one transaction and one event in the log."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from custody.checkpoint import parse_key_line
from custody.errors import FormatError, KeyInvalid
from custody.event import NO_PREVIOUS
from custody.hubevents import StationEnrolledV2, StationFrozen
from custody.topics import check_station_id
from hub import log
from hub.access import BUREAU, Action, Actor, may
from hub.db import Database
from hub.errors import Conflict, Invalid, NotFound
from hub.keys import HubKeys
from hub.problems import NotAllowed
from hub.tables import station, station_key
from hub.times import now_utc, to_text


def enrol_station(db: Database, keys: HubKeys, key_line: str, operator: str = "command line") -> str:
    """Accept a station's key and return its id, which is the key's name. Enrolling the same key again changes nothing.

    One person does it, on the hub's computer (`operator`: their account there), and the log says so: for the first
    station, and for trying the hub. Otherwise: `hub.stations.enrolment`.

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
        insert_station(tx, key.name, key.line, to_text(now))
        entries.record(
            StationEnrolledV2, station=key.name, key_line=key.line, request_id=None, requested_by=operator,
            approved_by=None,
        )  # fmt: skip
    return key.name


def insert_station(tx: Connection, name: str, key_line: str, enrolled_at: str) -> None:
    """The rows of a station that has said nothing yet."""
    row = {"id": name, "key_line": key_line, "enrolled_at": enrolled_at, "last_seq": 0, "last_hash": NO_PREVIOUS}
    tx.execute(insert(station).values(**row))
    tx.execute(insert(station_key).values(station=name, first_seq=1, key_line=key_line))


def freeze_station(db: Database, keys: HubKeys, actor: Actor, name: str, reason: str) -> None:
    """Take nothing more from a station until people have looked: its key was stolen, or may have been.

    One person may, for it only protects. Raises NotAllowed, NotFound, Conflict when it is frozen, Invalid.
    """
    if not may(actor, Action.FREEZE_STATION, BUREAU):
        raise NotAllowed
    if not 0 < len(reason) <= 200 or not reason.isprintable():
        raise Invalid("a reason is 1 to 200 printable characters")
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = tx.execute(select(station).where(station.c.id == name)).one_or_none()
        if row is None:
            raise NotFound(f"no station {name} is enrolled")
        if row.frozen_at is not None:
            raise Conflict(f"station {name} is frozen already: {row.frozen_reason}")
        said = f"{reason} ({actor.name})"
        entries.record(
            StationFrozen, station=name, reason=said, station_seq=row.last_seq, envelope_sha256=row.last_hash
        )
        tx.execute(update(station).where(station.c.id == name).values(frozen_at=to_text(now), frozen_reason=said))
