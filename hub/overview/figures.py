"""The figures of the first page: what is safe and what is not yet, and when which disk is full. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from hub.overview.cameras import Cameras
from hub.overview.queries import Totals
from hub.stations.now import StationNow

WIDE_STATIONS = 8  # up to so many are shown with every bay; more as tiles


@dataclass(frozen=True, slots=True)
class NotYetSafe:
    """Footage that the hub has not confirmed, as far as anybody can know.

    `copying` bays with `bytes_to_copy` still on cameras alone; `messages` of `waiting` stations, saved there and
    without a receipt, the oldest for `oldest_minutes`; `unknown` stations that are away, whose figures are of before.
    """

    copying: int
    bytes_to_copy: int
    messages: int
    waiting: int
    oldest_minutes: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Storage:
    """All disks together, and the one that is full first. `days_left` None: no station can tell yet."""

    free_bytes: int
    total_bytes: int
    days_left: int | None
    station: str


@dataclass(frozen=True, slots=True)
class Figures:
    """One box of the page."""

    recorded: Totals
    cameras: Cameras
    not_yet: NotYetSafe
    storage: Storage | None


def not_yet_safe(stations: tuple[StationNow, ...]) -> NotYetSafe:
    """Over these stations."""
    copying = [bay for one in stations if one.reachable for bay in one.bays if bay.state in ("copying", "listing")]
    waiting = [one for one in stations if one.outbox_unreceipted]
    return NotYetSafe(
        len(copying),
        sum(bay.bytes_to_copy for bay in copying),
        sum(one.outbox_unreceipted or 0 for one in waiting),
        len(waiting),
        max((one.outbox_oldest_seconds or 0 for one in waiting), default=0) // 60,
        sum(one.state_at is not None and not one.reachable for one in stations),
    )


def storage(stations: tuple[StationNow, ...]) -> Storage | None:
    """Over these stations; None when none of them tells."""
    telling = [one for one in stations if one.disk_total_bytes]
    if not telling:
        return None
    days, name = min(((one.days_left, one.id) for one in telling if one.days_left is not None), default=(None, ""))
    free = sum(one.disk_free_bytes or 0 for one in telling)
    return Storage(free, sum(one.disk_total_bytes or 0 for one in telling), days, name)
