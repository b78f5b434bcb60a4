"""Accounts and sessions: each function is one transaction."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from custody.hubevents import AccountCreated, SignedIn
from hub import log
from hub.access import Actor, Role
from hub.accounts import policy
from hub.db import Database
from hub.errors import Conflict, Invalid, NotFound
from hub.keys import HubKeys
from hub.problems import NotSignedIn, TooManyAttempts
from hub.readonly import why_read_only
from hub.tables import account, second_factor, session, sign_in_failure
from hub.times import now_utc, to_text

_HASHER = PasswordHasher()  # RFC 9106 low-memory profile: argon2id, 64 MiB, 3 passes
_HASHING = threading.BoundedSemaphore(2)  # 64 MiB each: a burst of sign-ins must not exhaust a small computer
_FORGET_FAILURES_AFTER = timedelta(hours=1)
_TOUCH_EVERY = timedelta(minutes=1)
SECOND_FACTOR = select(second_factor.c.account).where(
    second_factor.c.account == bindparam("name"), second_factor.c.confirmed_at.is_not(None)
)
_OPEN_SESSIONS = (
    select(session, account.c.role, account.c.must_change_password, account.c.section, account.c.officer)
    .join(account, account.c.name == session.c.account)
    .where(account.c.disabled_at.is_(None))
)
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that reads alike on paper


class WrongPassword(Exception):
    """Name and password do not fit together, or the account is closed; which of these is not told."""


class PasswordRefused(Exception):
    """The new password cannot be taken; the argument is a marked message."""

    def __init__(self, message: str) -> None:
        """`message`: one of the policy's."""
        super().__init__(message)
        self.message = message


def create_account(db: Database, keys: HubKeys, name: str, role: str) -> str:
    """Add an account, say so in the log, and return its first password, to be changed at the first sign-in.

    Raises Invalid for a bad name or an unknown role, Conflict for a name that is taken.
    """
    if not policy.is_account_name(name):
        raise Invalid("an account name is 1 to 64 letters, digits or . _ @ -")
    if role not in tuple(Role):
        raise Invalid(f"unknown role {role!r}; known are {', '.join(Role)}")
    password, now = first_password(), now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as appender:
        if tx.execute(select(account.c.name).where(account.c.name == name)).first():
            raise Conflict(f"there is an account {name!r} already")
        add_account(tx, name, Role(role), password, now)
        appender.record(AccountCreated, account=name, role=role)
    return password.plain


def give_first_password(db: Database, name: str) -> str:
    """Replace an account's password by a new first one, end its sessions, and return it. Raises NotFound.

    For the account of whoever runs the hub's computer after a restore; people ask for it on the page of people.
    """
    password = first_password()
    with db.begin() as tx:
        values = {"password_hash": password.hashed, "must_change_password": True}
        if tx.execute(update(account).where(account.c.name == name).values(**values)).rowcount != 1:
            raise NotFound(f"there is no account {name!r}")
        tx.execute(delete(session).where(session.c.account == name))
    return password.plain


@dataclass(frozen=True, slots=True)
class FirstPassword:
    """A password that is handed over once and replaced at the first sign-in."""

    plain: str
    hashed: str


def first_password() -> FirstPassword:
    """A new one. Takes a tenth of a second: call it outside transactions."""
    plain = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))
    return FirstPassword(plain, _hash(plain))


def add_account(tx: Connection, name: str, role: Role, password: FirstPassword, now: datetime) -> None:
    """The row of a new account; the caller states it in the log."""
    row = {"name": name, "role": role, "password_hash": password.hashed, "must_change_password": True}
    tx.execute(insert(account).values(**row, created_at=to_text(now)))


def sign_in(db: Database, keys: HubKeys, name: str, password: str, address: str, now: datetime) -> str:
    """Start a session and return its token; where the account has a second factor, the session waits for its code.

    Raises WrongPassword, or TooManyAttempts while the name or the address is blocked. The password is checked outside
    any transaction: argon2 takes a tenth of a second and the database has a single writer.
    """
    if not policy.is_account_name(name):
        name = ""  # nobody's; what was typed may hold what no database column takes
    subjects = {
        f"name:{name}": policy.FREE_FAILURES_PER_NAME,
        f"address:{address}": policy.FREE_FAILURES_PER_ADDRESS,
    }
    with db.read() as connection:
        refuse_blocked(connection, list(subjects), now)
        row = connection.execute(
            select(account.c.password_hash).where(account.c.name == name, account.c.disabled_at.is_(None))
        ).one_or_none()
    if not _fits(row.password_hash if row else _nobody_hash(), password) or row is None:
        with db.begin() as tx:
            for subject, free in subjects.items():
                count_failure(tx, subject, now, free)
        raise WrongPassword
    with db.begin() as tx:
        code_due = tx.execute(SECOND_FACTOR, {"name": name}).first() is not None
        if not code_due:  # else the count goes on: who has only the password must not guess codes for ever
            forgive_name(tx, name)
            state_sign_in(tx, keys, name, now, second_factor=False)
        return _start_session(tx, name, now, code_due=code_due)


def state_sign_in(tx: Connection, keys: HubKeys, name: str, now: datetime, *, second_factor: bool) -> None:
    """Say in the log that somebody signed in; while it is being refilled, people may look all the same."""
    if why_read_only(tx) is None:
        with log.appending(tx, keys, now) as entries:
            entries.record(SignedIn, account=name, second_factor=second_factor)


def resume_session(db: Database, token: str, now: datetime, *, touch: bool) -> Actor:
    """The person of a session; `touch` restarts its idle time (at most one write a minute). Raises NotSignedIn."""
    key = token_key(token)
    with db.read() as connection:
        row = connection.execute(_OPEN_SESSIONS.where(session.c.token_sha256 == key)).one_or_none()
    if row is None:
        raise NotSignedIn
    last_seen = datetime.fromisoformat(row.last_seen_at)
    if policy.session_over(datetime.fromisoformat(row.created_at), last_seen, now):
        raise NotSignedIn
    if touch and now - last_seen >= _TOUCH_EVERY:
        with db.begin() as tx:
            tx.execute(update(session).where(session.c.token_sha256 == key).values(last_seen_at=to_text(now)))
    return _actor(row)


def actors_of_sessions(connection: Connection, keys: Iterable[str], now: datetime) -> dict[str, Actor]:
    """Whose these sessions (`token_key`) are; those that are over are left out."""
    found, wanted = {}, sorted(keys)
    for start in range(0, len(wanted), 500):
        some = session.c.token_sha256.in_(wanted[start : start + 500])
        for row in connection.execute(_OPEN_SESSIONS.where(some)):
            times = datetime.fromisoformat(row.created_at), datetime.fromisoformat(row.last_seen_at)
            if not policy.session_over(*times, now):
                found[row.token_sha256] = _actor(row)
    return found


def _actor(row: Any) -> Actor:
    return Actor(row.account, Role(row.role), row.must_change_password, row.code_due, row.section, row.officer)


def sign_out(db: Database, token: str) -> None:
    """End a session; ending one that is over does nothing."""
    with db.begin() as tx:
        tx.execute(delete(session).where(session.c.token_sha256 == token_key(token)))


def change_password(
    db: Database, keys: HubKeys, actor: Actor, old: str, new: str, repeated: str, address: str, now: datetime
) -> str:
    """Replace the password, end every session of this account and return the token of a new one.

    Raises PasswordRefused, WrongPassword (`old` is not the present one), TooManyAttempts.
    """
    fault = policy.password_fault(actor.name, old, new, repeated)
    if fault:
        raise PasswordRefused(fault)
    own_token = sign_in(db, keys, actor.name, old, address, now)  # counts failures exactly as the sign-in page does
    password_hash = _hash(new)
    with db.begin() as tx:
        tx.execute(
            update(account)
            .where(account.c.name == actor.name)
            .values(password_hash=password_hash, must_change_password=False)
        )
        # the session that asked had given its code, if one is needed
        mine = session.c.token_sha256 == token_key(own_token)
        tx.execute(update(session).where(mine).values(code_due=actor.code_due))
        end_other_sessions(tx, actor.name, own_token)
    return own_token


def form_token(cookie: str) -> str:
    """The token that every form of this session must carry: bound to the cookie, useless for making it."""
    return hashlib.sha256(b"custodock form\n" + cookie.encode()).hexdigest()


def new_cookie() -> str:
    """256 random bits for a cookie."""
    return secrets.token_urlsafe(32)


def token_key(token: str) -> str:
    """What the database knows a session's token by."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def end_sessions(tx: Connection, name: str) -> None:
    """Sign this account out everywhere."""
    tx.execute(delete(session).where(session.c.account == name))


def end_other_sessions(tx: Connection, name: str, token: str) -> None:
    """Sign this account out everywhere but here."""
    tx.execute(delete(session).where(session.c.account == name, session.c.token_sha256 != token_key(token)))


def forgive_name(tx: Connection, name: str) -> None:
    """A full sign-in: failures of this name count from nothing again.

    The address keeps its count: one known password must not buy unlimited guesses at other names.
    """
    tx.execute(delete(sign_in_failure).where(sign_in_failure.c.subject == f"name:{name}"))


def _start_session(tx: Connection, name: str, now: datetime, *, code_due: bool) -> str:
    token = new_cookie()
    oldest = to_text(now - policy.SESSION_LONGEST)
    tx.execute(delete(session).where(session.c.created_at < oldest))
    at = to_text(now)
    row = {"token_sha256": token_key(token), "account": name, "code_due": code_due}
    tx.execute(insert(session).values(**row, created_at=at, last_seen_at=at))
    return token


def refuse_blocked(connection: Connection, subjects: list[str], now: datetime) -> None:
    """Raise TooManyAttempts while one of these is blocked."""
    until = connection.execute(
        select(sign_in_failure.c.blocked_until)
        .where(sign_in_failure.c.subject.in_(subjects), sign_in_failure.c.blocked_until > to_text(now))
        .order_by(sign_in_failure.c.blocked_until.desc())
    ).scalars()
    latest = next(iter(until), None)
    if latest is not None:
        raise TooManyAttempts(int((datetime.fromisoformat(latest) - now).total_seconds()) + 1)


def count_failure(tx: Connection, subject: str, now: datetime, free: int = policy.FREE_FAILURES_PER_NAME) -> None:
    """One more failure in a row; rows whose block ended an hour ago are forgotten, so the table stays small."""
    forgotten = to_text(now - _FORGET_FAILURES_AFTER)
    tx.execute(delete(sign_in_failure).where(sign_in_failure.c.blocked_until < forgotten))
    count = tx.execute(select(sign_in_failure.c.count).where(sign_in_failure.c.subject == subject)).scalar_one_or_none()
    values = {"count": (count or 0) + 1, "blocked_until": to_text(now + policy.block_after((count or 0) + 1, free))}
    if count is None:
        tx.execute(insert(sign_in_failure).values(subject=subject, **values))
    else:
        tx.execute(update(sign_in_failure).where(sign_in_failure.c.subject == subject).values(**values))


@cache
def _nobody_hash() -> str:
    """Verified when a name is unknown, so that both answers take equally long."""
    return _hash(new_cookie())


def _hash(password: str) -> str:
    with _HASHING:
        return _HASHER.hash(password)


def _fits(stored: str, password: str) -> bool:
    if len(password) > policy.MAX_PASSWORD_CHARACTERS:
        return False
    try:
        with _HASHING:
            return _HASHER.verify(stored, password)
    except (VerifyMismatchError, InvalidHashError):
        return False
