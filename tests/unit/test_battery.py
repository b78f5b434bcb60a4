"""Batteries that no longer hold, and the bounded history that shows it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest

from agent.battery import Kept, Moment, battery_finding, charges, duties
from agent.charge import ChargeState, Origin, Reading
from agent.charge_history import FIRST_ROWS, NEWEST_ROWS, charge_history, keep_reading
from agent.store import Store

START = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)


def kept(
    moment: Moment,
    hours: float,
    percent: int | None,
    state: ChargeState = ChargeState.CHARGING,
    origin: Origin = Origin.REPORTED,
    mah: int | None = None,
) -> Kept:
    return Kept(moment, Reading(percent, state, origin, "test", START + timedelta(hours=hours)), mah)


def out(day: int, hours: float, end: int, start: int = 100) -> list[Kept]:
    """One duty: left with `start` per cent, back after `hours` with `end`."""
    return [kept(Moment.LEFT, day * 24, start), kept(Moment.ARRIVED, day * 24 + hours, end)]


def charge(day: int, minutes: float, mah: int | None = None, start: int = 20) -> list[Kept]:
    """One charge from `start` per cent to full."""
    return [
        kept(Moment.ARRIVED, day * 24, start),
        kept(Moment.SEEN, day * 24 + minutes / 120, None, origin=Origin.MEASURED),
        kept(Moment.SEEN, day * 24 + minutes / 60, 100, ChargeState.FULL, Origin.MEASURED, mah),
    ]


def many(of: list[list[Kept]]) -> list[Kept]:
    return [one for some in of for one in some]


WEAK = [(1.0, 40), (2.0, 30), (0.5, 60)]  # hours out, per cent left


@pytest.mark.parametrize(
    ("history", "code"),
    [
        ([], None),
        (many([out(d, h, e) for d, (h, e) in enumerate(WEAK)]), "does_not_last"),
        (many([out(d, h, e) for d, (h, e) in enumerate(WEAK[:2])]), None),  # too few
        (many([out(d, 8, 5) for d in range(6)]), None),  # empty after a shift: as it should be
        (many([out(d, 1, 75) for d in range(6)]), None),  # coarse percentages
        (many([out(d, 1, 10, start=60) for d in range(6)]), None),  # it did not leave full
        (many([out(d, -1, 10) for d in range(6)]), None),  # the station's clock was set back
        (many([out(d, h, e) for d, (h, e) in enumerate(WEAK)] + [out(9 + d, 6, 50) for d in range(3)]), None),
        (many([charge(d, 120) for d in range(5)] + [charge(9 + d, 60) for d in range(3)]), "takes_less"),
        (many([charge(d, 120) for d in range(5)] + [charge(9 + d, 90) for d in range(3)]), None),
        (many([charge(d, 120) for d in range(5)] + [charge(9 + d, 60) for d in range(2)]), None),  # too few
        (many([charge(d, 120, 2400) for d in range(5)] + [charge(9 + d, 60, 2300) for d in range(3)]), None),
        (many([charge(d, 120, 2400) for d in range(5)] + [charge(9 + d, 120, 1200) for d in range(3)]), "takes_less"),
        (many([charge(d, 120) for d in range(5)] + [charge(9 + d, 20, start=85) for d in range(3)]), None),
    ],
)
def test_batteries(history: list[Kept], code: str | None) -> None:
    finding = battery_finding(history)
    assert (finding.code if finding else None) == code


def test_the_finding_gives_its_figures_in_both_languages() -> None:
    finding = battery_finding(many([out(d, h, e) for d, (h, e) in enumerate(WEAK)]))
    assert finding is not None
    assert "3 次满电出勤中有 3 次" in finding.zh
    assert "60 % in about 1.0 h" in finding.en


def test_only_reported_percentages_and_whole_duties_count() -> None:
    inferred = [
        kept(Moment.LEFT, 0, 100, origin=Origin.INFERRED),
        kept(Moment.ARRIVED, 1, 10),
        kept(Moment.LEFT, 2, 100),
        kept(Moment.ARRIVED, 3, None, ChargeState.UNKNOWN, Origin.UNKNOWN),
        kept(Moment.SEEN, 4, 100),
        kept(Moment.ARRIVED, 5, 10),  # nobody saw it leave
    ]
    assert list(duties(inferred)) == []
    assert [(d.hours, d.drop_points) for d in duties(out(0, 2, 40))] == [(2, 60)]


def test_a_charge_ends_at_the_first_sight_of_full() -> None:
    history = [*charge(0, 90), kept(Moment.SEEN, 9, 100, ChargeState.FULL), kept(Moment.LEFT, 10, 100)]
    assert [(c.from_percent, round(c.minutes)) for c in charges(history)] == [(20, 90)]
    assert list(charges([kept(Moment.ARRIVED, 0, 99), kept(Moment.SEEN, 1, 100, ChargeState.FULL)])) == []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "station.db")
    yield made
    made.close()


def test_the_history_comes_back_as_it_was_kept(store: Store) -> None:
    history = many([out(0, 2, 40), charge(1, 90, 1800)])
    with store.begin():
        assert all(keep_reading(store, "CAM1", one) for one in history)
        keep_reading(store, "CAM2", history[0])
    assert charge_history(store, "CAM1") == history
    assert charge_history(store, "CAM3") == []


def test_a_look_that_says_nothing_new_is_not_kept(store: Store) -> None:
    with store.begin():
        assert keep_reading(store, "CAM", kept(Moment.ARRIVED, 0, 50))
        assert not keep_reading(store, "CAM", kept(Moment.SEEN, 0.1, 59))
        assert keep_reading(store, "CAM", kept(Moment.SEEN, 0.2, 60))
        assert keep_reading(store, "CAM", kept(Moment.SEEN, 0.3, 60, ChargeState.DISCHARGING))
        assert keep_reading(store, "CAM", kept(Moment.SEEN, 0.3, None, ChargeState.DISCHARGING))
        assert not keep_reading(store, "CAM", kept(Moment.SEEN, 0.3, None, ChargeState.DISCHARGING))
        assert keep_reading(store, "CAM", kept(Moment.LEFT, 0.4, None, ChargeState.DISCHARGING))
    assert len(charge_history(store, "CAM")) == 5


def dockings(store: Store, first: int, number: int, minutes: float) -> None:
    """So many days, each: arrived with 20 %, full after `minutes`, left."""
    with store.begin():
        for day in range(first, first + number):
            for one in [*charge(day, minutes), kept(Moment.LEFT, day * 24 + 12, 100)]:
                keep_reading(store, "CAM", one)


def test_the_history_is_bounded_and_keeps_the_first_and_the_newest(store: Store) -> None:
    with store.begin():
        keep_reading(store, "OTHER", kept(Moment.ARRIVED, 0, 1))
    dockings(store, 0, 65, 120)
    history = charge_history(store, "CAM")
    days = sorted({(one.reading.at - START).days for one in history})
    assert len(history) == FIRST_ROWS + 3 * NEWEST_ROWS == 200
    assert days[:20] == list(range(20))  # four rows a docking
    assert days[-20:] == list(range(45, 65))
    assert len(charge_history(store, "OTHER")) == 1


def test_a_battery_that_ages_slowly_is_found_by_what_it_once_took(store: Store) -> None:
    for month in range(7):
        dockings(store, month * 10, 10, 120 - 10 * month)
    weak = battery_finding(charge_history(store, "CAM"))
    assert weak is not None
    assert "50 %" in weak.zh or "50%" in weak.zh


def test_a_camera_that_flaps_cannot_fill_the_store(store: Store) -> None:
    with store.begin():
        for n in range(300):
            keep_reading(store, "CAM", kept(Moment.SEEN, n / 60, n % 2 * 50))
    assert len(charge_history(store, "CAM")) == FIRST_ROWS + NEWEST_ROWS


def test_a_store_of_the_first_version_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "station.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(resources.files("agent").joinpath("sql", "001_store.sql").read_text("utf-8"))
        old.execute("PRAGMA user_version = 1")
    with closing(Store(path)) as now:
        assert charge_history(now, "CAM") == []
