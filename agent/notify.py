"""What the agent tells systemd, in the sd_notify(3) protocol: that it is ready, that it is alive, that it stops.

Started by hand there is no listener and every call does nothing. Failing to speak never stops the station: what is not
said, systemd notices itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass

PINGS_PER_LIMIT = 3  # one ping may come late and the next still be in time


@dataclass(frozen=True, slots=True)
class Notifier:
    """Speaks to the service manager. `watchdog_seconds`: the silence it allows, 0 for any."""

    address: str = ""
    watchdog_seconds: float = 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> Notifier:
        """NOTIFY_SOCKET, and WATCHDOG_USEC where WATCHDOG_PID means this process; one without listener otherwise."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls()
        meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        limit = environment.get("WATCHDOG_USEC", "")
        return cls(address, int(limit) / 1e6 if meant and limit.isdecimal() else 0.0)

    def ready(self) -> None:
        """Start-up is over: key, store and vault are open."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The end has begun; what follows is closing down."""
        self._send("STOPPING=1")

    async def keep_alive(self) -> None:
        """Ping from the event loop until cancelled, so that a loop that is stuck falls silent."""
        while self.watchdog_seconds:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_seconds / PINGS_PER_LIMIT)
        await asyncio.Event().wait()  # nobody listens; an end would look like the end of the service

    def _send(self, line: str) -> None:
        if not self.address:
            return
        name = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        # not blocking: a manager that does not read must not hold up the loop
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(line.encode(), name)
