"""What a request to use footage must say, who decides and ends it, and how it stands. Pure.

Art. 17: whoever needs footage for their work asks; the approving leader decides; every use is in the register. Who
asked and who is to view never decides (`hub.access.may`, and the table's own constraints).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast, get_args

from custody.commandbody import MAX_GRANT_SECONDS
from custody.hubevents import CopyEnd, Use
from hub.access import Action, Actor, Subject, may
from hub.language import mark
from hub.times import from_text

DAY_SECONDS = 86400
DAYS = (1, 2, 3, 5, MAX_GRANT_SECONDS // DAY_SECONDS)  # offered; the last is the longest
DEFAULT_DAYS = 3
MAX_REASON = 200  # characters: as much as a grant takes to its station
MAX_TEXT = 500  # of a recipient
MAX_VIEWED = 50  # recordings of one request to view: each is a command to its station
USES = cast(tuple[Use, ...], get_args(Use))
COPY_ENDS = cast(tuple[CopyEnd, ...], get_args(CopyEnd))
State = Literal["waiting", "approved", "used", "expired", "refused", "withdrawn", "revoked"]

NO_RECORDING = mark("Name at least one recording. Its number stands in the address of its page.")
TOO_MANY = mark("One request to view names at most 50 recordings. Ask in several.")
NO_USE = mark("Choose what is asked for: view, copy, burn or disclose.")
NOT_TO_THEM = mark("There is no account of this name to which all of these recordings may be shown.")
NO_HOLDER = mark("Name the account that is to view.")
NO_RECIPIENT = mark("Say who gets the copy, in one line of at most 500 characters.")
NO_REASON = mark("Give the reason in one line of at most 200 characters.")
NO_CASE = mark("A case number is one line of at most 60 characters.")
NO_DAYS = mark("An approval is good for 1 to 7 days.")
MAX_CASE = 60


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. `recordings`: log indexes, rising; `holder` for view, `recipient` for every other use."""

    use: Use
    recordings: tuple[int, ...]
    selection: str
    holder: str | None
    recipient: str
    case_number: str
    reason: str
    valid_seconds: int


def fault_of(wanted: Wanted) -> str | None:
    """Why this cannot be asked for, as a marked message, or None."""
    views = wanted.use == "view"
    checks = (
        (wanted.use in USES, NO_USE),
        (bool(wanted.recordings), NO_RECORDING),
        (not views or len(wanted.recordings) <= MAX_VIEWED, TOO_MANY),
        (views == bool(wanted.holder), NO_HOLDER),
        (views or is_line(wanted.recipient, MAX_TEXT), NO_RECIPIENT),
        (is_line(wanted.reason, MAX_REASON if views else MAX_TEXT), NO_REASON),
        (not wanted.case_number or is_line(wanted.case_number, MAX_CASE), NO_CASE),
        (0 < wanted.valid_seconds <= MAX_GRANT_SECONDS, NO_DAYS),
    )
    return next((message for good, message in checks if not good), None)


def is_line(text: str, most: int) -> bool:
    """Whether `text` is one line of 1 to `most` characters without blanks at its ends."""
    return 0 < len(text) <= most and text.isprintable() and text == text.strip()


def action_of(use: str) -> Action:
    """What asking for this use is."""
    return Action.REQUEST_VIEW if use == "view" else Action.REQUEST_COPY


def may_see(actor: Actor, request: Subject) -> bool:
    """Whether a request is there for `actor`: also for whoever is to view."""
    return may(actor, Action.SEE_USES, request) or actor.name == request.about


def may_revoke(actor: Actor, request: Subject) -> bool:
    """Whether `actor` may end an approval: whoever's office it is, and whoever asked or is to view."""
    return may(actor, Action.REVOKE_USE, request) or actor.name in (request.requested_by, request.about)


def state_of(row: Mapping[str, Any], used: bool, now: datetime) -> State:
    """How a request of `use_request` stands; `used`: its one copy was made."""
    if row["decided_at"] is None:
        return "waiting"
    if not row["approved"]:
        return "withdrawn" if row["decided_by"] == row["requested_by"] else "refused"
    if used:
        return "used"
    if row["revoked_at"] is not None:
        return "revoked"
    expires_at = from_text(row["expires_at"])
    return "approved" if expires_at is not None and now < expires_at else "expired"


OWN_ACTS = mark("Whoever is to get this footage carried the camera: they would have the record of their own acts.")
NOT_TOLD = mark("The log does not say who carried the camera. Whether the person is a party to it cannot be told here.")
OUTSIDE = mark("It goes to somebody outside. A copy that was handed out cannot be called back.")


def warnings(use: str, number: str, carried_by: frozenset[str]) -> tuple[str, ...]:
    """What whoever decides should think of, as marked messages.

    `number`: at the stations, of whoever is to view or asks for the copy; `carried_by`: numbers of those who carried.
    """
    checks = (
        (bool(number) and number in carried_by, OWN_ACTS),
        (bool(number) and not carried_by, NOT_TOLD),
        (use == "disclose", OUTSIDE),
    )
    return tuple(message for holds, message in checks if holds)
