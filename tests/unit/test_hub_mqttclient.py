"""Reading a PUBLISH: against the specification's layout, and against anything else."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.mqttclient import Delivery, parse_publish


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
