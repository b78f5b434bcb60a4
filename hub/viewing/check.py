"""What the rows of `viewing` must say, derived again from the hub's own events. Used by `hub.indexcheck`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select, update

from custody.hubevents import FootageViewed, FootageViewStarted
from hub.logfaults import untrusted
from hub.logwalk import plain
from hub.tables import viewing

_STATED = ("id", "account", "recording", "grant_id", "started_at", "started_index", "ended_at", "ended_index",
           "reason")  # fmt: skip
ViewingEvent = FootageViewStarted | FootageViewed


def started(event: FootageViewStarted, index: int, received_at: str) -> dict[str, Any]:
    """The columns that a beginning sets."""
    names = ("account", "recording", "grant_id")
    row = {"id": event.viewing_id, "started_at": received_at, "started_index": index, "active_at": received_at}
    return row | {name: getattr(event, name) for name in names}


def ended(event: FootageViewed, index: int, received_at: str) -> dict[str, Any]:
    """The columns that an end sets."""
    row = {"ended_at": received_at, "ended_index": index, "reason": event.reason}
    return row | {"bytes_streamed": event.bytes_streamed, "bytes_reserved": 0}


def write_viewing_rows(tx: Connection, event: ViewingEvent, index: int, received_at: str) -> None:
    """What the hub wrote when it stated `event`, written again after a restore."""
    if isinstance(event, FootageViewStarted):
        tx.execute(insert(viewing).values(**started(event, index, received_at)))
    else:
        this = update(viewing).where(viewing.c.id == event.viewing_id)
        tx.execute(this.values(**ended(event, index, received_at)))


class ViewingRows:
    """Feed it the hub's events about viewings in log order, then compare."""

    def __init__(self) -> None:
        """Empty."""
        self._rows: dict[str, dict[str, Any]] = {}

    def take(self, event: ViewingEvent, index: int, received_at: str) -> None:
        """One event; `index` and `received_at` as its entry says."""
        row = self._rows.setdefault(event.viewing_id, dict.fromkeys(_STATED))
        if isinstance(event, FootageViewStarted):
            row |= started(event, index, received_at)
        else:
            row |= ended(event, index, received_at)

    def compare(self, connection: Connection) -> None:
        """Raise LogUntrusted for a row that does not follow from the events, is missing, or is too much."""
        stored = {row.id: row for row in connection.execute(select(*plain(viewing)))}
        for key in sorted(stored.keys() | self._rows.keys(), key=str):
            row, stated = stored.get(key), self._rows.get(key)
            if row is None or stated is None or any(row._mapping[name] != stated[name] for name in _STATED):
                raise untrusted("viewing_altered", f"viewing/{key}")
            if stated["ended_at"] is not None and row.bytes_streamed != stated["bytes_streamed"]:
                raise untrusted("viewing_altered", f"viewing/{key}", "bytes_streamed")
