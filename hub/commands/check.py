"""What the rows of `command` must say, derived again from the hub's own events. Used by `hub.indexcheck`."""

from __future__ import annotations

import hashlib
from typing import Any, assert_never

from sqlalchemy import Connection, select

from custody.commands import body_sha256
from custody.hubevents import CommandApproved, CommandIssued, CommandRequested, CommandWithdrawn
from hub import log
from hub.logfaults import untrusted
from hub.logwalk import plain
from hub.tables import command
from hub.times import to_text

CommandEvent = CommandRequested | CommandApproved | CommandWithdrawn | CommandIssued
_STATED = (
    "id", "station", "kind", "body_sha256", "requested_by", "requested_at", "request_index", "approved_by",
    "approved_at", "approval_index", "withdrawn_by", "withdrawn_at", "number", "command_sha256", "issued_at",
    "expires_at",
)  # fmt: skip


class CommandRows:
    """Feed it the hub's command events in log order, then compare."""

    def __init__(self) -> None:
        """Empty."""
        self._rows: dict[str, dict[str, Any]] = {}

    def take(self, event: CommandEvent, index: int, received_at: str) -> None:
        """One event and where it is in the log."""
        row = self._rows.setdefault(event.command_id, dict.fromkeys(_STATED))
        match event:
            case CommandRequested(command_id=key, station=station, kind=kind, body_sha256=body, requested_by=by):
                row |= {"id": key, "station": station, "kind": kind, "body_sha256": body}
                row |= {"requested_by": by, "requested_at": received_at, "request_index": index}
            case CommandApproved(approved_by=by):
                row |= {"approved_by": by, "approved_at": received_at, "approval_index": index}
            case CommandWithdrawn(withdrawn_by=by):
                row |= {"withdrawn_by": by, "withdrawn_at": received_at}
            case CommandIssued(command_id=key, station=station, kind=kind, body_sha256=body, requested_by=by):
                row |= {"id": key, "station": station, "kind": kind, "body_sha256": body, "requested_by": by}
                row |= {"requested_at": row["requested_at"] or received_at, "number": event.number}
                row |= {"command_sha256": event.command_sha256, "issued_at": received_at}
                row |= {"expires_at": to_text(event.expires_at), "approved_by": event.approved_by}
            case _:
                assert_never(event)

    def compare(self, connection: Connection) -> None:
        """Raise LogUntrusted for a row that does not follow from the events, is missing, or is too much."""
        stored = {row.id: row for row in connection.execute(select(*plain(command)))}
        for key in sorted(stored.keys() | self._rows.keys(), key=str):
            row, stated = stored.get(key), self._rows.get(key)
            if row is None or stated is None or any(row._mapping[name] != stated[name] for name in _STATED):
                raise untrusted("command_altered", f"command/{key}")
            body, envelope = row.body, log.stored_bytes(row.envelope)
            if body is not None and body_sha256(str(body)) != row.body_sha256:
                raise untrusted("command_altered", f"command/{key}", "body")
            if row.envelope is not None and hashlib.sha256(envelope).hexdigest() != row.command_sha256:
                raise untrusted("command_altered", f"command/{key}", "envelope")
