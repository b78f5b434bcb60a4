"""What speaks against a station, worst first. Pure: lists sort by it, pages say it, and whoever must act is told.

Each concern is known by a stable code; `hub/vocabulary.py` holds the words, except where the station itself gives them.
"""

from __future__ import annotations

from dataclasses import dataclass

from hub.stations.now import StationNow

OUTBOX_OLD_SECONDS = 3600
OUTBOX_URGENT_SECONDS = 86_400
_TELLING = {"clock": "clock_unsure", "disk_low": "vault_nearly_full"}  # findings of newer stations say it better


@dataclass(frozen=True, slots=True)
class Concern:
    """`count`: how many, where it is about several. `said`: the station's own words, Chinese and English."""

    code: str
    urgent: bool
    count: int = 0
    said: tuple[str, str] | None = None


def concerns(station: StationNow) -> tuple[Concern, ...]:
    """Everything, the urgent first; nothing: all is well."""
    found = [*_standing(station), *_own(station)]
    return tuple(sorted(found, key=lambda concern: not concern.urgent))


def severity(station: StationNow) -> tuple[int, int, str]:
    """For sorting: the worst first, then by name."""
    found = concerns(station)
    urgent = sum(concern.urgent for concern in found)
    return -urgent, urgent - len(found), station.id


def _standing(station: StationNow) -> list[Concern]:
    """What the hub knows by itself."""
    found = []
    if station.revoked:
        found.append(Concern("revoked", urgent=True))
    elif station.frozen_reason is not None:
        found.append(Concern("frozen", urgent=True))
    if station.state_at is None:
        found.append(Concern("never_heard", urgent=False))
    elif not station.online:
        found.append(Concern("away", urgent=True))
    elif station.stale:
        found.append(Concern("silent", urgent=True))
    return found


def _own(station: StationNow) -> list[Concern]:
    """What the station says of itself."""
    found = [Concern(one.code, one.urgent, said=(one.zh, one.en)) for one in station.findings]
    codes = {one.code for one in station.findings}
    if station.log_refused is not None:
        found.append(Concern("log_refused", urgent=True))
    if station.disk_low and _TELLING["disk_low"] not in codes:
        found.append(Concern("disk_low", urgent=False))
    if station.clock == "unsynchronised" and _TELLING["clock"] not in codes:
        found.append(Concern("clock", urgent=False))
    oldest = station.outbox_oldest_seconds or 0
    if oldest > OUTBOX_OLD_SECONDS and station.reachable:
        found.append(Concern("outbox_old", oldest > OUTBOX_URGENT_SECONDS, station.outbox_unreceipted or 0))
    troubled = sum(bay.state in ("failed", "attention", "refused", "storm", "no_card") for bay in station.bays)
    if troubled:
        found.append(Concern("bays", urgent=False, count=troubled))
    return found
