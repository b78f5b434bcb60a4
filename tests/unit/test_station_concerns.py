"""What speaks against a station, what is not yet safe, and when which disk is full: from what stations say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hub.overview.figures import not_yet_safe, storage
from hub.stations.concerns import concerns, severity
from hub.stations.now import BayNow, FindingNow, StationNow

NOW = datetime(2026, 3, 5, 6, 0, tzinfo=UTC)
WELL = StationNow(
    id="dock-1", section="", online=True, stale=False, state_at=NOW, since=NOW, enrolled_at=NOW, last_event_at=NOW,
    software="1", clock="synchronised", clock_error_ms=10, disk_free_bytes=500, disk_total_bytes=1000, daily_bytes=1,
    days_left=90, disks=(), cpu_celsius=50, undervoltage=False, findings=(), outbox_unreceipted=0,
    outbox_oldest_seconds=0, log_refused=None, frozen_reason=None, revoked=False, bays=(),
)  # fmt: skip


def bay(**facts: Any) -> BayNow:
    blank = dict.fromkeys(BayNow.__dataclass_fields__)
    return BayNow(**{**blank, "name": "1", "state": "empty", "received_at": NOW, **facts})


FULL_SOON = FindingNow("vault_nearly_full", True, "", "快满了", "nearly full")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"online": False}, [("away", True)]),
        ({"stale": True}, [("silent", True)]),
        ({"online": False, "state_at": None}, [("never_heard", False)]),
        ({"frozen_reason": "fork"}, [("frozen", True)]),
        ({"frozen_reason": "fork", "revoked": True}, [("revoked", True)]),
        ({"log_refused": "fork"}, [("log_refused", True)]),
        ({"disk_free_bytes": 99}, [("disk_low", False)]),
        ({"disk_free_bytes": 99, "findings": (FULL_SOON,)}, [("vault_nearly_full", True)]),
        ({"clock": "unsynchronised"}, [("clock", False)]),
        ({"outbox_oldest_seconds": 3601}, [("outbox_old", False)]),
        ({"outbox_oldest_seconds": 86401}, [("outbox_old", True)]),
        ({"outbox_oldest_seconds": 86401, "online": False}, [("away", True)]),
        ({"bays": (bay(state="attention"), bay(state="safe"))}, [("bays", False)]),
        ({"clock": "unsynchronised", "online": False}, [("away", True), ("clock", False)]),
    ],
)
def test_concerns(changes: dict[str, Any], found: list[tuple[str, bool]]) -> None:
    assert [(one.code, one.urgent) for one in concerns(replace(WELL, **changes))] == found


def test_the_worst_comes_first() -> None:
    away, full = replace(WELL, id="a", online=False), replace(WELL, id="b", disk_free_bytes=1)
    both = replace(away, id="c", log_refused="fork")
    assert [one.id for one in sorted([WELL, full, away, both], key=severity)] == ["c", "a", "b", "dock-1"]


def test_what_is_not_yet_safe() -> None:
    copying = bay(state="copying", bytes_done=300, bytes_total=1000)
    a = replace(WELL, bays=(copying, bay(state="listing"), bay(state="safe", bytes_total=9)))
    b = replace(WELL, id="b", outbox_unreceipted=7, outbox_oldest_seconds=125)
    c = replace(a, id="c", online=False, outbox_unreceipted=1, outbox_oldest_seconds=60)
    found = not_yet_safe((a, b, c))
    assert (found.copying, found.bytes_to_copy) == (2, 700), "of a silent station nobody knows what it copies"
    assert (found.messages, found.waiting, found.oldest_minutes, found.unknown) == (8, 2, 2, 1)


def test_the_disk_that_is_full_first() -> None:
    soon = replace(WELL, id="b", days_left=6, disk_free_bytes=100)
    untold = replace(WELL, id="c", days_left=None, disk_total_bytes=None, disk_free_bytes=None)
    found = storage((WELL, soon, untold))
    assert found is not None
    assert (found.free_bytes, found.total_bytes, found.days_left, found.station) == (600, 2000, 6, "b")
    assert storage((untold,)) is None
