"""The second factor: codes of an authenticator (RFC 6238: SHA-1, 6 digits, 30 seconds). Each function: one transaction.

A code is taken once and only one step early or late; failures count and block as those of the password do.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pyotp
from sqlalchemy import Connection, delete, insert, select, update

from custody.hubevents import SecondFactorSet
from hub import log
from hub.access import Actor
from hub.accounts.service import (
    SECOND_FACTOR,
    count_failure,
    end_other_sessions,
    forgive_name,
    refuse_blocked,
    resume_session,
    sign_in,
    sign_out,
    state_sign_in,
    token_key,
)
from hub.db import Database
from hub.keys import HubKeys
from hub.tables import second_factor, session
from hub.times import to_text

STEP_SECONDS = 30
ISSUER = "Custodock"


class WrongCode(Exception):
    """The code is not right, too old, or was used before."""


class NoSecondFactor(Exception):
    """The account has no confirmed second factor."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a person types or scans into their authenticator."""

    secret: str  # base32
    uri: str  # otpauth://


def has_second_factor(connection: Connection, name: str) -> bool:
    """Whether codes of an authenticator are asked of this account."""
    return connection.execute(SECOND_FACTOR, {"name": name}).first() is not None


def begin_enrolment(db: Database, name: str) -> Enrolment | None:
    """The secret to enter into an authenticator, the same until a code confirmed it; None: it is confirmed."""
    with db.begin() as tx:
        row = tx.execute(select(second_factor).where(second_factor.c.account == name)).one_or_none()
        if row is not None and row.confirmed_at is not None:
            return None
        secret = row.secret if row is not None else pyotp.random_base32()
        if row is None:
            tx.execute(insert(second_factor).values(account=name, secret=secret, confirmed_at=None, last_step=0))
    return Enrolment(secret, pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER))


def confirm_enrolment(db: Database, keys: HubKeys, name: str, code: str, token: str, now: datetime) -> None:
    """From now on codes are asked for; every other session of the account ends. Raises WrongCode, TooManyAttempts."""
    step = _checked_step(db, name, code, now, confirmed=False)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        done = tx.execute(
            update(second_factor)
            .where(second_factor.c.account == name, second_factor.c.confirmed_at.is_(None))
            .values(confirmed_at=to_text(now), last_step=step)
        )
        if done.rowcount != 1:  # confirmed meanwhile, in another window
            raise WrongCode
        end_other_sessions(tx, name, token)
        forgive_name(tx, name)
        entries.record(SecondFactorSet, account=name)


def enter_code(db: Database, keys: HubKeys, name: str, code: str, token: str, now: datetime) -> None:
    """Finish a sign-in that waits for its code. Raises WrongCode, TooManyAttempts."""
    step = _checked_step(db, name, code, now, confirmed=True)
    with db.begin() as tx:
        _use_step(tx, name, step)
        forgive_name(tx, name)
        tx.execute(update(session).where(session.c.token_sha256 == token_key(token)).values(code_due=False))
        state_sign_in(tx, keys, name, now, second_factor=True)


def identify(
    db: Database, keys: HubKeys, name: str, password: str, read_code: Callable[[], str], address: str, now: datetime
) -> Actor:
    """Who this is, without a session that stays; `read_code` is asked where the account has a second factor.

    Raises WrongPassword, WrongCode, TooManyAttempts, NotSignedIn.
    """
    token = sign_in(db, keys, name, password, address, now)
    try:
        if resume_session(db, token, now, touch=False).code_due:
            enter_code(db, keys, name, read_code(), token, now)
        return resume_session(db, token, now, touch=False)
    finally:
        sign_out(db, token)


def check_code(db: Database, name: str, code: str, now: datetime) -> int:
    """The step of a valid code, to be given to `use_code` in the deciding transaction.

    Raises WrongCode, NoSecondFactor, TooManyAttempts. Apart from `use_code` because a wrong code must be counted even
    though the transaction that it was meant for never begins.
    """
    with db.read() as connection:
        if not has_second_factor(connection, name):
            raise NoSecondFactor
    return _checked_step(db, name, code, now, confirmed=True)


def use_code(tx: Connection, name: str, step: int) -> None:
    """Use up a checked code. Raises WrongCode when it was used meanwhile."""
    _use_step(tx, name, step)


def forget_second_factor(tx: Connection, name: str) -> None:
    """The account signs in by password alone until it sets a new one up."""
    tx.execute(delete(second_factor).where(second_factor.c.account == name))


def _checked_step(db: Database, name: str, code: str, now: datetime, *, confirmed: bool) -> int:
    with db.read() as connection:
        refuse_blocked(connection, [f"name:{name}"], now)
        row = connection.execute(select(second_factor).where(second_factor.c.account == name)).one_or_none()
    step = None
    if row is not None and (row.confirmed_at is not None) == confirmed:
        step = matching_step(row.secret, code, now, row.last_step)
    if step is None:
        with db.begin() as tx:
            count_failure(tx, f"name:{name}", now)
        raise WrongCode
    return step


def matching_step(secret: str, code: str, now: datetime, last_step: int) -> int | None:
    """Which 30-second step `code` belongs to: the present one or a neighbour, later than `last_step`; else None."""
    digits = "".join(code.split())
    present, found = int(now.timestamp()) // STEP_SECONDS, None
    for step in (present - 1, present, present + 1):  # always all three: the answer's time tells nothing
        expected = pyotp.HOTP(secret).at(step)
        if hmac.compare_digest(expected.encode(), digits.encode()) and step > last_step:
            found = step
    return found


def _use_step(tx: Connection, name: str, step: int) -> None:
    done = tx.execute(
        update(second_factor)
        .where(second_factor.c.account == name, second_factor.c.last_step < step)
        .values(last_step=step)
    )
    if done.rowcount != 1:
        raise WrongCode
