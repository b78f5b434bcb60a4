"""What the hub says of a release beforehand, as a table; and that it has words for every rule of a station."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.releasewords import RULES
from hub.commands.holds import HoldFacts
from hub.releases.policy import ADVICE, File, Known, divide, ranges_without, why_later, why_not
from hub.vocabulary import REASONS

NOW = datetime(2026, 3, 5, tzinfo=UTC)
GOOD = Known(
    station="dock-1", docking="d", camera="cam", bay="1", complete=True, listed=5, already_saved=0, closed_index=40,
    closed_at=NOW - timedelta(hours=1), cosigned_size=41, left_since=False, disputed=False, checked_out=False,
    online=True, release_on=True, keep_days=0, holds=(),
)  # fmt: skip
FILES = tuple(File(30 + n, n, f"{n}.MP4", 100, f"{n:064x}") for n in range(1, 6))


def hold(**named: str | None) -> HoldFacts:
    return HoldFacts(
        "h", "dock-1", named.get("camera"), named.get("docking"), named.get("file_sha256"), "case", known=bool(named)
    )


@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        ({}, ()),
        ({"complete": False}, ("docking_incomplete",)),
        ({"closed_index": None}, ("docking_incomplete",)),
        ({"listed": 0}, ("nothing_listed",)),
        ({"cosigned_size": 40}, ("checkpoint_not_proved",)),
        ({"cosigned_size": None}, ("checkpoint_not_proved",)),
        ({"holds": (hold(camera="cam"),)}, ("held",)),
        ({"holds": (hold(docking="d"),)}, ("held",)),
        ({"holds": (hold(camera="cam", docking="other"), hold(camera="other"), hold(docking="d", camera="other"))}, ()),
        ({"holds": (hold(camera="cam", file_sha256=FILES[0].sha256),)}, ()),
        ({"disputed": True, "left_since": True}, ("camera_disputed", "camera_left_since")),
        ({"release_on": False}, ("release_off",)),
        ({"release_on": None, "online": False, "checked_out": True, "holds": (hold(),)}, ()),
    ],
)
def test_why_not(changed: dict[str, object], rules: tuple[str, ...]) -> None:
    assert why_not(replace(GOOD, **changed)) == rules  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        ({}, ()),
        ({"release_on": None}, ()),
        ({"checked_out": True, "online": False}, ("checked_out", "station_away")),
        ({"keep_days": 1}, ("too_early",)),
        ({"keep_days": 3650, "closed_at": NOW - timedelta(days=3650)}, ()),
        ({"holds": (hold(),)}, ("hold_unknown_here",)),
    ],
)
def test_why_later(changed: dict[str, object], rules: tuple[str, ...]) -> None:
    assert why_later(replace(GOOD, **changed), NOW) == rules  # type: ignore[arg-type]


def test_held_files_are_left_out_of_the_ranges() -> None:
    holds = (hold(file_sha256=FILES[1].sha256), hold(camera="cam", file_sha256=FILES[4].sha256))
    clear, kept = divide(replace(GOOD, holds=holds), FILES)
    assert [one.entry for one in clear] == [1, 3, 4]
    assert [one.file.entry for one in kept] == [2, 5]
    assert ranges_without(5, kept) == ((1, 1), (3, 4))
    assert ranges_without(5, ()) == ((1, 5),)
    assert ranges_without(7, kept) == ((1, 1), (3, 4), (6, 7))


def test_every_rule_of_a_station_has_words_here() -> None:
    assert RULES.keys() - {"bad_request", "released"} - REASONS.keys() == set()
    assert ADVICE.keys() - REASONS.keys() == set()
