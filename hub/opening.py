"""From a message's bytes to an authentic link of a station's chain, or a reason to refuse it. Pure.

1. The topic is one that a station writes. 2. The station is enrolled. 3. The bytes are one envelope. 4. A key that
this station has or had signed it; whether it counts at that seq, `hub.chains` decides. 5. Its event names this station,
a seq from 1 and a previous hash. What comes after that (type, fields) is the station's word and is logged as it is.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from custody.checkpoint import VerifyKey
from custody.commitments import check_opening, detach, parse_opening
from custody.envelope import EVENT_TYPE, STATEMENT_TYPE, Envelope, parse_envelope
from custody.errors import CustodyError, FormatError, SignatureInvalid, UnknownType
from custody.event import Event
from custody.events import decode_chain, decode_event
from custody.fields import load_object
from custody.keyrotation import successor
from custody.topics import parse_station_topic
from hub.alerts.rules import signals_of
from hub.db import Row
from hub.projections import NOT_FOR_STATIONS, Draft, project
from hub.states import State, read_state
from hub.stationkeys import station_key
from hub.times import to_text

logger = logging.getLogger("hub.opening")

Reason = Literal[
    "bad_topic", "unknown_station", "bad_format", "bad_signature", "wrong_source", "station_frozen", "fork",
    "old_key", "key_revoked",
    "unprocessable", "opening_wrong",
]  # fmt: skip
StationKeys = Mapping[str, Sequence[VerifyKey]]  # of each station, by id, every key that it ever had; the last counts
HTTP_TOPIC = "POST /api/v1/envelopes"
MAX_TYPE_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes as they came. `station` is whom the topic names; None over HTTP, where the envelope's key label says it.

    `opening` came behind the envelope (`received`). It names people, so it is in no sample of what was refused.
    """

    topic: str
    raw: bytes
    station: str | None
    opening: bytes | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """An authentic envelope and its place in its station's chain."""

    message: Message
    station: str
    seq: int
    previous: str
    sha256: str
    event_type: str
    event_at: str | None  # by the station's clock, as the tables hold it; None when the event cannot be read
    draft: Draft | None  # None: authentic, but this version makes no index rows of it
    unread: str  # why `draft` is None, else ""
    key_line: str  # whose signature it carries
    next_key_line: str  # that must sign the event after it; differs only for a rotation that holds
    opened: tuple[tuple[str, bytes, bytes], ...] = ()  # field, salt and value, once they fit the envelope
    signals: tuple[Row, ...] = ()  # what it means for alerts: `hub.alerts.rules.Signal`, as plain values
    opening_wrong: bool = False  # an opening came that does not fit; the envelope is taken without it


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is not taken in, and the stable code of why."""

    message: Message
    reason: Reason


Opened = Link | State | Refused


def received(topic: str, raw: bytes, station: str | None) -> Message:
    """A message of an events topic or of HTTP, taken apart; of another topic, as it is."""
    if topic != HTTP_TOPIC and not topic.endswith("/events"):
        return Message(topic, raw, station)
    envelope, opening = detach(raw)
    return Message(topic, envelope, station, opening)


def open_all(messages: Sequence[Message], keys: StationKeys, utc_offset_minutes: int) -> list[Opened]:
    """Check messages of any topic, in order; `keys` are those of the enrolled stations by id.

    What follows a rotation among these messages is opened with the new key already.
    """
    known, opened = dict(keys), []
    for message in messages:
        one = _open_safely(message, known, utc_offset_minutes)
        if isinstance(one, Link) and one.next_key_line != one.key_line:
            known[one.station] = (*known[one.station], station_key(one.next_key_line))
        opened.append(one)
    return opened


def _open_safely(message: Message, keys: StationKeys, utc_offset_minutes: int) -> Opened:
    try:
        return _open_one(message, keys, utc_offset_minutes)
    except Exception:  # a fault of ours in reading one message must not stop the others, for ever and again
        logger.exception("message_unprocessable bytes=%d", len(message.raw))
        return Refused(message, "unprocessable")


def _open_one(message: Message, keys: StationKeys, utc_offset_minutes: int) -> Opened:
    if message.topic == HTTP_TOPIC:
        return open_message(message, keys, utc_offset_minutes)
    try:
        name, channel, bay = parse_station_topic(message.topic)
    except FormatError:
        return Refused(message, "bad_topic")
    if channel == "events":
        return open_message(message, keys, utc_offset_minutes)
    if channel not in ("state", "bay"):  # answers of witnesses have another way in: `hub.witnesses.asking`
        return Refused(message, "bad_topic")
    if name not in keys:
        return Refused(message, "unknown_station")
    try:
        return read_state(name, bay, message.raw)
    except FormatError:
        return Refused(message, "bad_format")


def open_message(message: Message, keys: StationKeys, utc_offset_minutes: int) -> Link | Refused:
    """Check one envelope; `keys` are those of the enrolled stations by id."""
    try:
        envelope = parse_envelope(message.raw)  # 3
    except FormatError:
        known = message.station is None or message.station in keys
        return Refused(message, "bad_format" if known else "unknown_station")
    station = message.station or envelope.key_label.partition("+")[0]
    had = keys.get(station)
    if had is None:  # 2
        return Refused(message, "unknown_station")
    key = next((one for one in had if one.label == envelope.key_label), had[-1])
    try:
        envelope.verify(key)  # 4
        return _link(message, station, key, envelope, utc_offset_minutes)
    except SignatureInvalid:
        return Refused(message, "bad_signature")
    except FormatError:
        return Refused(message, "bad_format")


def _link(
    message: Message, station: str, key: VerifyKey, envelope: Envelope, utc_offset_minutes: int
) -> Link | Refused:
    if envelope.payload_type not in (EVENT_TYPE, STATEMENT_TYPE):
        return Refused(message, "bad_format")  # a receipt or anything else signed by this key is no event
    draft, at, follows = None, None, None
    signals: tuple[Row, ...] = ()
    try:
        event = decode_event(envelope.payload_type, envelope.payload)
        source, seq, previous, kind, at = event.source, event.seq, str(event.previous), event.TYPE, to_text(event.at)
        draft, unread = draft_of(event, utc_offset_minutes)
        signals = tuple(signal.plain for signal in signals_of(event)) if draft else ()
        follows = successor(event, key)
    except (UnknownType, FormatError) as error:
        source, seq, previous = decode_chain(envelope.payload_type, envelope.payload)
        kind, unread = claimed_type(envelope), error.code
    if source != station:  # 5
        return Refused(message, "wrong_source")
    if seq < 1:
        return Refused(message, "bad_format")
    digest, next_line = hashlib.sha256(message.raw).hexdigest(), (follows or key).line
    opened, wrong = _open(message.opening, envelope)
    lines = key.line, next_line
    return Link(message, station, seq, previous, digest, kind, at, draft, unread, *lines, opened, signals, wrong)


def _open(raw: bytes | None, envelope: Envelope) -> tuple[tuple[tuple[str, bytes, bytes], ...], bool]:
    """What an opening shows, and whether there is one that does not fit its envelope, whose signature was checked."""
    if raw is None:
        return (), False
    try:
        opening = parse_opening(raw)
        check_opening(opening, envelope)
    except CustodyError:  # whoever stands between station and hub could add one: the envelope must not suffer
        return (), True
    return tuple((one.field, one.salt, one.value.encode()) for one in opening.fields), False


def draft_of(event: Event, utc_offset_minutes: int) -> tuple[Draft | None, str]:
    """The event's rows, or why there are none."""
    try:
        draft = project(event, utc_offset_minutes)
    except Exception:  # a fault of ours: the event is authentic, so the log gets it all the same
        logger.exception("projection_failed source=%s seq=%d", event.source, event.seq)
        return None, "projection_failed"
    return draft, "" if draft else NOT_FOR_STATIONS


def claimed_type(envelope: Envelope) -> str:
    """The type that an unreadable event claims, printable and short."""
    body = load_object(envelope.payload)
    if envelope.payload_type == STATEMENT_TYPE:
        body = body.get("predicate", {})
    kind = str(body.get("type"))[:MAX_TYPE_CHARACTERS]
    return kind if kind.isprintable() else "unknown"
