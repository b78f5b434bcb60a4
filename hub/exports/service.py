"""Asking for an export of footage, and deciding on it: each function is one transaction and one event in the log.

Asked for by one person, approved by another with a code of their authenticator. An approved request is good for seven
days and for one bundle of exactly its recordings (`hub.bundles.service`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from custody.hubevents import ExportDecided, ExportRequested
from hub import log
from hub.access import Action, Actor, may, may_ever
from hub.bundles.selection import export_endings, exports_in_log, load_seals, no_recording
from hub.bundles.work import Order, check_order
from hub.db import Database
from hub.errors import Conflict, NotFound
from hub.exports.digest import recordings_sha256
from hub.exports.queries import QUERY, subject_of
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.sections import seen_recordings
from hub.tables import export_request
from hub.times import from_text, to_text

GOOD_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Approved:
    """An approved request, as the export names it."""

    request_id: str
    requested_by: str
    approved_by: str


def request_export(
    db: Database, keys: HubKeys, actor: Actor, recordings: Sequence[int], order: dict[str, str], now: datetime
) -> str:
    """Ask that these recordings (log indexes) may be exported; the request's id. `order`: selection, recipient, reason.

    Raises NotAllowed, Invalid for a text, NotFound for something that is no recording.
    """
    if not may_ever(actor, Action.REQUEST_EXPORT):
        raise NotAllowed
    wanted = tuple(sorted(set(recordings)))
    check_order(wanted, order["recipient"], order["reason"])
    with db.read() as connection:
        seen = seen_recordings(connection, actor, wanted)
        for index in wanted:
            if index not in seen:  # of another section, or none at all
                raise no_recording(index)
        seals = load_seals(connection, wanted)
    request_id = new_id(now)
    facts: dict[str, Any] = {
        "recordings_sha256": recordings_sha256(wanted), "recordings_in_all": len(wanted),
        "bytes_in_all": sum(seal.size_bytes for seal in seals.values()), "selection": order["selection"],
        "recipient": order["recipient"], "reason": order["reason"], "requested_by": actor.name,
    }  # fmt: skip
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        entries.record(ExportRequested, request_id=request_id, **facts)
        kept = {"id": request_id, "recordings": json.dumps(wanted), "requested_at": to_text(now)}
        tx.execute(insert(export_request).values(**kept, **facts))
    return request_id


def approve_export(db: Database, keys: HubKeys, actor: Actor, request_id: str, code: str, now: datetime) -> None:
    """Be the second person. Raises NotFound, NotOpenAnyMore, SecondPersonNeeded, NotAllowed, and what
    `codes.check_code` raises."""
    from hub.accounts import codes  # noqa: PLC0415 (argon2 is slow to load; `dock-hub export` needs none of it)

    with db.read() as connection:
        _approvable(connection, actor, request_id)
    step = codes.check_code(db, actor.name, code, now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        codes.use_code(tx, actor.name, step)
        _approvable(tx, actor, request_id)
        _decide(tx, entries, actor, request_id, now, now + GOOD_FOR)


def refuse_export(db: Database, keys: HubKeys, actor: Actor, request_id: str, now: datetime) -> None:
    """Refuse a request, or withdraw one's own. Raises NotFound, NotOpenAnyMore, NotAllowed."""
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = _open(tx, actor, request_id)
        if actor.name != row.requested_by and not may(actor, Action.APPROVE_EXPORT, subject_of(row)):
            raise NotAllowed
        _decide(tx, entries, actor, request_id, now, None)


def approved_order(connection: Connection, request_id: str, operator: str) -> Order:
    """The order of a request, to be carried out by `operator`. Raises NotFound, Conflict when its list was lost."""
    row = connection.execute(select(export_request).where(export_request.c.id == request_id)).one_or_none()
    if row is None:
        raise NotFound(f"没有编号为 {request_id} 的导出申请。 / there is no export request {request_id}.")
    if row.recordings is None:
        raise Conflict(
            "该申请的录像清单已随恢复丢失，请重新申请。 / "
            "the list of this request was lost with a restore; ask for the export again."
        )
    recordings = tuple(json.loads(row.recordings))
    return Order(recordings, row.selection, row.recipient, row.reason, operator, request_id)


def check_approved(connection: Connection, order: Order, bundle_id: str, now: datetime) -> Approved:
    """Raise Conflict unless another person approved exactly this order, not longer ago than it is good for, and no
    bundle was made of it. Held within the transaction that states the export, nothing can come between."""
    row = connection.execute(select(export_request).where(export_request.c.id == order.request_id)).one_or_none()
    if row is None or row.decided_at is None:
        raise Conflict(
            "该导出尚未由另一人批准，未导出任何内容。 / "
            "this export was not approved by another person yet; nothing was exported."
        )
    if not row.approved:
        raise Conflict("该导出申请已被驳回或撤回。 / this export was refused or withdrawn; nothing was exported.")
    asked = (row.recordings_sha256, row.selection, row.recipient, row.reason)
    if asked != (recordings_sha256(order.recordings), order.selection, order.recipient, order.reason):
        raise Conflict("导出内容与批准的不一致。 / this is not what was approved; nothing was exported.")
    expires_at = from_text(row.expires_at)
    if expires_at is None or now >= expires_at:
        raise Conflict("批准已过期，请重新申请。 / the approval has expired; ask for the export again.")
    whole = {ending.bundle_id for ending in export_endings(connection) if ending.complete}
    made = [export.bundle_id for _, export in exports_in_log(connection) if export.request_id == order.request_id]
    if any(one in whole and one != bundle_id for one in made):
        raise Conflict("该批准已使用过，请重新申请。 / this approval was used already; ask for the export again.")
    return Approved(row.id, row.requested_by, row.decided_by)


def _approvable(connection: Connection, actor: Actor, request_id: str) -> None:
    row = _open(connection, actor, request_id)
    if row.recordings is None:  # lost with the hub's database; it can only be refused and asked for again
        raise NotOpenAnyMore
    if actor.name == row.requested_by:
        raise SecondPersonNeeded
    if not may(actor, Action.APPROVE_EXPORT, subject_of(row)):
        raise NotAllowed


def _open(connection: Connection, actor: Actor, request_id: str) -> Any:
    row = connection.execute(QUERY.where(export_request.c.id == request_id)).one_or_none()
    if row is None or not may(actor, Action.SEE_EXPORTS, subject_of(row)):
        raise NotFound("there is no such export request")
    if row.decided_at is not None:
        raise NotOpenAnyMore
    return row


def _decide(
    tx: Connection, entries: log.Appender, actor: Actor, request_id: str, now: datetime, expires_at: datetime | None
) -> None:
    approved = expires_at is not None
    entries.record(
        ExportDecided, request_id=request_id, approved=approved, decided_by=actor.name, expires_at=expires_at
    )
    decided = {"decided_by": actor.name, "decided_at": to_text(now), "approved": approved}
    until = None if expires_at is None else to_text(expires_at)
    tx.execute(update(export_request).where(export_request.c.id == request_id).values(**decided, expires_at=until))
