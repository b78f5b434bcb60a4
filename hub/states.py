"""What stations say of themselves on retained topics: unsigned, shown to people, never evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from custody.errors import FormatError
from custody.fields import load_object
from hub.db import upsert_rows
from hub.tables import bay_state, station_silence, station_state
from hub.times import to_text

MAX_STATE_BYTES = 16 * 1024
MAX_BAYS = 64  # per station; a station that claims more is not believed
SILENCES_KEPT = timedelta(days=400)
_SAYS_NOTHING = frozenset({"station", "online"})  # keys of a last will: that it is away, and no more


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
    for s in newest:
        if s.json is None:
            tx.execute(delete(bay_state).where(bay_state.c.station == s.station, bay_state.c.bay == s.bay))
        elif s.bay is None:
            _keep_station(tx, s, s.json, at)
        elif _has_room(tx, s):
            upsert_rows(tx, bay_state, ("station", "bay", "json", "received_at"), [(s.station, s.bay, s.json, now)])


def _keep_station(tx: Connection, state: State, text: str, at: datetime) -> None:
    """The newest state of a station. What it was like before it went away is kept; so are its silences."""
    now = to_text(at)
    held = tx.execute(select(station_state).where(station_state.c.station == state.station)).one_or_none()
    same = held is not None and held.online == state.online
    if held is not None and not state.online and _SAYS_NOTHING.issuperset(load_object(text.encode())):
        text = held.json
    # the broker gives its retained messages again whenever we connect: those change nothing here
    row = (state.station, text, state.online, now, held.since if held is not None and same else now)
    upsert_rows(tx, station_state, ("station", "json", "online", "received_at", "since"), [row])
    if held is not None and state.online and not same and held.since is not None and held.since < now:
        silence = {"station": state.station, "began_at": held.since, "ended_at": now}
        tx.execute(insert(station_silence).values(**silence))
        old = to_text(at - SILENCES_KEPT)
        tx.execute(
            delete(station_silence).where(station_silence.c.station == state.station, station_silence.c.ended_at < old)
        )


def _has_room(tx: Connection, state: State) -> bool:
    others = select(func.count()).where(bay_state.c.station == state.station, bay_state.c.bay != state.bay)
    return bool(tx.execute(others).scalar_one() < MAX_BAYS)
