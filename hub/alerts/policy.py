"""Whose an alert is, and when it goes to the next. Pure."""

from __future__ import annotations

from datetime import datetime

from hub.access import Actor, Role, Subject, holds
from hub.alerts.kinds import KINDS, Kind


def subject_of(kind: Kind, section: str | None) -> Subject:
    """Whose an alert is; `section`: of its station, None where it has none or is not enrolled."""
    return Subject() if kind.bureau or section is None else Subject(frozenset({section}))


def reached(kind: Kind, level: int) -> frozenset[Role]:
    """The offices that have it after it went to the next `level` times."""
    return frozenset().union(*kind.goes_to[: level + 1])


def is_mine(actor: Actor, kind: Kind, level: int, assigned_to: str | None) -> bool:
    """Whether this person is to do something about it."""
    return assigned_to == actor.name or (assigned_to is None and holds(actor, reached(kind, level)))


def next_level(code: str, level: int, level_at: datetime, now: datetime, *, acknowledged: bool) -> int | None:
    """The step that an open alert takes now, because nobody took note of it in time; None: it stays where it is."""
    kind = KINDS.get(code)
    if kind is None or acknowledged or level + 1 >= len(kind.goes_to) or now - level_at < kind.after:
        return None
    return level + 1


def may_end(kind: Kind) -> bool:
    """Whether a person may say that it is over. What is watched says so itself, and would open it again at once."""
    return kind.ends != "condition"
