"""The first page as it changes: server-sent events (HTML Living Standard, section 9.2), many readers, one producer.

One task per process looks at the database, builds each reader's picture once, however many windows show it, and hands
the parts that changed to every window's queue. Bays follow within a second, decisions and figures within ten. A window
that does not take what it is sent is cut off and comes back by itself; a session that ends, or whose person has another
role, ends its streams within `SESSION_SECONDS`. Beats are sent only while the database answers: a window that hears
none says that it is out of date.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from hub.access import Actor
from hub.accounts.service import actors_of_sessions
from hub.language import Language
from hub.overview.parts import Part, Parts, Picture, Sight
from hub.overview.queries import Facts, Shared, load_facts
from hub.problems import Busy
from hub.sections import EVERYTHING, Scope
from hub.site import Site
from hub.stations.now import StationNow, load_stations
from hub.tables import bay_state, checkpoint, station, station_state
from hub.times import now_utc

logger = logging.getLogger("hub.live")

TICK_SECONDS = 0.5
FACTS_SECONDS = 5.0  # decisions, cameras and sums are read again so often, stations and bays at every tick
FACTS_AT_ONCE_SECONDS = 0.1  # of one tick for reading them again: bays must not wait for everybody's sums
SESSION_SECONDS = 2.0
BEAT_SECONDS = 10.0
SEND_SECONDS = 15.0  # for one message to be taken
LONGEST_SECONDS = 3600  # then the window asks again
MAX_QUEUED = 16
MAX_WINDOWS = 2000
MAX_WINDOWS_OF_ONE = 8  # of one session

Audience = tuple[Actor, Language]


@dataclass(eq=False, slots=True)
class Window:
    """One open stream. `stamp`: what its page showed when it was built; None once it was told what it lacked."""

    audience: Audience
    session: str
    stamp: str | None
    queue: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(MAX_QUEUED))
    cut: Callable[[], object] = lambda: None  # by the stream: end it at once

    def put(self, message: bytes | None) -> None:
        """Send it; None ends the stream. A window whose queue is full is cut off."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            logger.info("slow_window_cut_off")
            self.cut()


@dataclass(slots=True)
class _Look:
    """What one look at the database gave. `actors`: who has which of the sessions that were `asked` about."""

    asked: frozenset[str]
    actors: dict[str, Actor]
    pictures: dict[Audience, Picture]
    at: datetime


class Live:
    """One per process. Everything but `_look` belongs to the event loop."""

    def __init__(self, site: Site, parts: Parts) -> None:
        """Nothing is done before somebody opens a window."""
        self._site, self._parts = site, parts
        self._windows: set[Window] = set()
        self._producer: asyncio.Task[None] | None = None
        self._closed = False
        self._told: dict[Audience, Picture] = {}
        # of `_look`, in one thread at a time
        self._mark: tuple[Any, ...] | None = None
        self._stations: tuple[StationNow, ...] = ()
        self._sights: dict[tuple[Scope, Language], Sight] = {}
        self._facts: dict[Actor, tuple[float, Facts]] = {}
        self._shared: tuple[float, Shared] = (0.0, {})
        self._asked = 0.0

    def close(self) -> None:
        """End every stream, and begin none: the process stops."""
        self._closed = True
        for window in self._windows:
            window.put(None)

    def enter(self, window: Window) -> None:
        """Begin to tell a window. Raises Busy when there are too many."""
        same = sum(other.session == window.session for other in self._windows)
        if self._closed or len(self._windows) >= MAX_WINDOWS or same >= MAX_WINDOWS_OF_ONE:
            raise Busy
        self._windows.add(window)
        if self._producer is None or self._producer.done():
            self._producer = asyncio.get_running_loop().create_task(self._produce(), name="live")
        elif window.audience in self._told:
            self._catch_up(window, self._told[window.audience])

    async def leave(self, window: Window) -> None:
        """Tell it nothing more."""
        self._windows.discard(window)
        if not self._windows and self._producer is not None:
            self._producer.cancel()
            with suppress(asyncio.CancelledError):
                await self._producer
            self._told.clear()

    async def _produce(self) -> None:
        beat = time.monotonic()
        while True:
            try:
                look = await asyncio.to_thread(
                    self._look, frozenset(w.audience for w in self._windows), self._sessions()
                )
            except SQLAlchemyError:
                logger.exception("live_look_failed")  # no beat: the windows say that they are out of date
                await asyncio.sleep(TICK_SECONDS)
                continue
            self._end_sessions(look)
            self._tell(look)
            if time.monotonic() - beat >= BEAT_SECONDS:
                beat = time.monotonic()
                self._beat(look.at)
            await asyncio.sleep(TICK_SECONDS)

    def _sessions(self) -> frozenset[str]:
        """Those to ask about now."""
        if time.monotonic() - self._asked < SESSION_SECONDS:
            return frozenset()
        self._asked = time.monotonic()
        return frozenset(window.session for window in self._windows)

    # --- the database, in a thread ---

    def _look(self, audiences: frozenset[Audience], asked: frozenset[str]) -> _Look:
        now = now_utc()
        with self._site.db.read() as connection:
            actors = actors_of_sessions(connection, asked, now)
            mark = _mark(connection, now)
            if mark != self._mark:
                self._mark, self._stations = mark, load_stations(connection, EVERYTHING, now)
                self._sights = {}
            self._read_facts(connection, {actor for actor, _ in audiences}, now)
        return _Look(asked, actors, {one: self._picture(*one, now) for one in audiences}, now)

    def _picture(self, actor: Actor, language: Language, now: datetime) -> Picture:
        facts = self._facts[actor][1]
        key = facts.stations, language
        if key not in self._sights:
            self._sights[key] = self._parts.sight(self._stations, *key)
        return self._parts.picture(actor, language, self._sights[key], facts, now)

    def _read_facts(self, connection: Connection, actors: set[Actor], now: datetime) -> None:
        """Those of new readers, and the oldest of the others."""
        began = time.monotonic()
        if began - self._shared[0] >= FACTS_SECONDS:
            self._shared = began, {}
        self._facts = {actor: held for actor, held in self._facts.items() if actor in actors}
        for actor in sorted(actors, key=lambda one: self._facts[one][0] if one in self._facts else -1.0):
            if actor in self._facts:
                spent = time.monotonic() - began
                if spent >= FACTS_AT_ONCE_SECONDS or began - self._facts[actor][0] < FACTS_SECONDS:
                    break
            self._facts[actor] = (
                began,
                load_facts(connection, actor, self._stations, self._parts.cameras, now, self._shared[1]),
            )

    # --- the windows, in the event loop ---

    def _tell(self, look: _Look) -> None:
        """Give each window the parts that changed; a new one everything that its page lacks."""
        messages = {one: self._changes(self._told.get(one), now, one[1]) for one, now in look.pictures.items()}
        for window in list(self._windows):
            picture = look.pictures.get(window.audience)
            if picture is None:  # it came meanwhile
                continue
            if window.stamp is not None:
                self._catch_up(window, picture)
            elif (message := messages[window.audience]) is not None:
                window.put(message)
        self._told = look.pictures

    def _changes(self, before: Picture | None, picture: Picture, language: Language) -> bytes | None:
        """What to tell those who know `before`; None: nothing."""
        if before is None:
            return None
        if before.shape != picture.shape:
            return _message("again", {})
        known = {part.id: part.version for part in before.parts}
        changed = tuple(part for part in picture.parts if known.get(part.id) != part.version)
        return self._say(picture.at, language, changed) if changed else None

    def _catch_up(self, window: Window, picture: Picture) -> None:
        missing = self._parts.since(picture, window.stamp or "")
        window.stamp = None
        window.put(_message("again", {}) if missing is None else self._say(picture.at, window.audience[1], missing))

    def _beat(self, at: datetime) -> None:
        beats = {language: self._say(at, language, ()) for language in self._site.wordings}
        for window in list(self._windows):
            window.put(beats[window.audience[1]])

    def _say(self, at: datetime, language: Language, parts: tuple[Part, ...]) -> bytes:
        shown = {part.id: str(part.html) for part in parts}
        return _message("parts", {"at": self._site.wordings[language].moment(at), "parts": shown})

    def _end_sessions(self, look: _Look) -> None:
        for window in list(self._windows):
            if window.session in look.asked and look.actors.get(window.session) != window.audience[0]:
                window.put(_message("end", {}))
                window.put(None)


class EventStream(Response):
    """The answer that never ends: until the window leaves, its session ends, or it has lasted `seconds`."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, window: Window, seconds: float) -> None:
        """`window` is not entered yet."""
        super().__init__(headers={"x-accel-buffering": "no"})  # a proxy must pass each message on at once
        del self.headers["content-length"]
        self._live, self._window, self._seconds = live, window, seconds

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Stream. What is not taken within `SEND_SECONDS` ends it."""
        self._live.enter(self._window)
        writer = asyncio.ensure_future(self._write(send))
        reader = asyncio.ensure_future(_gone(receive))
        self._window.cut = writer.cancel
        try:
            await asyncio.wait({writer, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writer, reader):
                task.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)
            await self._live.leave(self._window)

    async def _write(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        until = time.monotonic() + self._seconds
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    message = await self._window.queue.get()
                if message is None:
                    break
                async with asyncio.timeout(SEND_SECONDS):
                    await send({"type": "http.response.body", "body": message, "more_body": True})
        async with asyncio.timeout(SEND_SECONDS):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _mark(connection: Connection, now: datetime) -> tuple[Any, ...]:
    """Differs whenever something that a station's part shows may differ; every half minute by itself."""
    asked = select(
        select(func.max(checkpoint.c.size)).scalar_subquery(),
        select(func.max(station_state.c.received_at)).scalar_subquery(),
        select(func.max(bay_state.c.received_at)).scalar_subquery(),
        select(func.count()).select_from(bay_state).scalar_subquery(),
        select(func.count()).select_from(station).scalar_subquery(),
    )
    return (int(now.timestamp()) // 30, *connection.execute(asked).one())


def _message(event: str, body: dict[str, Any]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n".encode()
