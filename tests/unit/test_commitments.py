"""Salted commitments: what an attacker with the log can do, and that no opening but the right one is taken."""

from __future__ import annotations

import hashlib
import random
import secrets
from datetime import UTC, datetime

import pytest

from custody.checkpoint import SigningKey
from custody.commitments import (
    SALT_BYTES,
    Opened,
    Opening,
    OpeningWrong,
    attach,
    check_opening,
    commit,
    committed,
    detach,
    parse_opening,
    render_opening,
    state,
)
from custody.envelope import EVENT_TYPE, Envelope, parse_envelope
from custody.errors import CustodyError, FormatError
from custody.event import NO_PREVIOUS
from custody.events import decode_event, seal_event
from custody.stationevents import CameraLeftV2, CameraOverdueV2

AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
KEY = SigningKey.from_seed("dock-1", bytes(32))
COMMON = {"id": "i", "source": "dock-1", "seq": 1, "previous": NO_PREVIOUS, "at": AT, "clock": "synchronised"}


def overdue(officer: str) -> tuple[Envelope, bytes]:
    made = state(CameraOverdueV2, secrets.token_bytes, COMMON | {"camera_id": "C", "officer": officer, "due_at": AT})
    envelope = parse_envelope(seal_event(made.event, KEY))
    return envelope, render_opening(Opening(envelope.hash.hex(), made.opened))


def test_what_an_attacker_has_does_not_tell_a_number_of_six_digits() -> None:
    """The attacker has the leaf, all million numbers and the rule. Without the salt no number is likelier than another.

    The control is the same attack with the salt known: it finds the number, as it would for a plain hash.
    """
    envelope, raw = overdue("310042")
    ((_, commitment),) = committed(envelope)[1].items()
    opening = parse_opening(raw)
    (salt,) = [one.salt for one in opening.fields]
    event = decode_event(EVENT_TYPE, envelope.payload)
    assert b"310042" not in envelope.raw + envelope.payload
    assert salt not in envelope.payload
    assert salt.hex().encode() not in envelope.payload
    numbers = [f"{number:06}" for number in range(300_000, 320_000)]  # the attacker may even know the department
    # everything in reach of whoever holds the leaf: ids, hashes and times of the event, and what is usual
    reachable = {
        bytes(32), hashlib.sha256(envelope.raw).digest(), hashlib.sha256(envelope.payload).digest(),
        bytes.fromhex(commitment), bytes.fromhex(event.previous), hashlib.sha256(event.id.encode()).digest(),
        hashlib.sha256(b"310042").digest(), envelope.signature[:32], envelope.signature[32:],
    }  # fmt: skip
    found = [n for key in reachable for n in numbers if commit(CameraOverdueV2.TYPE, "officer", n, key) == commitment]
    assert found == []
    assert [n for n in numbers if commit(CameraOverdueV2.TYPE, "officer", n, salt) == commitment] == ["310042"]


def test_equal_numbers_cannot_be_linked() -> None:
    commitments = {tuple(committed(overdue("310042")[0])[1].items()) for _ in range(200)}
    assert len(commitments) == 200


def test_no_opening_with_one_bit_changed_is_accepted() -> None:
    chance, accepted, refused = random.Random(20261124), 0, {"bad_format": 0, "opening_wrong": 0}
    for _ in range(10_000):
        envelope, raw = overdue(f"{chance.randrange(10**6):06}")
        check_opening(parse_opening(raw), envelope)  # as it is, it opens
        at = chance.randrange(len(raw) * 8)
        bent = bytearray(raw)
        bent[at // 8] ^= 1 << at % 8
        try:
            check_opening(parse_opening(bytes(bent)), envelope)
            accepted += 1
        except CustodyError as error:
            refused[error.code] += 1
    assert accepted == 0
    assert min(refused.values()) > 500, refused  # both fences were reached


def test_nobody_is_no_commitment() -> None:
    facts = {"camera_id": "C", "bay": "1", "offload": "safe", "verdict": "ready", "officer": None}
    made = state(CameraLeftV2, secrets.token_bytes, COMMON | facts)
    assert isinstance(made.event, CameraLeftV2)
    assert (made.event.officer_commitment, made.opened) == (None, ())
    assert committed(parse_envelope(seal_event(made.event, KEY)))[1] == {}


@pytest.mark.parametrize(
    ("kind", "field", "value", "salt"),
    [
        ("a.v1", "officer", "1", bytes(31)),
        ("a.v1", "officer", "1", b""),
        ("a\0b", "officer", "1", bytes(32)),
        ("a.v1", "off\0icer", "1", bytes(32)),
        ("a.v1", "", "1", bytes(32)),
        ("a.v1", "officer", "\ud800", bytes(32)),
    ],
)
def test_what_nobody_could_open_is_not_committed_to(kind: str, field: str, value: str, salt: bytes) -> None:
    with pytest.raises(FormatError):
        commit(kind, field, value, salt)


def test_neighbours_do_not_run_into_each_other() -> None:
    salt = bytes(SALT_BYTES)
    assert commit("a", "b", "c\0d", salt) != commit("a", "b", "c", salt)
    assert len({commit("ab", "c", "d", salt), commit("a", "bc", "d", salt), commit("a", "b", "cd", salt)}) == 3


def test_an_opening_of_another_envelope_with_the_same_value_shows_nothing() -> None:
    envelope, _ = overdue("310042")
    with pytest.raises(OpeningWrong):
        check_opening(parse_opening(overdue("310042")[1]), envelope)


def test_a_message_comes_apart_as_it_was_put_together() -> None:
    envelope, opening = overdue("310042")
    assert detach(attach(envelope.raw, opening)) == (envelope.raw, opening)
    assert detach(attach(envelope.raw, None)) == (envelope.raw, None)
    assert detach(envelope.raw + b"\n") == (envelope.raw, b"")


def test_an_opening_too_long_or_of_too_many_fields_is_not_written_or_read() -> None:
    with pytest.raises(FormatError):
        render_opening(Opening("0" * 64, (Opened("officer", bytes(32), "1" * 4096),)))
    many = tuple(Opened(f"f{number:02}", bytes(32), "1") for number in range(17))
    with pytest.raises(FormatError):
        parse_opening(render_opening(Opening("0" * 64, many)))
