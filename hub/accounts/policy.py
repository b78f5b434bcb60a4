"""Rules for passwords, sign-in attempts and sessions. Pure."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from datetime import datetime, timedelta

from hub.language import mark

MIN_PASSWORD_CHARACTERS = 15  # NIST SP 800-63B-4, 3.1.1.2, where the password may be all that is asked
MAX_PASSWORD_CHARACTERS = 200  # argon2 takes any length; a megabyte of "password" is an attack
SESSION_IDLE = timedelta(minutes=30)
SESSION_LONGEST = timedelta(hours=12)
FREE_FAILURES_PER_NAME = 5
FREE_FAILURES_PER_ADDRESS = 20  # a whole office may share one address
LONGEST_BLOCK = timedelta(minutes=15)
# what everybody tries first; what is left of a password without them must still be one
_COMMON = (
    "custodock", "存证坞", "password", "passw0rd", "p@ssw0rd", "p@ssword", "administrator", "admin", "welcome",
    "letmein", "iloveyou", "changeme", "dragon", "monkey", "football", "sunshine", "princess", "superman",
    "master", "secret", "woaini", "woaiwojia", "zhongguo", "nihao", "wodemima", "mima", "jiaoyuju", "zhifaju",
    "zhifa", "beijing", "shanghai", "1234567890", "0987654321", "123456789", "987654321", "12345678",
    "87654321", "123456", "654321", "123123", "5201314", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwerty",
    "asdfgh", "zxcvbn", "qazwsxedc", "1qaz2wsx3edc", "1qaz2wsx", "qazwsx", "1q2w3e4r5t6y", "1q2w3e4r5t",
    "1q2w3e4r", "q1w2e3r4", "abcdefghijklmnopqrstuvwxyz", "abcdefgh", "abc123", "a123456",
)  # fmt: skip
_LEFT_CHARACTERS = 6  # different ones
_NAME = re.compile(r"[\w.@-]{1,64}")

TOO_SHORT = mark("The new password needs at least 15 characters.")
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
    return TOO_EASY if _is_easy(name, new) else None


def _is_easy(name: str, password: str) -> bool:
    """Whether it consists of the account's name, of common words, of one short piece over and over, or of few signs.

    No rules of composition and no hints beyond this: NIST SP 800-63B-4, 3.1.1.2.
    """
    left = unicodedata.normalize("NFKC", password).casefold()
    if any(left == (left[:size] * len(left))[: len(left)] for size in range(1, len(left) // 2 + 1)):
        return True
    for word in sorted((*_COMMON, name.casefold()), key=len, reverse=True):
        left = left.replace(word, "")
    return len(set(left)) < _LEFT_CHARACTERS


def address_group(address: str) -> str:
    """What failures are counted by: an IPv4 address, or the /64 that one IPv6 subscriber has addresses of at will."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


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
