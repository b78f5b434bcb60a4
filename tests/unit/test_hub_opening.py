"""From bytes to an authentic link, or a reason: nothing foreign may raise or pass."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.envelope import EVENT_TYPE, RECEIPT_TYPE
from hub.opening import HTTP_TOPIC, Link, Message, Refused, open_message
from tests.bench.stations import SigningStation

DOCK = SigningStation("dock-1")
KEYS = {"dock-1": (DOCK.key.verify_key,)}
TOPIC = "custodock/1/dock-1/events"


def reason(raw: bytes, station: str | None = "dock-1") -> str:
    opened = open_message(Message(TOPIC, raw, station), KEYS, 480)
    return opened.reason if isinstance(opened, Refused) else "link"


def body(**changes: object) -> bytes:
    facts = {"source": "dock-1", "seq": 1, "previous": "0" * 64, "type": "moon.risen.v7"}
    return json.dumps(facts | changes).encode()


def test_an_authentic_event_is_a_link() -> None:
    raw = SigningStation("dock-1").started()
    opened = open_message(Message(TOPIC, raw, "dock-1"), KEYS, 480)
    assert isinstance(opened, Link)
    assert (opened.station, opened.seq, opened.event_type, opened.unread) == ("dock-1", 1, "station.started.v1", "")


def test_over_http_the_key_label_says_whose_it_is() -> None:
    raw = SigningStation("dock-1").started()
    assert isinstance(open_message(Message(HTTP_TOPIC, raw, None), KEYS, 480), Link)
    assert reason(SigningStation("dock-2").started(), None) == "unknown_station"


def test_an_unknown_type_is_a_link_without_event() -> None:
    opened = open_message(Message(TOPIC, SigningStation("dock-1").seal_raw(EVENT_TYPE, body()), "dock-1"), KEYS, 480)
    assert isinstance(opened, Link)
    assert (opened.draft, opened.event_type, opened.unread) == (None, "moon.risen.v7", "unknown_type")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (body(source="dock-2"), "wrong_source"),
        (body(seq=0), "bad_format"),
        (body(seq=-1), "bad_format"),
        (body(seq=1.0), "bad_format"),
        (body(seq=True), "bad_format"),
        (body(previous="0" * 63), "bad_format"),
        (body(previous="A" * 64), "bad_format"),
        (b"[]", "bad_format"),
        (b"", "bad_format"),
        (b"\xff", "bad_format"),
        (b'{"seq":1,"seq":2,"source":"dock-1","previous":"' + b"0" * 64 + b'"}', "bad_format"),
        (b"[" * 20_000, "bad_format"),
    ],
)
def test_authentic_bytes_that_name_no_place_in_the_chain(payload: bytes, expected: str) -> None:
    assert reason(SigningStation("dock-1").seal_raw(EVENT_TYPE, payload)) == expected


def test_a_receipt_type_is_no_event() -> None:
    assert reason(SigningStation("dock-1").seal_raw(RECEIPT_TYPE, body())) == "bad_format"


def test_another_stations_envelope_on_this_topic() -> None:
    assert reason(SigningStation("dock-2").started()) == "bad_signature"


def test_every_single_flipped_bit_is_refused() -> None:
    raw = SigningStation("dock-1").started()
    for place in range(0, len(raw), 7):
        changed = raw[:place] + bytes([raw[place] ^ 1 << place % 8]) + raw[place + 1 :]
        assert reason(changed) in ("bad_format", "bad_signature")


@given(st.binary(max_size=200))
def test_garbage_is_refused(raw: bytes) -> None:
    assert reason(raw) == "bad_format"
    assert reason(raw, "nobody") == "unknown_station"
