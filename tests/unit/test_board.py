"""What the board says of all bays together."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.baystate import BayState
from agent.board import Board

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def board(*states: BayState) -> Board:
    made = Board(("1", "2"))
    for state in states:
        made.show(state)
    return made


def test_the_cameras_in_all_bays() -> None:
    assert board(BayState("1", "empty", NOW), BayState("2", "refused", NOW)).cameras() == frozenset()
    both = board(BayState("1", "copying", NOW, "CAM1"), BayState("2", "failed", NOW, "CAM2"))
    assert both.cameras() == {"CAM1", "CAM2"}


@pytest.mark.parametrize("state", ["recognising", "failed", "storm", "no_card"])
def test_nobody_can_say_while_a_bay_holds_something_unrecognised(state: str) -> None:
    assert board(BayState("1", "safe", NOW, "CAM1"), BayState("2", state, NOW)).cameras() is None


def test_nobody_can_say_before_every_bay_has_shown_something() -> None:
    assert board(BayState("1", "empty", NOW)).cameras() is None
