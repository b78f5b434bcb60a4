"""Readiness: every reason is reached, unknown is never ready, and more of anything good never makes a verdict worse."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.battery import BatteryFinding
from agent.charge import ChargeState, Origin, Reading, unknown
from agent.readiness import (
    REASONS,
    CameraClock,
    CameraFacts,
    ClockEvidence,
    Code,
    Level,
    Policy,
    card_faults,
    check,
    recording_rate,
)

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
GB = 10**9
POLICY = Policy(effective_from=date(2026, 1, 1))


def charge(
    percent: int | None, state: ChargeState = ChargeState.CHARGING, origin: Origin = Origin.REPORTED, age: float = 0
) -> Reading:
    return Reading(percent, state, origin, "ptp", NOW - timedelta(minutes=age), "as read")


def clock(ahead_seconds: float, evidence: ClockEvidence = ClockEvidence.REPORTED) -> CameraClock:
    return CameraClock(evidence, NOW + timedelta(seconds=ahead_seconds), NOW)


GOOD = CameraFacts(
    charge=charge(90), free_bytes=30 * GB, total_bytes=32 * GB, files_not_safe=0, clock=clock(2),
    station_clock="synchronised", checked_at=NOW,
)  # fmt: skip
WORN = BatteryFinding("takes_less", "只有从前的 50 %。", "It takes half.")
LONG_AGO = CameraClock(ClockEvidence.REPORTED, datetime(1970, 1, 1, tzinfo=UTC), NOW)

CASES: list[tuple[Code, Level, dict[str, Any]]] = [
    (Code.CHARGE_UNKNOWN, Level.NOT_READY, {"charge": None}),
    (Code.CHARGE_UNKNOWN, Level.NOT_READY, {"charge": unknown(NOW)}),
    (Code.CHARGE_UNKNOWN, Level.NOT_READY, {"charge": charge(100, origin=Origin.UNKNOWN)}),
    (Code.CHARGE_UNKNOWN, Level.NOT_READY, {"charge": charge(100, ChargeState.FULL, age=31)}),
    (Code.CHARGE_UNKNOWN, Level.NOT_READY, {"charge": charge(100, ChargeState.FULL, age=-5)}),
    (Code.CHARGE_UNKNOWN, Level.NOT_READY, {"charge": charge(None, ChargeState.ABSENT, Origin.MEASURED)}),
    (Code.CHARGE_UNKNOWN, Level.NOT_READY, {"charge": charge(None, ChargeState.DISCHARGING)}),
    (Code.CHARGE_LOW, Level.NOT_READY, {"charge": charge(79)}),
    (Code.CHARGE_INCOMPLETE, Level.NOT_READY, {"charge": charge(None, ChargeState.TAPERING, Origin.MEASURED)}),
    (Code.CHARGE_FAULT, Level.NOT_READY, {"charge": charge(100, ChargeState.FAULT)}),
    (Code.CHARGE_FALLING, Level.ATTENTION, {"charge": charge(90, ChargeState.DISCHARGING)}),
    (Code.BATTERY_WEAK, Level.ATTENTION, {"battery": WORN}),
    (Code.NO_CARD, Level.NOT_READY, {"card_present": False, "free_bytes": None, "files_not_safe": None}),
    (Code.SPACE_UNKNOWN, Level.NOT_READY, {"free_bytes": None}),
    (Code.SPACE_UNKNOWN, Level.NOT_READY, {"total_bytes": 0}),
    (Code.SPACE_LOW, Level.NOT_READY, {"free_bytes": 5 * GB}),
    (Code.SPACE_LOW, Level.NOT_READY, {"bytes_per_second": 5e6}),
    (Code.CARD_FULL, Level.NOT_READY, {"free_bytes": 1 << 20}),
    (Code.CARD_FAULT, Level.NOT_READY, {"card_faults": 2}),
    (Code.FOOTAGE_NOT_SAFE, Level.NOT_READY, {"files_not_safe": 3}),
    (Code.FOOTAGE_NOT_SAFE, Level.NOT_READY, {"files_not_safe": None}),
    (Code.CLOCK_UNKNOWN, Level.ATTENTION, {"clock": CameraClock()}),
    (Code.CLOCK_UNKNOWN, Level.ATTENTION, {"clock": clock(-9000, ClockEvidence.FILE_TIMES)}),
    (Code.CLOCK_OFF, Level.ATTENTION, {"clock": clock(-61)}),
    (Code.CLOCK_OFF, Level.ATTENTION, {"clock": clock(-600)}),
    (Code.CLOCK_WRONG, Level.NOT_READY, {"clock": clock(-601)}),
    (Code.CLOCK_AHEAD, Level.NOT_READY, {"clock": clock(61)}),
    (Code.CLOCK_AHEAD, Level.NOT_READY, {"clock": clock(90, ClockEvidence.FILE_TIMES)}),
    (Code.CLOCK_UNSET, Level.NOT_READY, {"clock": LONG_AGO}),
    (Code.CLOCK_UNSET, Level.NOT_READY, {"clock": replace(LONG_AGO, evidence=ClockEvidence.FILE_TIMES)}),
    (Code.STATION_CLOCK_UNSURE, Level.ATTENTION, {"station_clock": "unsynchronised"}),
    (Code.STATION_CLOCK_UNSURE, Level.ATTENTION, {"station_clock": "unknown"}),
    (Code.CHECK_STALE, Level.NOT_READY, {"checked_at": None}),
    (Code.CHECK_STALE, Level.NOT_READY, {"checked_at": NOW - timedelta(hours=25)}),
    (Code.CHECK_STALE, Level.NOT_READY, {"checked_at": NOW + timedelta(hours=1)}),
    (Code.LOAN_OPEN, Level.ATTENTION, {"open_loans": 1}),
    (Code.CAMERA_DISPUTED, Level.NOT_READY, {"disputed": True}),
    (Code.DEVICE_REFUSED, Level.NOT_READY, {"refused": True}),
]


def test_a_camera_with_nothing_against_it_is_ready() -> None:
    verdict = check(GOOD, POLICY, NOW)
    assert (verdict.level, verdict.reasons, verdict.hours_left) == (Level.READY, (), 11.5)
    assert verdict.level.word == "ready"
    full = replace(GOOD, charge=charge(100, ChargeState.FULL, Origin.MEASURED), clock=clock(-60))
    assert check(full, POLICY, NOW).level is Level.READY
    assert check(replace(GOOD, charge=charge(80), clock=clock(60)), POLICY, NOW).level is Level.READY


@pytest.mark.parametrize(("code", "level", "change"), CASES)
def test_each_reason_alone(code: Code, level: Level, change: dict[str, Any]) -> None:
    verdict = check(replace(GOOD, **change), POLICY, NOW)
    assert [r.code for r in verdict.reasons] == [code]
    assert verdict.level is level
    (reason,) = verdict.reasons
    assert reason.article == REASONS[code].article
    assert reason.zh
    assert reason.en
    assert not {"{", "}"} & set(reason.zh + reason.en)


def test_every_reason_has_words_and_is_reached() -> None:
    assert set(REASONS) == set(Code) == {code for code, _, _ in CASES}


def test_nothing_known_is_never_ready_and_every_reason_is_told() -> None:
    verdict = check(CameraFacts(), POLICY, NOW)
    assert verdict.level is Level.NOT_READY
    assert [r.code for r in verdict.reasons] == [
        Code.CHARGE_UNKNOWN, Code.SPACE_UNKNOWN, Code.FOOTAGE_NOT_SAFE, Code.CLOCK_UNKNOWN, Code.STATION_CLOCK_UNSURE,
        Code.CHECK_STALE,
    ]  # fmt: skip
    assert verdict.hours_left is None


def test_the_words_carry_the_figures() -> None:
    low = check(replace(GOOD, charge=charge(63), free_bytes=5 * GB), POLICY, NOW).reasons
    assert "63 %，要求 80 %" in low[0].zh
    assert "about 1.9 h, 2 h are wanted" in low[1].en


def test_a_full_shift_asks_for_more_room() -> None:
    shift = replace(POLICY, space_hours=8)
    assert check(replace(GOOD, free_bytes=20 * GB), POLICY, NOW).level is Level.READY
    assert check(replace(GOOD, free_bytes=20 * GB), shift, NOW).level is Level.NOT_READY
    assert check(replace(GOOD, free_bytes=21 * GB), shift, NOW).level is Level.READY  # a shift: 8 h, about 21 GB


def test_the_verdict_says_from_when_its_policy_is_in_force() -> None:
    stricter = Policy(effective_from=date(2026, 12, 1), charge_percent=95)
    assert (check(GOOD, POLICY, NOW).level, check(GOOD, POLICY, NOW).policy_from) == (Level.READY, date(2026, 1, 1))
    assert (check(GOOD, stricter, NOW).level, check(GOOD, stricter, NOW).policy_from) == (
        Level.NOT_READY, date(2026, 12, 1),
    )  # fmt: skip


def test_the_rate_of_a_camera() -> None:
    segments = [(60_000_000, 60_000), (66_000_000, 60_000), (90_000_000, 60_000), (1, 60), (0, 60_000)]
    assert recording_rate(segments) == 1.3e6
    assert recording_rate(segments[:2]) is None


def test_what_is_a_fault_of_the_card() -> None:
    assert card_faults({"deleted_entry": 9, "orphan": 2, "skipped_special": 1}, 0) == 0
    assert card_faults({"unreadable_directory": 1, "directory_loop": 1, "unreadable_entry": 2}, 3) == 7


readings = st.builds(
    charge,
    st.none() | st.integers(0, 100), st.sampled_from(ChargeState), st.sampled_from(Origin), st.floats(-60, 60),
)  # fmt: skip
sizes = st.none() | st.integers(0, 64 * GB)
clocks = st.builds(lambda evidence, ahead: clock(ahead, evidence), st.sampled_from(ClockEvidence), st.floats(-1e9, 1e9))
facts_of_any_kind = st.builds(
    CameraFacts,
    charge=st.none() | readings, battery=st.sampled_from([None, WORN]), card_present=st.booleans(), free_bytes=sizes,
    total_bytes=sizes, bytes_per_second=st.none() | st.floats(1e4, 1e8), card_faults=st.integers(0, 2),
    files_not_safe=st.none() | st.integers(0, 2), clock=clocks,
    station_clock=st.sampled_from(["synchronised", "unsynchronised", "unknown"]),
    checked_at=st.none() | st.floats(-50, 2).map(lambda h: NOW + timedelta(hours=h)), open_loans=st.integers(0, 2),
    disputed=st.booleans(), refused=st.booleans(),
)  # fmt: skip
mostly_good = st.builds(lambda read, free: replace(GOOD, charge=read, free_bytes=free), readings, sizes)
few = settings(max_examples=20, deadline=None)


@few
@given(facts_of_any_kind | mostly_good, st.integers(0, 100))
def test_more_charge_never_makes_it_worse(facts: CameraFacts, more: int) -> None:
    if facts.charge is None or facts.charge.percent is None:
        return
    fuller = replace(facts, charge=replace(facts.charge, percent=min(100, facts.charge.percent + more)))
    assert check(fuller, POLICY, NOW).level <= check(facts, POLICY, NOW).level


@few
@given(facts_of_any_kind | mostly_good, st.integers(0, 64 * GB), st.floats(0.1, 24))
def test_more_room_never_makes_it_worse(facts: CameraFacts, more: int, hours: float) -> None:
    policy = replace(POLICY, space_hours=hours)
    if facts.free_bytes is not None:
        roomier = replace(facts, free_bytes=facts.free_bytes + more)
        assert check(roomier, policy, NOW).level <= check(facts, policy, NOW).level


FORGET: list[Callable[[CameraFacts], CameraFacts]] = [
    lambda f: replace(f, charge=None),
    lambda f: replace(f, charge=replace(f.charge or charge(0), origin=Origin.UNKNOWN)),
    lambda f: replace(f, charge=replace(f.charge or charge(0), percent=None, state=ChargeState.UNKNOWN)),
    lambda f: replace(f, free_bytes=None),
    lambda f: replace(f, files_not_safe=None, card_present=True),
    lambda f: replace(f, clock=CameraClock()),
    lambda f: replace(f, checked_at=None),
    lambda f: replace(f, station_clock="unknown"),
]


@few
@given(facts_of_any_kind | mostly_good | st.just(GOOD), st.sampled_from(FORGET))
def test_unknown_is_never_ready(facts: CameraFacts, forget: Callable[[CameraFacts], CameraFacts]) -> None:
    assert check(forget(facts), POLICY, NOW).level > Level.READY


@few
@given(facts_of_any_kind | mostly_good)
def test_the_level_is_that_of_the_worst_reason(facts: CameraFacts) -> None:
    verdict = check(facts, POLICY, NOW)
    assert verdict.level == max((r.level for r in verdict.reasons), default=Level.READY)
    assert len({r.code for r in verdict.reasons}) == len(verdict.reasons)
