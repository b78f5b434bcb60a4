"""What every event has in common. The events themselves: `stationevents` and `hubevents`; their bytes: `events`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from custody.fields import Sha256Hex as Sha256Hex  # noqa: PLC0414  the type belongs to the events for whoever makes them

Clock = Literal["synchronised", "unsynchronised", "unknown"]
NO_PREVIOUS = Sha256Hex("0" * 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Fields that every event carries."""

    TYPE: ClassVar[str] = ""
    COMMITTED: ClassVar[tuple[str, ...]] = ()  # texts about a person that it holds as salted commitments only
    id: str  # UUIDv7
    source: str  # station id, or the hub's name
    seq: int  # gapless from 1 per source
    previous: Sha256Hex  # SHA-256 of the source's previous envelope; zeros for the first
    at: datetime  # aware UTC, by the source's clock
    clock: Clock  # whether that clock was synchronised
