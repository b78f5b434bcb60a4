"""Marks of secrecy (Art. 18): raised by one person at once, lowered by two; and who may know what is restricted.

Each function is one transaction and one event. Whoever marks a recording first is the one who knows it; others are let
in by a section head or an approving leader, nobody by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from custody.hubevents import (
    RecordingKnowingChanged,
    RecordingMarkDecided,
    RecordingMarked,
    RecordingMarkRequested,
)
from hub import log
from hub.access import Action, Actor, Subject, may, may_ever
from hub.accounts import codes
from hub.db import Database
from hub.errors import Invalid, NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.language import mark
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.recordings.labelling import checked
from hub.recordings.standing import MARKS, rank
from hub.recordings.states import read_standings, refresh
from hub.sections import recording_subjects
from hub.tables import account, mark_request
from hub.times import from_text, to_text

REASONS = ("marked_wrongly", "no_longer_secret", "period_over")
NOT_HIGHER = mark("Nothing was changed: a mark is only raised here. Lowering one is asked for, and decided by another.")
NOT_LOWER = mark("Nothing was asked for: the mark must be lower than that of each recording, with a reason.")
NO_ACCOUNT = mark("Nothing was changed: there is no such account that may know recordings.")
NOT_RESTRICTED = mark("Nothing was changed: this is no restricted recording.")


@dataclass(frozen=True, slots=True)
class MarkRequest:
    """A lower mark that was asked for. `may_*`: this reader."""

    id: str
    recordings: tuple[int, ...]
    mark: str
    reason: str
    requested_by: str
    requested_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None
    approved: bool | None
    may_approve: bool
    may_refuse: bool


def raise_mark(
    db: Database, keys: HubKeys, actor: Actor, recordings: Sequence[int], to: str, now: datetime
) -> tuple[int, ...]:
    """Give recordings a mark, higher than what each has. Raises NotFound, NotAllowed, Invalid."""
    if to not in MARKS[1:]:
        raise Invalid(NOT_HIGHER)
    with db.begin() as tx:
        with log.appending(tx, keys, now) as entries:
            wanted = checked(tx, actor, Action.MARK_RECORDINGS, recordings)
            standings = read_standings(tx, wanted)
            if any(rank(one.mark) >= rank(to) for one in standings.values()):
                raise Invalid(NOT_HIGHER)
            entries.record(RecordingMarked, recordings=wanted, mark=to, account=actor.name)
        refresh(tx, wanted)
    return wanted


def change_knowing(
    db: Database, keys: HubKeys, actor: Actor, recordings: Sequence[int], name: str, *, may_know: bool, now: datetime
) -> None:
    """Let an account know restricted recordings, or no more.

    Raises NotFound, NotAllowed (also for oneself), Invalid with a marked message.
    """
    with db.begin() as tx:
        with log.appending(tx, keys, now) as entries:
            wanted = tuple(sorted(set(recordings)))
            subjects = recording_subjects(tx, wanted)
            if not wanted or len(subjects) < len(wanted):
                raise NotFound
            theirs = [_about(one, name) for one in subjects.values()]
            if not all(may(actor, Action.SEE_RECORDINGS, one) for one in theirs):  # were they not restricted
                raise NotFound
            if not all(may(actor, Action.CHANGE_KNOWING, one) for one in theirs):
                raise NotAllowed
            if any(one.known_to is None for one in subjects.values()):
                raise Invalid(NOT_RESTRICTED)
            if may_know and tx.execute(_OPEN.where(account.c.name == name)).first() is None:
                raise Invalid(NO_ACCOUNT)
            facts: dict[str, Any] = {"account": name, "may_know": may_know, "decided_by": actor.name}
            entries.record(RecordingKnowingChanged, recordings=wanted, **facts)
        refresh(tx, wanted)


_OPEN = select(account.c.name).where(account.c.disabled_at.is_(None))


def _about(subject: Subject, name: str) -> Subject:
    return Subject(subject.sections, subject.officer, about=name)


def request_lower(
    db: Database, keys: HubKeys, actor: Actor, recordings: Sequence[int], to: str, reason: str, now: datetime
) -> str:
    """Ask that recordings carry a lower mark; the request's id. Raises NotFound, NotAllowed, Invalid."""
    if to not in MARKS or reason not in REASONS:
        raise Invalid(NOT_LOWER)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        wanted = checked(tx, actor, Action.REQUEST_LOWER_MARK, recordings)
        standings = read_standings(tx, wanted)
        if any(index not in standings or rank(standings[index].mark) <= rank(to) for index in wanted):
            raise Invalid(NOT_LOWER)
        facts: dict[str, Any] = {"request_id": new_id(now), "recordings": wanted, "mark": to}
        facts |= {"reason": reason, "requested_by": actor.name}
        entries.record(RecordingMarkRequested, **facts)
        row = {"id": facts.pop("request_id"), "recordings": json.dumps(facts.pop("recordings"))} | facts
        tx.execute(insert(mark_request).values(**row, requested_at=to_text(now)))
    return str(row["id"])


def approve_lower(db: Database, keys: HubKeys, actor: Actor, request_id: str, code: str, now: datetime) -> None:
    """Be the second person: the lower mark counts at once.

    Raises NotFound, NotOpenAnyMore, SecondPersonNeeded, NotAllowed, and what `codes.check_code` raises.
    """
    with db.read() as connection:
        _check_decider(connection, actor, request_id)
    step = codes.check_code(db, actor.name, code, now)
    with db.begin() as tx:
        with log.appending(tx, keys, now) as entries:
            row = _check_decider(tx, actor, request_id)
            codes.use_code(tx, actor.name, step)
            recordings = _decide(tx, entries, actor, row, now, approved=True)
        refresh(tx, recordings)


def refuse_lower(db: Database, keys: HubKeys, actor: Actor, request_id: str, now: datetime) -> None:
    """End a request: refused by whoever could approve it, withdrawn by whoever asked. Raises as `approve_lower`."""
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = _open_request(tx, actor, request_id)
        if actor.name != row.requested_by and not may(actor, Action.APPROVE_LOWER_MARK, _asked(row)):
            raise NotAllowed
        _decide(tx, entries, actor, row, now, approved=False)


def list_requests(db: Database, actor: Actor, limit: int = 100) -> tuple[MarkRequest, ...]:
    """Requests that `actor` made or may decide, those that wait first, then the newest."""
    c = mark_request.c
    query = select(mark_request).order_by(c.decided_at.is_not(None), c.id.desc()).limit(limit)
    if not may_ever(actor, Action.APPROVE_LOWER_MARK):
        query = query.where(c.requested_by == actor.name)
    with db.read() as connection:
        return tuple(_request(row, actor) for row in connection.execute(query))


def _request(row: Any, actor: Actor) -> MarkRequest:
    waits, own = row.decided_at is None, row.requested_by == actor.name
    decides = waits and may(actor, Action.APPROVE_LOWER_MARK, _asked(row))
    return MarkRequest(
        row.id, tuple(json.loads(row.recordings)), row.mark, row.reason, row.requested_by,
        from_text(row.requested_at), row.decided_by, from_text(row.decided_at), row.approved,
        may_approve=decides, may_refuse=decides or (waits and own),
    )  # fmt: skip


def _asked(row: Any) -> Subject:
    return Subject(requested_by=row.requested_by)


def _open_request(connection: Connection, actor: Actor, request_id: str) -> Any:
    row = connection.execute(select(mark_request).where(mark_request.c.id == request_id)).one_or_none()
    if row is None or not (row.requested_by == actor.name or may_ever(actor, Action.APPROVE_LOWER_MARK)):
        raise NotFound
    if row.decided_at is not None:
        raise NotOpenAnyMore
    return row


def _check_decider(connection: Connection, actor: Actor, request_id: str) -> Any:
    row = _open_request(connection, actor, request_id)
    if row.requested_by == actor.name:
        raise SecondPersonNeeded
    if not may(actor, Action.APPROVE_LOWER_MARK, _asked(row)):
        raise NotAllowed
    return row


def _decide(
    tx: Connection, entries: log.Appender, actor: Actor, row: Any, now: datetime, *, approved: bool
) -> tuple[int, ...]:
    recordings = tuple(json.loads(row.recordings))
    facts: dict[str, Any] = {"request_id": row.id, "recordings": recordings, "mark": row.mark}
    entries.record(RecordingMarkDecided, **facts, approved=approved, decided_by=actor.name)
    decided = {"decided_by": actor.name, "decided_at": to_text(now), "approved": approved}
    tx.execute(update(mark_request).where(mark_request.c.id == row.id).values(**decided))
    return recordings
