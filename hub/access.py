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
    SEE_ENROLMENT = "see_enrolment"
    ENROL_STATION = "enrol_station"
    SEE_COMMANDS = "see_commands"
    ORDER_ROSTER = "order_roster"
    ORDER_POLICY = "order_policy"
    ORDER_HOLD = "order_hold"
    REQUEST_LIFT = "request_lift"
    APPROVE_LIFT = "approve_lift"
    REQUEST_GRANT = "request_grant"
    APPROVE_GRANT = "approve_grant"
    REVOKE_GRANT = "revoke_grant"
    REQUEST_RELEASE = "request_release"
    APPROVE_RELEASE = "approve_release"
    REQUEST_DISPOSITION = "request_disposition"
    APPROVE_DISPOSITION = "approve_disposition"
    REQUEST_KEYS = "request_keys"
    APPROVE_KEYS = "approve_keys"
    FREEZE_STATION = "freeze_station"
    REQUEST_EXPORT = "request_export"
    APPROVE_EXPORT = "approve_export"
    REQUEST_OPENING_REMOVAL = "request_opening_removal"
    APPROVE_OPENING_REMOVAL = "approve_opening_removal"


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
    Action.SEE_ENROLMENT: frozenset({Role.ADMINISTRATOR, Role.AUDITOR}),
    Action.ENROL_STATION: frozenset({Role.ADMINISTRATOR}),
    Action.SEE_COMMANDS: _EVERYBODY - {Role.OFFICER},
    Action.ORDER_ROSTER: frozenset({Role.CUSTODIAN, Role.EQUIPMENT_OFFICE}),
    Action.ORDER_POLICY: frozenset({Role.EQUIPMENT_OFFICE, Role.SECTION_HEAD}),
    # whoever learns of a case may keep its footage at once; ending a hold takes two others' offices
    Action.ORDER_HOLD: frozenset(
        {Role.CUSTODIAN, Role.SECTION_HEAD, Role.APPROVING_LEADER, Role.RECORDS_CUSTODIAN, Role.AUDITOR}
    ),
    Action.REQUEST_LIFT: frozenset({Role.SECTION_HEAD, Role.RECORDS_CUSTODIAN}),
    Action.APPROVE_LIFT: frozenset({Role.APPROVING_LEADER}),
    Action.REQUEST_GRANT: frozenset({Role.SECTION_HEAD, Role.CUSTODIAN, Role.RECORDS_CUSTODIAN}),
    Action.APPROVE_GRANT: frozenset({Role.APPROVING_LEADER}),
    Action.REVOKE_GRANT: frozenset({Role.SECTION_HEAD, Role.RECORDS_CUSTODIAN, Role.APPROVING_LEADER, Role.AUDITOR}),
    Action.REQUEST_RELEASE: frozenset({Role.CUSTODIAN, Role.EQUIPMENT_OFFICE}),
    Action.APPROVE_RELEASE: frozenset({Role.SECTION_HEAD, Role.APPROVING_LEADER}),
    Action.REQUEST_DISPOSITION: frozenset({Role.RECORDS_CUSTODIAN}),
    Action.APPROVE_DISPOSITION: frozenset({Role.APPROVING_LEADER}),
    Action.REQUEST_KEYS: frozenset({Role.ADMINISTRATOR}),
    Action.APPROVE_KEYS: frozenset({Role.APPROVING_LEADER, Role.AUDITOR}),
    Action.FREEZE_STATION: frozenset({Role.ADMINISTRATOR, Role.AUDITOR, Role.APPROVING_LEADER}),
    Action.REQUEST_EXPORT: frozenset({Role.CUSTODIAN, Role.SECTION_HEAD, Role.RECORDS_CUSTODIAN}),
    Action.APPROVE_EXPORT: frozenset({Role.APPROVING_LEADER}),
    Action.REQUEST_OPENING_REMOVAL: frozenset({Role.RECORDS_CUSTODIAN}),
    Action.APPROVE_OPENING_REMOVAL: frozenset({Role.APPROVING_LEADER}),
}


def roles_for(action: Action) -> tuple[Role, ...]:
    """The roles that may do `action`, for pages that say whom to ask."""
    return tuple(role for role in Role if role in _MAY[action])


def may(actor: Actor, action: Action) -> bool:
    """Whether `actor` may do `action`. Nobody may do anything before they are wholly signed in."""
    return not (actor.must_change_password or actor.code_due) and actor.role in _MAY[action]
