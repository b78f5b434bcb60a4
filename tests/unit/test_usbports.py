"""What a USB device is to a dock, and when it comes too often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.usbports import REFUSED, Attached, Kind, ReplugLimit, classify


def device(*interfaces: str, media_player: bool = False) -> Attached:
    return Attached("p-usb2-1", 1, 5, "1b3f:8301", "S", "ACME", "Cam", interfaces, media_player, ())


@pytest.mark.parametrize(
    ("interfaces", "kind"),
    [
        ((), Kind.PENDING),
        (("080650",), Kind.STORAGE),
        (("080662",), Kind.STORAGE),  # UAS
        (("060101",), Kind.PTP),
        (("080650", "060101"), Kind.STORAGE),
        (("ff4201", "080650"), Kind.STORAGE),
        (("030101",), Kind.KEYBOARD),
        (("080650", "030101"), Kind.KEYBOARD),  # a disk that also types
        (("020600", "0a0000"), Kind.NETWORK),
        (("e00103", "080650"), Kind.NETWORK),  # RNDIS beside a disk
        (("0e0101",), Kind.UNKNOWN),
        (("ff0000",), Kind.UNKNOWN),
    ],
)
def test_kinds(interfaces: tuple[str, ...], kind: Kind) -> None:
    assert classify(device(*interfaces)) is kind


def test_a_device_that_udev_knows_as_media_player_speaks_mtp_whatever_its_class() -> None:
    assert classify(device("ff0000", media_player=True)) is Kind.PTP
    assert classify(device("ff0000", "030101", media_player=True)) in REFUSED


def test_a_storm_begins_once_holds_and_ends_after_quiet() -> None:
    limit = ReplugLimit()
    begun = [limit.arrived(float(second)) for second in range(20)]
    assert begun.count(True) == 1
    assert begun.index(True) == limit.arrivals_max
    assert limit.storm_arrivals == 20
    assert not limit.settled(28.9)
    assert limit.wait_seconds(28.0) == pytest.approx(1.0)
    assert limit.settled(29.0)
    assert not limit.arrived(29.0)  # counted anew
    assert limit.storm_arrivals == 20  # of the last storm


def test_arrivals_far_apart_are_no_storm() -> None:
    limit = ReplugLimit()
    assert not any(limit.arrived(15.0 * n) for n in range(100))


@given(st.lists(st.floats(0, 30), max_size=60))
def test_waiting_as_told_always_settles(steps: list[float]) -> None:
    limit, now = ReplugLimit(), 0.0
    for step in steps:
        now += step
        limit.arrived(now)
        assert limit.settled(now + limit.wait_seconds(now) + 1e-6) or limit.storm is False
        limit.arrived(now)
