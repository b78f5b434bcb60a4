"""From which day a policy is in force: the day this station first judged by it, whatever day it is asked later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from agent.policies import policy_in_force
from agent.readiness import Policy
from agent.store import Store

MARCH, APRIL, MAY = date(2026, 3, 2), date(2026, 4, 1), date(2026, 5, 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "station.db")
    yield made
    made.close()


def test_it_keeps_its_day_until_it_changes(store: Store, tmp_path: Path) -> None:
    first = Policy(effective_from=MARCH)
    assert policy_in_force(store, first) == first
    assert policy_in_force(store, replace(first, effective_from=APRIL)) == first
    stricter = Policy(effective_from=APRIL, space_hours=8)
    assert policy_in_force(store, stricter) == stricter
    store.close()
    again = Store(tmp_path / "station.db")  # a restart
    assert policy_in_force(again, replace(stricter, effective_from=MAY)) == stricter
    back = replace(first, effective_from=MAY)
    assert policy_in_force(again, back) == back  # asked for once more: from now on, not from March
    again.close()


def test_an_update_that_asks_for_something_else_is_another_policy(store: Store) -> None:
    policy_in_force(store, Policy(effective_from=MARCH))
    updated = Policy(effective_from=APRIL, clock_ready_seconds=30)
    assert policy_in_force(store, updated).effective_from == APRIL
