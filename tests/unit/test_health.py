"""The dock's own health: the forecast, each finding, and what the machine answers."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.forecast import DAYS_KEPT, daily_rate, days_left, vault_days
from agent.health import (
    WORDS,
    Code,
    Health,
    HealthFacts,
    Level,
    cpu_celsius,
    firmware_throttled,
    judge,
    probe,
    voltage_alarm,
)
from agent.smart import DiskHealth, DiskState
from agent.station import ClockState, clock_quality, clock_state
from agent.store import DockingRow, EntryRow, FinishedRow, Store

TODAY = date(2026, 11, 24)
GB = 10**9


def history(*written: int) -> dict[date, int]:
    """Bytes of the days before today, the newest last."""
    return {TODAY - timedelta(days=len(written) - n): value for n, value in enumerate(written)}


# --- forecast


def test_working_weeks() -> None:
    week = [21 * GB] * 5 + [0, 0]
    assert daily_rate(history(*week * 8), TODAY) == 15 * GB
    assert days_left(150 * GB, history(*week * 8), TODAY) == 10


def test_one_great_operation_moves_nothing_but_a_new_habit_does() -> None:
    steady = [GB] * 56
    odd = steady.copy()
    odd[20] = 900 * GB
    assert daily_rate(history(*odd), TODAY) == GB
    assert daily_rate(history(*steady[:49], *[5 * GB] * 7), TODAY) == 5 * GB


@pytest.mark.parametrize("written", [(), (GB,) * 6])
def test_with_less_than_a_week_there_is_no_forecast(written: tuple[int, ...]) -> None:
    assert daily_rate(history(*written), TODAY) is None
    assert days_left(GB, history(*written), TODAY) is None


def test_today_is_not_over_and_does_not_count() -> None:
    assert daily_rate(history(*[GB] * 7) | {TODAY: 90 * GB}, TODAY) == GB
    assert days_left(GB, history(GB, *[0] * 60), TODAY) is None  # nothing comes in


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 50 * GB), min_size=7, max_size=70), st.integers(0, 999 * GB), st.integers(0, 999 * GB))
def test_less_room_never_lasts_longer(written: list[int], free: int, more: int) -> None:
    days = history(*written)
    few, many = days_left(free, days, TODAY), days_left(free + more, days, TODAY)
    assert few is None if many is None else few is not None and few <= many


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "station.db")
    yield made
    made.close()


def save(store: Store, docking: str, day: date, sizes: list[int], state: str = "sealed") -> None:
    at = datetime(day.year, day.month, day.day, 23, 30, tzinfo=UTC)
    rows = [EntryRow(n, "[]", b"p", 1, None, "h", 1, "k", b"t", None, None, None, "planned")
            for n in range(1, len(sizes) + 1)]  # fmt: skip
    with store.begin():
        store.add_docking(DockingRow(docking, "CAM", "1", b"f", "{}", at, False, None, None))
        store.add_entries(docking, "CAM", rows)
        store.finish_entries(docking, [FinishedRow(n, state, saved_bytes=size) for n, size in enumerate(sizes, 1)])


def test_days_are_made_from_the_store_as_often_as_one_likes(store: Store) -> None:
    assert vault_days(store, TODAY) == {}
    save(store, "D1", TODAY - timedelta(days=30), [5, 7])
    save(store, "D2", TODAY - timedelta(days=1), [100])
    save(store, "D3", TODAY - timedelta(days=1), [50], "changed")
    save(store, "D4", TODAY - timedelta(days=2), [9], "known")  # nothing new came in
    expected = {TODAY - timedelta(days=30): 12, TODAY - timedelta(days=1): 150}
    assert vault_days(store, TODAY) == expected
    assert vault_days(store, TODAY) == expected
    save(store, "D5", TODAY, [1])
    assert vault_days(store, TODAY) == expected | {TODAY: 1}
    assert min(vault_days(store, TODAY + timedelta(days=DAYS_KEPT - 29))) == TODAY - timedelta(days=1)


# --- findings

FINE = HealthFacts(
    free_bytes=500 * GB, total_bytes=1000 * GB, daily_bytes=GB, days_left=500, cpu_celsius=55, undervoltage=False,
    undervoltage_seen=False, throttled=False, clock=ClockState("synchronised", 0.02), memory_available=0.6,
    load_per_cpu=0.5,
)  # fmt: skip
WORN = DiskHealth("sda", DiskState.ATTENTION, signs=("reallocated=3",))
DYING = DiskHealth("sdb", DiskState.FAILED, signs=("failing_now=5",))

CASES: list[tuple[Code, Level, dict[str, Any]]] = [
    (Code.VAULT_MISSING, Level.URGENT, {"free_bytes": None}),
    (Code.VAULT_NEARLY_FULL, Level.URGENT, {"free_bytes": GB}),
    (Code.VAULT_NEARLY_FULL, Level.ATTENTION, {"free_bytes": 49 * GB}),
    (Code.VAULT_FULL_SOON, Level.ATTENTION, {"days_left": 29.9}),
    (Code.VAULT_FULL_SOON, Level.URGENT, {"days_left": 6.9}),
    (Code.DISK_WEARING, Level.ATTENTION, {"disks": (WORN,)}),
    (Code.DISK_FAILED, Level.URGENT, {"disks": (DYING,)}),
    (Code.DISK_HOT, Level.ATTENTION, {"disks": (DiskHealth("sda", DiskState.OK, temperature_c=60),)}),
    (Code.DISK_HOT, Level.URGENT, {"disks": (DiskHealth("sda", DiskState.OK, temperature_c=70),)}),
    (Code.CPU_HOT, Level.ATTENTION, {"cpu_celsius": 80}),
    (Code.CPU_HOT, Level.URGENT, {"cpu_celsius": 90}),
    (Code.UNDERVOLTAGE, Level.URGENT, {"undervoltage": True, "undervoltage_seen": True}),
    (Code.UNDERVOLTAGE_SEEN, Level.ATTENTION, {"undervoltage_seen": True}),
    (Code.THROTTLED, Level.ATTENTION, {"throttled": True}),
    (Code.CLOCK_UNSURE, Level.ATTENTION, {"clock": ClockState("unsynchronised")}),
    (Code.CLOCK_UNSURE, Level.ATTENTION, {"clock": ClockState("unknown")}),
    (Code.CLOCK_ERROR, Level.ATTENTION, {"clock": ClockState("synchronised", 1.5)}),
    (Code.MEMORY_LOW, Level.ATTENTION, {"memory_available": 0.09}),
    (Code.MEMORY_LOW, Level.URGENT, {"memory_available": 0.04}),
    (Code.LOAD_HIGH, Level.ATTENTION, {"load_per_cpu": 4}),
]


def facts(**change: Any) -> HealthFacts:
    return HealthFacts(**({name: getattr(FINE, name) for name in HealthFacts.__slots__} | change))


def test_a_dock_with_nothing_wrong() -> None:
    assert judge(FINE) == ()
    assert judge(facts(disks=(DiskHealth("vda", DiskState.UNKNOWN, signs=("unasked: no JSON",)),))) == ()


@pytest.mark.parametrize(("code", "level", "change"), CASES)
def test_each_finding_alone(code: Code, level: Level, change: dict[str, Any]) -> None:
    (finding,) = judge(facts(**change))
    assert (finding.code, finding.level) == (code, level)
    assert not {"{", "}"} & set(finding.zh + finding.en)


def test_every_finding_has_words_and_is_reached() -> None:
    assert set(WORDS) == set(Code) == {code for code, _, _ in CASES}


def test_the_worst_comes_first_and_each_disk_speaks_for_itself() -> None:
    found = judge(facts(disks=(WORN, DYING), throttled=True))
    assert [(f.code, f.subject) for f in found] == [
        (Code.DISK_FAILED, "sdb"), (Code.DISK_WEARING, "sda"), (Code.THROTTLED, ""),
    ]  # fmt: skip


def test_what_is_not_known_is_no_finding_but_the_vault_and_the_clock() -> None:
    assert [f.code for f in judge(HealthFacts())] == [Code.VAULT_MISSING, Code.CLOCK_UNSURE]


def test_the_state_for_the_hub_is_small_and_steady() -> None:
    signs = tuple(f"reallocated={10**9 + n}" for n in range(8))
    disks = tuple(DiskHealth(f"nvme{n}n1", DiskState.FAILED, "m", "s", 75, 1, 100, signs) for n in range(20))
    worst = facts(disks=disks, free_bytes=GB, days_left=1, cpu_celsius=99, undervoltage=True, throttled=True,
                  clock=ClockState("unknown"), memory_available=0.01, load_per_cpu=99)  # fmt: skip
    text = json.dumps(Health(worst, judge(worst)).to_json(), ensure_ascii=False)
    assert len(text.encode()) < 8192
    assert "vault_nearly_full" in text

    a, b = facts(cpu_celsius=54, memory_available=0.61), facts(cpu_celsius=56, memory_available=0.62, load_per_cpu=0.4)
    assert Health(a, ()).to_json() == Health(b, ()).to_json()


# --- what the machine answers


def test_the_clock_is_asked_of_the_kernel() -> None:
    state = clock_state()
    assert state.quality == clock_quality()
    assert (state.max_error_seconds is not None) == (state.quality == "synchronised")
    assert state.max_error_seconds is None or 0 <= state.max_error_seconds <= 16.1  # the kernel's NTP_PHASE_LIMIT


def test_this_machine(tmp_path: Path) -> None:
    health = probe(tmp_path, {}, [], datetime.now(UTC), root=tmp_path)
    assert health.facts.free_bytes is not None
    assert 0 < health.facts.free_bytes <= (health.facts.total_bytes or 0)
    assert 0 < (health.facts.memory_available or 0) < 1
    assert health.facts.undervoltage is None
    json.dumps(health.to_json())
    gone = probe(tmp_path / "gone", {}, [], datetime.now(UTC), root=tmp_path)
    assert Code.VAULT_MISSING in [f.code for f in gone.findings]
    assert (celsius := cpu_celsius()) is None or 0 < celsius < 150


@pytest.mark.parametrize(
    ("flags", "alarm", "expected"),
    [
        (None, None, (None, None, None)),
        ("0", None, (False, False, False)),
        ("50005", None, (True, True, True)),
        ("0x50000", None, (False, True, False)),
        ("50000", "1", (True, True, False)),
        (None, "0", (False, None, None)),
        ("8", "0", (False, False, True)),
        ("nonsense", "x", (None, None, None)),
    ],
)
def test_under_voltage(tmp_path: Path, flags: str | None, alarm: str | None, expected: tuple[bool | None, ...]) -> None:
    if flags is not None:
        firmware = tmp_path / "devices/platform/soc/soc:firmware"
        firmware.mkdir(parents=True)
        (firmware / "get_throttled").write_text(flags + "\n")
    for number, name in enumerate(["cpu_thermal", "rpi_volt"]):
        chip = tmp_path / f"class/hwmon/hwmon{number}"
        chip.mkdir(parents=True)
        (chip / "name").write_text(name + "\n")
        if alarm is not None and name == "rpi_volt":
            (chip / "in0_lcrit_alarm").write_text(alarm + "\n")
    found = probe(tmp_path, {}, [], datetime.now(UTC), tmp_path).facts
    assert (found.undervoltage, found.undervoltage_seen, found.throttled) == expected
    assert firmware_throttled(tmp_path / "elsewhere") is None
    assert voltage_alarm(tmp_path / "elsewhere") is None
