"""Who holds which keepings, and what is handed to whom next; sealing itself is `hub/keeping.py`.

Before receipts and checkpoints go out, a few stations get the keeping that covers them; the others follow within
seconds. What a station says of itself (`kept` in its retained state) only decides from where it is told again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from sqlalchemy import Connection, select

from hub import log
from hub.keeping import make_keep, oldest_to_keep, read_span
from hub.keys import HubKeys
from hub.tables import station, station_state
from hub.times import now_utc

AT_ONCE = 3  # stations that hold a keeping before anybody can hold a checkpoint over it
REFRESH_SECONDS = 5.0
PATIENCE_SECONDS = 20.0  # a station that does not say that it holds what it was sent is sent it again
_SPANS_AT_ONCE = 4  # for one station in one call: one that is far behind must not hold up receipts


@dataclass(slots=True)
class _Keeper:
    """`sent`: up to which size it was sent keepings; `kept`: up to which it said that it holds them, and since when."""

    sent: int
    kept: int
    since: float


class Keeper:
    """One per connection to the broker; belongs to its thread."""

    def __init__(self, keys: HubKeys) -> None:
        """Nobody is known to keep anything."""
        self._keys = keys
        self._keepers: dict[str, _Keeper] = {}
        self._next_refresh = 0.0
        self._spans: dict[int, tuple[int, bytes]] = {}  # by start; the same bytes go to every station

    def due(self, connection: Connection, *, everybody: bool) -> list[tuple[str, bytes]]:
        """Stations and the messages that go to them now; unless `everybody`, only to those `AT_ONCE`."""
        self._refresh(connection)
        names = sorted(self._keepers, key=lambda name: (-self._keepers[name].sent, name))
        size = log.read_head(connection).size if names else 0
        found: list[tuple[str, bytes]] = []
        for name in names if everybody else names[:AT_ONCE]:
            keeper = self._keepers[name]
            for _ in range(_SPANS_AT_ONCE):
                if keeper.sent >= size:
                    break
                end, raw = self._span(connection, keeper.sent)
                found.append((name, raw))
                keeper.sent = end
        self._spans.clear()
        return found

    def _span(self, connection: Connection, start: int) -> tuple[int, bytes]:
        if start not in self._spans:
            span = read_span(connection, start)
            assert span is not None  # noqa: S101 - there are entries from `start` on
            self._spans[start] = span.size, make_keep(span, self._keys, now_utc())
        return self._spans[start]

    def _refresh(self, connection: Connection) -> None:
        now = time.monotonic()
        if now < self._next_refresh:
            return
        self._next_refresh = now + REFRESH_SECONDS
        rows = connection.execute(
            select(station_state.c.station, station_state.c.json)
            .join(station, station.c.id == station_state.c.station)
            .where(station_state.c.online.is_(True))
        ).all()
        told = {row.station: kept for row in rows if (kept := _kept(row.json)) is not None}
        for name in self._keepers.keys() - told.keys():
            del self._keepers[name]  # away; when it is back, it says where to go on
        size = log.read_head(connection).size if told else 0
        for name, kept in told.items():
            start = min(kept, size) or oldest_to_keep(connection, now_utc())
            keeper = self._keepers.get(name)
            if keeper is None:
                self._keepers[name] = _Keeper(start, kept, now)
            elif kept != keeper.kept or keeper.sent <= kept:
                keeper.kept, keeper.since = kept, now
                keeper.sent = max(keeper.sent, min(kept, size))
            elif now - keeper.since > PATIENCE_SECONDS:
                keeper.sent, keeper.since = start, now


def _kept(text: str) -> int | None:
    """What a retained state says of keepings; None for a station of a version that keeps none."""
    try:
        kept = json.loads(text).get("kept")
    except (ValueError, AttributeError):
        return None
    return kept if type(kept) is int and 0 <= kept < 1 << 53 else None
