"""What stations say of themselves on retained topics: unsigned, shown to people, never evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select

from custody.errors import FormatError
from custody.fields import load_object
from hub.db import upsert_rows
from hub.tables import bay_state, station_state
from hub.times import to_text

MAX_STATE_BYTES = 16 * 1024
MAX_BAYS = 64  # per station; a station that claims more is not believed


@dataclass(frozen=True, slots=True)
class State:
    """A station's or bay's retained state. `json` None: the retained message was cleared, so the bay is gone."""

    station: str
    bay: str | None
    json: str | None
    online: bool


def read_state(station: str, bay: str | None, raw: bytes) -> State:
    """Check a retained message. Raises FormatError unless it is one JSON object of a reasonable length."""
    if bay is not None and not raw:
        return State(station, bay, None, online=False)
    if len(raw) > MAX_STATE_BYTES:
        raise FormatError(f"a state holds at most {MAX_STATE_BYTES} bytes, this one has {len(raw)}")
    body: dict[str, Any] = load_object(raw)
    if b"\x00" in raw:
        raise FormatError("a state holds no NUL")
    return State(station, bay, raw.decode(), online=body.get("online") is True)


def keep_states(tx: Connection, states: Sequence[State], at: datetime) -> None:
    """Put the newest state of each station and bay down."""
    newest = {(s.station, s.bay): s for s in states}.values()
    now = to_text(at)
    stations = [(s.station, s.json, s.online, now) for s in newest if s.bay is None]
    upsert_rows(tx, station_state, ("station", "json", "online", "received_at"), stations)
    for s in newest:
        if s.bay is None:
            continue
        if s.json is None:
            tx.execute(delete(bay_state).where(bay_state.c.station == s.station, bay_state.c.bay == s.bay))
        elif _has_room(tx, s):
            upsert_rows(tx, bay_state, ("station", "bay", "json", "received_at"), [(s.station, s.bay, s.json, now)])


def _has_room(tx: Connection, state: State) -> bool:
    others = select(func.count()).where(bay_state.c.station == state.station, bay_state.c.bay != state.bay)
    return bool(tx.execute(others).scalar_one() < MAX_BAYS)
