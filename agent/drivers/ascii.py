"""Commands as text over a serial line or USB bulk endpoints.

A message ends with the profile's terminator or, without one, when the line has been quiet. A recorder may say "busy"
any number of times before it answers; where a command has several messages and the profile names a busy word, the next
message waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from agent.drivers.driver import fill, unexpected
from agent.drivers.table import Command, DriverTable
from agent.errors import DriverFailed

QUIET_SECONDS = 0.2
ANSWER_BYTES_MAX = 8192
STALE_BYTES_MAX = 64 * 1024


class Link(Protocol):
    """Bytes to and from a recorder."""

    def write(self, data: bytes, timeout_seconds: float) -> None:
        """Send all of it. Raises DriverFailed, LinkGone."""
        ...

    def read(self, timeout_seconds: float) -> bytes:
        """What arrives first, b"" if nothing does in time. Raises DriverFailed, LinkGone."""
        ...

    def close(self) -> None:
        """Release the device; closing twice does nothing."""
        ...


class AsciiExchange:
    """The `Exchange` of text commands."""

    def __init__(self, table: DriverTable, link: Link) -> None:
        self._table, self._link = table, link
        self._buffer = bytearray()

    def run(self, command: Command, values: Mapping[str, str]) -> bytes:
        """Send the messages, wait for the answer. Raises DriverFailed, LinkGone."""
        self._forget_stale()
        deadline = time.monotonic() + self._table.timeout_seconds
        for number, text in enumerate(command.send):
            if number and self._table.busy:
                self._await_busy(deadline)
            self._link.write(fill(text, values) + self._table.terminator, self._table.timeout_seconds)
        if command.reply is None and not command.reply_bytes:
            return b""
        deadline = time.monotonic() + self._table.timeout_seconds
        return self._answer(command, deadline)

    def close(self) -> None:
        """Release the device; closing twice does nothing."""
        self._link.close()

    def _forget_stale(self) -> None:
        """Late answers to earlier commands must not pass as the answer to this one."""
        self._buffer.clear()
        stale = 0
        while piece := self._link.read(0):
            stale += len(piece)
            if stale > STALE_BYTES_MAX:
                raise DriverFailed("it does not stop talking", "设备持续发送数据")

    def _await_busy(self, deadline: float) -> None:
        token = self._table.busy + self._table.terminator
        while not self._buffer.startswith(token):
            if not token.startswith(self._buffer[: len(token)]):
                raise unexpected(bytes(self._buffer))
            self._receive(deadline)
        del self._buffer[: len(token)]

    def _answer(self, command: Command, deadline: float) -> bytes:
        while True:
            self._skip_busy()
            found = self._complete(command)
            if found is not None:
                return found
            if len(self._buffer) > ANSWER_BYTES_MAX:
                raise unexpected(bytes(self._buffer))
            if self._table.terminator and not command.reply_bytes:
                self._receive(deadline)
            elif not self._receive(deadline, quiet=self._is_settled()):
                answer = bytes(self._buffer)
                self._buffer.clear()
                return answer

    def _complete(self, command: Command) -> bytes | None:
        """The answer, where the bytes themselves say that it is whole."""
        end = command.reply_bytes if len(self._buffer) >= command.reply_bytes else 0
        if self._table.terminator and not command.reply_bytes:
            end = self._buffer.find(self._table.terminator)
        if end <= 0:
            return None
        answer = bytes(self._buffer[:end])
        self._buffer.clear()
        return answer

    def _skip_busy(self) -> None:
        token = self._table.busy + self._table.terminator if self._table.busy else b""
        while token and self._buffer.startswith(token):
            del self._buffer[: len(token)]

    def _is_settled(self) -> bool:
        """Whether what is there may be a whole answer: something, and not the beginning of "busy"."""
        return bool(self._buffer) and not self._table.busy.startswith(self._buffer)

    def _receive(self, deadline: float, *, quiet: bool = False) -> bool:
        """Wait for more. False: nothing came while the line was watched for quiet. Raises DriverFailed in the end."""
        left = deadline - time.monotonic()
        if left <= 0 and not quiet:
            raise DriverFailed("no answer in time", "未在限定时间内应答")
        piece = self._link.read(QUIET_SECONDS if quiet else max(0.0, left))
        self._buffer += piece
        if not piece and not quiet:
            raise DriverFailed("no answer in time", "未在限定时间内应答")
        return bool(piece)
