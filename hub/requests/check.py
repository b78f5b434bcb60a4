"""What the rows of requests must say, derived again from the hub's own events. Used by `hub.indexcheck`."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, select

from custody.hubevents import UseRequested
from hub.logfaults import untrusted
from hub.logwalk import plain
from hub.requests.digest import recordings_sha256
from hub.requests.rows import UseEvent, row_of
from hub.tables import use_recording, use_request

_NAMES = tuple(use_request.c.keys())


class UseRows:
    """Feed it the hub's events about requests in log order, then compare."""

    def __init__(self) -> None:
        """Empty."""
        self._rows: dict[str, dict[str, Any]] = {}
        self._listed: dict[str, list[int]] = {}

    def take(self, event: UseEvent, received_at: str) -> None:
        """One event; `received_at` as its entry says."""
        row = self._rows.setdefault(event.request_id, dict.fromkeys(_NAMES))
        row |= row_of(event, received_at)
        if isinstance(event, UseRequested):
            self._listed.setdefault(event.request_id, []).extend(event.recordings)

    def compare(self, connection: Connection) -> None:
        """Raise LogUntrusted for a row that does not follow from the events, is missing, or is too much.

        Of a request that an earlier version stated the log holds no list but its digest: a restore may have lost it.
        """
        stored = {row.id: row for row in connection.execute(select(*plain(use_request)))}
        listed: dict[str, list[int]] = defaultdict(list)
        for request_id, recording in connection.execute(select(*plain(use_recording))):
            listed[request_id].append(recording)
        for key in sorted(stored.keys() | self._rows.keys() | listed.keys(), key=str):
            row, stated = stored.get(key), self._rows.get(key)
            if row is None or stated is None or any(row._mapping[name] != stated[name] for name in _NAMES):
                raise untrusted("use_altered", f"use_request/{key}")
            if (key in listed or key in self._listed) and recordings_sha256(listed[key]) != row.recordings_sha256:
                raise untrusted("use_altered", f"use_request/{key}", "recordings")
