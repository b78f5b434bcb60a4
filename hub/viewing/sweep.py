"""Ends what nobody ends: viewings that were left open, once their grant is over or they are idle."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from hub.db import Database
from hub.errors import HubError
from hub.keys import HubKeys
from hub.times import now_utc
from hub.viewing.book import end_left_open, end_overdue

logger = logging.getLogger("hub.viewing")

SWEEP_SECONDS = 30.0


class Sweep:
    """A thread of the running hub. `alone`: no other process serves viewings on this database."""

    def __init__(self, db: Database, keys: HubKeys, *, alone: bool) -> None:
        """Nothing runs before `start`."""
        self._db, self._keys, self._alone = db, keys, alone
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewings", daemon=True)

    def start(self) -> None:
        """End what an earlier life of this hub left open, then go on in the background."""
        if self._alone:
            self._end(end_left_open)
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, and state the end of what is still open: nobody will stream for it any more."""
        self._stopping.set()
        self._thread.join(SWEEP_SECONDS)
        if self._alone:
            self._end(end_left_open)

    def _run(self) -> None:
        while not self._stopping.wait(SWEEP_SECONDS):
            self._end(end_overdue)

    def _end(self, which: Callable[[Database, HubKeys, datetime], int]) -> None:
        try:
            if ended := which(self._db, self._keys, now_utc()):
                logger.info("viewings_ended count=%d", ended)
        except (SQLAlchemyError, HubError):  # busy, or read-only: at the next look
            logger.exception("viewings_not_ended")
