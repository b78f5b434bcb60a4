"""Every event that a station or the hub can state, defined once. See ``custody/spec/events.md``.

An event is a frozen dataclass; `encode_event` gives the exact bytes that are signed and `decode_event` reads them
back. Unknown fields are ignored (the bytes keep them); unknown types raise `UnknownType`. A published version is
never edited: a change adds ``.v2``.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar, Literal, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from custody.checkpoint import SigningKey
from custody.envelope import EVENT_TYPE, STATEMENT_TYPE, seal
from custody.errors import FormatError, UnknownType

Sha256Hex = NewType("Sha256Hex", str)
Clock = Literal["synchronised", "unsynchronised", "unknown"]
NO_PREVIOUS = Sha256Hex("0" * 64)
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE_PREFIX = "urn:custodock:event:"
MAX_SEALED_GAPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Bytes that the source could not give; the copy holds zeros there."""

    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What the container says of itself; None where it says nothing."""

    container: str | None = None
    duration_ms: int | None = None
    started_at: str | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    width: int | None = None
    height: int | None = None
    truncated: bool | None = None
    playable: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of every entry of a card; `listed` is the sum of copied, already_saved and failed."""

    listed: int
    copied: int
    already_saved: int
    failed: int
    skipped: int
    deleted_seen: int
    unreadable: int
    bytes_copied: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Fields that every event carries."""

    TYPE: ClassVar[str] = ""
    id: str  # UUIDv7
    source: str  # station id, or the hub's name
    seq: int  # gapless from 1 per source
    previous: Sha256Hex  # SHA-256 of the source's previous envelope; zeros for the first
    at: datetime  # aware UTC, by the source's clock
    clock: Clock  # whether that clock was synchronised


@dataclass(frozen=True, slots=True, kw_only=True)
class StationStarted(Event):
    """The agent came up."""

    TYPE = "station.started.v1"
    software: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DockingStarted(Event):
    """A camera, card or folder in a bay is about to be offloaded."""

    TYPE = "docking.started.v1"
    docking_id: str
    camera_id: str
    bay: str
    source_kind: Literal["folder", "image", "block_device"]
    file_systems: tuple[str, ...]
    labels: tuple[str, ...]
    volume_ids: tuple[str, ...]
    source_bytes: int | None
    new_files: int
    new_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSealed(Event):
    """A segment was copied, fsynced, read back from the disk, and its digests fixed.

    Travels as an in-toto Statement v1: `vault_path` and `sha256` are its subject, the rest its predicate.
    """

    TYPE = "segment.sealed.v1"
    docking_id: str
    camera_id: str
    bay: str
    entry: int  # number of the file within its docking, from 1
    path: str  # for people; never to be opened
    path_raw: tuple[str, ...]  # base64 of each component as the source lists it
    version: int  # 1, or more when this path was seen before with other content
    vault_path: str  # relative to the vault's root
    size_bytes: int
    sha256: Sha256Hex
    tree_root: Sha256Hex
    chunk_bytes: int
    chunk_count: int
    modified_at: str | None  # as the source says, ISO 8601 without zone when `time_basis` is camera_local
    time_basis: Literal["utc", "camera_local"]
    gaps: tuple[Gap, ...]  # the first `MAX_SEALED_GAPS`; the manifest has all
    gap_count: int
    gap_bytes: int
    changed_while_copied: bool
    media: Media | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DockingClosed(Event):
    """The offload ended; the manifest with this digest lists everything that was met."""

    TYPE = "docking.closed.v1"
    docking_id: str
    camera_id: str
    bay: str
    complete: bool  # every listed entry is saved, without gap, change or unreadable part
    reason: str  # "complete", or the code of what stopped or marred it
    counts: Counts
    manifest_sha256: Sha256Hex
    manifest_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StationEnrolled(Event):
    """The hub accepted a station's key (events of the hub from here on)."""

    TYPE = "station.enrolled.v1"
    station: str
    key_line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StationFrozen(Event):
    """The hub takes nothing more from a station whose history forked, until people have looked."""

    TYPE = "station.frozen.v1"
    station: str
    reason: str
    station_seq: int
    envelope_sha256: Sha256Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeRefused(Event):
    """Messages that the hub did not take in; equal ones within a minute are one event with a count."""

    TYPE = "envelope.refused.v1"
    topic: str
    reason: str
    count: int
    sample_sha256: Sha256Hex
    sample_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCreated(Event):
    """A person can sign in at the hub."""

    TYPE = "account.created.v1"
    account: str
    role: str


E_ = TypeVar("E_", bound=Event)
EVENTS: dict[str, type[Event]] = {
    cls.TYPE: cls
    for cls in (
        StationStarted,
        DockingStarted,
        SegmentSealed,
        DockingClosed,
        StationEnrolled,
        StationFrozen,
        EnvelopeRefused,
        AccountCreated,
    )
}


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where a source's chain stands: number and hash of its last envelope."""

    seq: int = 0
    hash_hex: Sha256Hex = field(default=NO_PREVIOUS)


def encode_event(event: Event) -> tuple[str, bytes]:
    """Payload type and exact payload bytes of an event."""
    body = _plain(event) | {"type": event.TYPE}
    if not isinstance(event, SegmentSealed):
        return EVENT_TYPE, _json(body)
    subject = {"name": body.pop("vault_path"), "digest": {"sha256": body.pop("sha256")}}
    statement = {
        "_type": STATEMENT,
        "subject": [subject],
        "predicateType": PREDICATE_PREFIX + event.TYPE,
        "predicate": body,
    }
    return STATEMENT_TYPE, _json(statement)


def seal_event(event: Event, key: SigningKey) -> bytes:
    """The signed envelope of an event. Raises FormatError when it is too long."""
    payload_type, payload = encode_event(event)
    return seal(payload_type, payload, key)


def decode_event(payload_type: str, payload: bytes) -> Event:
    """Read an event from a payload whose signature was checked. Raises FormatError or UnknownType."""
    body = _load(payload)
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
    return cast(Event, _read_dataclass(cls, body, cls.TYPE))


def decode_chain(payload_type: str, payload: bytes) -> tuple[str, int, str]:
    """Source, seq and previous hash of any event, known type or not. Raises FormatError."""
    body = _load(payload)
    if payload_type == STATEMENT_TYPE:
        body = body.get("predicate")
    try:
        source, seq, previous = body["source"], body["seq"], body["previous"]
    except (KeyError, TypeError):
        raise FormatError("the event names no source, seq or previous hash") from None
    _check_str(source, "source")
    _check_int(seq, "seq")
    _check_sha256(previous, "previous")
    return source, seq, previous


def _from_statement(body: dict[str, Any]) -> dict[str, Any]:
    try:
        subject, predicate = body["subject"][0], dict(body["predicate"])
        name, sha256 = subject["name"], subject["digest"]["sha256"]
    except (KeyError, IndexError, TypeError, ValueError):
        raise FormatError("not an in-toto statement about one file") from None
    kind = predicate.get("type")
    if body.get("_type") != STATEMENT or body.get("predicateType") != f"{PREDICATE_PREFIX}{kind}":
        raise FormatError("the statement's types do not fit its predicate")
    return predicate | {"vault_path": name, "sha256": sha256}


def _load(payload: bytes) -> Any:
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        raise FormatError("the payload is not JSON") from None
    if not isinstance(body, dict):
        raise FormatError("the payload is not a JSON object")
    return body


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "__dataclass_fields__"):
        return {f: _plain(getattr(value, f)) for f in value.__dataclass_fields__}
    return value


Reader = Callable[[Any, str], Any]


def _read_dataclass(cls: type, body: Any, where: str) -> object:
    if not isinstance(body, dict):
        raise FormatError(f"{where}: not an object")
    values = {}
    for name, reader, required in _readers(cls):
        if name in body:
            values[name] = reader(body[name], name)
        elif required:
            raise FormatError(f"{where}: {name} is missing")
    return cls(**values)


@cache
def _readers(cls: type) -> tuple[tuple[str, Reader, bool], ...]:
    hints = get_type_hints(cls)
    return tuple((f.name, _reader(hints[f.name]), f.default is MISSING) for f in fields(cls))


def _reader(hint: Any) -> Reader:
    """The function that checks one JSON value against a field's type."""
    simple: dict[Any, Reader] = {
        str: _check_str,
        int: _check_int,
        bool: _check_bool,
        datetime: _check_datetime,
        Sha256Hex: _check_sha256,
    }
    if hint in simple:
        return simple[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = _reader(next(a for a in args if a is not type(None)))
        return lambda value, where: None if value is None else inner(value, where)
    if origin is Literal:
        return lambda value, where: _check_literal(value, where, args)
    if origin is tuple:
        item = _reader(args[0])
        return lambda value, where: tuple(item(v, where) for v in _check_list(value, where))
    return lambda value, where: _read_dataclass(hint, value, where)


def _check_str(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > 32_768:
        raise FormatError(f"{where}: text expected")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FormatError(f"{where}: text with lone surrogates") from None
    return value


def _check_int(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise FormatError(f"{where}: a whole number from 0 below 2^53 expected")
    return value


def _check_bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise FormatError(f"{where}: true or false expected")
    return value


def _check_datetime(value: Any, where: str) -> datetime:
    try:
        at = datetime.fromisoformat(_check_str(value, where))
    except ValueError:
        raise FormatError(f"{where}: not a time") from None
    if at.tzinfo is None:
        raise FormatError(f"{where}: a time without zone")
    return at


def _check_sha256(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise FormatError(f"{where}: not a SHA-256 in lower-case hex")
    return value


def _check_literal(value: Any, where: str, allowed: tuple[Any, ...]) -> Any:
    if not isinstance(value, str) or value not in allowed:
        raise FormatError(f"{where}: one of {', '.join(allowed)} expected")
    return value


def _check_list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError(f"{where}: a list expected")
    return value
