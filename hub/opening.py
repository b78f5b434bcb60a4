"""From a message's bytes to an authentic link of a station's chain, or a reason to refuse it. Pure.

1. The topic is one that a station writes. 2. The station is enrolled. 3. The bytes are one envelope. 4. The key that
was enrolled for this station signed it. 5. Its event names this station, a seq from 1 and a previous hash. What comes
after that (type, fields) is the station's word and is logged as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from custody.checkpoint import VerifyKey
from custody.envelope import EVENT_TYPE, STATEMENT_TYPE, Envelope, parse_envelope
from custody.errors import FormatError, SignatureInvalid, UnknownType
from custody.events import Event, decode_chain, decode_event
from custody.fields import load_object

Reason = Literal[
    "bad_topic", "unknown_station", "bad_format", "bad_signature", "wrong_source", "station_frozen", "fork",
    "unprocessable",
]  # fmt: skip
HTTP_TOPIC = "POST /api/v1/envelopes"
MAX_TYPE_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes as they came. `station` is whom the topic names; None over HTTP, where the envelope's key label says it."""

    topic: str
    raw: bytes
    station: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """An authentic envelope and its place in its station's chain."""

    message: Message
    station: str
    seq: int
    previous: str
    sha256: str
    event: Event | None  # None: authentic, but of a type or with fields that this version cannot read
    event_type: str
    unread: str  # why `event` is None, else ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is not taken in, and the stable code of why."""

    message: Message
    reason: Reason


def open_message(message: Message, keys: Mapping[str, VerifyKey]) -> Link | Refused:
    """Check one message; `keys` are those of the enrolled stations by id."""
    try:
        envelope = parse_envelope(message.raw)  # 3
    except FormatError:
        known = message.station is None or message.station in keys
        return Refused(message, "bad_format" if known else "unknown_station")
    station = message.station or envelope.key_label.partition("+")[0]
    key = keys.get(station)
    if key is None:  # 2
        return Refused(message, "unknown_station")
    try:
        envelope.verify(key)  # 4
        return _link(message, station, envelope)
    except SignatureInvalid:
        return Refused(message, "bad_signature")
    except FormatError:
        return Refused(message, "bad_format")


def _link(message: Message, station: str, envelope: Envelope) -> Link | Refused:
    event: Event | None = None
    unread = ""
    if envelope.payload_type not in (EVENT_TYPE, STATEMENT_TYPE):
        return Refused(message, "bad_format")  # a receipt or anything else signed by this key is no event
    try:
        event = decode_event(envelope.payload_type, envelope.payload)
        source, seq, previous, kind = event.source, event.seq, str(event.previous), event.TYPE
    except (UnknownType, FormatError) as error:
        source, seq, previous = decode_chain(envelope.payload_type, envelope.payload)
        kind, unread = _type_of(envelope), error.code
    if source != station:  # 5
        return Refused(message, "wrong_source")
    if seq < 1:
        return Refused(message, "bad_format")
    return Link(message, station, seq, previous, hashlib.sha256(message.raw).hexdigest(), event, kind, unread)


def _type_of(envelope: Envelope) -> str:
    """The type that an unreadable event claims, printable and short."""
    body = load_object(envelope.payload)
    if envelope.payload_type == STATEMENT_TYPE:
        body = body.get("predicate", {})
    kind = str(body.get("type"))[:MAX_TYPE_CHARACTERS]
    return kind if kind.isprintable() else "unknown"
