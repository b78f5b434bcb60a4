"""A USB device in software plugged into a virtual machine: the far end of QEMU's `usb-redir` (usbredir protocol 0.7).

    mine, its = socket.socketpair()
    UsbRedir(UsbCamera(camera)).serve(mine)          # answers in a thread until QEMU hangs up
    qmp: getfd name=cam (its); chardev-add id=cam backend=socket addr={type: fd, str: cam}, server=false
         device_add driver=usb-redir chardev=cam bus=… port=…
    qmp: device_del id=…                             # unplugs it; a device that raises Unplugged leaves by itself

Any stream socket serves: a UNIX socket that QEMU connects to does as well.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from tests.ptp.responder import Stalled, Unplugged

CAPABILITIES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6  # device version, packet sizes, 64-bit ids, long bulk packets
HELLO, CONNECT, DISCONNECT, RESET, INTERFACES, ENDPOINTS, SET_CONFIGURATION, CONFIGURATION = 0, 1, 2, 3, 4, 5, 6, 8
SET_SETTING, SETTING, START_INTERRUPT, STOP_INTERRUPT, INTERRUPT_STATUS = 9, 11, 15, 16, 17
CANCEL_PACKET, CONTROL, BULK = 21, 100, 101
OK, CANCELLED, STALL, IO_ERROR = 0, 1, 4, 3
FULL_SPEED, HIGH_SPEED = 1, 2
LOOK_SECONDS = 0.05  # how soon a device that kept a transfer waiting is heard again


class UsbDevice(Protocol):
    """A device with one interface and one bulk pipe each way. Its methods raise Stalled and Unplugged."""

    @property
    def usb_id(self) -> tuple[int, int]:
        """Vendor and product."""

    @property
    def interface(self) -> tuple[int, int, int]:
        """Class, subclass and protocol."""

    @property
    def ends(self) -> Sequence[tuple[int, int, int]]:
        """Its endpoints: address, kind, bytes of a packet; the first is the bulk pipe to the host."""

    @property
    def strings(self) -> Sequence[str]:
        """String descriptors from number 1."""

    def descriptors(self) -> bytes:
        """Device and configuration descriptor."""

    def control(self, kind: int, request: int, length: int) -> bytes | None:
        """Answer a class request; None stalls."""

    def send(self, data: bytes) -> None:
        """Take a transfer from the host."""

    def receive(self, length: int) -> bytes | None:
        """A transfer to the host of at most `length` bytes; None: nothing to say now."""

    def reset(self) -> None:
        """The host resets the port."""


class UsbRedir:
    """One device for one QEMU."""

    def __init__(self, usb: UsbDevice) -> None:
        self._usb = usb
        self._wide_ids = False
        self._reads: deque[tuple[int, int]] = deque()  # id and length of transfers that wait for something to say
        self._socket: socket.socket

    def serve(self, link: socket.socket) -> threading.Thread:
        """Answer QEMU until it hangs up or the device leaves; takes over `link`."""
        thread = threading.Thread(target=self._run, args=(link,), daemon=True)
        thread.start()
        return thread

    def _run(self, link: socket.socket) -> None:
        with link:
            self._socket = link
            try:
                self._send(HELLO, 0, b"softusb".ljust(64, b"\0") + struct.pack("<I", CAPABILITIES))
                while True:
                    if not self._reads or select.select([link], [], [], LOOK_SECONDS)[0]:
                        self._answer(*self._receive())
                    self._say()
            except Unplugged:
                self._send(DISCONNECT, 0, b"")
            except OSError:
                return

    def _answer(self, kind: int, ident: int, body: bytes) -> None:
        if kind == HELLO:
            self._introduce(bool(struct.unpack_from("<I", body, 64)[0] & 1 << 5))
        elif kind == SET_CONFIGURATION:
            self._send(CONFIGURATION, ident, bytes([OK, body[0]]))
        elif kind == SET_SETTING:
            self._send(SETTING, ident, bytes([OK, body[0], body[1]]))
        elif kind in (START_INTERRUPT, STOP_INTERRUPT):
            self._send(INTERRUPT_STATUS, ident, bytes([OK, body[0]]))
        elif kind == CONTROL:
            self._control(ident, body)
        elif kind == BULK:
            self._bulk(ident, body)
        elif kind == CANCEL_PACKET:
            self._cancel(ident)
        elif kind == RESET:
            self._usb.reset()

    def _introduce(self, wide_ids: bool) -> None:
        ends, pad = self._usb.ends, bytes(31)
        self._wide_ids = wide_ids
        codes = b"".join(bytes([code]) + pad for code in self._usb.interface)
        self._send(INTERFACES, 0, struct.pack("<I", 1) + bytes(32) + codes)
        kinds, sizes = bytearray(b"\xff" * 32), [0] * 32
        for address, kind, size in ((0, 0, 64), (0x80, 0, 64), *ends):
            at = (address & 0x80) >> 3 | address & 15
            kinds[at], sizes[at] = kind, size
        self._send(ENDPOINTS, 0, bytes(kinds) + b"\x0a" * 32 + bytes(32) + struct.pack("<32H", *sizes))
        speed = HIGH_SPEED if ends[0][2] == 512 else FULL_SPEED
        self._send(CONNECT, 0, struct.pack("<4B3H", speed, 0, 0, 0, *self._usb.usb_id, 0x0100))

    def _control(self, ident: int, body: bytes) -> None:
        end, request, kind, _, value, index, length = struct.unpack_from("<4B3H", body)
        if (kind, request) == (0x80, 6):
            data = self._descriptor(value)
        elif kind & 0x60 == 0x20:
            data = self._usb.control(kind, request, length)
        else:  # CLEAR_FEATURE and the like
            data = b"\0\0" if kind & 0x80 else b""
        status = STALL if data is None else OK
        data = (data or b"")[:length] if kind & 0x80 else b""
        count = len(data) if kind & 0x80 else length
        self._send(CONTROL, ident, struct.pack("<4B3H", end, request, kind, status, value, index, count) + data)

    def _descriptor(self, value: int) -> bytes | None:
        kind, number = value >> 8, value & 255
        descriptors = self._usb.descriptors()
        if kind in (1, 2):
            return descriptors[:18] if kind == 1 else descriptors[18:]
        strings = ["", *self._usb.strings]
        if kind != 3 or number >= len(strings):
            return None
        text = strings[number].encode("utf-16-le") if number else b"\x09\x04"
        return bytes([len(text) + 2, 3]) + text

    def _bulk(self, ident: int, body: bytes) -> None:
        end, _, low, _, high = struct.unpack_from("<BBHIH", body)
        if end & 0x80:
            self._reads.append((ident, high << 16 | low))
            return
        status = OK
        try:
            self._usb.send(body[10:])
        except Stalled:
            status = STALL
        self._send(BULK, ident, struct.pack("<BBHIH", end, status, low, 0, high))

    def _cancel(self, ident: int) -> None:
        if any(waiting == ident for waiting, _ in self._reads):
            self._reads = deque(read for read in self._reads if read[0] != ident)
            self._send(BULK, ident, struct.pack("<BBHIH", self._usb.ends[0][0], CANCELLED, 0, 0, 0))

    def _say(self) -> None:
        """Give waiting transfers what there is to say."""
        while self._reads:
            ident, length = self._reads[0]
            status = OK
            try:
                data = self._usb.receive(length)
            except Stalled:
                data, status = b"", STALL
            if data is None:
                return
            self._reads.popleft()
            head = struct.pack("<BBHIH", self._usb.ends[0][0], status, len(data) & 0xFFFF, 0, len(data) >> 16)
            self._send(BULK, ident, head + data)

    def _send(self, kind: int, ident: int, body: bytes) -> None:
        self._socket.sendall(struct.pack("<IIQ" if self._wide_ids else "<III", kind, len(body), ident) + body)

    def _receive(self) -> tuple[int, int, bytes]:
        form = "<IIQ" if self._wide_ids else "<III"
        kind, length, ident = struct.unpack(form, self._exactly(struct.calcsize(form)))
        return kind, ident, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise OSError("QEMU hung up")
            data += more
        return data
