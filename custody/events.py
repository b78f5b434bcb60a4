"""Every event that a station or the hub can state, and the exact bytes of each. See ``custody/spec/events.md``.

An event is a frozen dataclass; `encode_event` gives the exact bytes that are signed and `decode_event` reads them
back. Unknown fields are ignored (the bytes keep them); unknown types raise `UnknownType`. A published version is
never edited: a change adds ``.v2``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from custody.checkpoint import SigningKey
from custody.envelope import EVENT_TYPE, STATEMENT_TYPE, seal
from custody.errors import FormatError, UnknownType
from custody.event import NO_PREVIOUS, Event, Sha256Hex
from custody.fields import dump_json, load_object, read_fields, write_fields
from custody.hubevents import HUB_EVENTS
from custody.stationevents import STATION_EVENTS, SegmentSealed

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE_PREFIX = "urn:custodock:event:"
EVENTS: dict[str, type[Event]] = {cls.TYPE: cls for cls in (*STATION_EVENTS, *HUB_EVENTS)}


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where a source's chain stands: number and hash of its last envelope."""

    seq: int = 0
    hash_hex: Sha256Hex = field(default=NO_PREVIOUS)


def encode_event(event: Event) -> tuple[str, bytes]:
    """Payload type and exact payload bytes of an event.

    Raises FormatError for any value that `decode_event` would refuse: what is signed enters the chain and can never be
    left out, so an event that no reader takes would block its source's outbox for good. It is refused here, while its
    source can still say it otherwise.
    """
    body = write_fields(event) | {"type": event.TYPE}
    if not isinstance(event, SegmentSealed):
        return EVENT_TYPE, dump_json(body)
    subject = {"name": body.pop("vault_path"), "digest": {"sha256": body.pop("sha256")}}
    statement = {
        "_type": STATEMENT,
        "subject": [subject],
        "predicateType": PREDICATE_PREFIX + event.TYPE,
        "predicate": body,
    }
    return STATEMENT_TYPE, dump_json(statement)


def seal_event(event: Event, key: SigningKey) -> bytes:
    """The signed envelope of an event. Raises FormatError when it is too long or no reader would take it."""
    payload_type, payload = encode_event(event)
    return seal(payload_type, payload, key)


def decode_event(payload_type: str, payload: bytes) -> Event:
    """Read an event from a payload whose signature was checked. Raises FormatError or UnknownType."""
    body = load_object(payload)
    if payload_type == STATEMENT_TYPE:
        body = _from_statement(body)
    elif payload_type != EVENT_TYPE:
        raise UnknownType(f"payload type {payload_type[:80]!r}")
    kind = body.get("type")
    cls = EVENTS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise UnknownType(f"event type {str(kind)[:80]!r}")
    if (cls is SegmentSealed) != (payload_type == STATEMENT_TYPE):
        raise FormatError(f"{cls.TYPE} does not travel as {payload_type}")
    return read_fields(cls, body, cls.TYPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """What places an event of any type in its source's chain."""

    source: str
    seq: int
    previous: Sha256Hex


def decode_chain(payload_type: str, payload: bytes) -> tuple[str, int, str]:
    """Source, seq and previous hash of any event, known type or not. Raises FormatError."""
    body = load_object(payload)
    chain = read_fields(_Chain, body.get("predicate") if payload_type == STATEMENT_TYPE else body, "event")
    return chain.source, chain.seq, chain.previous


def _from_statement(body: dict[str, Any]) -> dict[str, Any]:
    try:
        [subject], predicate = body["subject"], body["predicate"]
        name, sha256 = subject["name"], subject["digest"]["sha256"]
        kind = predicate.get("type")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FormatError("not an in-toto statement about one file") from None
    if body.get("_type") != STATEMENT or body.get("predicateType") != f"{PREDICATE_PREFIX}{kind}":
        raise FormatError("the statement's types do not fit its predicate")
    return {**predicate, "vault_path": name, "sha256": sha256}
