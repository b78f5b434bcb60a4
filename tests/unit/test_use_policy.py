"""What can be asked for, how a request stands, what to warn of, and what in a bundle is no approval of it. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from custody.bundleapproval import BundleApproval
from custody.event import NO_PREVIOUS, Sha256Hex
from custody.hubevents import BundleExported, UseDecided, UseRequested
from hub.access import Actor, Role, Subject
from hub.requests import policy
from hub.requests.policy import DAY_SECONDS, Wanted, fault_of, state_of, warnings
from hub.times import to_text

VIEW = Wanted("view", (4, 7), "2 recordings named", "wang", "", "", "complaint 12", 3 * DAY_SECONDS)
COPY = replace(VIEW, use="burn", holder=None, recipient="区法院")
NOW = datetime(2026, 3, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"recordings": ()}, policy.NO_RECORDING), ({"recordings": tuple(range(51))}, policy.TOO_MANY),
        ({"use": "keep"}, policy.NO_USE), ({"holder": None}, policy.NO_HOLDER), ({"reason": ""}, policy.NO_REASON),
        ({"reason": "x" * 201}, policy.NO_REASON), ({"reason": "a\nb"}, policy.NO_REASON),
        ({"case_number": "x" * 61}, policy.NO_CASE), ({"valid_seconds": 0}, policy.NO_DAYS),
        ({"valid_seconds": 7 * DAY_SECONDS + 1}, policy.NO_DAYS),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for(changes: dict[str, Any], fault: str) -> None:
    assert fault_of(VIEW) is fault_of(COPY) is None
    assert fault_of(replace(VIEW, **changes)) == fault


def test_a_copy_has_a_recipient_and_no_holder() -> None:
    assert fault_of(replace(COPY, recipient="")) == policy.NO_RECIPIENT
    assert fault_of(replace(COPY, holder="wang")) == policy.NO_HOLDER
    assert fault_of(replace(COPY, recordings=tuple(range(5000)))) is None


def test_how_a_request_stands() -> None:
    later, sooner = to_text(NOW + timedelta(seconds=1)), to_text(NOW)
    row: dict[str, Any] = {"decided_at": None, "requested_by": "a", "revoked_at": None, "expires_at": later}
    decided = row | {"decided_at": sooner, "decided_by": "b", "approved": True}
    for changed, used, state in (
        (row, False, "waiting"), (decided, False, "approved"), (decided, True, "used"),
        (decided | {"expires_at": sooner}, False, "expired"), (decided | {"revoked_at": sooner}, False, "revoked"),
        (decided | {"approved": False}, False, "refused"),
        (decided | {"approved": False, "decided_by": "a"}, False, "withdrawn"),
    ):  # fmt: skip
        assert state_of(changed, used, NOW) == state


def test_what_to_think_of_before_deciding() -> None:
    assert warnings("view", "1001", frozenset({"1001", "1002"})) == (policy.OWN_ACTS,)
    assert warnings("view", "1001", frozenset({"1002"})) == ()
    assert warnings("view", "", frozenset()) == ()  # somebody who carries no camera
    assert warnings("disclose", "1001", frozenset()) == (policy.NOT_TOLD, policy.OUTSIDE)


def test_who_sees_and_ends_a_request() -> None:
    request = Subject(frozenset({"B"}), requested_by="li", about="wang")
    for name, role, sees, ends in (
        ("li", Role.OFFICER, True, True), ("wang", Role.OFFICER, True, True), ("x", Role.OFFICER, False, False),
        ("x", Role.CUSTODIAN, True, False), ("x", Role.SECTION_HEAD, True, True), ("x", Role.AUDITOR, True, True),
        ("x", Role.ADMINISTRATOR, True, False), ("x", Role.EQUIPMENT_OFFICE, False, False),
    ):  # fmt: skip
        actor = Actor(name, role, must_change_password=False, section="B")
        assert (policy.may_see(actor, request), policy.may_revoke(actor, request)) == (sees, ends), (name, role)


# --- the approval of a bundle ---

COMMON: dict[str, Any] = {"id": "x", "source": "hub", "previous": NO_PREVIOUS, "at": NOW, "clock": "unknown"}
SAME: dict[str, Any] = {"recordings_in_all": 2, "bytes_in_all": 9, "selection": "all", "recipient": "court",
                        "reason": "r", "request_id": "q", "requested_by": "li"}  # fmt: skip
EXPORT = BundleExported(
    **COMMON, **SAME, seq=9, bundle_id="b", part=1, parts=1, recordings=(4, 7), operator="op", approved_by="leader"
)
ASKED = UseRequested(
    **COMMON, **SAME, seq=1, use="copy", part=1, parts=1, recordings=(4, 7), recordings_sha256=Sha256Hex("0" * 64),
    holder=None, case_number="", valid_seconds=60,
)  # fmt: skip
DECIDED = UseDecided(
    **COMMON, seq=2, request_id="q", approved=True, decided_by="leader", reason="", expires_at=NOW, grants=(),
    copy_number=12,
)  # fmt: skip


def fault(*events: UseRequested | UseDecided) -> str | None:
    made = BundleApproval()
    for event in events:
        made.take(event)
    return made.fault([EXPORT])


def test_a_bundle_with_its_approval_or_of_an_earlier_hub() -> None:
    assert fault(ASKED, DECIDED) is fault() is None
    halves = replace(ASKED, parts=2, recordings=(4,)), replace(ASKED, part=2, parts=2, recordings=(7,))
    assert fault(*halves, DECIDED) is None


@pytest.mark.parametrize(
    "events",
    [
        (ASKED,), (DECIDED,), (ASKED, DECIDED, DECIDED), (replace(ASKED, parts=2), DECIDED),
        (replace(ASKED, request_id="other"), DECIDED), (ASKED, replace(DECIDED, request_id="other")),
        (ASKED, replace(DECIDED, approved=False)), (ASKED, replace(DECIDED, decided_by="li")),
        (ASKED, replace(DECIDED, decided_by="another")), (replace(ASKED, requested_by="another"), DECIDED),
        (replace(ASKED, recipient="another"), DECIDED), (replace(ASKED, reason="another"), DECIDED),
        (replace(ASKED, recordings=(4, 8)), DECIDED),
    ],
)  # fmt: skip
def test_an_approval_of_something_else_is_none(events: tuple[UseRequested | UseDecided, ...]) -> None:
    assert fault(*events) is not None
