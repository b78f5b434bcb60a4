"""What the rows of `key_change` must say, derived again from the hub's own events. Used by `hub.indexcheck`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from custody.hubevents import KeyRotated, KeyRotationRequested
from hub.logfaults import untrusted
from hub.logwalk import plain
from hub.tables import key_change

_STATED = (
    "id", "role", "old_line", "new_line", "requested_by", "requested_at", "approved_by", "rotated_at", "rotated_index",
)  # fmt: skip


class KeyChangeRows:
    """Feed it the hub's key events in log order, then compare."""

    def __init__(self) -> None:
        """Empty."""
        self._rows: dict[str, dict[str, Any]] = {}

    def take(self, event: KeyRotationRequested | KeyRotated, index: int, received_at: str) -> None:
        """One event and where it is in the log."""
        row = self._rows.setdefault(event.change_id, dict.fromkeys(_STATED))
        row |= {"id": event.change_id, "role": event.role, "old_line": event.old_line, "new_line": event.new_line}
        row["requested_by"] = event.requested_by
        if isinstance(event, KeyRotationRequested):
            row["requested_at"] = received_at
        else:
            row |= {"approved_by": event.approved_by, "rotated_at": received_at, "rotated_index": index}

    def compare(self, connection: Connection) -> None:
        """Raise LogUntrusted for a row that does not follow from the events, is missing, or is too much."""
        stored = {row.id: dict(row._mapping) for row in connection.execute(select(*plain(key_change, *_STATED)))}
        for key in sorted(stored.keys() | self._rows.keys(), key=str):
            if stored.get(key) != self._rows.get(key):
                raise untrusted("key_altered", f"key_change/{key}")
