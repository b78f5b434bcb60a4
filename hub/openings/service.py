"""Removing a person's detail from beside the log: asked for by one account, done by another. The log itself stays.

Each function is one transaction and one event. From the second on the values are gone for good: the rows are emptied,
and a resend, a refill or a restored backup brings nothing back once this event is in the log again. The stations that
stated the entries are told by a command in the same transaction: they forget too.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from custody.commandbody import OpeningsForgotten
from custody.commitments import committed
from custody.envelope import parse_envelope
from custody.hubevents import MAX_REMOVED_ENTRIES, OpeningRemovalRequested, OpeningRemoved, RemovalReason
from hub import log
from hub.access import BUREAU, Action, Actor, Subject, may
from hub.accounts import codes
from hub.commands.service import issue_own
from hub.db import Database
from hub.errors import Invalid, NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.openings.rows import empty_openings, overwrite_removed
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.tables import log_entry, opening, opening_removal
from hub.times import now_utc, to_text

logger = logging.getLogger("hub.openings")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which openings: those with this value, of entries received before a time, of these entries; all that is set."""

    field: str
    value: str | None = None
    before: str | None = None  # as `received_at` is written
    entries: tuple[int, ...] | None = None


def request_removal(
    db: Database, keys: HubKeys, actor: Actor, choice: Choice, reason: RemovalReason
) -> tuple[str, int]:
    """Ask for the removal of what fits now, the oldest `MAX_REMOVED_ENTRIES` at most; its id, and how many entries.

    Raises NotAllowed, Invalid for a choice of everything, NotFound when nothing fits.
    """
    if not may(actor, Action.REQUEST_OPENING_REMOVAL, BUREAU):
        raise NotAllowed
    if choice.value is None and choice.before is None and choice.entries is None:
        raise Invalid("say whose value, before which day, or of which entries")
    now = now_utc()
    removal_id = new_id(now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        found = _find(tx, choice)
        if not found:
            raise NotFound("no entry of the log with such a commitment fits, or its value was removed already")
        facts = {"field": choice.field, "reason": reason, "requested_by": actor.name}
        entries.record(OpeningRemovalRequested, removal_id=removal_id, entries=found, **facts)
        row = {"id": removal_id, "entries": json.dumps(found), "requested_at": to_text(now), **facts}
        tx.execute(insert(opening_removal).values(**row))
    return removal_id, len(found)


def approve_removal(db: Database, keys: HubKeys, actor: Actor, removal_id: str, totp: str | None = None) -> int:
    """Be the second person: the values are gone when this returns, from the database's files too; of how many entries.

    `totp`: a code of theirs, which pages ask for. Raises NotFound, NotOpenAnyMore, SecondPersonNeeded, NotAllowed, and
    what `codes.check_code` raises. A crash after the commit leaves old bytes in the
    database's WAL until its next checkpoint; no reader sees them.
    """
    now = now_utc()
    with db.read() as connection:
        _approvable(connection, actor, removal_id)
    step = None if totp is None else codes.check_code(db, actor.name, totp, now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if step is not None:
            codes.use_code(tx, actor.name, step)
        row = _approvable(tx, actor, removal_id)
        removed = tuple(json.loads(row.entries))
        index = entries.record(
            OpeningRemoved, removal_id=removal_id, field=row.field, entries=removed, reason=row.reason,
            requested_by=row.requested_by, approved_by=actor.name,
        )  # fmt: skip
        done = {"approved_by": actor.name, "removed_at": to_text(now), "removed_index": index}
        tx.execute(update(opening_removal).where(opening_removal.c.id == removal_id).values(**done))
        empty_openings(tx, row.field, removed, index)
        for station, seqs in _stated_by(tx, removed).items():  # each has them still, for up to 90 days
            issue_own(tx, entries, keys.commands, station, OpeningsForgotten(removal_id=removal_id, seqs=seqs), now)
    if not overwrite_removed(db):
        logger.warning("removed_values_in_wal until=next_checkpoint")
    return len(removed)


def _approvable(tx: Connection, actor: Actor, removal_id: str) -> Any:
    row = tx.execute(select(opening_removal).where(opening_removal.c.id == removal_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such request")
    if row.approved_by is not None:
        raise NotOpenAnyMore
    if actor.name == row.requested_by:
        raise SecondPersonNeeded
    if not may(actor, Action.APPROVE_OPENING_REMOVAL, Subject(requested_by=row.requested_by)):
        raise NotAllowed
    return row


def _stated_by(tx: Connection, indexes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The stations that stated these entries, each with their numbers in its chain, rising."""
    query = select(log_entry.c.source, log_entry.c.seq).where(log_entry.c.idx.in_(indexes))
    query = query.where(log_entry.c.source != log.HUB_SOURCE)  # of recordings' labels: no station ever had them
    found: dict[str, list[int]] = {}
    for source, seq in tx.execute(query.order_by(log_entry.c.source, log_entry.c.seq)):
        found.setdefault(source, []).append(seq)
    return {source: tuple(seqs) for source, seqs in found.items()}


def list_removals(db: Database) -> list[dict[str, Any]]:
    """All removals and requests, oldest first."""
    with db.read() as connection:
        return [
            dict(row._mapping) for row in connection.execute(select(opening_removal).order_by(opening_removal.c.id))
        ]


def removal_rows(event: OpeningRemovalRequested | OpeningRemoved, index: int, received_at: str) -> dict[str, Any]:
    """Columns of `opening_removal` that follow from an event."""
    row: dict[str, Any] = {
        "id": event.removal_id, "field": event.field, "entries": json.dumps(event.entries), "reason": event.reason,
        "requested_by": event.requested_by,
    }  # fmt: skip
    if isinstance(event, OpeningRemovalRequested):
        return row | {"requested_at": received_at}
    return row | {"approved_by": event.approved_by, "removed_at": received_at, "removed_index": index}


def write_removal(
    tx: Connection, event: OpeningRemovalRequested | OpeningRemoved, index: int, received_at: str
) -> None:
    """Write again what the hub wrote when it stated this, and take away again what it took away."""
    row = removal_rows(event, index, received_at)
    if isinstance(event, OpeningRemovalRequested):
        tx.execute(insert(opening_removal).values(**row))
        return
    tx.execute(update(opening_removal).where(opening_removal.c.id == event.removal_id).values(**row))
    empty_openings(tx, event.field, event.entries, index)


def _find(tx: Connection, choice: Choice) -> tuple[int, ...]:
    """Entries whose opening fits and is held; named entries count without one too, if they commit to the field."""
    c = opening.c
    if choice.entries is not None and choice.value is None:
        return tuple(index for index in sorted(set(choice.entries)) if _commits(tx, index, choice))
    query = select(c.log_index).where(c.field == choice.field, c.value.is_not(None))
    if choice.value is not None:
        query = query.where(c.value == choice.value.encode())
    if choice.before is not None:
        query = query.join(log_entry, log_entry.c.idx == c.log_index).where(log_entry.c.received_at < choice.before)
    if choice.entries is not None:
        query = query.where(c.log_index.in_(choice.entries))
    return tuple(tx.execute(query.order_by(c.log_index).limit(MAX_REMOVED_ENTRIES)).scalars())


def _commits(tx: Connection, index: int, choice: Choice) -> bool:
    """Whether entry `index` holds a commitment to the field that nobody has removed yet."""
    row = tx.execute(
        select(log_entry.c.envelope, log_entry.c.received_at).where(log_entry.c.idx == index)
    ).one_or_none()
    if row is None or (choice.before is not None and row.received_at >= choice.before):
        return False
    c = opening.c
    gone = select(c.removed_index).where(c.log_index == index, c.field == choice.field, c.removed_index.is_not(None))
    _, commitments = committed(parse_envelope(bytes(row.envelope)))
    return choice.field in commitments and tx.execute(gone).first() is None
