"""One answer to a browser: a byte range of footage, chunk by chunk, counted before it leaves.

Memory: one chunk in hand and one on its way. A browser that reads slowly holds up nobody but its own line to the
station.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from custody.digest import CHUNK_BYTES
from hub.db import Database
from hub.keys import HubKeys
from hub.times import now_utc
from hub.viewing.book import Viewing, count_streamed, end_viewing, held_grant, state_mismatch
from hub.viewing.policy import Span
from hub.viewing.problems import FootageAltered, StationAway, StationRefused, ViewingEnded

logger = logging.getLogger("hub.viewing")

RESERVED_BYTES = 8 << 20  # noted as about to be sent, ahead of sending

Chunks = Callable[[int, int], Iterator[bytes]]  # the chunks of the file from one number up to another


class Meter:
    """Counts what one stream sends, ahead of it. `close` gives back what was reserved and not sent."""

    def __init__(self, db: Database, one: Viewing) -> None:
        """Nothing is reserved."""
        self._db, self._viewing = db, one
        self._reserved = self._spent = 0
        self._chunks: set[int] = set()

    def admit(self, index: int, length: int) -> None:
        """Have `length` bytes of chunk `index` counted, durably, before they are sent. Raises ViewingEnded."""
        if self._spent + length > self._reserved:
            self._note(max(RESERVED_BYTES, length))
        self._spent += length
        self._chunks.add(index)

    def close(self) -> None:
        """Leave exact figures behind."""
        if self._reserved or self._spent:
            self._note(0)

    def _note(self, reserve: int) -> None:
        change = reserve - self._reserved
        chunks = frozenset(self._chunks)
        if not count_streamed(self._db, self._viewing, self._spent, chunks, change, now_utc()) and reserve:
            raise ViewingEnded
        self._reserved, self._spent = reserve, 0
        self._chunks.clear()


class FootageResponse(Response):
    """The bytes of `span`. The first chunk is there, proved and counted, before the first header leaves."""

    def __init__(
        self, db: Database, keys: HubKeys, one: Viewing, span: Span, chunks: Chunks, status: int,
        headers: dict[str, str],
    ) -> None:  # fmt: skip
        """`chunks` gives proved chunks; `headers` are complete but for the length."""
        super().__init__(status_code=status, headers=headers | {"content-length": str(span.length)})
        self._db, self._keys, self._viewing, self._span = db, keys, one, span
        self._source = chunks(span.first // CHUNK_BYTES, span.last // CHUNK_BYTES + 1)
        self._meter = Meter(db, one)
        self._lock = threading.Lock()  # one thread at a time is at the source, also while a cancelled answer ends
        try:
            self._first = self._next(span.first // CHUNK_BYTES)
        except BaseException:  # it answers with a status of its own
            self._close()
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as fast as the browser takes it, until it leaves or the viewing ends."""
        left = asyncio.create_task(_leaving(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            piece, index = self._first, self._span.first // CHUNK_BYTES
            while True:
                last = index == self._span.last // CHUNK_BYTES
                await send({"type": "http.response.body", "body": piece, "more_body": not last})
                if last or left.done():
                    return
                index += 1
                piece = await asyncio.to_thread(self._next, index)
        except (FootageAltered, StationAway, StationRefused, ViewingEnded) as end:
            # The status is long sent. The answer ends short of its length, so the browser knows that it is not whole;
            # why, the page asks for (`pages.show_state`).
            logger.warning("footage_broken_off viewing=%s code=%s", self._viewing.id, end.code)
        finally:
            left.cancel()
            await asyncio.shield(asyncio.to_thread(self._finish))

    def _next(self, index: int) -> bytes:
        """The wanted bytes of chunk `index`, when the grant is good, the chunk is proved and it is counted."""
        with self._lock:
            return self._proved(index)

    def _proved(self, index: int) -> bytes:
        try:
            with self._db.read() as connection:
                held = held_grant(connection, self._viewing, now_utc())
            if held is None:
                self._meter.close()
                end_viewing(self._db, self._keys, self._viewing.id, "grant_over", now_utc())
                raise ViewingEnded
            chunk = next(self._source)
            start = index * CHUNK_BYTES
            piece = chunk[max(0, self._span.first - start) : self._span.last + 1 - start]
            self._meter.admit(index, len(piece))
        except FootageAltered as altered:
            self._meter.close()  # exact figures for the entry that ends it
            state_mismatch(self._db, self._keys, self._viewing, altered.chunk, altered.leaf, now_utc())
            raise
        return piece

    def _finish(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        cast(Generator[bytes, None, None], self._source).close()
        self._meter.close()


async def _leaving(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
