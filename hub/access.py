"""Who may do what: one table of roles and actions, how far each role reaches, and the one function that answers. Pure.

Every route and page asks here and nothing else looks at a role; `tests/integration/test_access_matrix.py` asks every
route for every role about every kind of thing.

A thing belongs to sections (科室): a recording to that of the officer who carried the camera and to that of the station
that keeps it, a command to its station's. What a person may not see is not there for them: 404, in no list, no count.
Where nobody named sections, everybody and everything is of the section "" and the bureau is one.
"""

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
    """What a page or call does for a person. Recordings are listed with their facts; footage is `VIEW_FOOTAGE`."""

    SEE_STATIONS = "see_stations"
    SEE_DOCKINGS = "see_dockings"
    SEE_FIGURES = "see_figures"  # of the whole bureau, for monitors
    SEE_RECORDINGS = "see_recordings"
    SEE_LOG = "see_log"  # all of it: lists, exports, tiles of entries
    SEE_ENTRY = "see_entry"  # one entry that a station stated, with its proof
    VIEW_FOOTAGE = "view_footage"  # hold a grant: nobody sees footage without one (Art. 17)
    SEE_PEOPLE = "see_people"
    CHANGE_PEOPLE = "change_people"
    SEE_ENROLMENT = "see_enrolment"
    ENROL_STATION = "enrol_station"
    APPROVE_ENROLMENT = "approve_enrolment"
    APPROVE_PEOPLE = "approve_people"
    SEE_COMMANDS = "see_commands"
    ORDER_ROSTER = "order_roster"
    ORDER_POLICY = "order_policy"
    ORDER_HOLD = "order_hold"
    REQUEST_LIFT = "request_lift"
    APPROVE_LIFT = "approve_lift"
    SEE_USES = "see_uses"  # requests to use footage and their register (Art. 17); whoever asked sees their own
    REQUEST_VIEW = "request_view"
    REQUEST_COPY = "request_copy"  # copy, burn, disclose; and note what became of a copy
    APPROVE_USE = "approve_use"
    REVOKE_USE = "revoke_use"
    REQUEST_RELEASE = "request_release"
    APPROVE_RELEASE = "approve_release"
    REQUEST_DISPOSITION = "request_disposition"
    APPROVE_DISPOSITION = "approve_disposition"
    REQUEST_KEYS = "request_keys"
    APPROVE_KEYS = "approve_keys"
    FREEZE_STATION = "freeze_station"
    TEND_CAMERAS = "tend_cameras"  # be told which are late or were taken too early
    TEND_STATIONS = "tend_stations"  # be told which are silent or ill
    REQUEST_OPENING_REMOVAL = "request_opening_removal"
    APPROVE_OPENING_REMOVAL = "approve_opening_removal"
    SEE_REMOVALS = "see_removals"  # of keys and personal detail, asked for and done
    SEE_ALERTS = "see_alerts"
    HANDLE_ALERTS = "handle_alerts"  # acknowledge, assign, resolve


class Relation(StrEnum):
    """How a thing stands to a person."""

    OWN = "own"  # carried the camera, or asked for it
    SECTION = "section"
    OTHER = "other"  # another section's, or the bureau's as a whole


@dataclass(frozen=True, slots=True)
class Actor:
    """The signed-in person. `officer`: their number at the stations, "" where they have none."""

    name: str
    role: Role
    must_change_password: bool
    code_due: bool = False  # the authenticator's code has not been entered in this session
    section: str = ""
    officer: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What an action is about, by whose it is."""

    sections: frozenset[str] = frozenset()  # none: nobody's but the bureau's
    officer: str | None = None  # number of who carried the camera; None: not known
    requested_by: str | None = None  # account that asked for it
    about: str | None = None  # account that it gives something to, or takes from


BUREAU = Subject()  # the log, the people, the hub's keys

_EVERYBODY = frozenset(Role)
_HANDLE_CAMERAS_ONLY = frozenset({Role.EQUIPMENT_OFFICE})  # whose recordings exist is not their business
_SEE_FOOTAGE = _EVERYBODY - {Role.ADMINISTRATOR, Role.EQUIPMENT_OFFICE}
_WHOLE_BUREAU = frozenset({Role.EQUIPMENT_OFFICE, Role.APPROVING_LEADER, Role.AUDITOR, Role.ADMINISTRATOR})

_MAY: dict[Action, frozenset[Role]] = {
    Action.SEE_STATIONS: _EVERYBODY,
    Action.SEE_DOCKINGS: _EVERYBODY,
    Action.SEE_FIGURES: _WHOLE_BUREAU,
    Action.SEE_RECORDINGS: _EVERYBODY - _HANDLE_CAMERAS_ONLY,
    Action.SEE_LOG: _WHOLE_BUREAU - _HANDLE_CAMERAS_ONLY,
    Action.SEE_ENTRY: _EVERYBODY - _HANDLE_CAMERAS_ONLY,
    Action.VIEW_FOOTAGE: _SEE_FOOTAGE,
    Action.SEE_PEOPLE: frozenset({Role.ADMINISTRATOR, Role.AUDITOR}),
    Action.CHANGE_PEOPLE: frozenset({Role.ADMINISTRATOR}),
    Action.SEE_ENROLMENT: frozenset({Role.ADMINISTRATOR, Role.AUDITOR}),
    Action.ENROL_STATION: frozenset({Role.ADMINISTRATOR}),
    Action.APPROVE_ENROLMENT: frozenset({Role.ADMINISTRATOR}),
    Action.APPROVE_PEOPLE: frozenset({Role.ADMINISTRATOR}),
    Action.SEE_COMMANDS: _EVERYBODY - {Role.OFFICER},
    Action.ORDER_ROSTER: frozenset({Role.CUSTODIAN, Role.EQUIPMENT_OFFICE}),
    Action.ORDER_POLICY: frozenset({Role.EQUIPMENT_OFFICE, Role.SECTION_HEAD}),
    # whoever learns of a case may keep its footage at once; ending a hold takes two others' offices
    Action.ORDER_HOLD: frozenset(
        {Role.CUSTODIAN, Role.SECTION_HEAD, Role.APPROVING_LEADER, Role.RECORDS_CUSTODIAN, Role.AUDITOR}
    ),
    Action.REQUEST_LIFT: frozenset({Role.SECTION_HEAD, Role.RECORDS_CUSTODIAN}),
    Action.APPROVE_LIFT: frozenset({Role.APPROVING_LEADER}),
    Action.SEE_USES: _EVERYBODY - _HANDLE_CAMERAS_ONLY,
    # Art. 17 asks for a need of the work, the leader's approval and an entry in the register, not for a rank: whoever
    # may be given footage at all may ask to view it, an officer what they recorded themselves
    Action.REQUEST_VIEW: _SEE_FOOTAGE,
    # a copy leaves the vault: it is asked for by those whose office is to keep count of footage and to get copies back
    Action.REQUEST_COPY: frozenset({Role.CUSTODIAN, Role.SECTION_HEAD, Role.RECORDS_CUSTODIAN}),
    Action.APPROVE_USE: frozenset({Role.APPROVING_LEADER}),
    Action.REVOKE_USE: frozenset({Role.SECTION_HEAD, Role.RECORDS_CUSTODIAN, Role.APPROVING_LEADER, Role.AUDITOR}),
    Action.REQUEST_RELEASE: frozenset({Role.CUSTODIAN, Role.EQUIPMENT_OFFICE}),
    Action.APPROVE_RELEASE: frozenset({Role.SECTION_HEAD, Role.APPROVING_LEADER}),
    Action.REQUEST_DISPOSITION: frozenset({Role.RECORDS_CUSTODIAN}),
    Action.APPROVE_DISPOSITION: frozenset({Role.APPROVING_LEADER}),
    Action.REQUEST_KEYS: frozenset({Role.ADMINISTRATOR}),
    Action.APPROVE_KEYS: frozenset({Role.APPROVING_LEADER, Role.AUDITOR}),
    Action.FREEZE_STATION: frozenset({Role.ADMINISTRATOR, Role.AUDITOR, Role.APPROVING_LEADER}),
    Action.TEND_CAMERAS: frozenset({Role.CUSTODIAN, Role.SECTION_HEAD, Role.EQUIPMENT_OFFICE}),
    Action.TEND_STATIONS: frozenset({Role.CUSTODIAN, Role.EQUIPMENT_OFFICE, Role.ADMINISTRATOR}),
    Action.REQUEST_OPENING_REMOVAL: frozenset({Role.RECORDS_CUSTODIAN}),
    Action.APPROVE_OPENING_REMOVAL: frozenset({Role.APPROVING_LEADER}),
    Action.SEE_REMOVALS: frozenset({Role.RECORDS_CUSTODIAN, Role.APPROVING_LEADER, Role.AUDITOR, Role.ADMINISTRATOR}),
    # whoever an alert may go to; an officer is asked for a camera by people, not by the hub
    Action.SEE_ALERTS: _EVERYBODY - {Role.OFFICER},
    Action.HANDLE_ALERTS: _EVERYBODY - {Role.OFFICER},
}
# who asked, and who gets or loses something by it, never decides it; the tables refuse it too where a row can say it
_SECOND_PERSON = frozenset(action for action in Action if action.value.startswith("approve_"))

_OWN = frozenset({Relation.OWN})
_SECTION = _OWN | {Relation.SECTION}
_ALL = frozenset(Relation)


def roles_for(action: Action) -> tuple[Role, ...]:
    """The roles that may do `action`, for pages that say whom to ask."""
    return tuple(role for role in Role if role in _MAY[action])


def reach(role: Role, action: Action) -> frozenset[Relation]:
    """What things a role may do `action` to, by how they stand to the person; empty: to none."""
    if role not in _MAY[action]:
        return frozenset()
    if role in _WHOLE_BUREAU or action in (Action.REQUEST_OPENING_REMOVAL, Action.SEE_REMOVALS):  # the log has none
        return _ALL
    # an officer must find the section's dock and its cameras; of what others recorded they learn nothing
    return _OWN if role is Role.OFFICER and action is not Action.SEE_STATIONS else _SECTION


def holds(actor: Actor, roles: frozenset[Role]) -> bool:
    """Whether something that goes to these offices goes to this person."""
    return actor.role in roles


def relation(actor: Actor, subject: Subject) -> Relation:
    """How `subject` stands to `actor`."""
    carried = bool(actor.officer) and actor.officer == subject.officer
    if carried or actor.name == subject.requested_by:
        return Relation.OWN
    return Relation.SECTION if actor.section in subject.sections else Relation.OTHER


def may(actor: Actor, action: Action, subject: Subject) -> bool:
    """Whether `actor` may do `action` to `subject`. Nobody may do anything before they are wholly signed in."""
    if action in _SECOND_PERSON and actor.name in (subject.requested_by, subject.about):
        return False
    return may_ever(actor, action) and relation(actor, subject) in reach(actor.role, action)


def may_ever(actor: Actor, action: Action) -> bool:
    """Whether there is anything that `actor` may do `action` to: whether a page is theirs, not what stands on it."""
    return not (actor.must_change_password or actor.code_due) and bool(reach(actor.role, action))
