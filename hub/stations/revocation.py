"""Revoking a station's key: requested by one account, approved by another; each is one transaction and one event.

From the entry after `key.revoked.v1` on nothing of this station is taken in, under any key. What was logged before
stays as it is; its events from `from_seq` on are named as in doubt by whoever verifies.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, desc, insert, select, update

from custody.hubevents import KeyRevocationRequested, KeyRevoked
from hub import log
from hub.access import BUREAU, Action, Actor, Subject, may
from hub.accounts import codes
from hub.db import Database
from hub.errors import Conflict, Invalid, NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.tables import station, station_revocation
from hub.times import now_utc, to_text


def request_revocation(
    db: Database, keys: HubKeys, actor: Actor, name: str, reason: str, from_seq: int | None = None
) -> str:
    """Ask that the key of this station count no more; the request's id.

    `from_seq`: from which of its logged events on nothing is to be trusted; None: all that is logged is. Raises
    NotAllowed, NotFound, Conflict when it is revoked, Invalid.
    """
    if not may(actor, Action.REQUEST_KEYS, BUREAU):
        raise NotAllowed
    if not 0 < len(reason) <= 200 or not reason.isprintable():
        raise Invalid("a reason is 1 to 200 printable characters")
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = _station(tx, name)
        start = row.last_seq + 1 if from_seq is None else from_seq
        if not 1 <= start <= row.last_seq + 1:
            raise Invalid(f"{name} has stated the events 1 to {row.last_seq}; {from_seq} is none of them")
        facts = {
            "station": name, "key_line": row.key_line, "from_seq": start, "reason": reason, "requested_by": actor.name,
        }  # fmt: skip
        change = new_id(now)
        entries.record(KeyRevocationRequested, change_id=change, **facts)
        tx.execute(insert(station_revocation).values(id=change, requested_at=to_text(now), **facts))
    return change


def approve_revocation(db: Database, keys: HubKeys, actor: Actor, change: str, totp: str | None = None) -> str:
    """Be the second person; the station's id. `totp`: a code of theirs, which pages ask for.

    Raises NotFound, NotOpenAnyMore, SecondPersonNeeded, NotAllowed, Conflict when the key is another one meanwhile, and
    what `codes.check_code` raises.
    """
    now = now_utc()
    with db.read() as connection:
        _approvable(connection, actor, change)
    step = None if totp is None else codes.check_code(db, actor.name, totp, now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if step is not None:
            codes.use_code(tx, actor.name, step)
        request = _approvable(tx, actor, change)
        row = _station(tx, request.station)
        if row.key_line != request.key_line:
            raise Conflict(f"the key of {row.id} was replaced after this was asked for; freeze it and ask again")
        names = ("station", "key_line", "from_seq", "reason", "requested_by")
        facts = {name: getattr(request, name) for name in names}
        index = entries.record(KeyRevoked, change_id=change, last_seq=row.last_seq, approved_by=actor.name, **facts)
        done = {"approved_by": actor.name, "revoked_at": to_text(now), "revoked_index": index}
        tx.execute(update(station_revocation).where(station_revocation.c.id == change).values(**done))
        tx.execute(update(station).where(station.c.id == row.id).values(revoked_at=to_text(now)))
    return str(row.id)


def _station(tx: Connection, name: str) -> Any:
    row = tx.execute(select(station).where(station.c.id == name)).one_or_none()
    if row is None:
        raise NotFound(f"no station {name} is enrolled")
    if row.revoked_at is not None:
        raise Conflict(f"the key of {name} is revoked already")
    return row


def _approvable(tx: Connection, actor: Actor, change: str) -> Any:
    request = _open_request(tx, change)
    if actor.name == request.requested_by:
        raise SecondPersonNeeded
    if not may(actor, Action.APPROVE_KEYS, Subject(requested_by=request.requested_by)):
        raise NotAllowed
    return request


def _open_request(tx: Connection, change: str) -> Any:
    row = tx.execute(select(station_revocation).where(station_revocation.c.id == change)).one_or_none()
    if row is None:
        raise NotFound("there is no such request")
    same = station_revocation.c.station == row.station
    newest = select(station_revocation.c.id).where(same).order_by(desc(station_revocation.c.id)).limit(1)
    if row.approved_by is not None or tx.execute(newest).scalar_one() != change:
        raise NotOpenAnyMore
    return row
