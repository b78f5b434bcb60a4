"""A dock's screen before a real store, with bays put into every state: for the browser tests and for pictures.

python -m tests.e2e.kiosk_scene PORT    # look at it; officer 1001, PIN 2468
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from agent.baystate import BayState
from agent.board import Board
from agent.charge import ChargeState, Origin, Reading
from agent.desk import Desk
from agent.kiosk.pages import make_kiosk
from agent.kiosk.server import serve_kiosk
from agent.officers import set_officer
from agent.opening import Opened, open_dock
from agent.progress import Progress
from agent.readiness import CameraClock, CameraFacts, ClockEvidence, Policy, Verdict, check
from agent.store import Store

GIB = 1 << 30
NOW = datetime.now(UTC)


def reading(percent: int | None, state: ChargeState = ChargeState.CHARGING) -> Reading:
    return Reading(percent, state, Origin.REPORTED, "ptp", datetime.now(UTC))


def verdict(percent: int, free_bytes: int = 20 * GIB, **facts: object) -> Verdict:
    now = datetime.now(UTC)
    clock = CameraClock(ClockEvidence.REPORTED, now - timedelta(seconds=3), now)
    known = CameraFacts(
        charge=reading(percent), free_bytes=free_bytes, total_bytes=32 * GIB, files_not_safe=0, clock=clock,
        station_clock="synchronised", checked_at=now,
    )  # fmt: skip
    return check(replace(known, **facts), Policy(effective_from=date(2026, 1, 1)), now)  # type: ignore[arg-type]


def scene() -> list[BayState]:
    """One bay in each state."""
    copying = Progress("copying", 12, 48, 5 * GIB, 21 * GIB, 400)
    saved = Progress("safe", 48, 48, 21 * GIB, 21 * GIB)
    ready = BayState("3", "safe", NOW, "DSJ-000321", saved, charge=reading(100, ChargeState.FULL), verdict=verdict(100))
    return [
        BayState("1", "empty", NOW),
        BayState("2", "copying", NOW, "DSJ-000330", copying, charge=reading(63)),
        ready,
        replace(ready, bay="4", camera="DSJ-000322", charge=reading(41), verdict=verdict(41, free_bytes=GIB)),
        replace(ready, bay="5", camera="DSJ-000323", officer="1001"),
        BayState("6", "attention", NOW, "DSJ-000324", replace(saved, files_done=47), "unreadable_parts",
                 charge=reading(None, ChargeState.UNKNOWN), verdict=verdict(88, card_faults=3), disputed=True),
        BayState("7", "failed", NOW, "DSJ-000325", Progress("failed"), "vault_full"),
        BayState("8", "refused", NOW, None, reason="keyboard"),
        BayState("9", "storm", NOW, "DSJ-000326"),
        BayState("10", "recognising", NOW),
        BayState("11", "listing", NOW, "DSJ-000327", Progress("listing"), waiting_seconds=14),
        BayState("12", "no_card", NOW),
        BayState("13", "clearing", NOW, "DSJ-000328", Progress("clearing", 7, 48)),
    ]  # fmt: skip


@asynccontextmanager
async def kiosk(opened: Opened, port: int, states: list[BayState]) -> AsyncIterator[Board]:
    """The screen on `port`, showing `states`; officer 1001 has the PIN 2468."""
    board = Board(tuple(state.bay for state in states))
    for state in states:
        board.show(state)

    def add(store: Store) -> None:
        with store.begin():
            set_officer(store, "1001", "张伟", "2468")

    await opened.dock.store.call(add)
    station = {
        "name": "dock-jiaoyuju-1",
        "remarks": [["中心暂时无法连接，已自动留存", "The hub is away; everything waits here"]],
    }
    app = make_kiosk(board, Desk(opened.dock, board), lambda: station)
    up = asyncio.Event()
    serving = asyncio.create_task(serve_kiosk(app, port, up))
    await up.wait()
    try:
        yield board
    finally:
        board.close()
        serving.cancel()
        await asyncio.wait([serving])


async def _show(port: int) -> None:
    with tempfile.TemporaryDirectory() as scratch, open_dock(Path(scratch) / "vault", Path(scratch)) as opened:
        async with kiosk(opened, port, scene()):
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_show(int(sys.argv[1])))
