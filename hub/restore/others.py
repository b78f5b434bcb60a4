"""What stations say of our log while it is open: asked at every connection, before anything is taken in.

A database that was put back from an older day, keys and all, is found by this: the first station whose checkpoint is
larger than ours closes the log. For a moment after the first connection nothing is taken in, until every station that
was on line when the hub last knew has answered, or the moment is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from custody.errors import CustodyError
from custody.keeping import RefillRequest, open_refilled, seal_refill_request
from custody.topics import parse_station_topic
from hub.db import Database
from hub.errors import LogReadOnly
from hub.keys import HubKeys
from hub.mqttclient import Delivery
from hub.readonly import BEHIND, FORKED
from hub.restore.outside import Verdict, notice
from hub.tables import station, station_state

logger = logging.getLogger("hub.restore")

HOLD_SECONDS = 3.0


class Others:
    """One per line; belongs to its thread."""

    def __init__(self, directory: Path, db: Database, keys: HubKeys) -> None:
        """`directory`: the hub's, for what is found."""
        self._directory, self._db, self._keys = directory, db, keys
        self._heard: list[tuple[str, bytes]] = []
        self._awaited: set[str] | None = None  # None: not asked yet
        self._until = 0.0

    def ask(self, only: Collection[str] | None = None) -> list[tuple[str, bytes]]:
        """Requests for the newest checkpoint, to every enrolled station or to `only` these."""
        try:
            with self._db.read() as connection:
                enrolled = connection.execute(select(station.c.id)).scalars().all()
                names = [name for name in enrolled if only is None or name in only]
                on_line = select(station_state.c.station).where(station_state.c.online.is_(True))
                awaited = set(names) & set(connection.execute(on_line).scalars())
        except SQLAlchemyError:
            logger.exception("stations_not_asked")
            return []
        if self._awaited is None:
            self._awaited, self._until = awaited, time.monotonic() + HOLD_SECONDS
        return [(name, seal_refill_request(RefillRequest(name, 0, 0, 0), self._keys.receipts)) for name in names]

    def hear(self, message: Delivery) -> None:
        """A station's answer came, or what it says unasked."""
        try:
            name = parse_station_topic(message.topic.decode())[0]
        except (UnicodeDecodeError, CustodyError):
            return
        self._heard.append((name, message.payload))

    def look(self) -> None:
        """Hold what was heard against our log. Raises LogReadOnly when we are behind; the log is closed by then."""
        heard, self._heard = self._heard, []
        for name, raw in heard:
            try:
                page = open_refilled(raw, name, None)  # the checkpoint in it is our own signature's
            except CustodyError as error:
                logger.warning("refill_answer_refused station=%s why=%s", name, error)
                continue
            (self._awaited or set()).discard(name)
            if page.checkpoint is None:
                continue
            try:
                verdict = notice(self._db, self._keys, self._directory, name, page.checkpoint)
            except SQLAlchemyError:
                logger.exception("answer_not_compared station=%s", name)
                self._heard.append((name, raw))  # at the next look
                continue
            if verdict is not Verdict.WITHIN:
                raise LogReadOnly(BEHIND if verdict is Verdict.AHEAD else FORKED)

    def to_be_heard(self) -> bool:
        """Whether somebody still has a moment to answer before anything is taken in."""
        return bool(self._awaited) and time.monotonic() < self._until
