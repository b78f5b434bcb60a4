"""Enrolment by two people: one asks with the station's key line, another enters the code that the dock shows.

The second never sees the code here: it has to come from the station, by voice or by eye. Each function that changes
something is one transaction and one event in the log. See custody/enrolment.py for what the code stops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from custody.checkpoint import VerifyKey, parse_key_line
from custody.enrolment import comparison_code, same_code
from custody.errors import FormatError, KeyInvalid
from custody.hubevents import StationEnrolledV2, StationEnrolmentRefused, StationEnrolmentRequested
from custody.topics import check_station_id
from hub import log
from hub.access import BUREAU, Action, Actor, Subject, may, may_ever
from hub.accounts import codes
from hub.accounts.changes import DECIDED, OWN_REQUEST
from hub.accounts.people import ChangeRefused
from hub.db import Database
from hub.errors import NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.language import mark
from hub.problems import NotAllowed
from hub.stations.service import insert_station
from hub.tables import station, station_request
from hub.times import to_text

# what `dock-agent enrol --hub-NAME-key` calls it, and its role; in the order of the code
PINNED = (("log", "log"), ("receipt", "receipts"), ("command", "commands"))
BAD_LINE = mark("This is not a station's key line. Copy the whole line that dock-agent enrol printed.")
ENROLLED_ALREADY = mark("A station of this name is enrolled already.")
WAITS_ALREADY = mark("A request for a station of this name waits already.")
OTHER_CODE = mark(
    "This is not the code of these keys. Have it read again at the dock. If it still differs, a key was exchanged on "
    "the way: refuse the request, tell the auditor, and carry the key lines again."
)


@dataclass(frozen=True, slots=True)
class StationRequest:
    """A station's key that somebody wants accepted."""

    id: str
    station: str
    key_line: str
    requested_by: str
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    approved: bool | None


def code_of(key_line: str, hub_lines: Mapping[str, str]) -> str:
    """The code of this station's key and those of the hub's, by role, that a station pins; 0.1 s."""
    return comparison_code(key_line, *(hub_lines[role] for _, role in PINNED))


def list_requests(db: Database, *, waiting: bool, limit: int = 50) -> list[StationRequest]:
    """Requests that wait, oldest first; or those that were decided, newest first."""
    decided = station_request.c.decided_at
    query = select(station_request).limit(limit)
    if waiting:
        query = query.where(decided.is_(None)).order_by(station_request.c.requested_at)
    else:
        query = query.where(decided.is_not(None)).order_by(decided.desc())
    with db.read() as connection:
        return [_request(row) for row in connection.execute(query)]


def ask_enrolment(db: Database, keys: HubKeys, actor: Actor, key_line: str, now: datetime) -> StationRequest:
    """State in the log that this key shall be accepted. Raises NotAllowed, ChangeRefused."""
    if not may(actor, Action.ENROL_STATION, BUREAU):
        raise NotAllowed
    key = _station_key(key_line)
    request = StationRequest(new_id(now), key.name, key.line, actor.name, now, None, None, None)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        _check_free(tx, key.name)
        open_one = select(station_request.c.id).where(
            station_request.c.station == key.name, station_request.c.decided_at.is_(None)
        )
        if tx.execute(open_one).first() is not None:
            raise ChangeRefused(WAITS_ALREADY)
        facts = {"station": key.name, "key_line": key.line, "requested_by": actor.name}
        tx.execute(insert(station_request).values(id=request.id, requested_at=to_text(now), **facts))
        entries.record(StationEnrolmentRequested, request_id=request.id, **facts)
    return request


def approve_enrolment(
    db: Database, keys: HubKeys, actor: Actor, request_id: str, typed: str, totp: str, now: datetime
) -> StationRequest:
    """Accept the key: `typed` is the code that the dock shows, `totp` one of the approver's authenticator.

    Raises NotAllowed, NotFound, ChangeRefused, and what `codes.check_code` raises. From the commit on intake takes in
    what this key signed.
    """
    if not may_ever(actor, Action.APPROVE_ENROLMENT):
        raise NotAllowed
    request = _load(db, request_id)
    if not may(actor, Action.APPROVE_ENROLMENT, Subject(requested_by=request.requested_by)):
        raise ChangeRefused(OWN_REQUEST)
    if not same_code(typed, code_of(request.key_line, keys.lines)):
        raise ChangeRefused(OTHER_CODE)
    step = codes.check_code(db, actor.name, totp, now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        codes.use_code(tx, actor.name, step)
        request = _decide(tx, request, actor.name, now, approved=True)
        _check_free(tx, request.station)
        insert_station(tx, request.station, request.key_line, to_text(now))
        entries.record(
            StationEnrolledV2, station=request.station, key_line=request.key_line, request_id=request.id,
            requested_by=request.requested_by, approved_by=actor.name,
        )  # fmt: skip
    return request


def refuse_enrolment(db: Database, keys: HubKeys, actor: Actor, request_id: str, now: datetime) -> None:
    """Refuse a request, or withdraw one's own. Raises NotAllowed, NotFound, ChangeRefused when it was decided."""
    if not may(actor, Action.ENROL_STATION, BUREAU):
        raise NotAllowed
    request = _load(db, request_id)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        _decide(tx, request, actor.name, now, approved=False)
        entries.record(StationEnrolmentRefused, request_id=request.id, station=request.station, decided_by=actor.name)


def _station_key(key_line: str) -> VerifyKey:
    try:
        key = parse_key_line(key_line.strip())
        check_station_id(key.name)
    except (KeyInvalid, FormatError):
        raise ChangeRefused(BAD_LINE) from None
    return key


def _check_free(tx: Connection, name: str) -> None:
    if tx.execute(select(station.c.id).where(station.c.id == name)).first() is not None:
        raise ChangeRefused(ENROLLED_ALREADY)


def _load(db: Database, request_id: str) -> StationRequest:
    with db.read() as connection:
        row = connection.execute(select(station_request).where(station_request.c.id == request_id)).one_or_none()
    if row is None:
        raise NotFound("no such request")
    return _request(row)


def _decide(tx: Connection, request: StationRequest, by: str, now: datetime, *, approved: bool) -> StationRequest:
    done = tx.execute(
        update(station_request)
        .where(station_request.c.id == request.id, station_request.c.decided_at.is_(None))
        .values(decided_by=by, decided_at=to_text(now), approved=approved)
    )
    if done.rowcount != 1:
        raise ChangeRefused(DECIDED)
    return replace(request, decided_by=by, decided_at=now, approved=approved)


def _request(row: Any) -> StationRequest:
    return StationRequest(
        row.id, row.station, row.key_line, row.requested_by, datetime.fromisoformat(row.requested_at), row.decided_by,
        None if row.decided_at is None else datetime.fromisoformat(row.decided_at), row.approved,
    )  # fmt: skip
