"""An agent that does nothing but attend to one docked card's releases; for tests that kill it.

``python -m tests.integration.release_child HOME CARD PINS USED``; says "attending", and whom it started.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from agent.opening import open_dock
from agent.release import Trust
from agent.releasing import AtBay, Releasing, Sources
from custody.release import Pins
from tests.release_case import COMMAND_KEY, LOG_KEY


def say(words: str) -> None:
    """One line to the test."""
    print(words, flush=True)


def connect() -> socket.socket:
    """A new clearing process, as systemd would start one; it outlives this one if it must."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        argv = [sys.executable, "-m", "tests.integration.clear_child", sys.argv[3], sys.argv[4]]
        child = subprocess.Popen(argv, stdin=theirs, start_new_session=True)
    say(f"clearing {child.pid}")
    return ours


async def attend() -> str | None:
    """One look at what is authorised."""
    with open_dock(Path(sys.argv[1]) / "vault", Path(sys.argv[1])) as opened:
        trust = Trust(COMMAND_KEY.verify_key, Pins(LOG_KEY.verify_key))
        sources = Sources(True, trust, connect, 0, lambda: (datetime.now(UTC), "synchronised"))
        at = AtBay("CAM1", "1", False, (Path(sys.argv[2]),), asyncio.Event())
        say("attending")
        return await Releasing(opened.dock, sources).attend(at, lambda done, _: say(f"file {done}"))


logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
say(f"ended {asyncio.run(attend())}")
