"""What opens and ends alerts: every event is asked about, every kind can be said, and no words name a person."""

from __future__ import annotations

import gettext
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from custody.event import NO_PREVIOUS, Event
from custody.hubevents import HUB_EVENTS, EnvelopeRefused, LogRestored
from custody.stationevents import (
    STATION_EVENTS,
    CameraChecked,
    CameraDocked,
    CameraLeftV2,
    CameraReturnedV2,
    Charge,
    CommandAnswered,
    Counts,
    DeviceRefused,
    DockingClosed,
    ReleaseFinished,
    SecretKept,
)
from hub.access import Actor, Role
from hub.alerts import policy, rules
from hub.alerts.kinds import KINDS, WATCHED, Severity
from hub.alerts.rules import MAX_CHARACTERS, NOBODY, RULES, Signal, signals_of
from hub.alerts.saying import About, speak
from hub.language import Language, load_translations
from hub.wording import Wording

NOW = datetime(2026, 3, 5, 6, 0, tzinfo=UTC)
WORDS = [Wording(Language.ZH, load_translations()[Language.ZH]), Wording(Language.EN, gettext.NullTranslations())]


def event(kind: type[Event], /, **facts: Any) -> Event:
    common = {"id": "1", "source": "dock-1", "seq": 1, "previous": NO_PREVIOUS, "at": NOW, "clock": "unknown"}
    return kind(**common, **facts)


def test_every_event_opens_or_ends_something_or_needs_nobody() -> None:
    assert set(RULES) | NOBODY == {*STATION_EVENTS, *HUB_EVENTS}
    assert set(RULES) & NOBODY == set()


def closed(reason: str) -> Event:
    counts = Counts(
        listed=1, copied=1, already_saved=0, failed=0, skipped=0, deleted_seen=0, unreadable=0, bytes_copied=1
    )
    return event(
        DockingClosed, docking_id="d", camera_id="cam", bay="2", complete=reason == "complete", reason=reason,
        counts=counts, manifest_sha256=NO_PREVIOUS, manifest_bytes=1,
    )  # fmt: skip


def checked(*reasons: str) -> Event:
    charge = Charge(percent=90, state="full", origin="reported", method="ptp", read_at=NOW)
    return event(
        CameraChecked, camera_id="cam", bay="2", verdict="not_ready" if reasons else "ready", reasons=reasons,
        charge=charge, free_bytes=1, total_bytes=1, free_minutes=1, clock_error_seconds=0, unsafe_files=0,
        policy_from="2026-01-01",
    )  # fmt: skip


def left(offload: str, verdict: str, carried: bool) -> Event:
    commitment = NO_PREVIOUS if carried else None
    facts = {"camera_id": "cam", "bay": "2", "offload": offload, "verdict": verdict}
    return event(CameraLeftV2, **facts, officer_commitment=commitment)


def docked(*, disputed: bool) -> Event:
    names = {"usb_id": "1:2", "usb_serial": "", "volume_ids": (), "profile": "generic"}
    return event(CameraDocked, camera_id="cam", bay="2", **names, disputed=disputed)


def refused(reason: str) -> Event:
    return event(DeviceRefused, bay="2", port="1", usb_id="1:2", usb_serial="", product="p", reason=reason, count=1)


def answered(result: str) -> Event:
    facts = {"kind": "hold.v1", "command_sha256": NO_PREVIOUS, "result": result, "reason": "gap"}
    return event(CommandAnswered, number=4, **facts)


def released(outcome: str) -> Event:
    return event(
        ReleaseFinished, command_id="1", command_sha256=NO_PREVIOUS, camera_id="cam", bay="2", docking_id="d",
        outcome=outcome, rule="held", cleared=0, kept=1, unknown=0, certificate_sha256=None, certificate_bytes=None,
    )  # fmt: skip


def secret(*, complete: bool) -> Event:
    digests = {"manifest_sha256": NO_PREVIOUS, "sums_sha256": NO_PREVIOUS}
    return event(SecretKept, secret_id="s", files=1, complete=complete, **digests)


def refused_envelopes(reason: str) -> Event:
    return event(EnvelopeRefused, topic="t", reason=reason, count=2, sample_sha256=NO_PREVIOUS, sample_bytes=1)


def restored(*without: str) -> Event:
    return event(LogRestored, base_size=1, size=2, root=NO_PREVIOUS, held_by="x", without=without, untimed=0)


@pytest.mark.parametrize(
    ("told", "opens", "ends"),
    [
        (closed("complete"), set(), {"footage_unsaved", "card_unreadable", "vault_failing"}),
        (closed("source_gone"), {"footage_unsaved"}, set()),
        (closed("read_fault"), {"card_unreadable"}, set()),
        (closed("vault_full"), {"vault_failing", "footage_unsaved"}, set()),
        (closed("source_empty"), set(), set()),
        (closed("code_of_tomorrow"), {"footage_unsaved"}, set()),
        (checked("clock_wrong", "charge_low"), {"camera_faulty"}, set()),
        (checked("charge_low"), set(), {"camera_faulty"}),  # it is being charged
        (left("safe", "ready", True), set(), {"footage_unsaved"}),
        (left("copying", "unchecked", False), {"footage_unsaved", "camera_taken_unrecorded"}, set()),
        (left("safe", "not_ready", True), {"camera_taken_not_ready"}, {"footage_unsaved"}),
        (docked(disputed=True), {"camera_disputed"}, set()),  # another's docking must not end what is about ours
        (docked(disputed=False), set(),
            {"camera_disputed", "camera_taken_not_ready", "camera_taken_unrecorded", "loose_contact"}),
        (refused("replug_storm"), {"loose_contact"}, set()),
        (refused("keyboard"), {"device_refused"}, set()),
        (answered("accepted"), set(), set()),
        (answered("refused"), {"command_failed"}, set()),
        (released("cleared"), set(), set()),
        (released("stopped"), {"clearing_failed"}, set()),
        (refused_envelopes("bad_signature"), {"messages_refused"}, set()),
        (refused_envelopes("station_frozen"), set(), set()),
        (secret(complete=True), set(), set()),
        (secret(complete=False), {"secret_incomplete"}, set()),
        (restored(), set(), set()),
        (restored("dock-2"), {"log_restored"}, set()),
    ],
)  # fmt: skip
def test_what_follows_from_an_event(told: Event, opens: set[str], ends: set[str]) -> None:
    found = signals_of(told)
    assert {s.kind for s in found if s.opens} == opens
    assert {s.kind for s in found if not s.opens} == ends
    assert {s.kind for s in found} <= set(KINDS) - WATCHED


def test_a_return_ends_what_a_check_out_can_open() -> None:
    told = event(CameraReturnedV2, camera_id="cam", bay="2", officer_commitment=NO_PREVIOUS, was_out=True)
    assert {s.kind for s in signals_of(told)} == {"camera_overdue", "camera_taken_not_ready", "camera_taken_unrecorded"}


def test_names_out_of_a_station_are_cut_and_hold_no_nul() -> None:
    made = rules.opening("camera_overdue", "x" * 5000, camera="a\x00b" * 100)
    assert len(made.subject) == MAX_CHARACTERS == len(made.camera or "")
    assert "\x00" not in (made.camera or "")
    assert rules.ending("camera_overdue", "x" * 5000).subject == made.subject  # cut alike, or it would never end


def test_signals_travel_between_processes_whole() -> None:
    [made] = signals_of(refused("keyboard"))
    assert Signal(*made.plain) == made


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.code)
def test_every_kind_can_be_said_in_both_languages(kind: Any) -> None:
    about = About(kind.code, "dock-1", "cam-7", "2", "gaps")
    for words, said in zip(WORDS, (kind.zh, kind.en), strict=True):
        named = {name for _, name, _, _ in string.Formatter().parse(said.what) if name}
        assert named <= {"station", "camera", "bay", "detail"}  # nothing that could be a person or a case
        assert "{" not in said.title + said.safe + said.do
        spoken = speak(words, about)
        assert all((spoken.title, spoken.what, spoken.safe, spoken.do))
        assert ("dock-1" in spoken.what) == ("station" in named)
    assert 1 <= kind.article <= 20
    assert kind.goes_to
    assert all(kind.goes_to)
    assert Role.OFFICER not in policy.reached(kind, 9)  # who may not even see it
    assert kind.after >= timedelta(hours=1)
    assert kind.ends != "cause" or kind.settles == timedelta(0)  # nobody watches it: it would never settle


def test_hostile_names_are_inert_in_what_is_said() -> None:
    about = About("camera_overdue", "dock-1", "{bay}\u202e<b>", None, "")
    assert "⟨U+202E⟩" in speak(WORDS[0], about).what
    assert "{bay}" in speak(WORDS[0], about).what
    assert speak(WORDS[0], About("kind_of_tomorrow", None, None, None, "")).title == "kind_of_tomorrow"


def test_it_goes_to_the_next_once_in_time_and_no_further_than_the_last() -> None:
    kind = KINDS["camera_overdue"]
    early, late = NOW + kind.after - timedelta(seconds=1), NOW + kind.after
    assert policy.next_level(kind.code, 0, NOW, early, acknowledged=False) is None
    assert policy.next_level(kind.code, 0, NOW, late, acknowledged=False) == 1
    assert policy.next_level(kind.code, 0, NOW, late, acknowledged=True) is None
    last = len(kind.goes_to) - 1
    assert policy.next_level(kind.code, last, NOW, late + timedelta(days=99), acknowledged=False) is None
    assert policy.next_level("kind_of_tomorrow", 0, NOW, late, acknowledged=False) is None


def test_whose_it_is() -> None:
    head = Actor("li", Role.SECTION_HEAD, must_change_password=False)
    kind = KINDS["camera_overdue"]
    assert not policy.is_mine(head, kind, 0, None)
    assert policy.is_mine(head, kind, 1, None)
    assert policy.is_mine(head, kind, 0, "li")
    assert not policy.is_mine(head, kind, 1, "wang")  # somebody has it
    assert KINDS["log_damaged"].severity is Severity.CRITICAL
