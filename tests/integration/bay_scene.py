"""A USB bay before real card images, as if they had been plugged in: all of the station but the kernel's USB."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.baystate import BayState
from agent.board import Board
from agent.desk import Desk
from agent.inspection import Inspectors
from agent.officers import set_officer
from agent.opening import Opened, open_dock
from agent.profiles.loading import load_profiles
from agent.releasing import Releasing, Sources
from agent.settings import BaySettings, Settings
from agent.stay import Grounds
from agent.store import Store
from agent.usbbay import UsbBay
from agent.usbports import Attached, Disk
from custody.envelope import parse_envelope
from custody.event import Event
from custody.events import decode_event
from tests.openings import named

PORT = "0000:00:04.0-usb2-1.{}"
_numbers = itertools.count(10)


def device(bay: int = 1, *cards: Path, **facts: Any) -> Attached:
    """A mass storage device at a bay's port whose LUNs are these card images; every call is another plugging."""
    disks = tuple(Disk(str(card), card.stat().st_size, True, "ACME", "BodyCam") for card in cards)
    plain = Attached(
        PORT.format(bay), 1, next(_numbers), "1b3f:8301", "20260001", "ACME", "BodyCam", ("080650",), False, disks
    )
    return replace(plain, **facts)


class Scene:
    """An opened station with two bays. Everything happens in the running event loop."""

    def __init__(
        self, home: Path, opened: Opened, sources: Sources | None = None, recipients: tuple[str, ...] = ()
    ) -> None:
        bays = tuple(BaySettings(str(n), (PORT.format(n),), secret=n == 2 and bool(recipients)) for n in (1, 2))
        self.vault, self.opened = home / "vault", opened
        self.board = Board(("1", "2"))
        self.inspectors = Inspectors()
        settings = Settings(home, self.vault, bays, secret_recipients=recipients)
        self.releasing = releasing = None if sources is None else Releasing(opened.dock, sources)
        profiles = load_profiles(home / "profiles")
        grounds = Grounds(settings, opened.dock, self.board, profiles, self.inspectors, releasing)
        self.desk = Desk(opened.dock, self.board)
        self.bays = [UsbBay(grounds, bay) for bay in bays]
        self.seen: list[BayState] = []
        self.board.changed.append(self.seen.append)

    def plug(self, *devices: Attached) -> None:
        """These, and nothing else, are plugged in now."""
        for bay in self.bays:
            bay.see(devices)

    async def until(self, wanted: Callable[[BayState], bool], bay: str = "1", seconds: float = 60) -> BayState:
        """The bay's state once it is as wanted."""
        deadline = time.monotonic() + seconds
        while (state := self.board.state(bay)) is None or not wanted(state):
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.02)
        return state

    async def until_judged(self, bay: str = "1") -> BayState:
        """The bay's state once everything is copied and the camera is judged."""
        return await self.until(lambda s: s.verdict is not None, bay)

    async def named(self, *kinds: type[Event]) -> list[str | None]:
        """The officers that these events commit to, by their openings."""
        rows = await self.opened.dock.store.call(lambda store: store.outbox_from(1, 100_000))
        envelopes = [parse_envelope(row.envelope) for row in rows]
        found = [decode_event(envelope.payload_type, envelope.payload) for envelope in envelopes]
        return named([row for row, event in zip(rows, found, strict=True) if isinstance(event, kinds)])

    async def events(self, *kinds: type[Event]) -> list[Any]:
        """What the station has stated, of these kinds."""
        rows = await self.opened.dock.store.call(lambda store: store.outbox_from(1, 100_000))
        envelopes = [parse_envelope(row.envelope) for row in rows]
        found = [decode_event(envelope.payload_type, envelope.payload) for envelope in envelopes]
        return [event for event in found if not kinds or isinstance(event, kinds)]

    async def add_officer(self) -> None:
        """Number 1001, PIN 2468."""

        def add(store: Store) -> None:
            with store.begin():
                set_officer(store, "1001", "张伟", "2468")

        await self.opened.dock.store.call(add)


@asynccontextmanager
async def scene(home: Path, sources: Sources | None = None, recipients: tuple[str, ...] = ()) -> AsyncIterator[Scene]:
    """A station at work; its bays must not fail. `sources`: where releases get what they must know. With `recipients`
    bay 2 is for footage under state secrecy."""
    with open_dock(home / "vault", home) as opened:
        made = Scene(home, opened, sources, recipients)
        tasks = [asyncio.create_task(bay.run()) for bay in made.bays]
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            made.inspectors.close()
    assert all(isinstance(result, asyncio.CancelledError) for result in results), results
