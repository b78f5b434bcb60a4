"""What time does to alerts: opens and ends what is watched, and passes on what nobody took note of.

One look is one transaction. Everything is decided again under the log's lock from what is committed, so a kill between
any two statements leaves all of a look or none of it, and two processes never pass an alert on twice. Of several hub
processes on one PostgreSQL one looks at a time; the others go on without.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import SQLAlchemyError

from hub import log
from hub.alerts.conditions import conditions, read_watched
from hub.alerts.kinds import KINDS, WATCHED
from hub.alerts.policy import next_level
from hub.alerts.raising import end_alert, queue_message, raise_alerts
from hub.alerts.rules import Signal, ending
from hub.alerts.sending import Sender, forget_old
from hub.alerts.service import escalate
from hub.db import Database
from hub.errors import LogReadOnly
from hub.keys import HubKeys
from hub.tables import alert, alert_repeat
from hub.times import now_utc, to_text

logger = logging.getLogger("hub.alerts")

LOOK_SECONDS = 10.0
_LOOKING = 0x616C6572  # number of PostgreSQL's advisory lock


@dataclass(frozen=True, slots=True)
class Found:
    """What one look comes to. `over`: alerts that were well for long enough; `late`: row and its next level."""

    signals: tuple[Signal, ...]
    over: tuple[Any, ...]
    late: tuple[tuple[Any, int], ...]

    @property
    def nothing(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.signals or self.over or self.late)


def look(db: Database, keys: HubKeys, now: datetime, since: datetime) -> Found:
    """Look once, and act; what was found. `since`: from when on stations could be heard.

    Raises SQLAlchemy's errors, and LogReadOnly while the log is refilled: then nothing was changed.
    """
    with db.read() as connection:
        found = _find(connection, now, since)
    if found.nothing:  # nearly always: and then nobody waits for the lock
        return found
    with db.begin() as tx:
        if not _alone(tx):
            return Found((), (), ())
        with log.appending(tx, keys, now) as entries:
            found = _find(tx, now, since)
            raise_alerts(tx, entries, found.signals, now)
            for row in found.over:
                end_alert(tx, entries, row.id, row.met or 1, now)
            for row, level in found.late:
                escalate(tx, entries, row, level, to_text(now))
                queue_message(tx, row.id, level, now)
    return found


def _find(connection: Connection, now: datetime, since: datetime) -> Found:
    query = select(alert, alert_repeat.c.met, alert_repeat.c.well_since)
    query = query.outerjoin(alert_repeat, alert_repeat.c.id == alert.c.id).where(alert.c.resolved_at.is_(None))
    rows = connection.execute(query.order_by(alert.c.id)).all()
    over = [row for row in rows if row.well_since is not None and _settled(row, now)]
    gone = {row.id for row in over}
    late = []
    for row in rows:
        noted, level_at = row.acknowledged_at is not None, datetime.fromisoformat(row.level_at)
        level = next_level(row.kind, row.level, level_at, now, acknowledged=noted)
        if level is not None and row.id not in gone:
            late.append((row, level))
    held = {(row.kind, row.subject): row for row in rows if row.kind in WATCHED}
    wanted = {(s.kind, s.subject): s for s in conditions(read_watched(connection, now), now, since)}
    signals = [s for key, s in wanted.items() if key not in held or held[key].well_since is not None]
    signals += [ending(*key) for key, row in held.items() if key not in wanted and row.well_since is None]
    relapsed = {held[key].id for key in wanted if key in held}
    ended = {held[(s.kind, s.subject)].id for s in signals if not s.opens}
    return Found(
        tuple(signals),
        tuple(row for row in over if row.id not in relapsed),
        tuple((row, level) for row, level in late if row.id not in ended),
    )


def _settled(row: Any, now: datetime) -> bool:
    settles = KINDS[row.kind].settles if row.kind in KINDS else timedelta(0)
    return now - datetime.fromisoformat(row.well_since) >= settles


def _alone(tx: Connection) -> bool:
    """Whether no other process looks; until the transaction ends. SQLite's write lock says so by itself."""
    if tx.dialect.name == "sqlite":
        return True
    return bool(tx.execute(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": _LOOKING}).scalar_one())


class Watch:
    """Looks, and sends what is due, until it is stopped. `run` belongs to one thread."""

    def __init__(
        self, db: Database, keys: HubKeys, sender: Sender | None, clock: Callable[[], datetime] = now_utc
    ) -> None:
        """`sender` None: nothing is sent outside."""
        self._db, self._keys, self._sender, self._clock = db, keys, sender, clock
        self._since = clock()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Every `LOOK_SECONDS`; what fails is tried again at the next look. Raises HubError for an untrusted log."""
        while not self._stopping.wait(LOOK_SECONDS):
            self.step()

    def step(self) -> None:
        """One look, and what is to be sent after it."""
        steps: Iterable[Callable[[], object]] = (
            lambda: look(self._db, self._keys, self._clock(), self._since),
            lambda: self._sender.send_due(self._clock()) if self._sender else None,
            lambda: forget_old(self._db, self._clock()),
        )
        for step in steps:
            try:
                step()
            except (SQLAlchemyError, OSError):
                logger.exception("alerts_not_looked_at next_try_seconds=%.0f", LOOK_SECONDS)
            except LogReadOnly:
                return

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()
