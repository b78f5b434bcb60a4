"""Asking to use footage, refusing, withdrawing, revoking, and what became of a copy: each function is one transaction
and one event in the log. The approval is in `hub.requests.approving`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from custody.commandbody import GrantRevoked
from custody.hubevents import MAX_LISTED_RECORDINGS, CopyEnd, CopyEnded, UseDecided, UseRequested, UseRevoked
from hub import log
from hub.access import Action, Actor, Role, may, may_ever
from hub.bundles.selection import load_seals, no_recording
from hub.commands.service import new_row, order_alone
from hub.db import Database, add_rows
from hub.errors import Invalid
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.requests import policy
from hub.requests.digest import recordings_sha256
from hub.requests.policy import Wanted
from hub.requests.queries import now_by_log, read_request, state_now, subject_of
from hub.sections import recording_subjects, seen_recordings
from hub.tables import account, command, use_recording, use_request
from hub.times import to_text

REVOKED_FOR = timedelta(days=366)  # how long a station may be away and still be told that a grant ended


def request_use(db: Database, keys: HubKeys, actor: Actor, wanted: Wanted, now: datetime) -> str:
    """Ask to use recordings; the request's id. The very same asked for again while it waits is one request.

    Raises NotAllowed, Invalid with a marked message, NotFound for something that is no recording for `actor`.
    """
    if wanted.use in policy.USES and not may_ever(actor, policy.action_of(wanted.use)):
        raise NotAllowed
    if fault := policy.fault_of(wanted):
        raise Invalid(fault)
    with db.read() as connection:
        _check_recordings(connection, actor, policy.action_of(wanted.use), wanted.recordings)
        seals = load_seals(connection, wanted.recordings)
    request_id = new_id(now)
    row: dict[str, Any] = {
        "id": request_id, "recordings_sha256": recordings_sha256(wanted.recordings),
        "recordings_in_all": len(wanted.recordings), "bytes_in_all": sum(seal.size_bytes for seal in seals.values()),
        "requested_by": actor.name, "use": wanted.use, "selection": wanted.selection, "holder": wanted.holder,
        "recipient": wanted.recipient, "case_number": wanted.case_number, "reason": wanted.reason,
        "valid_seconds": wanted.valid_seconds,
    }  # fmt: skip
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if wanted.holder is not None:
            check_holder(tx, wanted.holder, wanted.recordings)
        if asked := _same_waiting(tx, row):
            return asked
        _state(entries, row, wanted.recordings)
        tx.execute(insert(use_request).values(**row, requested_at=to_text(now)))
        list_recordings(tx, request_id, wanted.recordings)
    return request_id


def refuse_use(db: Database, keys: HubKeys, actor: Actor, request_id: str, reason: str, now: datetime) -> None:
    """Refuse a request, and say why. Raises NotFound, NotOpenAnyMore, SecondPersonNeeded, NotAllowed, Invalid."""
    check_reason(reason)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        decidable(tx, actor, request_id)
        _end(tx, entries, actor, request_id, reason, now)


def withdraw_use(db: Database, keys: HubKeys, actor: Actor, request_id: str, now: datetime) -> None:
    """End one's own request that nobody has decided on. Raises NotFound, NotOpenAnyMore, NotAllowed."""
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if waiting(tx, actor, request_id).requested_by != actor.name:
            raise NotAllowed
        _end(tx, entries, actor, request_id, "", now)


def revoke_use(db: Database, keys: HubKeys, actor: Actor, request_id: str, reason: str, now: datetime) -> None:
    """End an approval at once: stations are told in the same transaction, and no bundle is begun or finished by it.

    Raises NotFound, NotOpenAnyMore for one that does not stand, NotAllowed, Invalid.
    """
    check_reason(reason)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = read_request(tx, actor, request_id)
        if not policy.may_revoke(actor, subject_of(row)):
            raise NotAllowed
        if state_now(tx, row, now_by_log(tx, now)) != "approved":
            raise NotOpenAnyMore
        entries.record(UseRevoked, request_id=request_id, revoked_by=actor.name, reason=reason)
        ended = {"revoked_by": actor.name, "revoked_at": to_text(now), "revocation": reason}
        tx.execute(update(use_request).where(use_request.c.id == request_id).values(**ended))
        for grant in json.loads(row.grants):
            station = tx.execute(select(command.c.station).where(command.c.id == grant)).scalar_one()
            body = GrantRevoked(grant_id=grant, reason=reason)
            order_alone(tx, entries, keys, new_row(station, body, actor.name, REVOKED_FOR, now), now)


def note_copy(
    db: Database, keys: HubKeys, actor: Actor, request_id: str, how: CopyEnd, note: str, now: datetime
) -> None:
    """Note, once, that a copy came back, was destroyed or was lost.

    Raises NotFound, NotOpenAnyMore, NotAllowed, Invalid.
    """
    if how not in policy.COPY_ENDS or (note and not policy.is_line(note, policy.MAX_REASON)):
        raise Invalid(policy.NO_REASON)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = read_request(tx, actor, request_id)
        if not may(actor, Action.REQUEST_COPY, subject_of(row)):
            raise NotAllowed
        if row.copy_number is None or row.copy_end is not None or state_now(tx, row, now) != "used":
            raise NotOpenAnyMore
        facts = {"copy_number": row.copy_number, "how": how, "note": note, "noted_by": actor.name}
        entries.record(CopyEnded, request_id=request_id, **facts)
        ended = {"copy_end": how, "copy_end_note": note, "copy_end_by": actor.name, "copy_end_at": to_text(now)}
        tx.execute(update(use_request).where(use_request.c.id == request_id).values(**ended))


# --- what these and the approval share ---


def waiting(tx: Connection, actor: Actor, request_id: str) -> Any:
    """A request that nobody has decided on: for as long as the log's lock is held. Raises NotFound, NotOpenAnyMore."""
    row = read_request(tx, actor, request_id)
    if row.decided_at is not None:
        raise NotOpenAnyMore
    return row


def decidable(tx: Connection, actor: Actor, request_id: str) -> Any:
    """As `waiting`, one that `actor` may decide on. Raises SecondPersonNeeded, NotAllowed too."""
    row = waiting(tx, actor, request_id)
    whose = subject_of(row)
    if actor.name in (whose.requested_by, whose.about):
        raise SecondPersonNeeded
    if not may(actor, Action.APPROVE_USE, whose):
        raise NotAllowed
    return row


def check_holder(tx: Connection, name: str, recordings: Sequence[int]) -> None:
    """Raise Invalid unless this account may be shown all of these recordings; which of the two it is is not told."""
    c = account.c
    row = tx.execute(select(c.role, c.section, c.officer).where(c.name == name, c.disabled_at.is_(None))).one_or_none()
    holder = row and Actor(name, Role(row.role), must_change_password=False, section=row.section, officer=row.officer)
    if holder is None or not _all_may(tx, holder, Action.VIEW_FOOTAGE, recordings):
        raise Invalid(policy.NOT_TO_THEM)


def check_reason(text: str) -> None:
    """Raise Invalid unless `text` is a reason that can stand in the log and in a command."""
    if not policy.is_line(text, policy.MAX_REASON):
        raise Invalid(policy.NO_REASON)


def list_recordings(tx: Connection, request_id: str, recordings: Iterable[int]) -> None:
    """Enter which recordings a request is about."""
    add_rows(tx, use_recording.name, ("request_id", "recording"), [(request_id, index) for index in recordings])


def _check_recordings(connection: Connection, actor: Actor, action: Action, recordings: Sequence[int]) -> None:
    seen = seen_recordings(connection, actor, recordings)
    for index in recordings:
        if index not in seen:  # of another section, or none at all
            raise no_recording(index)
    if not _all_may(connection, actor, action, recordings):
        raise NotAllowed


def _all_may(connection: Connection, actor: Actor, action: Action, recordings: Sequence[int]) -> bool:
    subjects = recording_subjects(connection, recordings)
    return len(subjects) == len(set(recordings)) and all(may(actor, action, whose) for whose in subjects.values())


def _same_waiting(tx: Connection, row: dict[str, Any]) -> str | None:
    """A form that was sent twice asks once."""
    c = use_request.c
    same = [c[name] == value for name, value in row.items() if name != "id" and value is not None]
    return tx.execute(select(c.id).where(c.decided_at.is_(None), *same).limit(1)).scalar_one_or_none()


def _state(entries: log.Appender, row: dict[str, Any], recordings: tuple[int, ...]) -> None:
    most = MAX_LISTED_RECORDINGS
    parts = [recordings[start : start + most] for start in range(0, len(recordings), most)]
    facts = {name: value for name, value in row.items() if name != "id"}
    for number, share in enumerate(parts, 1):
        entries.record(UseRequested, request_id=row["id"], part=number, parts=len(parts), recordings=share, **facts)


def _end(tx: Connection, entries: log.Appender, actor: Actor, request_id: str, reason: str, now: datetime) -> None:
    nothing = {"approved": False, "expires_at": None, "copy_number": None}
    entries.record(UseDecided, request_id=request_id, decided_by=actor.name, reason=reason, grants=(), **nothing)
    ended = {"decided_by": actor.name, "decided_at": to_text(now), "refusal": reason, "grants": "[]"}
    tx.execute(update(use_request).where(use_request.c.id == request_id).values(**nothing, **ended))
