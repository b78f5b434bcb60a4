"""What is known of a camera's charge, and how well: readings that carry their origin. Unknown is never ready.

Pure: the callers bring values, bytes and samples (charge_sysfs.py reads the kernel's), and get readings back. Sources,
best first: the camera itself (vendor call, MTP/PTP property 0x5001, the kernel's power_supply class), a current sensor
of the bay, the camera's own status file. A percentage is rounded down: it never claims more than was read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Any

MAX_AGE = timedelta(minutes=30)  # a reading older than this says nothing of now
FUTURE_TOLERANCE = timedelta(seconds=60)
STATUS_BYTES_MAX = 64 * 1024
DETAIL_MAX = 200


class ChargeState(StrEnum):
    """What the battery, or the current into the bay, is doing."""

    CHARGING = "charging"
    TAPERING = "tapering"  # nearly full: the charger lowers the current
    FULL = "full"
    DISCHARGING = "discharging"
    ABSENT = "absent"  # the sensor sees no load, or the device says that it has no battery
    FAULT = "fault"
    UNKNOWN = "unknown"


class Origin(StrEnum):
    """How well a reading is founded, best first."""

    REPORTED = "reported"  # the camera said so, now
    MEASURED = "measured"  # the bay's own sensor
    INFERRED = "inferred"  # the camera wrote it earlier, or it follows from something else
    UNKNOWN = "unknown"


_RANK = {origin: rank for rank, origin in enumerate(Origin)}


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of one camera's charge. `percent` is None where only the state, or nothing, is known."""

    percent: int | None  # 0 to 100
    state: ChargeState
    origin: Origin
    source: str  # ptp, power_supply:<name>, ina226:<device>/<channel>, status_file, a vendor call's name, none
    at: datetime  # aware; when it was true, by the station's clock
    detail: str = ""  # for people who look for the reason

    def tells(self) -> bool:
        """Whether there is anything in it."""
        return self.origin is not Origin.UNKNOWN and (self.percent is not None or self.state is not ChargeState.UNKNOWN)


def unknown(at: datetime, detail: str = "no source of this camera's charge", source: str = "none") -> Reading:
    """The reading of a camera that tells nothing."""
    return Reading(None, ChargeState.UNKNOWN, Origin.UNKNOWN, source, at, detail[:DETAIL_MAX])


def best_reading(readings: Iterable[Reading], now: datetime, max_age: timedelta = MAX_AGE) -> Reading:
    """The one to go by: the best origin, then the newest; readings too old, from the future or empty do not count.

    A fresh fault is never outvoted: a battery in distress is not ready, whatever percentage another source gives.
    """
    fresh = [r for r in readings if r.tells() and -FUTURE_TOLERANCE <= now - r.at <= max_age]
    faults = [r for r in fresh if r.state is ChargeState.FAULT]
    return min(faults or fresh, key=lambda r: (_RANK[r.origin], now - r.at), default=unknown(now))


# --- values that the camera gave ------------------------------------------------------------------------------------


def reported_level(
    value: int,
    at: datetime,
    source: str,
    *,
    lowest: int = 0,
    highest: int = 100,
    state: ChargeState = ChargeState.UNKNOWN,
) -> Reading:
    """A level that the camera reported on a scale from `lowest` to `highest`, such as 0 to 4 bars or per cent."""
    if highest <= lowest or not lowest <= value <= highest:
        return unknown(at, f"level {value} is not on the scale {lowest} to {highest}", source)
    percent = (value - lowest) * 100 // (highest - lowest)
    if percent == 100 and state is ChargeState.UNKNOWN:
        state = ChargeState.FULL
    return Reading(percent, state, Origin.REPORTED, source, at, f"level {value} of {lowest} to {highest}")


def ptp_level(value: int, at: datetime, *, lowest: int = 0, highest: int = 100) -> Reading:
    """MTP/PTP device property 0x5001 (Battery Level) with the range of its descriptor.

    ISO 15740 lets a device that has other power say 0, and a docked camera has: 0 is unknown here.
    """
    if value == 0:
        return unknown(at, "0 means empty or powered from outside", "ptp")
    return reported_level(value, at, "ptp", lowest=lowest, highest=highest)


@dataclass(frozen=True, slots=True)
class StatusRule:
    """Where a camera's status file holds its charge (from its profile): exactly one of `pattern` and `key`."""

    pattern: str | None = None  # regular expression; its group `percent`, else the first, is the level
    key: str | None = None  # path in a JSON object, parts joined by "."
    highest: int = 100  # the level that means full

    def __post_init__(self) -> None:
        """Raises ValueError when the rule can find nothing."""
        if (self.pattern is None) == (self.key is None) or self.highest < 1:
            raise ValueError("a status rule has either pattern or key, and a highest level above 0")
        try:
            groups = re.compile(self.pattern).groups if self.pattern is not None else 1
        except re.error as error:
            raise ValueError(f"pattern of a status rule: {error}") from error
        if not groups:
            raise ValueError("the pattern of a status rule needs a group for the level")


def status_file_level(raw: bytes, rule: StatusRule, at: datetime) -> Reading:
    """The level that a camera wrote into a file of its card. `at` is when it wrote it, if known: it may be hours old.

    The file is hostile: whatever is wrong with it makes the reading unknown.
    """
    if len(raw) > STATUS_BYTES_MAX:
        return unknown(at, f"status file of {len(raw)} bytes", "status_file")
    text = _text(raw)
    found = _by_key(text, rule.key) if rule.key is not None else _by_pattern(text, rule.pattern or "")
    match = re.fullmatch(r"\s*(\d{1,5})(?:\.\d{1,6})?\s*[%％]?\s*", str(found), re.ASCII) if found is not None else None
    if match is None or isinstance(found, bool):
        return unknown(at, "the status file does not hold the level", "status_file")
    reading = reported_level(int(match[1]), at, "status_file", highest=rule.highest)
    if reading.percent is None:
        return reading
    # What stood in it when the camera wrote it is not what the battery holds now, so never more than inferred.
    return Reading(reading.percent, ChargeState.UNKNOWN, Origin.INFERRED, "status_file", at, reading.detail)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("gb18030", "replace")


def _by_pattern(text: str, pattern: str) -> str | None:
    match = re.search(pattern, text)
    if match is None:
        return None
    return match["percent"] if "percent" in match.re.groupindex else match[1]


def _by_key(text: str, key: str) -> Any:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


# --- the current into a bay -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a bay's sensor."""

    seconds: float  # of a steady clock, rising
    milliamps: int  # into the camera
    millivolts: int | None = None  # at the bay; None where the sensor has no such channel


@dataclass(frozen=True, slots=True)
class BayThresholds:
    """What currents mean at one bay; the defaults suit a USB 2 bay of 5 V and a camera of 1500 to 4000 mAh."""

    absent_ma: int = 8  # at most this, over `absent_seconds`: nothing draws. An INA226's offset is near 2 mA
    absent_seconds: float = 10
    full_ma: int = (
        150  # at most this, over `full_seconds`: charging has ended. Above what the camera draws to be a disk
    )
    full_seconds: float = 120
    taper_share: float = 0.7  # of this docking's peak; below it and falling: the charger's constant-voltage phase …
    taper_fall: float = 0.01  # … by this share from the older half of the window to the newer; less is noise
    over_ma: int = 2600  # above it twice in a row: fault; an inrush lasts one sample
    sag_mv: int = 4400  # USB 2.0, 7.2.2: at least 4.40 V at a port under load
    window_seconds: float = 5  # less than this tells no more than a fault


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a window of samples says."""

    state: ChargeState
    detail: str


def judge_current(
    samples: Sequence[Sample],
    bay: BayThresholds = BayThresholds(),
    *,
    peak_ma: int | None = None,
    present: bool | None = None,
) -> Judgement:
    """The state of a bay from its newest samples, oldest first; two minutes of them are enough for every answer.

    `peak_ma` is the highest current of this docking (default: of the window). `present`: whether USB shows a camera in
    the bay: one that charged and now draws nothing is full, one that never drew anything has bad contacts: unknown.
    """
    if len(samples) < 3:
        return Judgement(ChargeState.UNKNOWN, f"{len(samples)} samples")
    recent = [s.milliamps for s in samples[-3:]]
    if fault := _current_fault(samples, bay):
        return Judgement(ChargeState.FAULT, fault)
    if samples[-1].seconds - samples[0].seconds < bay.window_seconds:
        return Judgement(ChargeState.UNKNOWN, "looked at too shortly")
    now_ma = round(median(recent))
    peak = max(*(s.milliamps for s in samples), peak_ma or 0)
    if _held_below(samples, bay.absent_ma, bay.absent_seconds):
        return _no_load(now_ma, bay, charged=peak > bay.full_ma, present=present)
    if _held_below(samples, bay.full_ma, bay.full_seconds):
        return Judgement(ChargeState.FULL, f"{now_ma} mA for {bay.full_seconds:g} s")
    if now_ma <= bay.full_ma or (now_ma <= bay.taper_share * peak and _falling(samples, bay.taper_fall)):
        return Judgement(ChargeState.TAPERING, f"{now_ma} mA, peak {peak} mA")
    return Judgement(ChargeState.CHARGING, f"{now_ma} mA")


def measured(judgement: Judgement, at: datetime, source: str) -> Reading:
    """The reading of a bay's sensor. A current tells no percentage, except that full is full."""
    percent = 100 if judgement.state is ChargeState.FULL else None
    origin = Origin.UNKNOWN if judgement.state is ChargeState.UNKNOWN else Origin.MEASURED
    return Reading(percent, judgement.state, origin, source, at, judgement.detail[:DETAIL_MAX])


def charged_mah(samples: Sequence[Sample]) -> int:
    """What flowed into the camera over the samples, in mAh (trapezoids; a gap of over five minutes counts nothing)."""
    ampere_seconds = sum(
        (a.milliamps + b.milliamps) / 2 * (b.seconds - a.seconds)
        for a, b in pairwise(samples)
        if 0 < b.seconds - a.seconds <= 300
    )
    return max(0, round(ampere_seconds / 3600))


def _current_fault(samples: Sequence[Sample], bay: BayThresholds) -> str | None:
    recent = samples[-3:]
    if min(recent[-1].milliamps, recent[-2].milliamps) > bay.over_ma:
        return f"{recent[-1].milliamps} mA, limit {bay.over_ma} mA"
    if max(s.milliamps for s in recent) < -bay.absent_ma:
        return f"{recent[-1].milliamps} mA: current flows out of the camera, or the sensor is wired backwards"
    volts = [s.millivolts for s in recent if s.millivolts is not None]
    if len(volts) == 3 and max(volts) < bay.sag_mv:
        return f"{volts[-1]} mV at the bay, at least {bay.sag_mv} mV wanted"
    return None


def _no_load(now_ma: int, bay: BayThresholds, *, charged: bool, present: bool | None) -> Judgement:
    if present and charged:
        return Judgement(ChargeState.FULL, f"{now_ma} mA after charging")
    if present:
        return Judgement(ChargeState.UNKNOWN, f"the camera draws {now_ma} mA: clean its contacts")
    return Judgement(ChargeState.ABSENT, f"{now_ma} mA for {bay.absent_seconds:g} s")


def _held_below(samples: Sequence[Sample], limit_ma: int, seconds: float) -> bool:
    """Whether the newest samples that reach back `seconds` are all within the limit."""
    for sample in reversed(samples):
        if sample.milliamps > limit_ma:
            return False
        if samples[-1].seconds - sample.seconds >= seconds:
            return True
    return False


def _falling(samples: Sequence[Sample], share: float) -> bool:
    half = len(samples) // 2
    older, newer = (median(s.milliamps for s in part) for part in (samples[:half], samples[half:]))
    return newer <= older * (1 - share)
