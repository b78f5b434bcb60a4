"""What the hub tells systemd, in the sd_notify(3) protocol: that it serves, that it is alive, and that it stops.

Started by hand there is no listener and nothing is said. Failing to speak never stops the hub.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

import uvicorn

PINGS_PER_LIMIT = 3  # one ping may come late and the next still be in time


def notify(message: str, environment: Mapping[str, str]) -> None:
    """Say ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1`` to the service manager of this process, if it has one."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    place = f"\0{address[1:]}" if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.connect(place)
        speaker.send(message.encode())


def silence_allowed(environment: Mapping[str, str], pid: int) -> float:
    """Seconds of WATCHDOG_USEC where WATCHDOG_PID means this process; 0: as long as one likes."""
    limit = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
    return int(limit) / 1e6 if meant and limit.isdecimal() else 0.0


class SpeakingServer(uvicorn.Server):
    """Says that it is ready once it listens, that it is alive, and that it stops before it begins to."""

    def __init__(
        self, config: uvicorn.Config, environment: Mapping[str, str], close_streams: Callable[[], None] = lambda: None
    ) -> None:
        """`environment`: that of the process."""
        super().__init__(config)
        self._environment, self._close_streams = environment, close_streams
        self._silence_seconds = silence_allowed(environment, os.getpid())
        self._next_ping = 0.0
        self._close_streams = close_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so. A port that is taken ends the process before anything is said."""
        await super().startup(sockets=sockets)
        if self.started:
            notify("READY=1", self._environment)

    async def on_tick(self, counter: int) -> bool:
        """Ping from the event loop, so that a loop that is stuck falls silent and is started anew."""
        now = time.monotonic()
        if self._silence_seconds and now >= self._next_ping:
            notify("WATCHDOG=1", self._environment)
            self._next_ping = now + self._silence_seconds / PINGS_PER_LIMIT
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so, then close; streams, which no client ends, first."""
        notify("STOPPING=1", self._environment)
        self._close_streams()
        await super().shutdown(sockets=sockets)
