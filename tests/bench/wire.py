"""As little MQTT 5 as a load generator needs: a client library would cost more than the broker and hide the hub."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator


def connect(port: int, client_id: str) -> socket.socket:
    """A connected session on 127.0.0.1. Raises ConnectionError when the broker refuses."""
    line = socket.create_connection(("127.0.0.1", port), timeout=30)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = _text("MQTT") + bytes([5, 2]) + struct.pack(">H", 600) + b"\x00" + _text(client_id)
    line.sendall(b"\x10" + _length(len(body)) + body)
    kind, answer = next(packets(line))
    if kind >> 4 != 2 or answer[1] != 0:
        raise ConnectionError(f"the broker refused {client_id}: {answer!r}")
    return line


def publish(topic: str, packet_id: int, payload: bytes) -> bytes:
    """A QoS 1 PUBLISH."""
    body = _text(topic) + struct.pack(">H", packet_id) + b"\x00" + payload
    return b"\x32" + _length(len(body)) + body


def subscribe(line: socket.socket, topic: str) -> None:
    """Subscribe with QoS 0 and wait for the broker's answer."""
    body = struct.pack(">H", 1) + b"\x00" + _text(topic) + b"\x00"
    line.sendall(b"\x82" + _length(len(body)) + body)
    next(packets(line))


def packets(line: socket.socket) -> Iterator[tuple[int, bytes]]:
    """First byte and body of each packet received. Raises ConnectionError when the broker hangs up."""
    held = bytearray()
    while True:
        while (cut := _cut(held)) is not None:
            start, end = cut
            packet = held[0], bytes(held[start:end])
            del held[:end]
            yield packet
        got = line.recv(256 * 1024)
        if not got:
            raise ConnectionError("the broker closed the connection")
        held += got


def payload_of(body: bytes) -> bytes:
    """The payload of a QoS 0 PUBLISH without properties."""
    topic_bytes = int.from_bytes(body[:2])
    properties_at = 2 + topic_bytes
    return body[properties_at + 1 + body[properties_at] :]


def _cut(held: bytearray) -> tuple[int, int] | None:
    """Where the first packet's body starts and ends, once it is whole."""
    length = shift = 0
    for place in range(1, min(len(held), 5)):
        length |= (held[place] & 127) << shift
        if not held[place] & 128:
            end = place + 1 + length
            return (place + 1, end) if len(held) >= end else None
        shift += 7
    return None


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def _length(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)
