"""paho's MQTT 5 client with shorter ways for what happens thousands of times a second.

Measured per message: paho reads a packet in four or more system calls and waits on the socket before each, builds a
properties object of six dictionaries though nobody looks at it, and sends each acknowledgement by itself; together more
than checking a signature costs.
Everything else (connecting, keep-alive, TLS, publishing, retries) is paho's. The overridden methods are not part of its
public interface: `tests/integration/test_mqtt.py` runs them against a real broker, and the lock file pins the version.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MessageType, MQTTErrorCode

from hub.settings import Settings

_READ_AHEAD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Delivery:
    """One PUBLISH. `packet_id` is 0 for QoS 0 and belongs to the connection it came on."""

    topic: bytes
    payload: bytes
    packet_id: int


def tls_context(settings: Settings) -> ssl.SSLContext:
    """For mqtts: the authority and our certificate. Raises OSError for files that cannot be read."""
    context = ssl.create_default_context(cafile=settings.mqtt_ca or None)
    if settings.mqtt_cert:
        context.load_cert_chain(Path(settings.mqtt_cert), Path(settings.mqtt_key) if settings.mqtt_key else None)
    return context


class BufferedSocket(socket.socket):
    """A socket that reads ahead. paho looks at `pending` before it waits, as it does for TLS: nothing is left lying."""

    _ahead: memoryview = memoryview(b"")

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Up to `size` bytes, out of what was read ahead first."""
        if not self._ahead:
            self._ahead = memoryview(super().recv(max(size, _READ_AHEAD_BYTES), flags))
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        return bytes(taken)

    def pending(self) -> int:
        """Bytes that were read ahead."""
        return len(self._ahead)

    def next_publish(self) -> tuple[int, bytes] | None:
        """First byte and body of the next packet, when it is a PUBLISH of which all was read ahead."""
        ahead = self._ahead
        if not ahead or ahead[0] & 0xF0 != MessageType.PUBLISH:
            return None
        length = read_length(ahead, 1)
        if length is None or len(ahead) < sum(length):
            return None
        size, start = length
        self._ahead = ahead[start + size :]
        return ahead[0], bytes(ahead[start : start + size])


class Client(mqtt.Client):
    """An MQTT 5 client that hands every PUBLISH to `deliver` and acknowledges only by `ack_all`."""

    def __init__(self, client_id: str, deliver: Callable[[Delivery], None]) -> None:
        """`deliver` is called within `loop`."""
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, manual_ack=True)
        self._deliver = deliver

    def ack_all(self, packet_ids: Sequence[int]) -> None:
        """Acknowledge QoS 1 deliveries of this connection, in one write."""
        packets = b"".join(struct.pack(">BBH", MessageType.PUBACK, 2, packet_id) for packet_id in packet_ids)
        if packets:
            self._packet_queue(MessageType.PUBACK, packets, 0, 1)

    def _create_socket_connection(self) -> socket.socket:
        plain = super()._create_socket_connection()
        if self._ssl:
            return plain  # a TLS socket reads ahead by itself, record by record
        timeout = plain.gettimeout()
        buffered = BufferedSocket(plain.family, plain.type, plain.proto, plain.detach())
        buffered.settimeout(timeout)
        return buffered

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Read as paho does, then take every whole PUBLISH that was read ahead with it."""
        done = super().loop_read(max_packets)
        line = self._sock
        if done != MQTTErrorCode.MQTT_ERR_SUCCESS or not isinstance(line, BufferedSocket) or self._in_packet["command"]:
            return done  # lost, TLS, or in the middle of a packet
        while (packet := line.next_publish()) is not None:
            done = self._take_publish(*packet)
            if done != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return self._loop_rc_handle(done)
        return done

    def _handle_publish(self) -> MQTTErrorCode:
        return self._take_publish(self._in_packet["command"], bytes(self._in_packet["packet"]))

    def _take_publish(self, command: int, body: bytes) -> MQTTErrorCode:
        delivery = parse_publish(command, body)
        if delivery is None:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        self._deliver(delivery)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def parse_publish(command: int, body: bytes) -> Delivery | None:
    """Read a PUBLISH of MQTT 5 (section 3.3); None when it is malformed or of QoS 2, which we never ask for."""
    qos = command >> 1 & 3
    topic_end = 2 + int.from_bytes(body[:2])
    properties = read_length(body, topic_end + (2 if qos else 0))
    if properties is None or sum(properties) > len(body) or qos > 1:
        return None
    packet_id = int.from_bytes(body[topic_end : topic_end + 2]) if qos else 0
    return Delivery(body[2:topic_end], body[sum(properties) :], packet_id)


def read_length(held: bytes | memoryview, place: int) -> tuple[int, int] | None:
    """The variable byte integer at `place` (section 1.5.5) and where it ends; None when malformed or not whole."""
    value = 0
    for n, byte in enumerate(held[place : place + 4]):
        value |= (byte & 127) << 7 * n
        if not byte & 128:
            return value, place + n + 1
    return None
