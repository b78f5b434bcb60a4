"""What the rows of `export_request` must say, derived again from the hub's own events. Used by `hub.indexcheck`."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select

from custody.hubevents import ExportDecided, ExportRequested
from hub.exports.digest import recordings_sha256
from hub.logfaults import untrusted
from hub.logwalk import plain
from hub.tables import export_request
from hub.times import to_text

_STATED = tuple(name for name in tuple(export_request.c.keys()) if name != "recordings")


class ExportRows:
    """Feed it the hub's events about export requests in log order, then compare."""

    def __init__(self) -> None:
        """Empty."""
        self._rows: dict[str, dict[str, Any]] = {}

    def take(self, event: ExportRequested | ExportDecided, received_at: str) -> None:
        """One event; `received_at` as its entry says."""
        row = self._rows.setdefault(event.request_id, dict.fromkeys(_STATED))
        if isinstance(event, ExportRequested):
            row |= {name: getattr(event, name) for name in _STATED if hasattr(event, name)}
            row |= {"id": event.request_id, "requested_at": received_at}
        else:
            row |= {"decided_by": event.decided_by, "decided_at": received_at, "approved": event.approved}
            row["expires_at"] = None if event.expires_at is None else to_text(event.expires_at)

    def compare(self, connection: Connection) -> None:
        """Raise LogUntrusted for a row that does not follow from the events, is missing, or is too much."""
        stored = {row.id: row for row in connection.execute(select(*plain(export_request)))}
        for key in sorted(stored.keys() | self._rows.keys(), key=str):
            row, stated = stored.get(key), self._rows.get(key)
            if row is None or stated is None or any(row._mapping[name] != stated[name] for name in _STATED):
                raise untrusted("export_altered", f"export_request/{key}")
            if row.recordings is not None and recordings_sha256(json.loads(row.recordings)) != row.recordings_sha256:
                raise untrusted("export_altered", f"export_request/{key}", "recordings")
