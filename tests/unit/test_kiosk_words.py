"""What the screen says of a bay: there are words for every state and every reason, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import get_args

import pytest

from agent.baystate import BayState, StateWord
from agent.errors import AgentError, KeyUnreadable, SourceError, StoreUntrusted, VaultError
from agent.kiosk.words import TITLES, WHAT_TO_DO, bay_view
from agent.leds import LOOKS, led_state
from agent.readiness import Code, Level, Reason, Verdict
from agent.stay import SAVED_AS_FAR_AS_CAN_BE
from agent.usbports import REFUSED

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
READY = Verdict(Level.READY, (), 8.0, NOW.date(), NOW)


def codes(kind: type[AgentError]) -> Iterator[str]:
    """Those of a class and of everything below it that has one of its own."""
    if "code" in vars(kind):
        yield kind.code
    for below in kind.__subclasses__():
        yield from codes(below)


STATES = get_args(StateWord)
REASONS = sorted(
    {*codes(SourceError), *codes(VaultError), StoreUntrusted.code, KeyUnreadable.code}
    | {"agent_stopped", "internal", "settings_invalid"}
    | SAVED_AS_FAR_AS_CAN_BE
    | {kind.value for kind in REFUSED}
)


def test_every_state_has_words_and_a_light() -> None:
    assert set(TITLES) == set(WHAT_TO_DO) == set(STATES)
    assert {led_state(BayState("1", state, NOW)) for state in STATES} - set(LOOKS) <= {"refused", "storm", "no_card"}


@pytest.mark.parametrize(
    ("codes", "light"),
    [
        ({Code.CHARGE_LOW: Level.NOT_READY}, "charging"),
        ({Code.CHARGE_LOW: Level.NOT_READY, Code.STATION_CLOCK_UNSURE: Level.ATTENTION}, "charging"),
        ({Code.CHARGE_LOW: Level.NOT_READY, Code.CLOCK_UNSET: Level.NOT_READY}, "not_ready"),
        ({Code.CLOCK_UNSET: Level.NOT_READY}, "not_ready"),
        ({Code.STATION_CLOCK_UNSURE: Level.ATTENTION}, "ready"),
        ({}, "ready"),
    ],
)
def test_a_camera_that_lacks_nothing_but_charge_is_shown_charging(codes: dict[Code, Level], light: str) -> None:
    reasons = tuple(Reason(code, level, 7, "因", "because") for code, level in codes.items())
    level = max((reason.level for reason in reasons), default=Level.READY)
    verdict = Verdict(level, reasons, 8.0, NOW.date(), NOW)
    assert led_state(BayState("1", "safe", NOW, "CAM1", verdict=verdict)) == light


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_told_in_words_and_not_as_a_code(reason: str) -> None:
    remark = bay_view(BayState("1", "failed", NOW, reason=reason))["remark"]
    assert re.search("[\u4e00-\u9fff]", remark[0])
    assert remark[1][0].isupper()
    assert reason not in remark


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("officer", [None, "1001"])
def test_a_check_out_is_offered_or_undone_only_where_the_desk_would_do_it(state: str, officer: str | None) -> None:
    view = bay_view(BayState("1", state, NOW, "CAM1", verdict=READY, officer=officer))
    assert view["can_check_out"] is (state == "safe" and officer is None)
    assert view["can_take_back"] is (state in ("safe", "attention") and officer is not None)
    assert ("可以取下" in view["title"]) is (state == "safe")
