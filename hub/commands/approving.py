"""The second person of a command: approves it with a code of their authenticator.

Apart from the other services: codes bring the accounts' libraries along, which most of `dock-hub` never needs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, update

from custody.hubevents import CommandApproved
from hub import log
from hub.access import Actor
from hub.accounts import codes
from hub.commands import policy
from hub.commands.queries import subject_of
from hub.commands.service import issue_approved, open_request
from hub.db import Database
from hub.keys import HubKeys
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.tables import command
from hub.times import now_utc, to_text


def approve_command(db: Database, keys: HubKeys, actor: Actor, command_id: str, code: str) -> None:
    """Be the second person of a command and issue it; raises as `record_approval` does.

    A crash after the first of the two commits leaves it approved; `issue_approved` issues it then.
    """
    record_approval(db, keys, actor, command_id, code, now_utc())
    issue_approved(db, keys)


def record_approval(db: Database, keys: HubKeys, actor: Actor, command_id: str, code: str, now: datetime) -> None:
    """State that a second person approves, who shows it by a code of their authenticator.

    Raises NotFound, NotOpenAnyMore, SecondPersonNeeded, NotAllowed before a code is looked at, then what
    `codes.check_code` raises: a code that was used before approves nothing, and wrong ones count and block.
    """
    with db.read() as connection:
        _approvable(connection, actor, command_id)
    step = codes.check_code(db, actor.name, code, now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        codes.use_code(tx, actor.name, step)
        row = _approvable(tx, actor, command_id)
        index = entries.record(
            CommandApproved, command_id=command_id, body_sha256=row.body_sha256, approved_by=actor.name
        )
        decided = {"approved_by": actor.name, "approved_at": to_text(now), "approval_index": index}
        tx.execute(update(command).where(command.c.id == command_id).values(**decided))


def _approvable(connection: Connection, actor: Actor, command_id: str) -> Any:
    row = open_request(connection, actor, command_id)
    if row.body is None:  # lost with the hub's database; it can only be withdrawn and asked for again
        raise NotOpenAnyMore
    whose = subject_of(row)
    if actor.name == whose.requested_by:
        raise SecondPersonNeeded
    if not policy.may_approve(actor, row.kind, whose):
        raise NotAllowed
    return row
