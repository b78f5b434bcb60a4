"""One PTP session over a pair of bulk pipes: commands out, data and responses in. There is no way to send data.

A transfer that fails leaves the pipes out of step with the camera; every failure here therefore ends with `recover`,
after which the next command is understood again, or with SourceGone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from agent.errors import SourceGone
from agent.ptpdata import (
    CONTAINER_BYTES,
    DATA,
    RESPONSE,
    UNKNOWN_LENGTH,
    Code,
    Malformed,
    Operation,
    command,
    parse_container,
)

TRANSFER_BYTES = 128 << 10  # asked of the pipe at once: whole packets of any USB speed
DATASET_BYTES_MAX = 4 << 20  # a million handles; no dataset that we ask for is longer
BUSY_WAITS_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class PipeFault(Exception):
    """A transfer failed: stalled, timed out or garbled. The device is still there."""


class Pipe(Protocol):
    """The two bulk endpoints of a still image interface. Raises SourceGone when the device left."""

    @property
    def packet_bytes(self) -> int:
        """The largest packet of the endpoint into the host."""
        ...

    def send(self, data: bytes) -> None:
        """Send one short transfer. Raises PipeFault, SourceGone."""
        ...

    def receive_into(self, buffer: memoryview) -> int:
        """One transfer into `buffer`, whole packets long; a short packet ends it. Raises PipeFault, SourceGone."""
        ...

    def recover(self, transaction: int) -> bool:
        """Cancel what is under way and come into step again; whether that cost the session. Raises SourceGone."""
        ...

    def close(self) -> None:
        """Give the device back; closing twice does nothing."""
        ...


class Refused(Exception):
    """The camera answered a command with something else than OK, or with a failed transfer (`code` None)."""

    def __init__(self, operation: Operation, code: int | None) -> None:
        said = "broke off its answer" if code is None else f"answered {code:#06x}"
        super().__init__(f"the camera {said} when asked for {operation.name.lower()}")
        self.operation, self.code = operation, code


class Session:
    """An open session. One thread at a time uses it."""

    def __init__(self, pipe: Pipe) -> None:
        """Open a session on `pipe` and take it over. Raises Refused, SourceGone."""
        self._pipe = pipe
        self._transaction = 0
        self._buffer = memoryview(bytearray(TRANSFER_BYTES))
        self._incoming: Incoming | None = None
        self._opening = False
        self._open()

    def ask(self, operation: Operation, *parameters: int) -> bytes:
        """The dataset that a command gives; waits while the camera is busy. Raises Refused, SourceGone."""
        data = bytearray()
        with self.begin(operation, *parameters) as incoming:
            while count := incoming.read_into(self._buffer):
                data += self._buffer[:count]
                if len(data) > DATASET_BYTES_MAX:
                    raise incoming.broken()
        return bytes(data)

    def read_into(self, view: memoryview, operation: Operation, *parameters: int) -> int:
        """Bytes of an object into `view`; how many came. More than fit are refused. Raises Refused, SourceGone."""
        done = 0
        with self.begin(operation, *parameters) as incoming:
            while done < len(view) and (count := incoming.read_into(view[done:])):
                done += count
            if done == len(view) and incoming.read_into(self._buffer[:1]):
                raise incoming.broken()
        return done

    def begin(self, operation: Operation, *parameters: int) -> Incoming:
        """Send a command and stand before its data. Raises Refused, SourceGone."""
        for wait in (*BUSY_WAITS_SECONDS, None):
            try:
                return self._begin(operation, parameters)
            except Refused as refused:
                if refused.code == Code.SESSION_NOT_OPEN:
                    raise SourceGone from refused  # it was restarted, or somebody else took it
                if refused.code != Code.BUSY or wait is None:
                    raise
            time.sleep(wait)
        raise AssertionError

    def close(self) -> None:
        """Close the session and the pipe; closing twice does nothing."""
        try:
            self.ask(Operation.CLOSE_SESSION)
        except (Refused, SourceGone):
            pass
        finally:
            self._pipe.close()

    def _open(self) -> None:
        self._opening = True
        for last in (False, False, True):  # the first may meet what a killed program left in the pipe
            try:
                self.begin(Operation.OPEN_SESSION, 1).finish()
                break
            except Refused as refused:
                if last or refused.code not in (None, Code.SESSION_ALREADY_OPEN):
                    raise
                if refused.code == Code.SESSION_ALREADY_OPEN:  # left open by a program that died
                    self.ask(Operation.CLOSE_SESSION)
        self._opening = False

    def _begin(self, operation: Operation, parameters: Sequence[int]) -> Incoming:
        if self._incoming is not None:  # a stream that its reader left
            self._recover(self._transaction)
        self._transaction = 0 if operation is Operation.OPEN_SESSION else self._transaction + 1
        incoming = self._incoming = Incoming(self, operation, self._transaction)
        incoming.start(command(operation, self._transaction, parameters))
        return incoming

    def _recover(self, transaction: int) -> None:
        self._incoming = None
        if self._pipe.recover(transaction) and not self._opening:
            try:
                self._open()
            except Refused as refused:
                raise SourceGone from refused


class Incoming:
    """The data phase and response of one command under way."""

    def __init__(self, session: Session, operation: Operation, transaction: int) -> None:
        self._session, self._operation, self._transaction = session, operation, transaction
        self._pipe, self._buffer = session._pipe, session._buffer
        self._at = self._end = 0  # of the payload that lies in the buffer
        self._left: int | None = 0  # payload still on its way; None: the camera does not say
        self._over = False  # the response came

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()

    @property
    def announced_bytes(self) -> int | None:
        """What of the payload is still to come, as the camera says; None where it does not."""
        return None if self._left is None else self._left + self._end - self._at

    def start(self, sent: bytes) -> None:
        """Send the command, take the first transfer. Raises Refused, SourceGone."""
        try:
            self._pipe.send(sent)
            # One packet tells the length. Never ask for more than is announced: where the camera leaves out the empty
            # packet behind whole ones, the response would land in the same transfer.
            self._take_head(self._receive(self._pipe.packet_bytes))
        except (PipeFault, Malformed) as fault:
            raise self.broken() from fault

    def _take_head(self, count: int) -> None:
        length, kind, code, transaction = parse_container(self._buffer[:count])
        if kind == RESPONSE:
            self._respond(code, transaction)
            return
        if kind != DATA or code != self._operation or transaction != self._transaction:
            raise Malformed("an answer to another command")
        if count > length:
            raise Malformed("more data than the camera announced")
        self._at, self._end = CONTAINER_BYTES, count
        self._left = None if length == UNKNOWN_LENGTH else length - count
        self._settle(count, self._pipe.packet_bytes)

    def read_into(self, view: memoryview) -> int:
        """Some bytes of the payload, 0 at its end. Raises Refused when the camera breaks off, SourceGone."""
        try:
            if self._at == self._end and not self._over:
                self._fill()
        except (PipeFault, Malformed) as fault:
            raise self.broken() from fault
        count = min(len(view), self._end - self._at)
        # A view that is the buffer itself: source and target of the slice overlap, which memoryview copies rightly.
        view[:count] = self._buffer[self._at : self._at + count]
        self._at += count
        return count

    def finish(self) -> None:
        """Take the rest. Raises Refused when the camera does not end with OK, SourceGone."""
        while not self._over or self._at < self._end:
            if not self.read_into(self._buffer):
                break

    def broken(self) -> Refused:
        """Come into step with the camera again; the error to raise."""
        self._over, self._at, self._end = True, 0, 0
        self._session._recover(self._transaction)
        return Refused(self._operation, None)

    def _fill(self) -> None:
        """One more transfer: payload, or the response behind it."""
        if self._left == 0:
            self._take_response()
            return
        asked = len(self._buffer)
        if self._left is not None:
            packet = self._pipe.packet_bytes
            asked = min(asked, -(-self._left // packet) * packet)
        count = self._receive(asked)
        if self._left is not None and count > self._left:
            raise Malformed("more data than the camera announced")
        self._at, self._end = 0, count
        if self._left is not None:
            self._left -= count
        self._settle(count, asked)
        if count == 0:  # the empty packet that ends data of unknown length
            self._take_response()

    def _receive(self, length: int) -> int:
        return self._pipe.receive_into(self._buffer[:length])

    def _settle(self, count: int, asked: int) -> None:
        """A transfer that the camera ended: the end of data of unknown length, too early for known length."""
        if count == asked or self._left == 0:
            return
        if self._left is None:
            self._left = 0
        elif count != CONTAINER_BYTES or self._end != count or self._at != count:
            raise Malformed("less data than the camera announced")  # only a head may travel alone

    def _take_response(self) -> None:
        count = self._receive(self._pipe.packet_bytes)
        if count == 0:  # the empty packet behind data of whole packets, which not every camera sends
            count = self._receive(self._pipe.packet_bytes)
        _, kind, code, transaction = parse_container(self._buffer[:count])
        if kind != RESPONSE:
            raise Malformed("no response behind the data")
        self._respond(code, transaction)

    def _respond(self, code: int, transaction: int) -> None:
        if transaction != self._transaction and self._operation is not Operation.OPEN_SESSION:
            raise Malformed("the response to another command")
        self._over, self._at, self._end, self._left = True, 0, 0, 0
        self._session._incoming = None
        if code != Code.OK:
            raise Refused(self._operation, code)
