"""Officers' PINs: hashed so that a guess takes long, and guessing waits longer and longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.officers import BLOCK_SECONDS_MAX, Officer, PinBlocked, PinRefused, check_pin, disable_officer, set_officer
from agent.store import Store

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
WANG = Officer("1001", "王芳", disabled=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "station.db")


def test_pins(store: Store) -> None:
    with store.begin():
        set_officer(store, "1001", "王芳", "2468")
    assert check_pin(store, "1001", "2468", NOW) == WANG
    for number, pin in (("1001", "1111"), ("9999", "2468"), ("1001", "x" * 10_000)):
        with pytest.raises(PinRefused):
            check_pin(store, number, pin, NOW)
    with store.begin():
        assert disable_officer(store, "1001", NOW)
    with pytest.raises(PinRefused):
        check_pin(store, "1001", "2468", NOW)


def test_guessing_waits_longer_and_longer_but_never_for_ever(store: Store) -> None:
    with store.begin():
        set_officer(store, "1001", "王芳", "2468")
    at, waits = NOW, []
    for _ in range(14):
        try:
            check_pin(store, "1001", "0000", at)
        except PinBlocked as blocked:
            waits.append(int(blocked.en.split("Wait ")[1].split(" ")[0]))
            at += timedelta(seconds=waits[-1])
        except PinRefused:
            pass
    assert waits == sorted(waits)
    assert 60 <= waits[0] < waits[-1] <= BLOCK_SECONDS_MAX
    with pytest.raises(PinRefused):
        check_pin(store, "1001", "0000", at)
    with pytest.raises(PinBlocked):  # the right PIN waits too
        check_pin(store, "1001", "2468", at)
    assert check_pin(store, "1001", "2468", at - timedelta(days=365)) == WANG  # a clock set back locks nobody out
    with store.begin():
        set_officer(store, "1001", "王芳", "2468")  # the custodian gives a new PIN
    assert check_pin(store, "1001", "2468", at) == WANG
