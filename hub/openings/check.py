"""Whether held openings fit the log entry by entry, and removals took away what they say. Used by `hub.indexcheck`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from custody.commitments import Opened, Opening, check_opening
from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.hubevents import OpeningRemovalRequested, OpeningRemoved
from hub import log
from hub.logfaults import untrusted
from hub.logwalk import plain
from hub.openings.service import removal_rows
from hub.tables import log_entry, opening, opening_removal


class OpeningCheck:
    """Feed it pages and the hub's events in log order; when they began with the first entry, call `compare`."""

    def __init__(self, connection: Connection) -> None:
        """`connection` is to the hub's database."""
        self._connection = connection
        self._removals: dict[str, dict[str, Any]] = {}
        self._removed: dict[tuple[int, str], int] = {}

    def page(self, start: int, end: int) -> None:
        """Raise LogUntrusted unless every opening of the checked entries ``[start, end)`` fits its entry."""
        index = opening.c.log_index
        query = (
            select(*plain(opening), *plain(log_entry, "envelope"))
            .join_from(opening, log_entry, log_entry.c.idx == index)
            .where(index >= start, index < end, opening.c.removed_index.is_(None))
        )
        for row in self._connection.execute(query):
            if not _fits(row):
                raise untrusted("opening_altered", f"opening/{row.log_index}/{row.field}")

    def take(self, event: OpeningRemovalRequested | OpeningRemoved, index: int, received_at: str) -> None:
        """One event of the hub about openings."""
        row = self._removals.setdefault(event.removal_id, dict.fromkeys(opening_removal.c.keys()))
        row |= removal_rows(event, index, received_at)
        if isinstance(event, OpeningRemoved):
            self._removed |= {(entry, event.field): index for entry in event.entries}

    def compare(self) -> None:
        """Raise LogUntrusted for a removal whose row or whose work does not follow from the log."""
        stored = {row.id: dict(row._mapping) for row in self._connection.execute(select(*plain(opening_removal)))}
        for key in sorted(stored.keys() | self._removals.keys(), key=str):
            if stored.get(key) != self._removals.get(key):
                raise untrusted("opening_altered", f"opening_removal/{key}")
        query = select(*plain(opening)).where(opening.c.removed_index.is_not(None))
        emptied = {(row.log_index, row.field): row for row in self._connection.execute(query)}
        for place in sorted(emptied.keys() | self._removed.keys(), key=str):
            row = emptied.get(place)
            if row is None or (row.salt, row.value, row.removed_index) != (None, None, self._removed.get(place)):
                raise untrusted("opening_altered", f"opening/{place[0]}/{place[1]}")


def _fits(row: Any) -> bool:
    try:
        envelope = parse_envelope(log.stored_bytes(row.envelope))
        value = log.stored_bytes(row.value).decode()
        opened = Opened(row.field, log.stored_bytes(row.salt), value)
        check_opening(Opening(envelope.hash.hex(), (opened,)), envelope)
    except (CustodyError, UnicodeDecodeError, TypeError):
        return False
    return True
