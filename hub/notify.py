"""What the hub tells systemd, in the sd_notify(3) protocol: that it serves, and that it stops.

Started by hand there is no listener and nothing is said. Failing to speak never stops the hub.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping

import uvicorn


def notify(message: str, environment: Mapping[str, str]) -> None:
    """Say ``READY=1`` or ``STOPPING=1`` to the service manager of this process, if it has one."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    place = f"\0{address[1:]}" if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        speaker.connect(place)
        speaker.send(message.encode())


class SpeakingServer(uvicorn.Server):
    """Says that it is ready once it listens, and that it stops before it begins to."""

    def __init__(
        self, config: uvicorn.Config, environment: Mapping[str, str], close_streams: Callable[[], None] = lambda: None
    ) -> None:
        """`environment`: that of the process."""
        super().__init__(config)
        self._environment, self._close_streams = environment, close_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so. A port that is taken ends the process before anything is said."""
        await super().startup(sockets=sockets)
        if self.started:
            notify("READY=1", self._environment)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so, then close; streams, which no client ends, first."""
        notify("STOPPING=1", self._environment)
        self._close_streams()
        await super().shutdown(sockets=sockets)
