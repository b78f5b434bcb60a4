"""A PTP camera in software, on QEMU's usb-redir device: any vendor and product, a battery, files, reads that fail.

    camera = PtpCamera(folder, vendor=0x2672, product=0x0059, names=("GoPro", "HERO12", "C350132"), battery=80)
    plugged = lab.plug_camera(camera, slot=4)
    camera.battery = 15
    camera.fail_after(100_000)        # bytes from now, then every read stalls

Speaks the usbredir protocol and, of PTP (ISO 15740), what listing and copying need. Read-only; the folder is listed
when the camera is plugged.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable
from pathlib import Path

_OK, _STALL = 0, 4
_IN, _OUT, _INTERRUPT = 0x81, 0x02, 0x83
_ENDPOINTS = ((_IN, 2, 64), (_OUT, 2, 64), (_INTERRUPT, 3, 8))
# usbredir packets and capabilities
_HELLO, _CONNECT, _INTERFACES, _ENDPOINT_INFO, _SET_CONFIG, _CONFIG, _SET_ALT, _ALT = 0, 1, 4, 5, 6, 8, 9, 11
_START_INTERRUPT, _STOP_INTERRUPT, _INTERRUPT_STATUS, _CONTROL, _BULK = 15, 16, 17, 100, 101
_CAPABILITIES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6  # device version, packet sizes, 64-bit ids, long bulk packets
_WIDE_IDS = 1 << 5
# PTP
_RESPONSE_OK, _NOT_SUPPORTED, _NO_SUCH_OBJECT, _NO_SUCH_PROPERTY = 0x2001, 0x2005, 0x2009, 0x200A
_BATTERY, _FOLDER, _UNDEFINED, _ROOT = 0x5001, 0x3001, 0x3000, 0xFFFFFFFF
_FORMATS = {".mp4": 0xB982, ".mov": 0x300D, ".avi": 0x300A, ".jpg": 0x3801}
_STORAGE = 0x10001

Answer = bytes | int  # data, or a response code alone


class PtpCamera:
    """One camera; plug it once at a time."""

    def __init__(
        self, folder: Path, *, vendor: int = 0x2672, product: int = 0x0059,
        names: tuple[str, str, str] = ("GoPro", "HERO12", "PTP0001"), battery: int = 80,
    ) -> None:  # fmt: skip
        """`names`: maker, model, serial. `battery`: percent, may be changed while plugged."""
        self.battery = battery
        self._folder, self._ids, self._names = folder, (vendor, product), names
        self._objects: list[tuple[Path, int]] = []  # path and parent's handle; a handle is index + 1
        self._fail_at: int | None = None
        self._sent = 0
        self._wire: _Wire | None = None
        self._operations = {
            0x1001: self._device_info, 0x1002: self._session, 0x1003: self._session, 0x1004: self._storage_ids,
            0x1005: self._storage_info, 0x1007: self._handles, 0x1008: self._object_info, 0x1009: self._object,
            0x101B: self._partial_object, 0x1014: self._property_description, 0x1015: self._property_value,
        }  # fmt: skip

    def fail_after(self, more_bytes: int) -> None:
        """Stall every bulk read once so many more bytes were sent."""
        self._fail_at = self._sent + more_bytes

    def serve(self, connection: socket.socket) -> None:
        """Answer QEMU until it hangs up, in a thread of its own."""
        self._objects = []
        self._list(self._folder, 0)
        threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _list(self, folder: Path, parent: int) -> None:
        for path in sorted(folder.iterdir()):
            self._objects.append((path, parent))
            if path.is_dir():
                self._list(path, len(self._objects))

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            wire = self._wire = _Wire(connection)
            reads: list[tuple[int, int]] = []  # requests that wait for something to say: id, bytes wanted
            waiting: list[bytes] = []  # transfers to say
            wire.send(_HELLO, 0, b"custodock ptp_camera".ljust(64, b"\0") + struct.pack("<I", _CAPABILITIES))
            while True:
                kind, ident, body = wire.receive()
                if kind == _BULK:
                    endpoint, _, low, _, high = struct.unpack_from("<BBHIH", body)
                    if endpoint & 0x80:
                        reads.append((ident, high << 16 | low))
                    else:
                        wire.send(_BULK, ident, struct.pack("<BBHIH", endpoint, _OK, low, 0, high))
                        waiting += self._command(body[10:])
                    self._say(reads, waiting)
                else:
                    self._manage(kind, ident, body)

    def _manage(self, kind: int, ident: int, body: bytes) -> None:
        assert self._wire is not None
        send = self._wire.send
        if kind == _HELLO:
            self._wire.wide = bool(struct.unpack_from("<I", body, 64)[0] & _WIDE_IDS)
            self._introduce()
        elif kind == _SET_CONFIG:
            send(_CONFIG, ident, bytes([_OK, body[0]]))
        elif kind == _SET_ALT:
            send(_ALT, ident, bytes([_OK, body[0], body[1]]))
        elif kind in (_START_INTERRUPT, _STOP_INTERRUPT):
            send(_INTERRUPT_STATUS, ident, bytes([_OK, body[0]]))
        elif kind == _CONTROL:
            endpoint, request, type_, _, value, index, want = struct.unpack_from("<4B3H", body)
            data = self._control(type_, request, value)
            status, data = (_STALL, b"") if data is None else (_OK, data[:want])
            length = len(data) if type_ & 0x80 else want
            head = struct.pack("<4B3H", endpoint, request, type_, status, value, index, length)
            send(_CONTROL, ident, head + data)

    def _introduce(self) -> None:
        assert self._wire is not None
        pad = bytes(31)
        interface = struct.pack("<I", 1) + bytes(32) + b"\x06" + pad + b"\x01" + pad + b"\x01" + pad
        self._wire.send(_INTERFACES, 0, interface)
        types, sizes = bytearray(b"\xff" * 32), [0] * 32
        for endpoint, kind, size in ((0, 0, 64), (0x80, 0, 64), *_ENDPOINTS):
            at = (endpoint & 0x80) >> 3 | endpoint & 15
            types[at], sizes[at] = kind, size
        packed = bytes(types) + b"\x0a" * 32 + bytes(32) + struct.pack("<32H", *sizes)
        self._wire.send(_ENDPOINT_INFO, 0, packed)
        self._wire.send(_CONNECT, 0, struct.pack("<4B3H", 1, 0, 0, 0, *self._ids, 0x0100))  # full speed

    def _say(self, reads: list[tuple[int, int]], waiting: list[bytes]) -> None:
        """Give waiting reads what there is to say; a short answer ends a transfer."""
        assert self._wire is not None
        while reads and waiting:
            ident, want = reads.pop(0)
            data, waiting[0] = waiting[0][:want], waiting[0][want:]
            if not waiting[0]:
                waiting.pop(0)
            self._sent += len(data)
            failed = self._fail_at is not None and self._sent > self._fail_at
            status, data = (_STALL, b"") if failed else (_OK, data)
            head = struct.pack("<BBHIH", _IN, status, len(data) & 0xFFFF, 0, len(data) >> 16)
            self._wire.send(_BULK, ident, head + data)

    def _control(self, type_: int, request: int, value: int) -> bytes | None:
        if type_ & 0x60 == 0x20:  # PTP's own: device status, reset, cancel
            return struct.pack("<HH", 4, _RESPONSE_OK) if request == 0x67 else b""
        if (type_, request) != (0x80, 6):
            return b"\0\0" if type_ & 0x80 else b""
        kind, number = value >> 8, value & 0xFF
        if kind == 1:
            return struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 64, *self._ids, 0x0100, 1, 2, 3, 1)
        if kind == 2:
            ends = b"".join(struct.pack("<BBBBHB", 7, 5, at, how, size, 10) for at, how, size in _ENDPOINTS)
            interface = struct.pack("<9B", 9, 4, 0, 0, 3, 6, 1, 1, 2)
            return struct.pack("<BBHBBBBB", 9, 2, 18 + len(ends), 1, 1, 0, 0xC0, 50) + interface + ends
        if kind == 3 and number < 4:
            text = self._names[number - 1].encode("utf-16-le") if number else b"\x09\x04"
            return bytes([len(text) + 2, 3]) + text
        return None

    # --- PTP ----------------------------------------------------------------------------------------------------------

    def _command(self, data: bytes) -> list[bytes]:
        """The transfers that answer one command container."""
        _, kind, code, transaction = struct.unpack_from("<IHHI", data)
        if kind != 1:
            return []
        arguments = [*struct.unpack_from(f"<{(len(data) - 12) // 4}I", data, 12), 0, 0, 0, 0, 0]
        operation = self._operations.get(code)
        answer: Answer = operation(arguments) if operation else _NOT_SUPPORTED
        said = []
        if isinstance(answer, bytes):
            said.append(struct.pack("<IHHI", 12 + len(answer), 2, code, transaction) + answer)
            if (12 + len(answer)) % 64 == 0:
                said.append(b"")
            answer = _RESPONSE_OK
        return [*said, struct.pack("<IHHI", 12, 3, answer, transaction)]

    def _device_info(self, _: list[int]) -> Answer:
        formats = sorted({_FOLDER, _UNDEFINED, *_FORMATS.values()})
        lists = [_array("H", items) for items in (self._operations, [], [_BATTERY], [], formats)]
        maker, model, serial = self._names
        texts = b"".join(_text(t) for t in (maker, model, "1.0", serial))
        return struct.pack("<HIH", 100, 0, 0) + _text("") + struct.pack("<H", 0) + b"".join(lists) + texts

    def _session(self, _: list[int]) -> Answer:
        return _RESPONSE_OK

    def _storage_ids(self, _: list[int]) -> Answer:
        return _array("I", [_STORAGE])

    def _storage_info(self, _: list[int]) -> Answer:
        removable_hierarchical_read_only = (4, 3, 1)
        head = struct.pack("<HHHQQI", *removable_hierarchical_read_only, 64 << 30, 1 << 30, 0xFFFFFFFF)
        return head + _text("SD card") + _text("")

    def _handles(self, arguments: list[int]) -> Answer:
        parent = arguments[2]
        wanted = 0 if parent == _ROOT else parent
        listed = enumerate(self._objects, 1)
        return _array("I", [handle for handle, (_, up) in listed if parent == 0 or up == wanted])

    def _object_info(self, arguments: list[int]) -> Answer:
        if not 0 < arguments[0] <= len(self._objects):
            return _NO_SUCH_OBJECT
        path, parent = self._objects[arguments[0] - 1]
        facts, folder = path.stat(), path.is_dir()
        when = _text(time.strftime("%Y%m%dT%H%M%S", time.gmtime(facts.st_mtime)))
        kind = _FOLDER if folder else _FORMATS.get(path.suffix.lower(), _UNDEFINED)
        size = 0 if folder else min(facts.st_size, 0xFFFFFFFF)
        head = struct.pack("<IHHIHIIIIIIIHII", _STORAGE, kind, 1, size, *[0] * 7, parent, int(folder), 0, 0)
        return head + _text(path.name) + when + when + _text("")

    def _object(self, arguments: list[int]) -> Answer:
        if not 0 < arguments[0] <= len(self._objects):
            return _NO_SUCH_OBJECT
        return self._objects[arguments[0] - 1][0].read_bytes()

    def _partial_object(self, arguments: list[int]) -> Answer:
        handle, offset, size = arguments[:3]
        if not 0 < handle <= len(self._objects):
            return _NO_SUCH_OBJECT
        with self._objects[handle - 1][0].open("rb") as file:
            return os.pread(file.fileno(), size, offset)

    def _property_description(self, arguments: list[int]) -> Answer:
        if arguments[0] != _BATTERY:
            return _NO_SUCH_PROPERTY
        return struct.pack("<HHBBBBBBB", _BATTERY, 2, 0, 100, self.battery, 1, 0, 100, 1)

    def _property_value(self, arguments: list[int]) -> Answer:
        return bytes([self.battery]) if arguments[0] == _BATTERY else _NO_SUCH_PROPERTY


class _Wire:
    """usbredir framing."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.wide = False  # 64-bit ids, once agreed

    def send(self, kind: int, ident: int, data: bytes) -> None:
        head = struct.pack("<IIQ" if self.wide else "<III", kind, len(data), ident)
        self._connection.sendall(head + data)

    def receive(self) -> tuple[int, int, bytes]:
        form = struct.Struct("<IIQ" if self.wide else "<III")
        kind, length, ident = form.unpack(self._exactly(form.size))
        return kind, ident, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._connection.recv(count - len(data))
            if not more:
                raise ConnectionResetError("QEMU hung up")
            data += more
        return data


def _text(text: str) -> bytes:
    return bytes([len(text) + 1]) + (text + "\0").encode("utf-16-le") if text else b"\0"


def _array(kind: str, items: Iterable[int]) -> bytes:
    listed = [*items]
    return struct.pack(f"<I{len(listed)}{kind}", len(listed), *listed)
