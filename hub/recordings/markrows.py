"""Rows of `mark_request` as they follow from the log: written when it is refilled, compared when it is checked."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, insert, select, update

from custody.hubevents import RecordingMarkDecided, RecordingMarkRequested
from hub.logfaults import untrusted
from hub.logwalk import plain
from hub.tables import mark_request

MarkRequestEvent = RecordingMarkRequested | RecordingMarkDecided


def mark_request_row(event: MarkRequestEvent, received_at: str) -> dict[str, Any]:
    """Columns of `mark_request` that follow from an event."""
    if isinstance(event, RecordingMarkDecided):
        return {"decided_by": event.decided_by, "decided_at": received_at, "approved": event.approved}
    facts = {name: getattr(event, name) for name in ("mark", "reason", "requested_by")}
    return facts | {
        "id": event.request_id, "recordings": json.dumps(event.recordings), "requested_at": received_at,
    }  # fmt: skip


def write_mark_request(tx: Connection, event: MarkRequestEvent, received_at: str) -> None:
    """Write what the hub wrote when it stated `event`."""
    row = mark_request_row(event, received_at)
    if isinstance(event, RecordingMarkRequested):
        tx.execute(insert(mark_request).values(**row))
    else:
        tx.execute(update(mark_request).where(mark_request.c.id == event.request_id).values(**row))


class MarkRequestRows:
    """Feed it the hub's events about requests for a lower mark in log order, then compare."""

    def __init__(self) -> None:
        """Empty."""
        self._rows: dict[str, dict[str, Any]] = {}

    def take(self, event: MarkRequestEvent, received_at: str) -> None:
        """One event; `received_at` as its entry says."""
        row = self._rows.setdefault(event.request_id, dict.fromkeys(mark_request.c.keys()))
        row |= mark_request_row(event, received_at)

    def compare(self, connection: Connection) -> None:
        """Raise LogUntrusted for a row that does not follow from the events, is missing, or is too much."""
        stored = {row.id: dict(row._mapping) for row in connection.execute(select(*plain(mark_request)))}
        for key in sorted(stored.keys() | self._rows.keys(), key=str):
            if stored.get(key) != self._rows.get(key):
                raise untrusted("mark_altered", f"mark_request/{key}")
