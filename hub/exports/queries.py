"""Export requests as the page shows them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, or_, select

from hub.access import Action, Actor, Relation, Subject, may, reach
from hub.bundles.selection import export_endings, exports_in_log
from hub.db import Database
from hub.tables import account, export_request
from hub.times import from_text

MAX_ROWS = 100
State = Literal["waiting", "approved", "expired", "used", "refused", "withdrawn"]


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One request. `recordings`: log indexes, None when the list was lost with a restore. `may_*`: this reader."""

    id: str
    state: State
    recordings: tuple[int, ...] | None
    recordings_in_all: int
    bytes_in_all: int
    selection: str
    recipient: str
    reason: str
    requested_by: str
    requested_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None
    expires_at: datetime | None
    used_at: int | None  # log index of the statement of its export
    own: bool
    may_approve: bool
    may_refuse: bool


# a request belongs to the section of whoever asked
QUERY = select(export_request, account.c.section).outerjoin(account, account.c.name == export_request.c.requested_by)


def load_exports(db: Database, actor: Actor, now: datetime) -> tuple[ExportRow, ...]:
    """Requests that `actor` may see, newest first; those that wait come before all others."""
    c = export_request.c
    query = QUERY
    if Relation.OTHER not in reach(actor.role, Action.SEE_EXPORTS):
        query = query.where(or_(c.requested_by == actor.name, account.c.section == actor.section))
    query = query.order_by(c.decided_at.is_not(None), c.id.desc()).limit(MAX_ROWS)
    with db.read() as connection:
        used = _used(connection)
        return tuple(_row(row, actor, now, used.get(row.id)) for row in connection.execute(query).all())


def subject_of(row: Any) -> Subject:
    """Whose a request of `QUERY` is."""
    return Subject(frozenset() if row.section is None else frozenset({row.section}), requested_by=row.requested_by)


def _used(connection: Connection) -> dict[str, int]:
    """By request: where the log states the export that made a whole bundle of it."""
    whole = {ending.bundle_id for ending in export_endings(connection) if ending.complete}
    return {
        export.request_id: index
        for index, export in exports_in_log(connection)
        if export.request_id is not None and export.bundle_id in whole
    }


def _row(row: Any, actor: Actor, now: datetime, used_at: int | None) -> ExportRow:
    state, own = _state(row, now, used_at), row.requested_by == actor.name
    decides = state == "waiting" and may(actor, Action.APPROVE_EXPORT, subject_of(row))
    return ExportRow(
        id=row.id, state=state, recordings=None if row.recordings is None else tuple(json.loads(row.recordings)),
        recordings_in_all=row.recordings_in_all, bytes_in_all=row.bytes_in_all, selection=row.selection,
        recipient=row.recipient, reason=row.reason, requested_by=row.requested_by,
        requested_at=from_text(row.requested_at), decided_by=row.decided_by, decided_at=from_text(row.decided_at),
        expires_at=from_text(row.expires_at), used_at=used_at, own=own,
        may_approve=decides and not own and row.recordings is not None,
        may_refuse=decides or (own and state == "waiting"),
    )  # fmt: skip


def _state(row: Any, now: datetime, used_at: int | None) -> State:
    if row.decided_at is None:
        return "waiting"
    if not row.approved:
        return "withdrawn" if row.decided_by == row.requested_by else "refused"
    if used_at is not None:
        return "used"
    expires_at = from_text(row.expires_at)
    return "approved" if expires_at is not None and now < expires_at else "expired"
