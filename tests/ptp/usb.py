"""The USB side of a software camera: descriptors, class requests, and bulk transfers packet for packet."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.errors import SourceGone
from agent.ptpsession import PipeFault
from tests.ptp.camera import SoftCamera
from tests.ptp.responder import Responder, Stalled, Unplugged

IN, OUT, EVENTS = 0x81, 0x02, 0x83
CANCEL, RESET, STATUS = 0x64, 0x66, 0x67


@dataclass
class _Transfer:
    """What the camera sends until a short packet: a container."""

    pieces: Iterator[bytes]
    ready: bytearray = field(default_factory=bytearray)
    sent: int = 0
    drawn: bool = False  # no more pieces

    def fill(self, length: int) -> None:
        while not self.drawn and len(self.ready) < length:
            piece = next(self.pieces, None)
            if piece is None:
                self.drawn = True
            else:
                self.ready += piece


@dataclass
class UsbQuirks:
    """How firmware differs on the wire."""

    packet_bytes: int = 512
    empty_packet: bool = True  # behind data of whole packets
    head_alone: bool = False  # the head of a data container travels as a packet of its own
    vendor_class: bool = False  # as phones show MTP, beside adb
    status_request: bool = True


class UsbCamera:
    """One camera on the bus. Raises Stalled, Unplugged as its device would show itself."""

    def __init__(self, camera: SoftCamera, quirks: UsbQuirks | None = None) -> None:
        self.camera, self.quirks = camera, quirks or UsbQuirks()
        self.responder = Responder(camera)
        self._transfers: deque[_Transfer] = deque()
        self._gone = self._halted = False

    @property
    def usb_id(self) -> tuple[int, int]:
        """Vendor and product."""
        return self.camera.vid, self.camera.pid

    interface = (6, 1, 1)

    @property
    def ends(self) -> tuple[tuple[int, int, int], ...]:
        """Address, kind and packet size of its endpoints."""
        size = self.quirks.packet_bytes
        return (IN, 2, size), (OUT, 2, size), (EVENTS, 3, 28)

    @property
    def strings(self) -> tuple[str, ...]:
        """String descriptors from number 1."""
        return self.camera.manufacturer, self.camera.model, self.camera.serial, "MTP"

    def descriptors(self) -> bytes:
        """Device and configuration descriptor, as the device node reads."""
        size = self.quirks.packet_bytes
        ends = b"".join(struct.pack("<BBBBHB", 7, 5, address, kind, packet, 10) for address, kind, packet in self.ends)
        interfaces = b""
        if self.quirks.vendor_class:  # adb first: two bulk pipes that are not for us
            interfaces += struct.pack("<9B", 9, 4, 0, 0, 2, 0xFF, 0x42, 1, 0)
            interfaces += struct.pack("<BBBBHB", 7, 5, 0x84, 2, size, 0) + struct.pack(
                "<BBBBHB", 7, 5, 0x05, 2, size, 0
            )
            interfaces += struct.pack("<9B", 9, 4, 1, 0, 3, 0xFF, 0xFF, 0, 4) + ends
        else:
            interfaces += struct.pack("<9B", 9, 4, 0, 0, 3, 6, 1, 1, 4) + ends
        count = 2 if self.quirks.vendor_class else 1
        whole = struct.pack("<BBHBBBBB", 9, 2, 9 + len(interfaces), count, 1, 0, 0xC0, 50) + interfaces
        return struct.pack(
            "<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 64, self.camera.vid, self.camera.pid, 0x0100, 1, 2, 3, 1
        ) + whole  # fmt: skip

    def control(self, kind: int, request: int, length: int) -> bytes | None:
        """A class request to the interface; None stalls."""
        self._check()
        if kind == 0xA1 and request == STATUS and self.quirks.status_request:
            return struct.pack("<HH", 4, 0x2019 if self._halted else 0x2001)[:length]
        if kind == 0x21 and request in (CANCEL, RESET):
            self._transfers.clear()
            self._halted = False
            if request == RESET:
                self.responder = Responder(self.camera)
            return b""
        return None

    def reset(self) -> None:
        """The host resets the port: no session and no transfer outlives it."""
        self._transfers.clear()
        self._halted = False
        self.responder = Responder(self.camera)

    def clear_halt(self) -> None:
        """The host clears both pipes."""
        self._check()

    def send(self, data: bytes) -> None:
        """A transfer from the host: one command. What an earlier one still has to say comes before its answer."""
        self._check()
        _, kind, code, transaction = struct.unpack_from("<IHHI", data)
        if kind != 1:  # nobody may send data to this camera
            raise Stalled
        answer = self.responder.answer(code, struct.unpack_from(f"<{(len(data) - 12) // 4}I", data, 12))
        if answer.length is not None:
            head = struct.pack("<IHHI", min(answer.length + 12, 0xFFFFFFFF), 2, code, transaction)
            if self.quirks.head_alone:
                self._transfers.append(_Transfer(iter((head,))))
                self._transfers.append(_Transfer(iter(answer.pieces)))
            else:
                self._transfers.append(_Transfer(_chain(head, answer.pieces)))
        parameters = struct.pack(f"<{len(answer.parameters)}I", *answer.parameters)
        end = struct.pack("<IHHI", 12 + len(parameters), 3, answer.code, transaction) + parameters
        self._transfers.append(_Transfer(iter((end,))))

    def receive(self, length: int) -> bytes | None:
        """A transfer to the host of at most `length` bytes; None: there is nothing to say."""
        self._check()
        taken = b""
        while self._transfers:
            transfer, room = self._transfers[0], length - len(taken)
            try:
                transfer.fill(room + 1)
            except Stalled:
                self._transfers.clear()
                self._halted = True
                raise
            except Unplugged:
                self._gone = True
                raise
            taken += bytes(transfer.ready[:room])
            transfer.sent += min(room, len(transfer.ready))
            del transfer.ready[:room]
            if transfer.ready or not transfer.drawn:
                return taken
            whole = transfer.sent % self.quirks.packet_bytes == 0 and transfer.sent > 0
            if whole and len(taken) == length and self.quirks.empty_packet:
                return taken  # its empty packet comes with the next transfer
            self._transfers.popleft()
            if not whole or self.quirks.empty_packet or len(taken) == length:
                return taken
            # no empty packet: what follows lands in the same transfer, as on a real bus
        return taken or None

    def _check(self) -> None:
        if self._gone:
            raise Unplugged


class DirectPipe:
    """The `Pipe` of the agent straight onto a software camera: no kernel between them."""

    def __init__(self, usb: UsbCamera) -> None:
        self._usb = usb
        self.recoveries = 0
        self.closed = False

    @property
    def packet_bytes(self) -> int:
        return self._usb.quirks.packet_bytes

    def send(self, data: bytes) -> None:
        try:
            self._usb.send(data)
        except Unplugged:
            raise SourceGone from None

    def receive_into(self, buffer: memoryview) -> int:
        try:
            data = self._usb.receive(len(buffer))
        except Unplugged:
            raise SourceGone from None
        except Stalled:
            raise PipeFault("stalled") from None
        if data is None:
            raise PipeFault("timed out")
        buffer[: len(data)] = data
        return len(data)

    def recover(self, transaction: int) -> bool:
        self.recoveries += 1
        try:
            self._usb.control(0x21, CANCEL, 0)
        except Unplugged:
            raise SourceGone from None
        return False

    def close(self) -> None:
        self.closed = True


def _chain(head: bytes, pieces: object) -> Iterator[bytes]:
    rest = iter(pieces)  # type: ignore[call-overload]
    yield head + next(rest, b"")
    yield from rest
