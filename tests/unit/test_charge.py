"""Charge: what each source tells, which one to go by, and what a current into a bay means."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.charge import (
    STATUS_BYTES_MAX,
    BayThresholds,
    ChargeState,
    Origin,
    Reading,
    Sample,
    StatusRule,
    best_reading,
    charged_mah,
    judge_current,
    measured,
    ptp_level,
    reported_level,
    status_file_level,
    unknown,
)
from agent.charge_sysfs import battery_supply, camera_supply, find_sensor, read_sample, sensor_source

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def reading(
    origin: Origin, percent: int | None = 50, state: ChargeState = ChargeState.CHARGING, age: float = 0
) -> Reading:
    return Reading(percent, state, origin, "test", NOW - timedelta(minutes=age))


# --- which one to go by


def test_the_better_origin_wins_then_the_newer() -> None:
    reported, newer = reading(Origin.REPORTED, 40, age=9), reading(Origin.REPORTED, 41, age=1)
    sensor, guess = reading(Origin.MEASURED, 90), reading(Origin.INFERRED, 99)
    assert best_reading([guess, sensor, reported, newer], NOW) == newer
    assert best_reading([guess, sensor], NOW) == sensor


@pytest.mark.parametrize(
    "useless",
    [
        reading(Origin.REPORTED, age=31),
        reading(Origin.REPORTED, age=-2),
        reading(Origin.REPORTED, None, ChargeState.UNKNOWN),
        unknown(NOW),
    ],
)
def test_old_future_and_empty_readings_do_not_count(useless: Reading) -> None:
    assert not best_reading([useless], NOW).tells()
    assert best_reading([useless, reading(Origin.INFERRED, 7)], NOW).percent == 7


def test_a_fault_is_never_outvoted() -> None:
    fault = reading(Origin.MEASURED, None, ChargeState.FAULT)
    assert best_reading([reading(Origin.REPORTED, 100, ChargeState.FULL), fault], NOW) == fault


# --- values that the camera gave


@pytest.mark.parametrize(
    ("value", "lowest", "highest", "percent"),
    [(63, 0, 100, 63), (100, 0, 100, 100), (3, 0, 4, 75), (2, 0, 3, 66), (5, 0, 4, None), (-1, 0, 4, None),
     (1, 3, 3, None)],
)  # fmt: skip
def test_levels_are_rounded_down_and_kept_on_their_scale(
    value: int, lowest: int, highest: int, percent: int | None
) -> None:
    level = reported_level(value, NOW, "vendor", lowest=lowest, highest=highest)
    assert level.percent == percent
    assert level.origin is (Origin.UNKNOWN if percent is None else Origin.REPORTED)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 255), st.integers(0, 255), st.integers(0, 255))
def test_a_level_never_claims_more_than_was_read(value: int, lowest: int, highest: int) -> None:
    percent = ptp_level(value, NOW, lowest=lowest, highest=highest).percent
    assert percent is None or (0 <= percent <= 100 and percent * (highest - lowest) <= (value - lowest) * 100)


def test_ptp_zero_may_mean_powered_from_outside() -> None:
    assert not ptp_level(0, NOW).tells()
    assert ptp_level(100, NOW).state is ChargeState.FULL


@pytest.mark.parametrize(
    ("raw", "rule", "percent"),
    [
        (b"SN=77\r\nBAT=63%\r\n", StatusRule(pattern=r"BAT=(\d+)"), 63),
        ("电量：85％".encode("gb18030"), StatusRule(pattern=r"电量：(?P<percent>\d+)"), 85),
        (b'{"power": {"battery": 3}}', StatusRule(key="power.battery", highest=4), 75),
        (b'\xef\xbb\xbf{"battery": "63 %"}', StatusRule(key="battery"), 63),
        (b'{"battery": 63.9}', StatusRule(key="battery"), 63),
        (b'{"battery": true}', StatusRule(key="battery"), None),
        (b'{"battery": 1e999}', StatusRule(key="battery"), None),
        (b'{"battery": NaN}', StatusRule(key="battery"), None),
        (b'{"battery": 101}', StatusRule(key="battery"), None),
        (b'{"battery": [63]}', StatusRule(key="battery.0"), None),
        (b"[" * 60000, StatusRule(key="battery"), None),
        (b"BAT=", StatusRule(pattern=r"BAT=(\d+)?"), None),
        (b"BAT=63" + b" " * STATUS_BYTES_MAX, StatusRule(pattern=r"BAT=(\d+)"), None),
        (b"", StatusRule(pattern=r"BAT=(\d+)"), None),
    ],
)
def test_status_files(raw: bytes, rule: StatusRule, percent: int | None) -> None:
    level = status_file_level(raw, rule, NOW)
    assert level.percent == percent
    assert level.origin is (Origin.UNKNOWN if percent is None else Origin.INFERRED)


@pytest.mark.parametrize(
    "rule", [{}, {"pattern": "(a)", "key": "a"}, {"pattern": "(a"}, {"pattern": "a"}, {"key": "a", "highest": 0}]
)
def test_rules_that_can_find_nothing(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="status rule"):
        StatusRule(**rule)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([StatusRule(pattern=r"(\d+)"), StatusRule(key="b")]))
def test_hostile_status_files_never_raise(raw: bytes, rule: StatusRule) -> None:
    percent = status_file_level(raw, rule, NOW).percent
    assert percent is None or 0 <= percent <= 100


def test_full_in_a_status_file_is_not_full_now() -> None:
    assert status_file_level(b"100", StatusRule(pattern=r"(\d+)"), NOW).state is ChargeState.UNKNOWN


# --- the current into a bay


def window(*milliamps: int, every: float = 2, millivolts: int | None = 5000) -> list[Sample]:
    return [Sample(n * every, ma, millivolts) for n, ma in enumerate(milliamps)]


@pytest.mark.parametrize(
    ("samples", "state"),
    [
        ([], ChargeState.UNKNOWN),
        (window(900, 900), ChargeState.UNKNOWN),
        (window(900, 900, 900, every=1), ChargeState.UNKNOWN),
        (window(1200, 1190, 1205, 1200, 1198), ChargeState.CHARGING),
        (window(1200, 1150, 800, 760, 700, 690), ChargeState.TAPERING),
        (window(1200, 500, 600, 900, 1150, 1190), ChargeState.CHARGING),  # it dipped; it is not ending
        (window(140, 130, 131, 130), ChargeState.TAPERING),  # low, but not for long enough
        (window(*[130] * 61), ChargeState.FULL),
        (window(*[130] * 30, 151, *[130] * 30), ChargeState.TAPERING),
        (window(*[2] * 6), ChargeState.ABSENT),
        (window(0, -1, 3, 2, 0, 1), ChargeState.ABSENT),  # noise of the sensor
        (window(1000, 1000, 2700, 1000, 1000), ChargeState.CHARGING),  # inrush
        (window(1000, 2700, 2700), ChargeState.FAULT),
        (window(900, 900, 900, millivolts=4300), ChargeState.FAULT),
        (window(0, 0, 0, 0, 0, 0, millivolts=0), ChargeState.FAULT),  # the bay has no power
        (window(-300, -310, -300), ChargeState.FAULT),
        (window(900, 900, 900, 900, millivolts=None), ChargeState.CHARGING),
    ],
)
def test_states_of_a_bay(samples: list[Sample], state: ChargeState) -> None:
    assert judge_current(samples).state is state


def test_one_sag_is_no_fault() -> None:
    samples = window(900, 900, 900, 900)
    samples[-2] = replace(samples[-2], millivolts=4200)
    assert judge_current(samples).state is ChargeState.CHARGING


def test_a_camera_that_is_there_and_draws_nothing() -> None:
    nothing = window(*[1] * 6)
    assert judge_current(nothing, present=True, peak_ma=900).state is ChargeState.FULL
    contacts = judge_current(nothing, present=True)
    assert contacts.state is ChargeState.UNKNOWN
    assert not measured(contacts, NOW, "ina226").tells()
    assert judge_current(nothing, peak_ma=900).state is ChargeState.ABSENT  # perhaps it was just taken


def test_the_peak_of_the_docking_outlives_the_window() -> None:
    late = window(400, 399, 398, 394, 393, 392)
    assert judge_current(late).state is ChargeState.CHARGING
    assert judge_current(late, peak_ma=1200).state is ChargeState.TAPERING
    noise = window(400, 399, 398, 399, 398, 397)  # it only draws less now, perhaps because it fell asleep
    assert judge_current(noise, peak_ma=1200).state is ChargeState.CHARGING


def test_thresholds_belong_to_the_bay() -> None:
    assert judge_current(window(*[60] * 61), BayThresholds(full_ma=50)).state is not ChargeState.FULL
    assert judge_current(window(1600, 1600, 1600), BayThresholds(over_ma=1500)).state is ChargeState.FAULT


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 300), st.integers(-5000, 5000), st.none() | st.integers(0, 6000))))
def test_any_window_has_an_answer_and_full_is_earned(steps: list[tuple[float, int, int | None]]) -> None:
    seconds, samples = 0.0, []
    for step, ma, mv in steps:
        seconds += step
        samples.append(Sample(seconds, ma, mv))
    state = judge_current(samples).state
    assert measured(judge_current(samples), NOW, "s").percent == (100 if state is ChargeState.FULL else None)
    if state is ChargeState.FULL:
        assert samples[-1].milliamps <= BayThresholds().full_ma
        assert seconds - samples[0].seconds >= BayThresholds().full_seconds


def test_charge_that_flowed_in() -> None:
    assert charged_mah([Sample(n * 60, 1000) for n in range(61)]) == 1000
    assert charged_mah([Sample(0, 1000), Sample(3600, 1000)]) == 0  # an hour without a look counts nothing
    assert charged_mah([]) == 0


# --- the kernel's trees


def tree(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder


def sysfs_battery(sys: Path, usb: str, name: str = "hid-1", **files: object) -> Path:
    """As the kernel lays it out: the class entry is a link into the device's own folder."""
    device = sys / "devices/pci0/usb1" / usb
    real = tree(device / f"{usb}:1.0/power_supply" / name, **{"type": "Battery", **files})
    (sys / "class/power_supply").mkdir(parents=True, exist_ok=True)
    (sys / "class/power_supply" / name).symlink_to(real)
    return device


@pytest.mark.parametrize(
    ("files", "percent", "state", "origin"),
    [
        ({"capacity": 63, "status": "Charging", "health": "Good"}, 63, ChargeState.CHARGING, Origin.REPORTED),
        ({"capacity": 100, "status": "Full"}, 100, ChargeState.FULL, Origin.REPORTED),
        ({"capacity": 63, "status": "Not charging"}, 63, ChargeState.UNKNOWN, Origin.REPORTED),
        ({"capacity_level": "Full", "status": "Unknown"}, 100, ChargeState.FULL, Origin.REPORTED),
        ({"capacity_level": "Normal", "status": "Unknown"}, None, ChargeState.UNKNOWN, Origin.UNKNOWN),
        ({"capacity": 63, "health": "Overheat"}, 63, ChargeState.FAULT, Origin.REPORTED),
        ({"capacity": 63, "status": "Charging", "present": 0}, None, ChargeState.ABSENT, Origin.REPORTED),
        ({"capacity": 250, "status": "Unknown"}, None, ChargeState.UNKNOWN, Origin.UNKNOWN),
        ({"capacity": "x", "status": "Discharging"}, None, ChargeState.DISCHARGING, Origin.REPORTED),
        ({}, None, ChargeState.UNKNOWN, Origin.UNKNOWN),
    ],
)
def test_power_supply(
    tmp_path: Path, files: dict[str, object], percent: int | None, state: ChargeState, origin: Origin
) -> None:
    found = battery_supply(tree(tmp_path / "test_battery", **files), NOW)
    assert (found.percent, found.state, found.origin) == (percent, state, origin)
    assert found.source == "power_supply:test_battery"


def test_a_battery_is_matched_by_its_device(tmp_path: Path) -> None:
    mine = sysfs_battery(tmp_path, "1-1", "a", capacity=40, status="Charging")
    neighbour = sysfs_battery(tmp_path, "1-10", "b", capacity=9, status="Charging")
    sysfs_battery(tmp_path, "1-1", "charger", type="USB", capacity=99)
    assert camera_supply(mine, NOW, tmp_path).percent == 40
    assert camera_supply(neighbour, NOW, tmp_path).percent == 9
    assert not camera_supply(tmp_path / "devices/pci0/usb1/1-2", NOW, tmp_path).tells()
    assert not camera_supply(mine, NOW, tmp_path / "elsewhere").tells()


def test_of_two_batteries_the_weaker_counts_and_a_fault_first(tmp_path: Path) -> None:
    device = sysfs_battery(tmp_path, "1-1", "a", capacity=80, status="Charging")
    sysfs_battery(tmp_path, "1-1", "b", capacity=20, status="Charging")
    assert camera_supply(device, NOW, tmp_path).percent == 20
    sysfs_battery(tmp_path, "1-1", "c", capacity=99, health="Dead")
    assert camera_supply(device, NOW, tmp_path).state is ChargeState.FAULT


def sysfs_sensor(sys: Path, number: int, device: str, **files: object) -> None:
    real = tree(sys / "devices/i2c-1" / device / "hwmon" / f"hwmon{number}", **files)
    (real / "device").symlink_to("../..")
    (sys / "class/hwmon").mkdir(parents=True, exist_ok=True)
    (sys / "class/hwmon" / f"hwmon{number}").symlink_to(real)


def test_sensors_are_found_by_device_whatever_their_number(tmp_path: Path) -> None:
    sysfs_sensor(tmp_path, 3, "1-0040", name="ina226", in0_input=10, in1_input=5010, curr1_input=1003)
    sysfs_sensor(tmp_path, 0, "1-0041", name="ina3221", in2_input=4990, curr2_input=-4, in3_input=5000,
                 curr3_input=7, in3_enable=0)  # fmt: skip
    sysfs_sensor(tmp_path, 1, "1-0048", name="lm75", temp1_input=30000)
    one, three = find_sensor("1-0040", tmp_path), find_sensor("1-0041", tmp_path)
    assert one is not None
    assert three is not None
    assert read_sample(one, 1.5) == Sample(1.5, 1003, 5010)
    assert read_sample(three, 2, channel=2) == Sample(2, -4, 4990)
    assert read_sample(three, 2, channel=3) is None  # switched off
    assert read_sample(three, 2, channel=1) is None  # says nothing
    assert sensor_source(three, 2) == "ina3221:1-0041/2"
    assert find_sensor("1-0048", tmp_path) is None  # a thermometer
    assert find_sensor("1-0042", tmp_path) is None


def test_a_json_number_of_a_thousand_digits() -> None:
    raw = json.dumps({"b": 0}).encode().replace(b"0", b"9" * 5000)
    assert not status_file_level(raw, StatusRule(key="b"), NOW).tells()
