"""Whether a camera's battery still holds, judged from its history at this dock. Pure.

Two signs, each by the median of several dockings, so that one odd day condemns no battery:

1. Duties: it left full and came back lower than the hours out explain. Only percentages that the camera reported count.
2. Charges: what it takes to become full again shrinks, in mAh by the bay's sensor or else in minutes, per per cent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from statistics import median

from agent.charge import ChargeState, Origin, Reading

FULL_PERCENT = 95
CHARGE_HOURS_MAX = 24  # longer is no charge: rows in between were dropped, or it could not get full


class Moment(StrEnum):
    """When in a docking a reading was taken."""

    ARRIVED = "arrived"  # the first one of a docking
    SEEN = "seen"
    LEFT = "left"  # the last one before the camera was taken


@dataclass(frozen=True, slots=True)
class Kept:
    """One reading of the history. `charged_mah`: what flowed in since the camera arrived, where a sensor tells."""

    moment: Moment
    reading: Reading
    charged_mah: int | None = None


@dataclass(frozen=True, slots=True)
class BatteryLimits:
    """When a battery is called weak."""

    rated_hours: float = 8  # a new battery records as long as this (a shift)
    tolerance: float = 1.5  # a duty may take so many times what recording all the time would; cold, age, Wi-Fi
    drop_points: int = 30  # less than this is never called excessive: percentages are coarse
    duties: int = 5  # of the last so many duties that started full …
    bad_duties: int = 3  # … so many took too much
    charges: int = 3  # the newest so many charges …
    baseline_charges: int = 5  # … against the oldest so many that are kept
    shrunk_to: float = 0.6  # below this share of the baseline: weak. Batteries are replaced at 60 to 80 %
    charge_from_percent: int = 60  # a charge that starts above it is too short to be measured


@dataclass(frozen=True, slots=True)
class BatteryFinding:
    """A battery that no longer holds; `code` is stable."""

    code: str  # does_not_last, takes_less
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Duty:
    """One time out that started full."""

    hours: float
    drop_points: int


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge from `from_percent` until the battery was full."""

    from_percent: int
    minutes: float
    mah: int | None


def battery_finding(history: Sequence[Kept], limits: BatteryLimits = BatteryLimits()) -> BatteryFinding | None:
    """What the history (oldest first) says against the battery; None when nothing, or too little, is known."""
    return _does_not_last(list(duties(history)), limits) or _takes_less(list(charges(history)), limits)


def duties(history: Sequence[Kept]) -> Iterator[Duty]:
    """Times out from a full battery to the next arrival, both with reported percentages."""
    before: Kept | None = None
    for kept in history:
        if (
            kept.moment is Moment.ARRIVED
            and before is not None
            and before.moment is Moment.LEFT
            and (start := _reported(before.reading)) is not None
            and start >= FULL_PERCENT
            and (end := _reported(kept.reading)) is not None
            and (hours := _hours(before.reading.at, kept.reading.at)) > 0  # else the station's clock was set back
        ):
            yield Duty(hours, max(0, start - end))
        before = kept


def charges(history: Sequence[Kept]) -> Iterator[Charge]:
    """Charges from a reported percentage to the first sight of a full battery in the same docking."""
    start: Kept | None = None
    for kept in history:
        if kept.moment is Moment.ARRIVED:
            start = kept
        elif start is not None and _full(kept.reading):
            level = _reported(start.reading)
            hours = _hours(start.reading.at, kept.reading.at)
            if level is not None and level < FULL_PERCENT and 0 < hours <= CHARGE_HOURS_MAX:
                yield Charge(level, hours * 60, kept.charged_mah)
            start = None


def _does_not_last(found: list[Duty], limits: BatteryLimits) -> BatteryFinding | None:
    newest = found[-limits.duties :]
    bad = [d for d in newest if d.drop_points > max(limits.drop_points, _explained(d.hours, limits))]
    if len(bad) < limits.bad_duties:
        return None
    hours, drop = median(d.hours for d in bad), round(median(d.drop_points for d in bad))
    return BatteryFinding(
        "does_not_last",
        f"最近 {len(newest)} 次满电出勤中有 {len(bad)} 次耗电过快（约 {hours:.1f} 小时用去 {drop} %）。",
        f"{len(bad)} of the last {len(newest)} duties from a full battery took too much: "
        f"{drop} % in about {hours:.1f} h.",
    )


def _explained(hours: float, limits: BatteryLimits) -> float:
    return hours / limits.rated_hours * 100 * limits.tolerance


def _takes_less(found: list[Charge], limits: BatteryLimits) -> BatteryFinding | None:
    deep = [c for c in found if c.from_percent <= limits.charge_from_percent]
    by_mah = [c.mah / (100 - c.from_percent) for c in deep if c.mah]
    by_time = [c.minutes / (100 - c.from_percent) for c in deep]
    for values, unit_zh, unit_en in ((by_mah, "电量", "charge"), (by_time, "时间", "time")):
        if len(values) < limits.baseline_charges + limits.charges:
            continue
        share = median(values[-limits.charges :]) / median(values[: limits.baseline_charges])
        if share >= limits.shrunk_to:
            return None  # measured charge, where it is known, has the say over time
        return BatteryFinding(
            "takes_less",
            f"充满所需{unit_zh}只有从前的 {share:.0%}。",
            f"A full charge takes {share:.0%} of the {unit_en} it once took.",
        )
    return None


def _reported(reading: Reading) -> int | None:
    return reading.percent if reading.origin is Origin.REPORTED else None


def _full(reading: Reading) -> bool:
    return reading.state is ChargeState.FULL or (_reported(reading) or 0) >= FULL_PERCENT


def _hours(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds() / 3600
