"""Which section people and stations belong to, and officers' numbers: asked for by one person, decided by another.

What somebody may see follows from it (hub/access.py), so it changes as a role does. Each function is one transaction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from custody.hubevents import SectionDecided, SectionRequested
from hub import log
from hub.access import Actor
from hub.accounts import changes, codes
from hub.accounts.people import ChangeRefused, check_decider
from hub.db import Database
from hub.errors import NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.language import mark
from hub.tables import account, section_request, station
from hub.times import from_text, to_text

_NAME = re.compile(r"[\w.@-]{0,64}")  # also a level of an MQTT topic

ONE_THING = mark("Choose a person or a station, one of them.")
NO_STATION = mark("No station of this name is enrolled.")
BAD_SECTION = mark("The name of a section is up to 64 letters, digits or . _ @ -, without spaces.")
BAD_NUMBER = mark("An officer's number is up to 64 letters, digits or . _ @ -; a station has none.")
NUMBER_TAKEN = mark("Another account has this officer's number.")
NO_CHANGE = mark("This is how it stands already.")
OPEN_ALREADY = mark("A request about this person or station still waits for a decision.")


@dataclass(frozen=True, slots=True)
class Place:
    """Who or what belongs to which section. `account` or `station` is "", `officer` too unless a person has one."""

    account: str
    station: str
    section: str
    officer: str

    @property
    def name(self) -> str:
        """Of the person or station."""
        return self.account or self.station


@dataclass(frozen=True, slots=True)
class PlaceRequest:
    """A change of a place that was asked for."""

    id: str
    place: Place
    reason: str
    requested_by: str
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    approved: bool | None


def list_places(db: Database) -> tuple[Place, ...]:
    """Every open account, then every station, by name."""
    people = select(account).where(account.c.disabled_at.is_(None)).order_by(account.c.name)
    with db.read() as connection:
        found = [Place(row.name, "", row.section, row.officer) for row in connection.execute(people)]
        stations = connection.execute(select(station.c.id, station.c.section).order_by(station.c.id))
        return (*found, *(Place("", row.id, row.section, "") for row in stations))


def list_requests(db: Database, *, waiting: bool, limit: int = 50) -> tuple[PlaceRequest, ...]:
    """Requests that wait, oldest first; or those that were decided, newest first."""
    decided = section_request.c.decided_at
    query = select(section_request).limit(limit)
    query = (
        query.where(decided.is_(None)).order_by(section_request.c.id)
        if waiting
        else (query.where(decided.is_not(None)).order_by(decided.desc()))
    )
    with db.read() as connection:
        return tuple(_request(row) for row in connection.execute(query))


def ask(db: Database, keys: HubKeys, actor: Actor, place: Place, reason: str, now: datetime) -> None:
    """State the request in the log. Raises ChangeRefused."""
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if fault := _fault(tx, place, reason):
            raise ChangeRefused(fault)
        facts = {
            "account": place.account or None, "station": place.station or None, "section": place.section,
            "officer": place.officer, "reason": reason.strip(), "requested_by": actor.name,
        }  # fmt: skip
        if tx.execute(select(section_request.c.id).where(_waits(place))).first() is not None:
            raise ChangeRefused(OPEN_ALREADY)
        request_id = new_id(now)
        tx.execute(insert(section_request).values(id=request_id, requested_at=to_text(now), **facts))
        entries.record(SectionRequested, request_id=request_id, **facts)


def approve(db: Database, keys: HubKeys, actor: Actor, request_id: str, code: str, now: datetime) -> None:
    """Approve with a code of the decider's authenticator; it takes effect at once.

    Raises NotFound, ChangeRefused, NotAllowed, and what `codes.check_code` raises.
    """
    with db.read() as connection:
        request = _load(connection, request_id)
    check_decider(actor, request.requested_by, request.place.account or None)
    step = codes.check_code(db, actor.name, code, now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        codes.use_code(tx, actor.name, step)
        if fault := _fault(tx, request.place, request.reason):
            raise ChangeRefused(fault)  # things have changed since it was asked for
        _decide(tx, entries, request, actor.name, now, approved=True)
        one = request.place
        place(tx, one.account or None, one.station or None, one.section, one.officer)


def refuse(db: Database, keys: HubKeys, actor: Actor, request_id: str, now: datetime) -> None:
    """Refuse a request, or withdraw one's own. Raises NotFound, ChangeRefused when it was decided already."""
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        _decide(tx, entries, _load(tx, request_id), actor.name, now, approved=False)


def place(tx: Connection, name: str | None, station_id: str | None, section: str, officer: str) -> None:
    """Put an account (with its number) or a station into a section; it holds from the next request on."""
    if name is not None:
        tx.execute(update(account).where(account.c.name == name).values(section=section, officer=officer))
    if station_id is not None:
        tx.execute(update(station).where(station.c.id == station_id).values(section=section))


def _fault(tx: Connection, asked: Place, reason: str) -> str | None:
    """Why this cannot be asked for or done now (a marked message), or None."""
    if not reason.strip():
        return changes.NO_REASON
    if len(reason) > changes.MAX_REASON_CHARACTERS:
        return changes.REASON_TOO_LONG
    if bool(asked.account) == bool(asked.station):
        return ONE_THING
    if not _NAME.fullmatch(asked.section):
        return BAD_SECTION
    if not _NAME.fullmatch(asked.officer) or (asked.station and asked.officer):
        return BAD_NUMBER
    if asked.station:
        held = tx.execute(select(station.c.section).where(station.c.id == asked.station)).scalar_one_or_none()
        return NO_STATION if held is None else NO_CHANGE if held == asked.section else None
    row = tx.execute(select(account).where(account.c.name == asked.account)).one_or_none()
    if row is None:
        return changes.NO_ACCOUNT
    same = account.c.officer == asked.officer, account.c.name != asked.account
    if asked.officer and tx.execute(select(account.c.name).where(*same)).first():
        return NUMBER_TAKEN
    return NO_CHANGE if (row.section, row.officer) == (asked.section, asked.officer) else None


def _waits(asked: Place) -> Any:
    c = section_request.c
    named = c.account == asked.account if asked.account else c.station == asked.station
    return named & c.decided_at.is_(None)


def _load(connection: Connection, request_id: str) -> PlaceRequest:
    row = connection.execute(select(section_request).where(section_request.c.id == request_id)).one_or_none()
    if row is None:
        raise NotFound("no such request")
    return _request(row)


def _decide(
    tx: Connection, entries: log.Appender, request: PlaceRequest, by: str, now: datetime, *, approved: bool
) -> None:
    open_ = section_request.c.id == request.id, section_request.c.decided_at.is_(None)
    decided = {"decided_by": by, "decided_at": to_text(now), "approved": approved}
    if tx.execute(update(section_request).where(*open_).values(**decided)).rowcount != 1:
        raise ChangeRefused(changes.DECIDED)
    one = request.place
    entries.record(
        SectionDecided, request_id=request.id, account=one.account or None, station=one.station or None,
        section=one.section, officer=one.officer, approved=approved, decided_by=by,
    )  # fmt: skip


def _request(row: Any) -> PlaceRequest:
    place = Place(row.account or "", row.station or "", row.section, row.officer)
    at = datetime.fromisoformat(row.requested_at)
    return PlaceRequest(
        row.id, place, row.reason, row.requested_by, at, row.decided_by, from_text(row.decided_at), row.approved
    )
