"""A software camera on TCP, as CIPA DC-005 (PTP/IP) says: what libgphoto2 speaks at a port `ptpip:HOST`."""

from __future__ import annotations

import socket
import struct
import threading
from types import TracebackType
from typing import Self

from tests.ptp.camera import SoftCamera
from tests.ptp.responder import Responder, Stalled, Unplugged

INIT, INIT_ACK, EVENT_INIT, EVENT_ACK, COMMAND, RESPONSE, START, DATA, END = 1, 2, 3, 4, 6, 7, 9, 10, 12


class PtpIp:
    """Serves one camera to one host after the other on a loopback port: `with PtpIp(camera) as served: served.port`."""

    def __init__(self, camera: SoftCamera, port: int = 0) -> None:
        self._camera = camera
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                commands, _ = self._listener.accept()
            except OSError:
                return
            with commands:
                try:
                    _receive(commands)
                    name = "softcam\0".encode("utf-16-le")
                    _send(commands, INIT_ACK, struct.pack("<I", 1) + bytes(16) + name + struct.pack("<I", 0x10000))
                    events, _ = self._listener.accept()
                    with events:
                        _receive(events)
                        _send(events, EVENT_ACK, b"")
                        self._serve(commands)
                except OSError:
                    continue

    def _serve(self, commands: socket.socket) -> None:
        responder = Responder(self._camera)
        while True:
            kind, body = _receive(commands)
            if kind != COMMAND:
                continue
            _, code, transaction = struct.unpack_from("<IHI", body)
            answer = responder.answer(code, struct.unpack_from(f"<{(len(body) - 10) // 4}I", body, 10))
            try:
                if answer.length is not None:
                    _send(commands, START, struct.pack("<IQ", transaction, answer.length))
                    last = b""  # travels in the packet that ends the data
                    for piece in filter(None, answer.pieces):
                        if last:
                            _send(commands, DATA, struct.pack("<I", transaction) + last)
                        last = piece
                    _send(commands, END, struct.pack("<I", transaction) + last)
            except (Stalled, Unplugged):
                return
            parameters = struct.pack(f"<{len(answer.parameters)}I", *answer.parameters)
            _send(commands, RESPONSE, struct.pack("<HI", answer.code, transaction) + parameters)


def _send(to: socket.socket, kind: int, body: bytes) -> None:
    to.sendall(struct.pack("<II", len(body) + 8, kind) + body)


def _receive(source: socket.socket) -> tuple[int, bytes]:
    length, kind = struct.unpack("<II", _exactly(source, 8))
    return kind, _exactly(source, length - 8)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = source.recv(count - len(data))
        if not more:
            raise OSError("the host hung up")
        data += more
    return data
