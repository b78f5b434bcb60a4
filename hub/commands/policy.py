"""Who may ask a station for what, who must approve it, and for how long it is good. Pure.

Who asks never approves (DESIGN.md, section 6). What only protects needs one person: a hold that waits for a second one
may come too late. What loosens or ends something needs two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from hub.access import Action, Actor, Subject, may
from hub.errors import Invalid
from hub.problems import NotAllowed

LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Rule:
    """`approve` is None for a kind that one person may order. `valid`: how long a station may be away and still act."""

    request: Action
    approve: Action | None
    valid: timedelta


# a grant to view is no order by itself: it follows from an approved use of footage (hub/requests)
RULES: dict[str, Rule] = {
    "roster.v1": Rule(Action.ORDER_ROSTER, None, timedelta(days=90)),
    "policy.v1": Rule(Action.ORDER_POLICY, None, timedelta(days=90)),
    "hold.v1": Rule(Action.ORDER_HOLD, None, LONGEST),
    "hold_lifted.v1": Rule(Action.REQUEST_LIFT, Action.APPROVE_LIFT, timedelta(days=30)),
    "release.v1": Rule(Action.REQUEST_RELEASE, Action.APPROVE_RELEASE, timedelta(days=7)),
    "disposition.v1": Rule(Action.REQUEST_DISPOSITION, Action.APPROVE_DISPOSITION, timedelta(days=7)),
}


def rule_of(kind: str) -> Rule:
    """The rule of a kind that people may ask for. Raises Invalid for any other (`key_rotated.v1` is the hub's own)."""
    if kind not in RULES:
        raise Invalid(f"there is no command of kind {kind[:80]!r}")
    return RULES[kind]


def check_request(actor: Actor, kind: str, station: Subject) -> Rule:
    """Raise NotAllowed unless `actor` may ask this station for a command of this kind; its rule."""
    rule = rule_of(kind)
    if not may(actor, rule.request, station):
        raise NotAllowed
    return rule


def may_approve(actor: Actor, kind: str, command: Subject) -> bool:
    """Whether `actor` may be the second person of this command."""
    rule = RULES.get(kind)
    return rule is not None and rule.approve is not None and may(actor, rule.approve, command)


def may_withdraw(actor: Actor, kind: str, command: Subject) -> bool:
    """Whether `actor` may end a request: whoever made it, or whoever could have approved it."""
    asked = actor.name == command.requested_by and may(actor, Action.SEE_COMMANDS, command)
    return asked or may_approve(actor, kind, command)
