"""Requests to use footage, as pages and register show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, true

from hub.access import Action, Actor, Relation, Subject, may, reach
from hub.db import Database
from hub.errors import NotFound
from hub.requests import policy
from hub.requests.policy import State
from hub.requests.uses import Used, uses_by_request
from hub.tables import account, checkpoint, use_recording, use_request
from hub.times import from_text

MAX_ROWS = 100


@dataclass(frozen=True, slots=True)
class UseRow:
    """One request. `used`: what the log says was done with it. `may_*`: this reader."""

    id: str
    use: str
    state: State
    recordings_in_all: int
    bytes_in_all: int
    selection: str
    holder: str | None
    recipient: str
    case_number: str
    reason: str
    valid_seconds: int
    requested_by: str
    requested_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None
    refusal: str
    expires_at: datetime | None
    copy_number: int | None
    revoked_by: str | None
    revoked_at: datetime | None
    revocation: str
    copy_end: str | None
    copy_end_note: str
    copy_end_by: str | None
    copy_end_at: datetime | None
    used: tuple[Used, ...]
    own: bool
    gains: bool
    may_decide: bool
    may_revoke: bool
    may_note: bool


_asker, _holder = account.alias("asker"), account.alias("holder")
# a request belongs to the section of whoever asked, and to that of whoever is to view
QUERY: Select[Any] = (
    select(
        use_request,
        _asker.c.section.label("asker_section"),
        _asker.c.role.label("asker_role"),
        _holder.c.section.label("holder_section"),
        _holder.c.role.label("holder_role"),
    )
    .outerjoin(_asker, _asker.c.name == use_request.c.requested_by)
    .outerjoin(_holder, _holder.c.name == use_request.c.holder)
)


def load_requests(db: Database, actor: Actor, now: datetime) -> tuple[UseRow, ...]:
    """Requests that `actor` may see, newest first; those that wait come before all others."""
    c = use_request.c
    query = QUERY.order_by(c.decided_at.is_not(None), c.id.desc()).limit(MAX_ROWS)
    with db.read() as connection:
        return read_rows(connection, actor, query, now)


def load_request(db: Database, actor: Actor, request_id: str, now: datetime) -> UseRow:
    """One request. Raises NotFound, also where it is not for `actor`."""
    with db.read() as connection:
        read_request(connection, actor, request_id)
        [row] = read_rows(connection, actor, QUERY.where(use_request.c.id == request_id), now)
        return row


def read_rows(connection: Connection, actor: Actor, query: Select[Any], now: datetime) -> tuple[UseRow, ...]:
    """The rows of a query made of `QUERY` that `actor` may see, in its order."""
    found = connection.execute(query.where(_seen_by(actor))).all()
    used = uses_by_request(connection, [row.id for row in found])
    return tuple(_row(row, actor, used.get(row.id, ()), now) for row in found)


def read_request(connection: Connection, actor: Actor, request_id: str) -> Any:
    """The row of `QUERY` of one request. Raises NotFound, also where it is not for `actor`."""
    row = connection.execute(QUERY.where(use_request.c.id == request_id)).one_or_none()
    if row is None or not policy.may_see(actor, subject_of(row)):
        raise NotFound("there is no such request")
    return row


def recordings_of(connection: Connection, request_id: str) -> tuple[int, ...]:
    """Log indexes of what a request is about, rising; none where a restore lost them."""
    c = use_recording.c
    query = select(c.recording).where(c.request_id == request_id).order_by(c.recording)
    return tuple(connection.execute(query).scalars())


def subject_of(row: Any) -> Subject:
    """Whose a request of `QUERY` is."""
    named = {row.asker_section, row.holder_section} - {None}
    return Subject(frozenset(named), requested_by=row.requested_by, about=row.holder)


def state_now(connection: Connection, row: Any, now: datetime) -> State:
    """How a request of `QUERY` stands."""
    used = uses_by_request(connection, [row.id]).get(row.id, ())
    return policy.state_of(row._mapping, any(one.made for one in used), now)


def now_by_log(connection: Connection, now: datetime) -> datetime:
    """`now`, or the latest time that the log has signed where the hub's clock was set back: so nothing revives."""
    latest = from_text(connection.execute(select(func.max(checkpoint.c.signed_at))).scalar_one())
    return now if latest is None else max(now, latest)


def _seen_by(actor: Actor) -> ColumnElement[bool]:
    """What `policy.may_see` adds up to, for lists."""
    far = reach(actor.role, Action.SEE_USES)
    if Relation.OTHER in far:
        return true()
    own = or_(use_request.c.requested_by == actor.name, use_request.c.holder == actor.name)
    if Relation.SECTION not in far:
        return own
    return or_(own, _asker.c.section == actor.section, _holder.c.section == actor.section)


def _row(row: Any, actor: Actor, used: tuple[Used, ...], now: datetime) -> UseRow:
    whose, facts = subject_of(row), row._mapping
    state = policy.state_of(facts, any(one.made for one in used), now)
    given: dict[str, Any] = {name: facts[name] for name in _PLAIN}
    given |= {name: from_text(facts[name]) for name in _TIMES}
    given |= {name: facts[name] or "" for name in ("refusal", "revocation", "copy_end_note")}
    counted = state == "used" and row.copy_number is not None and row.copy_end is None
    return UseRow(
        **given, state=state, used=used, own=row.requested_by == actor.name, gains=row.holder == actor.name,
        may_decide=state == "waiting" and may(actor, Action.APPROVE_USE, whose),
        may_revoke=state == "approved" and policy.may_revoke(actor, whose),
        may_note=counted and may(actor, Action.REQUEST_COPY, whose),
    )  # fmt: skip


_TIMES = ("requested_at", "decided_at", "expires_at", "revoked_at", "copy_end_at")
_PLAIN = (
    "id", "use", "recordings_in_all", "bytes_in_all", "selection", "holder", "recipient", "case_number", "reason",
    "valid_seconds", "requested_by", "decided_by", "copy_number", "revoked_by", "copy_end", "copy_end_by",
)  # fmt: skip
