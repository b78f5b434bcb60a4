"""A log that nothing may be appended to. The one place that decides is `log.lock`, which every append goes through.

Reasons: `restoring` (put back from a backup), `behind` (somebody outside holds a larger checkpoint of our key),
`forked` (somebody outside holds one that contradicts our log: people must look, nothing opens it again by itself).
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection, select, update

from hub.db import Database
from hub.tables import log_state

logger = logging.getLogger("hub.readonly")

RESTORING = "restoring"
BEHIND = "behind"
FORKED = "forked"
_WHY = select(log_state.c.read_only)


def why_read_only(connection: Connection) -> str | None:
    """Why nothing may be appended; None when everything may."""
    reason: str | None = connection.execute(_WHY).scalar_one_or_none()
    return reason


def close_log(db: Database, reason: str) -> None:
    """Let nothing be appended from now on. A log that is closed already keeps its reason, except that a fork wins."""
    with db.begin() as tx:
        if reason == FORKED:
            tx.execute(update(log_state).values(read_only=reason))
        else:
            tx.execute(update(log_state).where(log_state.c.read_only.is_(None)).values(read_only=reason))
    logger.critical("log_read_only reason=%s", reason)


def open_log(tx: Connection) -> None:
    """Appending is possible again once `tx` is committed."""
    tx.execute(update(log_state).values(read_only=None))
