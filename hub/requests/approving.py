"""The second person of a request: approves it with a code of their authenticator, and brings about what the use needs.

Apart from the other services: codes bring the accounts' libraries along, which most of `dock-hub` never needs.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from custody.commandbody import Grant
from custody.hubevents import UseDecided
from hub import log
from hub.access import Actor
from hub.accounts import codes
from hub.commands.service import issue_approved, new_row, order_approved
from hub.db import Database
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.problems import NotOpenAnyMore
from hub.requests.queries import recordings_of
from hub.requests.service import check_holder, decidable
from hub.tables import segment, use_request
from hub.times import to_text


def approve_use(db: Database, keys: HubKeys, actor: Actor, request_id: str, code: str, now: datetime) -> None:
    """Be the second person. In one transaction: for view a grant for each recording, ready to be sent to its station;
    for any other use the number of the one copy that may be made.

    A crash after it leaves grants that `issue_approved` sends, as it does here. Raises NotFound, NotOpenAnyMore,
    SecondPersonNeeded, NotAllowed before a code is looked at, then what `codes.check_code` raises, and Invalid where
    the holder may not be shown the recordings any more.
    """
    with db.read() as connection:
        _approvable(connection, actor, request_id)
    step = codes.check_code(db, actor.name, code, now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        codes.use_code(tx, actor.name, step)
        row, recordings = _approvable(tx, actor, request_id)
        views, expires_at = row.use == "view", now + timedelta(seconds=row.valid_seconds)
        if views:
            check_holder(tx, row.holder, recordings)
        grants = tuple(new_id(now) for _ in recordings) if views else ()
        number = None if views else _next_number(tx)
        entries.record(
            UseDecided, request_id=request_id, approved=True, decided_by=actor.name, reason="",
            expires_at=expires_at, grants=grants, copy_number=number,
        )  # fmt: skip
        decided = {
            "decided_by": actor.name, "decided_at": to_text(now), "approved": True, "refusal": "",
            "expires_at": to_text(expires_at), "grants": json.dumps(grants), "copy_number": number,
        }  # fmt: skip
        tx.execute(update(use_request).where(use_request.c.id == request_id).values(**decided))
        for grant_id, recording in zip(grants, recordings, strict=False):  # none for a copy
            _grant(tx, entries, row, actor, grant_id, recording, expires_at, now)
    if views:
        issue_approved(db, keys)


def _approvable(connection: Connection, actor: Actor, request_id: str) -> tuple[Any, tuple[int, ...]]:
    row = decidable(connection, actor, request_id)
    recordings = recordings_of(connection, request_id)
    if not recordings:  # of an earlier version, lost with the hub's database: refused, and asked for again
        raise NotOpenAnyMore
    return row, recordings


def _next_number(tx: Connection) -> int:
    """The number of the next copy. The log's lock is what makes it the next one."""
    return int(tx.execute(select(func.max(use_request.c.copy_number))).scalar_one() or 0) + 1


def _grant(
    tx: Connection, entries: log.Appender, row: Any, actor: Actor, grant_id: str, recording: int, until: datetime,
    now: datetime,
) -> None:  # fmt: skip
    """One recording's grant. It has the id of its command, so that it can be revoked when its body was lost."""
    c = segment.c
    file = tx.execute(select(c.station, c.docking, c.sha256).where(c.log_index == recording)).one()
    body = Grant(
        grant_id=grant_id, docking=file.docking, file_sha256=file.sha256, holder=row.holder, purpose=row.reason,
        valid_seconds=row.valid_seconds, until=until,
    )  # fmt: skip
    valid = timedelta(seconds=row.valid_seconds)  # a station that learns of it later must not begin with it
    order_approved(tx, entries, new_row(file.station, body, row.requested_by, valid, now, grant_id), actor.name, now)
