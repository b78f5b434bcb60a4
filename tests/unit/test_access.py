"""Who may do what to whose things: the whole table, and that the requester never approves."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

import hub
from hub.access import BUREAU, Action, Actor, Relation, Role, Subject, may, may_ever, relation

# officer, custodian, section head, equipment office, approving leader, records custodian, auditor, administrator:
# o their own, s their section's, a everybody's, - nobody's
TABLE = """
see_stations          s s s a a s a a
see_dockings          o s s a a s a a
see_figures           - - - a a - a a
see_recordings        o s s - a s a a
see_log               - - - - a - a a
see_entry             o s s - a s a a
label_recordings      o s s - - s - -
mark_recordings       o s s - a s - -
change_knowing        - - s - a - - -
request_lower_mark    - - s - - s - -
approve_lower_mark    - - - - a - - -
view_footage          o s s - a s a -
see_people            - - - - - - a a
change_people         - - - - - - - a
approve_people        - - - - - - - a
see_enrolment         - - - - - - a a
enrol_station         - - - - - - - a
approve_enrolment     - - - - - - - a
see_commands          - s s a a s a a
order_roster          - s - a - - - -
order_policy          - - s a - - - -
order_hold            - s s - a s a -
request_lift          - - s - - s - -
approve_lift          - - - - a - - -
see_uses              o s s - a s a a
request_view          o s s - a s a -
request_copy          - s s - - s - -
approve_use           - - - - a - - -
revoke_use            - - s - a s a -
request_release       - s - a - - - -
approve_release       - - s - a - - -
request_disposition   - - - - - s - -
approve_disposition   - - - - a - - -
request_keys          - - - - - - - a
approve_keys          - - - - a - a -
freeze_station        - - - - a - a a
tend_cameras          - s s a - - - -
tend_stations         - s - a - - - a
request_opening_removal - - - - - a - -
approve_opening_removal - - - - a - - -
see_removals          - - - - a a a a
see_alerts            - s s a a s a a
handle_alerts         - s s a a s a a
"""
REACH = {line.split()[0]: dict(zip(Role, line.split()[1:], strict=True)) for line in TABLE.strip().splitlines()}
WITHIN = {"-": "", "o": "o", "s": "os", "a": "osa"}
SUBJECTS = {
    "o": Subject(frozenset({"B"}), officer="1001"),
    "s": Subject(frozenset({"A", "C"}), officer="1002"),
    "a": Subject(frozenset({"B"}), officer="1002", requested_by="other"),
}


def actor(role: Role, section: str = "A", officer: str = "1001") -> Actor:
    return Actor("p", role, must_change_password=False, section=section, officer=officer)


@pytest.mark.parametrize(("action", "role"), list(product(Action, Role)))
def test_every_cell(action: Action, role: Role) -> None:
    within = WITHIN[REACH[action][role]]
    for relative, subject in SUBJECTS.items():
        assert may(actor(role), action, subject) == (relative in within)
    assert may(actor(role), action, BUREAU) == ("a" in within)
    assert may_ever(actor(role), action) == bool(within)
    for unfinished in (Actor("p", role, must_change_password=True), Actor("p", role, False, code_due=True)):
        assert not may_ever(unfinished, action)
        assert not any(may(unfinished, action, subject) for subject in (*SUBJECTS.values(), Subject(frozenset({""}))))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "action", [action for action in Action if action.value.startswith(("approve", "change_knowing"))]
)
def test_nobody_approves_what_they_asked_for_or_gain_by(action: Action, role: Role) -> None:
    for mine in (Subject(frozenset({"A"}), requested_by="p"), Subject(frozenset({"A"}), requested_by="q", about="p")):
        assert not may(actor(role), action, mine)


@pytest.mark.parametrize(("action", "role"), list(product(Action, Role)))
def test_a_restricted_thing_is_told_to_those_who_may_know_it(action: Action, role: Role) -> None:
    """Deciding and letting others in needs no knowing, or what nobody knows would be out of reach for ever."""
    tells = {
        Action.SEE_RECORDINGS, Action.SEE_ENTRY, Action.LABEL_RECORDINGS, Action.MARK_RECORDINGS, Action.VIEW_FOOTAGE,
        Action.REQUEST_VIEW, Action.REQUEST_COPY, Action.REQUEST_LOWER_MARK,
    }  # fmt: skip
    open_to_all = Subject(frozenset({"A"}), officer="1001")
    for known in (frozenset[str](), frozenset({"q"})):
        hidden = Subject(frozenset({"A"}), officer="1001", known_to=known)
        assert may(actor(role), action, hidden) == (may(actor(role), action, open_to_all) and action not in tells)
    known = Subject(frozenset({"A"}), officer="1001", known_to=frozenset({"p"}))
    assert may(actor(role), action, known) == may(actor(role), action, open_to_all)


def test_how_things_stand() -> None:
    nobody = actor(Role.OFFICER, "", "")
    assert relation(nobody, Subject(officer="")) is Relation.OTHER  # no number is nobody's number
    assert relation(nobody, BUREAU) is Relation.OTHER
    assert relation(nobody, Subject(frozenset({""}))) is Relation.SECTION  # the bureau that has no sections is one
    assert relation(actor(Role.OFFICER), Subject(requested_by="p")) is Relation.OWN


def test_nothing_else_looks_at_the_role_of_who_asks() -> None:
    top = Path(hub.__file__).parent
    files = [p for p in (*top.rglob("*.py"), *top.rglob("*.html")) if p.name != "access.py"]
    assert len(files) > 100
    looking = {str(p.relative_to(top)) for p in files if "actor.role" in p.read_text()}
    # lists by `reach`; the role's name under the person's
    assert looking == {"sections.py", "requests/queries.py", "templates/base.html"}
