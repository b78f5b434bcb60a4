"""Rows of commands and key rotations, written again from the hub's own events when a lost part of the log comes back.

The log holds digests of what was ordered, not the orders: a command that came back has neither body nor envelope. Its
station has it, or answers "gap" to the next one; then people see it as lost and order it anew.
"""

from __future__ import annotations

from typing import Any, assert_never

from sqlalchemy import Connection, update

from custody.hubevents import (
    CommandApproved,
    CommandIssued,
    CommandRequested,
    CommandWithdrawn,
    KeyRotated,
    KeyRotationRequested,
)
from hub.db import upsert_rows
from hub.tables import command, key_change
from hub.times import to_text

CommandEvent = CommandRequested | CommandApproved | CommandWithdrawn | CommandIssued
KeyEvent = KeyRotationRequested | KeyRotated


def write_command_rows(tx: Connection, event: CommandEvent, index: int, received_at: str) -> None:
    """What the hub wrote when it stated `event` at this log index, but for the order itself."""
    this = update(command).where(command.c.id == event.command_id)
    match event:
        case CommandRequested():
            _insert_command(tx, event, {"requested_at": received_at, "request_index": index, "valid_seconds": 0})
        case CommandApproved(approved_by=by):
            tx.execute(this.values(approved_by=by, approved_at=received_at, approval_index=index))
        case CommandWithdrawn(withdrawn_by=by):
            tx.execute(this.values(withdrawn_by=by, withdrawn_at=received_at))
        case CommandIssued():
            seconds = round((event.expires_at - event.at).total_seconds())
            issued = {
                "number": event.number, "command_sha256": event.command_sha256, "issued_at": received_at,
                "expires_at": to_text(event.expires_at),
            }  # fmt: skip
            if tx.execute(this.values(**issued)).rowcount == 0:  # of a kind that one person may order
                _insert_command(tx, event, issued | {"requested_at": received_at, "valid_seconds": seconds})
        case _:
            assert_never(event)


def _insert_command(tx: Connection, event: CommandRequested | CommandIssued, more: dict[str, Any]) -> None:
    row = {
        "id": event.command_id, "station": event.station, "kind": event.kind, "body_sha256": event.body_sha256,
        "requested_by": event.requested_by,
    } | more  # fmt: skip
    upsert_rows(tx, command, tuple(row), [tuple(row.values())])


def write_key_rows(tx: Connection, event: KeyEvent, index: int, received_at: str) -> None:
    """A rotation that was asked for, or approved. Stations learnt of it then; they are not told again."""
    row: dict[str, Any] = {
        "id": event.change_id, "role": event.role, "old_line": event.old_line, "new_line": event.new_line,
        "requested_by": event.requested_by,
    }  # fmt: skip
    if isinstance(event, KeyRotationRequested):
        row["requested_at"] = received_at
        upsert_rows(tx, key_change, tuple(row), [tuple(row.values())])
    else:
        done = {
            "approved_by": event.approved_by, "rotated_at": received_at, "rotated_index": index,
            "announced_at": received_at,
        }  # fmt: skip
        tx.execute(update(key_change).where(key_change.c.id == event.change_id).values(**done))
