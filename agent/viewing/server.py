"""The answers to the hub's requests for footage: one ASGI application, one path, nothing else.

A bounded number of streams, each with one chunk in hand; a reader that takes nothing for a while is cut off. Reading
has threads of its own, in a process of its own: docking never waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.commands import Trust, trust_now
from agent.grants import GrantRow, Reached, find_grant, keep_mark, load_mark, read_uptime, time_reached
from agent.station import clock_quality
from agent.store import Store
from agent.store_thread import StoreThread
from agent.viewing.decision import FileFacts, Freshness, Moment, why_refused
from agent.viewing.footage import FileTree, OpenFile, find_file, load_tree
from custody.viewing import CHUNKS_TYPE, MAX_REQUEST_BYTES, PATH, STATUS, ChunkRequest, ViewingRefused, frame_head
from custody.viewing import open_request as open_signed

log = logging.getLogger("agent.viewing")

STREAMS = 8
READERS = 4  # threads that read the vault
TREES = 4  # of the files viewed last; 64 bytes for each MiB of footage
BODY_SECONDS = 10.0
STALLED_SECONDS = 20.0  # for one chunk; a reader that is slower is cut off
MARK_SECONDS = 60.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ground:
    """What the station has to decide and read with."""

    station: str
    vault: Path
    store: StoreThread
    pinned: Trust


class ViewingApp:
    """The application; `close` gives its threads back."""

    def __init__(
        self, ground: Ground, *, streams: int = STREAMS, stalled_seconds: float = STALLED_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Limits as above; `monotonic` is the clock of challenges."""
        self._ground, self._free, self._stalled_seconds = ground, streams, stalled_seconds
        self._freshness = Freshness(monotonic)
        self._readers = ThreadPoolExecutor(READERS, "footage")
        self._trees: OrderedDict[tuple[str, str], FileTree | None] = OrderedDict()

    def close(self) -> None:
        """Wait for reads under way."""
        self._readers.shutdown()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        if (scope["method"], scope["path"]) != ("POST", PATH):
            await _answer(send, 404, {"code": "not_found"})
            return
        try:
            await self._serve(await _body(receive), send)
        except ViewingRefused as refused:
            if refused.code != "stale":  # how every stream begins
                log.warning("viewing_refused code=%s why=%s", refused.code, refused)
            facts = {"code": refused.code}
            if refused.code == "stale":  # only the hub's own key gets here
                facts["challenge"] = self._freshness.challenge
            await _answer(send, STATUS[refused.code], facts)

    async def keep_clock(self) -> None:
        """Note for ever what time has been reached, as long as the station runs."""
        while True:
            await self._ground.store.call(note_time)
            await asyncio.sleep(MARK_SECONDS)

    async def _serve(self, raw: bytes, send: Send) -> None:
        """Raises ViewingRefused before the first byte of the answer; afterwards the answer just ends short."""
        trust = await self._ground.store.call(trust_now, self._ground.pinned)
        request = open_signed(raw, self._ground.station, trust.command_key, trust.log_key)
        if (why := self._freshness.use(request)) is not None:
            raise ViewingRefused(why)
        file = await self._ground.store.call(allow, request)
        if self._free < 1:
            raise ViewingRefused("busy", "as many streams as this station gives are under way")
        self._free -= 1
        try:
            await self._stream(request, file, send)
        finally:
            self._free += 1

    async def _stream(self, request: ChunkRequest, file: FileFacts, send: Send) -> None:
        tree = await self._tree(request, file)
        opened = await self._read(OpenFile, self._ground.vault, file)
        try:
            headers = [(b"content-type", CHUNKS_TYPE.encode()), (b"x-chunks", b"%d" % request.chunks)]
            for index in range(request.first_chunk, request.first_chunk + request.chunks):
                try:
                    chunk = await self._read(opened.read, index)
                    # again before each chunk: a revocation counts at once
                    await self._ground.store.call(allow, request)
                except ViewingRefused as refused:
                    if index == request.first_chunk:
                        raise
                    log.warning("viewing_cut code=%s why=%s", refused.code, refused)
                    return  # an answer that has begun can only end short: the server closes the connection
                if index == request.first_chunk:
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                body = frame_head(tree.proof(index) if tree else []) + chunk
                async with asyncio.timeout(self._stalled_seconds):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            opened.close()

    async def _tree(self, request: ChunkRequest, file: FileFacts) -> FileTree | None:
        key = request.docking, request.file_sha256
        if key not in self._trees:
            self._trees[key] = await self._read(load_tree, self._ground.vault, file)
            while len(self._trees) > TREES:
                self._trees.popitem(last=False)
        self._trees.move_to_end(key)
        return self._trees[key]

    async def _read(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._readers, function, *args)


def allow(store: Store, request: ChunkRequest) -> FileFacts:
    """The file that this request may read now. Raises ViewingRefused."""
    grant = find_grant(store, request.grant_id)
    file = find_file(store, request.docking, request.file_sha256)
    moment = Moment(datetime.now(UTC), clock_quality(), read_uptime(), load_mark(store))
    why = why_refused(request, grant, file, moment)
    if why == "expired" and grant is not None:
        _keep_over(store, grant, moment)
    if why is not None or file is None:
        raise ViewingRefused(why or "not_saved")
    return file


def note_time(store: Store) -> None:
    """Keep the time that is surely reached now, where anything is sure."""
    mark, uptime = load_mark(store), read_uptime()
    reached = time_reached([mark] if mark else [], datetime.now(UTC), clock_quality(), uptime)
    if reached is not None:
        with store.begin():
            keep_mark(store, Reached(reached, uptime))


def _keep_over(store: Store, grant: GrantRow, moment: Moment) -> None:
    """What was found over once is over after a restart, too."""
    known = [grant.received] + ([moment.mark] if moment.mark else [])
    reached = time_reached(known, moment.now, moment.clock, moment.uptime)
    if reached is not None and (moment.mark is None or reached > moment.mark.at):
        with store.begin():
            keep_mark(store, Reached(reached, moment.uptime))


async def _body(receive: Receive) -> bytes:
    """The whole body. Raises ViewingRefused when it is longer than a request or does not come."""
    raw, more = b"", True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ViewingRefused("bad_format", "the caller left")
                raw, more = raw + message.get("body", b""), message.get("more_body", False)
                if len(raw) > MAX_REQUEST_BYTES:
                    raise ViewingRefused("too_long")
    except TimeoutError:
        raise ViewingRefused("bad_format", "no request came") from None
    return raw


async def _answer(send: Send, status: int, facts: dict[str, str]) -> None:
    body = json.dumps(facts).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
