"""What waits for this person: decisions that only they and their like can take, and what their office must look after.

Another thing that can wait is one more row of `_WAITING`, or one more line of `_looked_after`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from hub.access import BUREAU, Action, Actor, Subject, may, may_ever
from hub.accounts.codes import has_second_factor
from hub.commands.queries import read_waiting
from hub.overview.cameras import Cameras
from hub.readonly import why_read_only
from hub.requests.queries import QUERY as USES
from hub.requests.queries import subject_of as use_subject
from hub.sections import station_subject
from hub.tables import (
    account_request,
    key_change,
    opening_removal,
    section_request,
    station_request,
    station_revocation,
    use_request,
    witness,
    witness_state,
)

MAX_WAITING = 100  # requests of one kind that are looked at; a page says "100" and means it or more


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do. `code` is a key of vocabulary.TASKS; `count` how many of them; `href` where it is done."""

    code: str
    count: int
    href: str
    urgent: bool = False


def load_tasks(connection: Connection, actor: Actor, cameras: Cameras, stations: int, urgent: int) -> tuple[Task, ...]:
    """Everything that waits for `actor`, the urgent first. `stations`: those they see; `urgent`: of them in trouble."""
    found = [*_looked_after(connection, actor, cameras, stations, urgent), *_decisions(connection, actor)]
    return tuple(sorted((task for task in found if task.count), key=lambda task: not task.urgent))


def _looked_after(connection: Connection, actor: Actor, cameras: Cameras, stations: int, urgent: int) -> list[Task]:
    """What nobody asked for and somebody must see to."""
    found = []
    if why_read_only(connection) is not None:
        found.append(Task("log_closed", 1, "/restore", urgent=True))
    if may(actor, Action.FREEZE_STATION, BUREAU):
        refusing = select(func.count()).select_from(witness_state).join(
            witness, witness.c.name == witness_state.c.witness, isouter=True
        )  # fmt: skip
        told = witness_state.c.alarm.is_not(None), witness.c.removed_at.is_(None)
        found.append(
            Task("witness_refuses", connection.execute(refusing.where(*told)).scalar_one(), "/log", urgent=True)
        )
    if may_ever(actor, Action.TEND_CAMERAS):
        found.append(Task("overdue", cameras.counts.get("overdue", 0), "#cameras", urgent=True))
        found.append(Task("left_unsaved", cameras.left_unsaved_in_all, "#cameras", urgent=True))
        found.append(Task("not_ready", cameras.counts.get("not_ready", 0), "/stations?sort=worst"))
    if may_ever(actor, Action.TEND_STATIONS):
        found.append(Task("stations", urgent, "/stations?sort=worst", urgent=True))
    if may(actor, Action.ENROL_STATION, BUREAU) and not stations:
        found.append(Task("enrol_first", 1, "/enrolment"))
    return found


def _decisions(connection: Connection, actor: Actor) -> list[Task]:
    """Requests of others that wait for a second person, where `actor` may be the one."""
    found = [
        Task(code, sum(may(actor, action, subject(connection, row)) for row in connection.execute(query)), href)
        for code, action, query, subject, href in _WAITING
        if may_ever(actor, action)
    ]
    commands = read_waiting(connection, actor, MAX_WAITING) if may_ever(actor, Action.SEE_COMMANDS) else ()
    found.append(Task("commands", sum(row.may_approve for row in commands), "/commands"))
    decides = any(may_ever(actor, action) for action in Action if action.value.startswith("approve_"))
    if decides and not has_second_factor(connection, actor.name):
        found.append(Task("second_factor", 1, "/second-factor"))
    return found


def _about_account(_: Connection, row: Any) -> Subject:
    return Subject(requested_by=row.requested_by, about=row.account)


def _asked(_: Connection, row: Any) -> Subject:
    return Subject(requested_by=row.requested_by)


def _section(connection: Connection, row: Any) -> Subject:
    placed = station_subject(connection, row.station) if row.station else None
    return Subject((placed or BUREAU).sections, requested_by=row.requested_by, about=row.account)


def _oldest(query: Select[Any]) -> Select[Any]:
    return query.limit(MAX_WAITING)


def _newest(of: Any, by: Any, approved_by: Any) -> Select[Any]:
    """Requests that no later one has replaced."""
    newest = select(func.max(of.c.id)).group_by(by)
    return _oldest(select(of).where(of.c.id.in_(newest), approved_by.is_(None)))


_Subject = Callable[[Connection, Any], Subject]
_WAITING: tuple[tuple[str, Action, Select[Any], _Subject, str], ...] = (
    ("uses", Action.APPROVE_USE, _oldest(USES.where(use_request.c.decided_at.is_(None))),
     lambda _, row: use_subject(row), "/requests"),
    ("people", Action.APPROVE_PEOPLE, _oldest(select(account_request).where(account_request.c.decided_at.is_(None))),
     _about_account, "/people"),
    ("sections", Action.APPROVE_PEOPLE, _oldest(select(section_request).where(section_request.c.decided_at.is_(None))),
     _section, "/sections"),
    ("enrolments", Action.APPROVE_ENROLMENT,
     _oldest(select(station_request).where(station_request.c.decided_at.is_(None))), _asked, "/enrolment"),
    ("rotations", Action.APPROVE_KEYS, _newest(key_change, key_change.c.role, key_change.c.approved_by), _asked,
     "/log?type=key.rotation_requested.v1"),
    ("revocations", Action.APPROVE_KEYS,
     _newest(station_revocation, station_revocation.c.station, station_revocation.c.approved_by), _asked,
     "/removals"),
    ("removals", Action.APPROVE_OPENING_REMOVAL,
     _oldest(select(opening_removal).where(opening_removal.c.approved_by.is_(None))), _asked,
     "/removals"),
)  # fmt: skip
