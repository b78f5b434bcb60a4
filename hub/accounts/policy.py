"""Rules for passwords, sign-in attempts and sessions. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from hub.language import mark

MIN_PASSWORD_CHARACTERS = 10
MAX_PASSWORD_CHARACTERS = 200  # argon2 takes any length; a megabyte of "password" is an attack
SESSION_IDLE = timedelta(minutes=30)
SESSION_LONGEST = timedelta(hours=12)
FREE_FAILURES_PER_NAME = 5
FREE_FAILURES_PER_ADDRESS = 20  # a whole office may share one address
LONGEST_BLOCK = timedelta(minutes=15)
_NAME = re.compile(r"[\w.@-]{1,64}")

TOO_SHORT = mark("The new password needs at least 10 characters.")
TOO_LONG = mark("The new password may have at most 200 characters.")
TOO_EASY = mark("The new password is too easy to guess.")
NOT_REPEATED = mark("The two entries of the new password differ.")
NOT_NEW = mark("The new password must differ from the old one.")


def is_account_name(name: str) -> bool:
    """Letters of any script, digits and ``. _ @ -``, 1 to 64: nothing that could deceive the eye or a log."""
    return bool(_NAME.fullmatch(name))


def password_fault(name: str, old: str, new: str, repeated: str) -> str | None:
    """Why `new` cannot be taken (a marked message), or None."""
    if new != repeated:
        return NOT_REPEATED
    if new == old:
        return NOT_NEW
    if len(new) < MIN_PASSWORD_CHARACTERS:
        return TOO_SHORT
    if len(new) > MAX_PASSWORD_CHARACTERS:
        return TOO_LONG
    if len(set(new)) < 5 or name.casefold() in new.casefold():
        return TOO_EASY
    return None


def block_after(failures: int, free: int) -> timedelta:
    """How long to refuse further attempts after this many failures in a row: nothing, then 15 s doubling to 15 min."""
    over = failures - free
    if over < 0:
        return timedelta(0)
    return min(timedelta(seconds=15 * 2 ** min(over, 10)), LONGEST_BLOCK)


def session_over(created_at: datetime, last_seen_at: datetime, now: datetime) -> bool:
    """Whether a session has ended by idling or by age. A clock that went back ends it too."""
    return not (
        created_at <= last_seen_at <= now + timedelta(minutes=1)
        and now - last_seen_at < SESSION_IDLE
        and now - created_at < SESSION_LONGEST
    )
