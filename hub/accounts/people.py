"""Carrying out changes of accounts, and who there is. Each function is one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Connection, and_, func, insert, select, update

from custody.hubevents import AccountChangeDecided, AccountChangeRequested, AccountCreated
from hub import log
from hub.access import Action, Actor, Role, Subject, may
from hub.accounts import changes, codes
from hub.accounts.changes import Asked, Change, Target
from hub.accounts.identities import forget_identity
from hub.accounts.service import FirstPassword, add_account, end_sessions, first_password
from hub.db import Database
from hub.errors import NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.problems import NotAllowed
from hub.tables import account, account_request, second_factor, session
from hub.times import to_text


class ChangeRefused(Exception):
    """The change cannot be; the argument is a marked message."""

    def __init__(self, message: str) -> None:
        """`message`: one of `changes`."""
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Person:
    """An account as the list shows it."""

    name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None
    has_second_factor: bool
    first_password: bool  # has never chosen one of their own
    last_seen_at: datetime | None  # in a session that has not ended


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A change that was asked for."""

    id: str
    account: str
    change: Change
    role: Role | None
    reason: str
    requested_by: str
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    approved: bool | None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a request. `password`: of a new or reset account, shown once."""

    request: ChangeRequest
    password: str | None


def list_people(db: Database) -> list[Person]:
    """Every account, open ones first, by name."""
    seen = select(session.c.account, func.max(session.c.last_seen_at).label("at")).group_by(session.c.account)
    last = seen.subquery()
    factor = and_(second_factor.c.account == account.c.name, second_factor.c.confirmed_at.is_not(None))
    query = (
        select(account, second_factor.c.confirmed_at, last.c.at)
        .outerjoin(second_factor, factor)
        .outerjoin(last, last.c.account == account.c.name)
        .order_by(account.c.disabled_at.is_not(None), account.c.name)
    )
    with db.read() as connection:
        return [_person(row) for row in connection.execute(query)]


def list_requests(db: Database, *, waiting: bool, limit: int = 50) -> list[ChangeRequest]:
    """Requests that wait, oldest first; or those that were decided, newest first."""
    decided = account_request.c.decided_at
    query = select(account_request).limit(limit)
    if waiting:
        query = query.where(decided.is_(None)).order_by(account_request.c.requested_at)
    else:
        query = query.where(decided.is_not(None)).order_by(decided.desc())
    with db.read() as connection:
        return [_request(row) for row in connection.execute(query)]


def ask(db: Database, keys: HubKeys, actor: Actor, asked: Asked, now: datetime) -> Done:
    """State the request in the log; what names the second administrator takes effect at once. Raises ChangeRefused."""
    password = first_password() if asked.change == "create" else None
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        target, administrators = _target(tx, asked.account), _administrators(tx, only_open=True)
        waits = account_request.c.decided_at.is_(None) & (account_request.c.account == asked.account)
        open_already = tx.execute(select(account_request.c.id).where(waits)).first() is not None
        if fault := changes.fault_of(asked, target, administrators, open_already=open_already):
            raise ChangeRefused(fault)
        request = ChangeRequest(
            new_id(now),
            asked.account,
            asked.change,
            asked.role,
            asked.reason.strip(),
            actor.name,
            now,
            None,
            None,
            None,
        )
        tx.execute(insert(account_request).values(**_columns(request)))
        entries.record(
            AccountChangeRequested, request_id=request.id, account=request.account, change=request.change,
            role=request.role, reason=request.reason, requested_by=actor.name,
        )  # fmt: skip
        alone = account_request.c.approved.is_(True) & account_request.c.decided_by.is_(None)
        done_before = tx.execute(select(account_request.c.id).where(alone)).first() is not None
        if changes.names_the_second(asked, _administrators(tx, only_open=False), done_before=done_before):
            request = _decide(tx, entries, request, None, now, approved=True)
            _carry_out(tx, entries, request, password, now)
            return Done(request, password.plain if password else None)
    return Done(request, None)


def approve(db: Database, keys: HubKeys, actor: Actor, request_id: str, code: str, now: datetime) -> Done:
    """Approve with a code of the decider's authenticator; it takes effect at once.

    Raises NotFound, ChangeRefused, NotAllowed, and what `codes.check_code` raises.
    """
    request = _load(db, request_id)
    check_decider(actor, request.requested_by, request.account)
    step = codes.check_code(db, actor.name, code, now)
    password = first_password() if request.change in ("create", "password_reset") else None
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        codes.use_code(tx, actor.name, step)
        target, administrators = _target(tx, request.account), _administrators(tx, only_open=True)
        asked = Asked(request.account, request.change, request.role, request.reason)
        if fault := changes.fault_of(asked, target, administrators, open_already=False):
            raise ChangeRefused(fault)  # things have changed since it was asked for
        request = _decide(tx, entries, request, actor.name, now, approved=True)
        _carry_out(tx, entries, request, password, now)
    return Done(request, password.plain if password else None)


def refuse(db: Database, keys: HubKeys, actor: Actor, request_id: str, now: datetime) -> Done:
    """Refuse a request, or withdraw one's own. Raises NotFound, ChangeRefused when it was decided already."""
    request = _load(db, request_id)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        return Done(_decide(tx, entries, request, actor.name, now, approved=False), None)


def check_decider(actor: Actor, requested_by: str, account: str | None) -> None:
    """Raise ChangeRefused for one's own request or one about oneself, NotAllowed for whoever decides none."""
    if not may(actor, Action.APPROVE_PEOPLE, Subject(requested_by=requested_by, about=account)):
        if fault := changes.why_not_decide(actor.name, requested_by, account):
            raise ChangeRefused(fault)
        raise NotAllowed


def _load(db: Database, request_id: str) -> ChangeRequest:
    with db.read() as connection:
        row = connection.execute(select(account_request).where(account_request.c.id == request_id)).one_or_none()
    if row is None:
        raise NotFound("no such request")
    return _request(row)


def _decide(
    tx: Connection, entries: log.Appender, request: ChangeRequest, by: str | None, now: datetime, *, approved: bool
) -> ChangeRequest:
    done = tx.execute(
        update(account_request)
        .where(account_request.c.id == request.id, account_request.c.decided_at.is_(None))
        .values(decided_by=by, decided_at=to_text(now), approved=approved)
    )
    if done.rowcount != 1:
        raise ChangeRefused(changes.DECIDED)
    entries.record(
        AccountChangeDecided, request_id=request.id, account=request.account, change=request.change,
        role=request.role, approved=approved, decided_by=by,
    )  # fmt: skip
    return replace(request, decided_by=by, decided_at=now, approved=approved)


def _carry_out(
    tx: Connection, entries: log.Appender, request: ChangeRequest, password: FirstPassword | None, now: datetime
) -> None:
    """The change itself; every session of the account ends, so that it holds at once."""
    name = request.account
    where = update(account).where(account.c.name == name)
    match request.change:
        case "create":
            assert request.role is not None  # noqa: S101 - `fault_of` has seen to it
            assert password is not None  # noqa: S101 - made by the caller
            add_account(tx, name, request.role, password, now)
            entries.record(AccountCreated, account=name, role=request.role)
        case "role":
            tx.execute(where.values(role=request.role))
        case "disable":
            tx.execute(where.values(disabled_at=to_text(now)))
        case "enable":
            tx.execute(where.values(disabled_at=None))
        case "password_reset":
            assert password is not None  # noqa: S101 - made by the caller
            tx.execute(where.values(password_hash=password.hashed, must_change_password=True))
            forget_identity(tx, name)  # whoever knew the password may have connected an identity of their own
        case "second_factor_reset":
            codes.forget_second_factor(tx, name)
    end_sessions(tx, name)


def _target(tx: Connection, name: str) -> Target | None:
    row = tx.execute(select(account).where(account.c.name == name)).one_or_none()
    if row is None:
        return None
    return Target(row.name, Role(row.role), row.disabled_at is not None, codes.has_second_factor(tx, name))


def _administrators(tx: Connection, *, only_open: bool) -> int:
    query = select(func.count()).select_from(account).where(account.c.role == Role.ADMINISTRATOR)
    return tx.execute(query.where(account.c.disabled_at.is_(None)) if only_open else query).scalar_one()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _person(row: Any) -> Person:
    return Person(
        row.name, Role(row.role), datetime.fromisoformat(row.created_at), _time(row.disabled_at),
        row.confirmed_at is not None, row.must_change_password, _time(row.at),
    )  # fmt: skip


def _request(row: Any) -> ChangeRequest:
    return ChangeRequest(
        row.id, row.account, cast(Change, row.change), Role(row.role) if row.role else None, row.reason,
        row.requested_by, datetime.fromisoformat(row.requested_at), row.decided_by, _time(row.decided_at), row.approved,
    )  # fmt: skip


def _columns(request: ChangeRequest) -> dict[str, Any]:
    return {
        "id": request.id, "account": request.account, "change": request.change, "role": request.role,
        "reason": request.reason, "requested_by": request.requested_by, "requested_at": to_text(request.requested_at),
    }  # fmt: skip
