"""Reading a PUBLISH: against the specification's layout, and against anything else."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import MQTTErrorCode

from hub.mqttclient import BufferedSocket, Client, Delivery, parse_publish


def packet(topic: bytes, packet_id: int | None, properties: bytes, payload: bytes) -> bytes:
    assert len(properties) < 128
    middle = b"" if packet_id is None else struct.pack(">H", packet_id)
    return struct.pack(">H", len(topic)) + topic + middle + bytes([len(properties)]) + properties + payload


@given(st.binary(max_size=50), st.integers(1, 65_535), st.binary(max_size=100), st.binary(max_size=300))
def test_what_was_written_is_read(topic: bytes, packet_id: int, properties: bytes, payload: bytes) -> None:
    assert parse_publish(0x32, packet(topic, packet_id, properties, payload)) == Delivery(topic, payload, packet_id)
    assert parse_publish(0x30, packet(topic, None, properties, payload)) == Delivery(topic, payload, 0)


def test_a_long_property_length() -> None:
    body = b"\x00\x01t\x00\x05" + b"\x81\x01" + b"p" * 129 + b"payload"
    assert parse_publish(0x3A, body) == Delivery(b"t", b"payload", 5)


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (0x32, b""),
        (0x32, b"\x00"),
        (0x32, b"\x00\x05top"),
        (0x32, b"\x00\x01t\x00\x05"),
        (0x32, b"\x00\x01t\x00\x05\x09abc"),
        (0x32, b"\x00\x01t\x00\x05\xff\xff\xff\xff\x01"),
        (0x34, b"\x00\x01t\x00\x05\x00payload"),
    ],
)
def test_malformed_or_unwanted_is_none(command: int, body: bytes) -> None:
    assert parse_publish(command, body) is None


@given(st.integers(0, 255), st.binary(max_size=60))
def test_nothing_raises(command: int, body: bytes) -> None:
    parse_publish(command, body)


PINGRESP = b"\xd0\x00"


def framed(body: bytes) -> bytes:
    assert len(body) < 128 * 128
    return b"\x32" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body


@settings(max_examples=100, deadline=None)
@given(
    payloads=st.lists(st.none() | st.binary(max_size=300), max_size=12),
    cuts=st.lists(st.integers(1, 700), max_size=12),
)
def test_every_delivery_arrives_once_and_in_order(payloads: list[bytes | None], cuts: list[int]) -> None:
    """However the network cuts the stream, and with other packets (None) in between."""
    taken: list[Delivery] = []
    client = Client("hub", taken.append)
    expected = [Delivery(b"t", payload, n) for n, payload in enumerate(payloads, 1) if payload is not None]
    stream = b"".join(
        PINGRESP if payload is None else framed(packet(b"t", n, b"", payload)) for n, payload in enumerate(payloads, 1)
    )
    theirs, plain = socket.socketpair()
    with theirs, BufferedSocket(plain.family, plain.type, plain.proto, plain.detach()) as ours:
        ours.setblocking(False)
        client._sock = ours
        for cut in [*cuts, len(stream)]:
            part, stream = stream[:cut], stream[cut:]
            theirs.sendall(part)
            read_all(client, ours, len(part))
        client._sock = None
    assert taken == expected


def read_all(client: Client, line: BufferedSocket, rounds: int) -> None:
    """As `loop` does: read while something is there; every round takes a byte at least."""
    for _ in range(rounds + 1):
        assert client.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert line.pending() == 0


def test_a_malformed_packet_among_others_ends_the_connection() -> None:
    taken: list[Delivery] = []
    client = Client("hub", taken.append)
    good, bad = framed(packet(b"t", 1, b"", b"payload")), framed(b"\x00\x05top")
    theirs, plain = socket.socketpair()
    with theirs:
        client._sock = BufferedSocket(plain.family, plain.type, plain.proto, plain.detach())
        client._sock.setblocking(False)
        theirs.sendall(good + good + bad + good)
        assert client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS
    assert [delivery.payload for delivery in taken] == [b"payload", b"payload"]
    assert client.socket() is None
