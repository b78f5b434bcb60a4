"""Stations and their bays as they last described themselves: unsigned, for people only.

What a station said is read again only when it said something else: pages and streams ask for all of them all the time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, select

from hub.sections import Scope
from hub.tables import bay_state, station, station_state
from hub.times import from_text

STALE_AFTER = timedelta(minutes=5)  # a station says how it is at least every minute
MAX_FINDINGS = 16
TONES = {
    "safe": "good", "recognising": "busy", "listing": "busy", "copying": "busy", "clearing": "busy", "failed": "bad",
    "refused": "bad", "attention": "warn", "storm": "warn", "no_card": "warn",
}  # fmt: skip
_CACHED = 1 << 14  # bays of 1,000 stations, twice


@dataclass(frozen=True, slots=True)
class BayNow:
    """A bay as its station last described it. Missing or odd values are None."""

    name: str
    camera: str | None
    state: str  # a key of vocabulary.BAY_STATES, or "unknown"
    files_done: int | None
    files_total: int | None
    bytes_done: int | None
    bytes_total: int | None
    seconds_left: int | None
    reason: str | None
    charge_percent: int | None
    verdict: str | None  # a key of vocabulary.VERDICTS, where the camera was judged
    received_at: datetime

    @property
    def percent(self) -> int | None:
        """How far copying is, by bytes, else by files."""
        for done, total in ((self.bytes_done, self.bytes_total), (self.files_done, self.files_total)):
            if done is not None and total:
                return min(100, done * 100 // total)
        return None

    @property
    def tone(self) -> str:
        """How it is shown: good, busy, warn, bad, idle."""
        return TONES.get(self.state, "idle")

    @property
    def bytes_to_copy(self) -> int:
        """What of its camera is not yet in the station's vault, as far as it is known."""
        return max(0, (self.bytes_total or 0) - (self.bytes_done or 0)) if self.state == "copying" else 0


@dataclass(frozen=True, slots=True)
class DiskNow:
    """A disk of the vault, as SMART told its station."""

    name: str
    state: str  # ok, attention, failed, unknown
    worn_percent: int | None
    celsius: int | None


@dataclass(frozen=True, slots=True)
class FindingNow:
    """Something that speaks against the dock, in the station's own words."""

    code: str
    urgent: bool
    subject: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class StationNow:
    """An enrolled station as it last described itself; away, as it did before it went. Missing values are None."""

    id: str
    section: str
    online: bool
    stale: bool  # says online, but has been silent for longer than `STALE_AFTER`
    state_at: datetime | None  # when the present state came in; None: never heard of
    since: datetime | None  # since when it is on line or away; None: never heard of, or not known
    enrolled_at: datetime
    last_event_at: datetime | None  # when the hub last took in an event of its chain
    software: str | None
    clock: str | None
    clock_error_ms: int | None
    disk_free_bytes: int | None
    disk_total_bytes: int | None
    daily_bytes: int | None  # that come in
    days_left: int | None  # until its disk is full
    disks: tuple[DiskNow, ...]
    cpu_celsius: int | None
    undervoltage: bool | None
    findings: tuple[FindingNow, ...]
    outbox_unreceipted: int | None
    outbox_oldest_seconds: int | None
    log_refused: str | None  # why it does not believe our log
    frozen_reason: str | None
    revoked: bool
    bays: tuple[BayNow, ...]

    @property
    def disk_low(self) -> bool:
        """Less than a tenth of the disk is free."""
        return self.disk_free_bytes is not None and self.disk_free_bytes * 10 < (self.disk_total_bytes or 0)

    @property
    def tones(self) -> tuple[tuple[str, int], ...]:
        """How many bays are shown how, the worst first."""
        shown = [bay.tone for bay in self.bays]
        return tuple((tone, shown.count(tone)) for tone in ("bad", "warn", "busy", "good", "idle") if tone in shown)

    @property
    def reachable(self) -> bool:
        """Whether what it says of itself is of now."""
        return self.online and not self.stale


def load_stations(
    connection: Connection, scope: Scope, now: datetime, only: str | None = None
) -> tuple[StationNow, ...]:
    """Enrolled stations of `scope`, by id; `only` this one."""
    bays: dict[str, list[BayNow]] = defaultdict(list)
    c = bay_state.c
    said = select(c.station, c.bay, c.json, c.received_at)
    held = (
        select(
            station, station_state.c.json, station_state.c.online, station_state.c.received_at, station_state.c.since
        )
        .outerjoin(station_state, station_state.c.station == station.c.id)
        .order_by(station.c.id)
    )
    if only is not None:
        said, held = said.where(c.station == only), held.where(station.c.id == only)
    for name, bay, text, received_at in connection.execute(said):
        bays[name].append(_bay(bay, text, received_at))
    found = []
    for row in connection.execute(held):
        if scope.stations is None or row.id in scope.stations:
            one = _station(
                row.id, row.section, row.json, bool(row.online), row.received_at, row.since, row.enrolled_at,
                row.last_received_at, row.software, row.frozen_reason, row.revoked_at is not None,
                tuple(sorted(bays[row.id], key=_bay_order)),
            )  # fmt: skip
            silent = one.online and one.state_at is not None and now - one.state_at > STALE_AFTER
            found.append(replace(one, stale=True) if silent else one)
    return tuple(found)


@lru_cache(_CACHED)
def _station(
    name: str,
    section: str,
    text: str | None,
    online: bool,
    received_at: str | None,
    since: str | None,
    enrolled_at: str,
    last_received_at: str | None,
    software: str | None,
    frozen_reason: str | None,
    revoked: bool,
    bays: tuple[BayNow, ...],
) -> StationNow:
    said = _object(text)
    return StationNow(
        id=name,
        section=section,
        online=online,
        stale=False,
        state_at=from_text(received_at),
        since=from_text(since),
        enrolled_at=datetime.fromisoformat(enrolled_at),
        last_event_at=from_text(last_received_at),
        software=_text(said, "software") or software,
        clock=_text(said, "clock"),
        clock_error_ms=_count(said, "clock_error_ms"),
        disk_free_bytes=_count(said, "disk_free_bytes"),
        disk_total_bytes=_count(said, "disk_total_bytes"),
        daily_bytes=_count(said, "daily_bytes"),
        days_left=_count(said, "days_left"),
        disks=tuple(_disk(one) for one in _objects(said, "disks")),
        cpu_celsius=_count(said, "cpu_celsius"),
        undervoltage=said.get("undervoltage") if isinstance(said.get("undervoltage"), bool) else None,
        findings=tuple(_finding(one) for one in _objects(said, "findings")),
        outbox_unreceipted=_count(said, "outbox_unreceipted"),
        outbox_oldest_seconds=_count(said, "outbox_oldest_seconds"),
        log_refused=_text(said, "log_refused"),
        frozen_reason=frozen_reason,
        revoked=revoked,
        bays=bays,
    )


@lru_cache(_CACHED)
def _bay(name: str, text: str, received_at: str) -> BayNow:
    said = _object(text)
    return BayNow(
        name=name,
        camera=_text(said, "camera"),
        state=_text(said, "state") or "unknown",
        files_done=_count(said, "files_done"),
        files_total=_count(said, "files_total"),
        bytes_done=_count(said, "bytes_done"),
        bytes_total=_count(said, "bytes_total"),
        seconds_left=_count(said, "seconds_left"),
        reason=_text(said, "reason"),
        charge_percent=_count(said, "charge_percent"),
        verdict=_text(said, "verdict"),
        received_at=datetime.fromisoformat(received_at),
    )


def _disk(said: Mapping[str, Any]) -> DiskNow:
    name, state = _text(said, "name") or "?", _text(said, "state") or "unknown"
    return DiskNow(name, state, _count(said, "worn_percent"), _count(said, "celsius"))


def _finding(said: Mapping[str, Any]) -> FindingNow:
    code = _text(said, "code") or "unknown"
    zh, en = _text(said, "zh") or code, _text(said, "en") or code
    return FindingNow(code, said.get("level") == "urgent", _text(said, "subject") or "", zh, en)


def _bay_order(bay: BayNow) -> tuple[int, str]:
    return (int(bay.name) if bay.name.isascii() and bay.name.isdigit() else 1 << 62, bay.name)


def _object(text: str | None) -> Mapping[str, Any]:
    """A JSON object that nobody signed; anything else counts as having said nothing."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _objects(said: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = said.get(name)
    found: list[Mapping[str, Any]] = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    return found[:MAX_FINDINGS]


def _count(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    return (
        int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None
    )


def _text(said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    # JSON can spell lone surrogates, which no answer of ours could be encoded with
    return value[:200].encode(errors="replace").decode() if isinstance(value, str) else None
