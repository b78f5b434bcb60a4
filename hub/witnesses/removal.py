"""Letting a witness's key count no more: requested by one account, approved by another; each is one transaction and one
event. Cosignatures up to then stay and go on proving what they prove.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, desc, insert, select, update

from custody.hubevents import WitnessRemovalRequested, WitnessRemoved, WitnessRemovedV2
from hub import log
from hub.access import BUREAU, Action, Actor, Subject, may
from hub.accounts import codes
from hub.db import Database
from hub.errors import Invalid, NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.tables import witness, witness_removal
from hub.times import now_utc, to_text

FACTS = ("witness", "key_line", "reason", "requested_by")


def request_removal(db: Database, keys: HubKeys, actor: Actor, name: str, reason: str) -> str:
    """Ask that this witness's key count no more; the request's id. Raises NotAllowed, NotFound, Invalid."""
    if not may(actor, Action.REQUEST_KEYS, BUREAU):
        raise NotAllowed
    if not 0 < len(reason) <= 200 or not reason.isprintable():
        raise Invalid("a reason is 1 to 200 printable characters")
    now = now_utc()
    change = new_id(now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        facts = {"witness": name, "key_line": _key_in_force(tx, name), "reason": reason, "requested_by": actor.name}
        entries.record(WitnessRemovalRequested, change_id=change, **facts)
        tx.execute(insert(witness_removal).values(id=change, requested_at=to_text(now), **facts))
    return change


def approve_removal(db: Database, keys: HubKeys, actor: Actor, change: str, totp: str | None = None) -> str:
    """Be the second person; the witness's name. `totp`: a code of theirs, which pages ask for.

    Raises NotFound, NotOpenAnyMore, SecondPersonNeeded, NotAllowed, and what `codes.check_code` raises.
    """
    now = now_utc()
    with db.read() as connection:
        _approvable(connection, actor, change)
    step = None if totp is None else codes.check_code(db, actor.name, totp, now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if step is not None:
            codes.use_code(tx, actor.name, step)
        request = _approvable(tx, actor, change)
        facts = {name: getattr(request, name) for name in FACTS}
        entries.record(WitnessRemovedV2, change_id=change, approved_by=actor.name, **facts)
        done = {"approved_by": actor.name, "removed_at": to_text(now)}
        tx.execute(update(witness_removal).where(witness_removal.c.id == change).values(**done))
        tx.execute(update(witness).where(witness.c.name == request.witness).values(removed_at=to_text(now)))
    return str(request.witness)


def list_removals(db: Database) -> list[dict[str, Any]]:
    """All removals and requests, oldest first."""
    with db.read() as connection:
        rows = connection.execute(select(witness_removal).order_by(witness_removal.c.id))
        return [dict(row._mapping) for row in rows]


def removal_row(event: WitnessRemovalRequested | WitnessRemovedV2, received_at: str) -> dict[str, Any]:
    """The columns of `witness_removal` that follow from an event."""
    row: dict[str, Any] = {"id": event.change_id} | {name: getattr(event, name) for name in FACTS}
    if isinstance(event, WitnessRemovalRequested):
        return row | {"requested_at": received_at}
    return row | {"approved_by": event.approved_by, "removed_at": received_at}


def write_removal(
    tx: Connection, event: WitnessRemovalRequested | WitnessRemovedV2 | WitnessRemoved, received_at: str
) -> None:
    """Write again what the hub wrote when it stated this."""
    if isinstance(event, WitnessRemovalRequested):
        tx.execute(insert(witness_removal).values(**removal_row(event, received_at)))
        return
    tx.execute(update(witness).where(witness.c.name == event.witness).values(removed_at=received_at))
    if isinstance(event, WitnessRemovedV2):
        this = update(witness_removal).where(witness_removal.c.id == event.change_id)
        tx.execute(this.values(**removal_row(event, received_at)))


def _key_in_force(tx: Connection, name: str) -> str:
    counting = (witness.c.name == name) & witness.c.removed_at.is_(None)
    line = tx.execute(select(witness.c.key_line).where(counting)).scalar_one_or_none()
    if line is None:
        raise NotFound(f"没有名为 {name} 的见证方。 / there is no witness {name} in force")
    return str(line)


def _approvable(tx: Connection, actor: Actor, change: str) -> Any:
    row = tx.execute(select(witness_removal).where(witness_removal.c.id == change)).one_or_none()
    if row is None:
        raise NotFound("there is no such request")
    same = witness_removal.c.witness == row.witness
    newest = select(witness_removal.c.id).where(same).order_by(desc(witness_removal.c.id)).limit(1)
    if row.approved_by is not None or tx.execute(newest).scalar_one() != change:
        raise NotOpenAnyMore
    if _key_in_force(tx, row.witness) != row.key_line:
        raise NotOpenAnyMore  # another key has that name meanwhile
    if actor.name == row.requested_by:
        raise SecondPersonNeeded
    if not may(actor, Action.APPROVE_KEYS, Subject(requested_by=row.requested_by)):
        raise NotAllowed
    return row
