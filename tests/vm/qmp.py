"""QEMU's monitor: one socket, one command after the other, events kept until somebody asks for them."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from tests.vm.image import LabError


class Qmp:
    """A connection to the monitor."""

    def __init__(self, path: Path) -> None:
        """Raises OSError while QEMU does not listen yet."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._received = b""
        self._events: list[dict[str, Any]] = []
        self._read(10)
        self.call("qmp_capabilities")

    def call(self, command: str, /, **arguments: Any) -> Any:
        """What the command returns; `_` in names stands for `-`. Raises LabError with QEMU's words."""
        body = {"execute": command, "arguments": {key.replace("_", "-"): arguments[key] for key in arguments}}
        self._socket.sendall(json.dumps(body).encode() + b"\n")
        while True:
            message = self._read(60)
            if "event" in message:
                self._events.append(message)
            elif "error" in message:
                raise LabError(f"QEMU, {command}: {message['error']['desc']}")
            else:
                return message["return"]

    def human(self, line: str) -> str:
        """One line of the monitor for people."""
        return str(self.call("human-monitor-command", command_line=line))

    def wait(self, event: str, device: str, seconds: float = 30) -> None:
        """Until QEMU has reported this of a device. Raises LabError when it does not."""
        deadline = time.monotonic() + seconds
        while True:
            for number, seen in enumerate(self._events):
                if seen["event"] == event and seen["data"].get("device") == device:
                    del self._events[number]
                    return
            self._events.append(self._read(deadline - time.monotonic()))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _read(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while b"\n" not in self._received:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise LabError("QEMU's monitor does not answer") from None
            if not data:
                raise LabError("QEMU closed its monitor")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
