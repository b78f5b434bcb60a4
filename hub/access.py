"""Who may do what: roles, and the one function that answers. Pure; tested as a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The roles of the regulation's offices, and the administrator, who runs the machine and sees no footage."""

    OFFICER = "officer"
    CUSTODIAN = "custodian"
    SECTION_HEAD = "section_head"
    EQUIPMENT_OFFICE = "equipment_office"
    APPROVING_LEADER = "approving_leader"
    RECORDS_CUSTODIAN = "records_custodian"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


class Action(StrEnum):
    """What a page or call does for a person. Recordings are listed with their facts; footage is not among these."""

    SEE_STATIONS = "see_stations"
    SEE_RECORDINGS = "see_recordings"
    SEE_LOG = "see_log"
    SEE_PEOPLE = "see_people"
    CHANGE_PEOPLE = "change_people"


@dataclass(frozen=True, slots=True)
class Actor:
    """The signed-in person."""

    name: str
    role: Role
    must_change_password: bool
    code_due: bool = False  # the authenticator's code has not been entered in this session


_EVERYBODY = frozenset(Role)
_MAY: dict[Action, frozenset[Role]] = {
    Action.SEE_STATIONS: _EVERYBODY,
    # officers and the equipment office handle cameras; whose recordings exist is not their business
    Action.SEE_RECORDINGS: _EVERYBODY - {Role.OFFICER, Role.EQUIPMENT_OFFICE},
    Action.SEE_LOG: _EVERYBODY - {Role.OFFICER, Role.EQUIPMENT_OFFICE},
    Action.SEE_PEOPLE: frozenset({Role.ADMINISTRATOR, Role.AUDITOR}),
    Action.CHANGE_PEOPLE: frozenset({Role.ADMINISTRATOR}),
}


def may(actor: Actor, action: Action) -> bool:
    """Whether `actor` may do `action`. Nobody may do anything before they are wholly signed in."""
    return not (actor.must_change_password or actor.code_due) and actor.role in _MAY[action]
