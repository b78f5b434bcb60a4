"""A station with one docking of years ago, and the hub's authorisation to let some of it leave the vault.

As a program it attends to what is authorised and is killed at a given moment of it: ``disposing_scene HOME MOMENT``.
`MOMENT`: a word and a number, such as ``COMMIT 2`` (it dies as SQLite begins the second such statement of the
attending), ``os.remove 1`` or ``os.rename 1`` (it dies as it is about to do that in the vault), or ``never`` (the
control).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.commands import Answer, take_command
from agent.commands import Trust as CommandTrust
from agent.disposing import Disposing, Sources
from agent.dispositionbook import keep_order
from agent.opening import Opened, open_dock
from agent.pipeline import Order, offload
from agent.proved import keep_proved
from agent.release import Trust
from agent.station import Station, uuid7
from agent.store import OutboxRow, Store
from custody.commandbody import Disposition
from custody.envelope import parse_envelope
from custody.event import Event
from custody.events import decode_event, seal_event
from custody.fields import Sha256Hex
from custody.release import Pins
from custody.stationevents import StationStarted
from tests.disposition_case import DISPOSITION_ID, Command, Sealed, seal_disposition, sha256
from tests.release_case import COMMAND_KEY, LOG_KEY, Log

TODAY = datetime.now(UTC)
LATER = TODAY + timedelta(days=3 * 366)  # when three years are over
CHANCE = random.Random(17)
FILES = {f"DCIM/{n:03}.MP4": CHANCE.randbytes(3000 + n) for n in range(4)} | {
    "DCIM/long.MP4": CHANCE.randbytes(3 << 20)
}
NAMED = ("DCIM/001.MP4", "DCIM/long.MP4")
TRUST = Trust(COMMAND_KEY.verify_key, Pins(LOG_KEY.verify_key))


@dataclass
class Scene:
    """A station whose docking is receipted; `order` gives it the hub's authorisation."""

    home: Path
    docking: str = ""

    def open(self) -> Any:
        return open_dock(self.home / "vault", self.home / "station", "dock-1")

    def path(self, name: str) -> Path:
        return next(self.home.glob(f"vault/*/*/*/*/{self.docking}/{name}"))

    def left(self) -> set[str]:
        """Which of `FILES` are in the vault, each byte for byte as it was."""
        folder = next(self.home.glob(f"vault/*/*/*/*/{self.docking}"))
        there = {str(one.relative_to(folder)) for one in (folder / "DCIM").iterdir()}
        assert all((folder / name).read_bytes() == FILES[name] for name in there)
        return there

    def record(self) -> Path:
        return self.path(".custody/disposition-*.jsonl")

    def camera(self) -> Path:
        return self.home / "card"


async def prepare(home: Path) -> Scene:
    """Offload a camera; its envelopes have receipts, and the clock is synchronised soon after."""
    scene = Scene(home)
    for name, content in FILES.items():
        (scene.camera() / name).parent.mkdir(parents=True, exist_ok=True)
        (scene.camera() / name).write_bytes(content)
    with scene.open() as opened:
        result = await offload(opened.dock, Order(scene.camera(), "CAM1", "1"), lambda _: None)
        assert result.closed is not None
        assert result.closed.complete
        scene.docking = result.closed.docking_id
        await opened.dock.store.call(synchronised, opened.station, TODAY)
        await opened.dock.store.call(receipted)
    return scene


def synchronised(store: Store, station: Station, at: datetime) -> None:
    """The station says something while its clock is synchronised, which that of a test machine may not be."""
    head = store.head()
    event = StationStarted(
        id=uuid7(), source=station.id, seq=head.seq + 1, previous=head.hash_hex, at=at, clock="synchronised",
        software="test",
    )  # fmt: skip
    raw = seal_event(event, station.key)
    with store.begin():
        store.add_envelopes([OutboxRow(event.seq, hashlib.sha256(raw).digest(), raw)], at)


def receipted(store: Store) -> None:
    with store.begin():
        store.set_receipted([(row.seq, row.sha256, row.seq - 1) for row in store.outbox_from(1, 1000)], TODAY)


async def order(scene: Scene, opened: Opened, *, proved: bool = True, now: datetime = LATER, **changes: Any) -> Sealed:
    """The hub authorises that `NAMED` leave; the station takes the command."""
    digests = tuple(Sha256Hex(sha256(FILES[name])) for name in NAMED)
    body = Disposition(disposition_id=DISPOSITION_ID, docking=scene.docking, file_sha256s=digests, basis="3 years over")
    wanted = Command("dock-1", body, now - timedelta(minutes=1), **changes)
    sealed = seal_disposition(Log(), wanted)

    def take(store: Store) -> Answer | None:
        trust = CommandTrust(COMMAND_KEY.verify_key, LOG_KEY.verify_key, {Disposition.KIND: keep_order})
        if proved:
            with store.begin():
                keep_proved(store, sealed.checkpoint)
        return take_command(store, opened.station, trust, sealed.raw, now, "synchronised")

    answer = await opened.dock.store.call(take)
    assert answer is not None
    assert answer.result == "accepted", answer
    return sealed


def disposing(opened: Opened, **changes: Any) -> Disposing:
    facts: dict[str, Any] = {"disposition_on": True, "trust": TRUST, "now": lambda: (LATER, "synchronised")}
    return Disposing(opened.dock, Sources(**(facts | changes)))


async def stated(opened: Opened, kind: type[Event]) -> list[Any]:
    """Events of this kind in the station's chain."""
    rows = await opened.dock.store.call(lambda store: store.outbox_from(1, 1000))
    envelopes = [parse_envelope(row.envelope) for row in rows]
    events = [decode_event(one.payload_type, one.payload) for one in envelopes]
    return [event for event in events if isinstance(event, kind)]


async def attend(home: Path, moment: str) -> None:
    word, _, number = moment.rpartition(" ")
    seen = 0

    def at(what: str) -> None:
        nonlocal seen
        if word and what.startswith(word):
            seen += 1
            if seen == int(number):
                os.kill(os.getpid(), signal.SIGKILL)

    def trace(store: Store) -> None:
        connection: Any = store.execute("SELECT 1").connection
        connection.set_trace_callback(at)

    with Scene(home).open() as opened:
        await opened.dock.store.call(trace)
        if word.startswith("os."):
            sys.addaudithook(lambda event, _: at(event))
        await disposing(opened).attend()


if __name__ == "__main__":
    asyncio.run(attend(Path(sys.argv[1]), sys.argv[2]))
