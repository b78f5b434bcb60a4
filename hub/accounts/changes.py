"""Changes of who may do what (Art. 19): one person asks, another decides. Pure rules; `people.py` carries them out.

Nobody decides about a request of their own or about themselves, and who decides proves it with a code of their
authenticator. One exception starts a bureau: the first administrator names the second alone, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hub.access import Role
from hub.accounts.policy import is_account_name
from hub.language import mark

Change = Literal["create", "role", "disable", "enable", "password_reset", "second_factor_reset"]
CHANGES: tuple[Change, ...] = get_args(Change)
MAX_REASON_CHARACTERS = 300

BAD_NAME = mark("An account name is 1 to 64 letters, digits or . _ @ -")
NAME_TAKEN = mark("There is an account of this name already.")
NO_ACCOUNT = mark("There is no account of this name.")
NO_ROLE = mark("Choose a role.")
SAME_ROLE = mark("The account has this role already.")
NO_REASON = mark("Give a reason: the log keeps it.")
REASON_TOO_LONG = mark("The reason may have at most 300 characters.")
OPEN_ALREADY = mark("A request about this account still waits for a decision.")
IS_DISABLED = mark("The account is closed already.")
IS_ENABLED = mark("The account is open already.")
NO_SECOND_FACTOR = mark("The account has no second factor.")
LAST_ADMINISTRATOR = mark("This is the last administrator; name another one first.")
ABOUT_YOURSELF = mark("Somebody else must decide about your own account.")
OWN_REQUEST = mark("You asked for this yourself; somebody else must decide.")
DECIDED = mark("This request was decided already.")


@dataclass(frozen=True, slots=True)
class Target:
    """The account that a change is about, as it stands."""

    name: str
    role: Role
    disabled: bool
    has_second_factor: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """A change as somebody asks for it."""

    account: str
    change: Change
    role: Role | None
    reason: str


def fault_of(asked: Asked, target: Target | None, administrators: int, *, open_already: bool) -> str | None:
    """Why this cannot be asked for or done now (a marked message), or None.

    `administrators`: open accounts of that role. `open_already`: another request about this account waits.
    """
    if not asked.reason.strip():
        return NO_REASON
    if len(asked.reason) > MAX_REASON_CHARACTERS:
        return REASON_TOO_LONG
    if open_already:
        return OPEN_ALREADY
    if asked.change == "create":
        if not is_account_name(asked.account):
            return BAD_NAME
        return NAME_TAKEN if target else NO_ROLE if asked.role is None else None
    if target is None:
        return NO_ACCOUNT
    return _fault_of_change(asked, target, administrators)


def _fault_of_change(asked: Asked, target: Target, administrators: int) -> str | None:
    leaves = target.role is Role.ADMINISTRATOR and not target.disabled and administrators <= 1
    match asked.change:
        case "role":
            if asked.role is None:
                return NO_ROLE
            if asked.role is target.role:
                return SAME_ROLE
            return LAST_ADMINISTRATOR if leaves else None
        case "disable":
            return IS_DISABLED if target.disabled else LAST_ADMINISTRATOR if leaves else None
        case "enable":
            return None if target.disabled else IS_ENABLED
        case "second_factor_reset":
            return None if target.has_second_factor else NO_SECOND_FACTOR
        case _:
            return IS_DISABLED if target.disabled else None


def why_not_decide(decider: str, requested_by: str, account: str | None) -> str | None:
    """What to tell a second person who is none (a marked message), or None; `hub/access.py` decides."""
    if decider == requested_by:
        return OWN_REQUEST
    return ABOUT_YOURSELF if decider == account else None


def names_the_second(asked: Asked, administrators: int, *, done_before: bool) -> bool:
    """Whether this is the one request that needs no second person, because there is none yet.

    `administrators`: accounts of that role, closed ones too. `done_before`: it has happened, whatever came after.
    """
    first = administrators == 1 and not done_before
    return first and asked.change == "create" and asked.role is Role.ADMINISTRATOR
