"""What stations keep for the hub, and how they give it and their own envelopes back. See ``custody/spec/keeping.md``.

Every message is one signed envelope of type `KEEPING_TYPE` and the byte strings whose digests it names, each behind its
length. A keeping (`keep.v1`) is opaque to its keeper: only the hub's log key opens it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from custody.checkpoint import SigningKey, VerifyKey
from custody.envelope import open_envelope, parse_envelope, seal
from custody.errors import FormatError
from custody.fields import dump_json, load_object

KEEPING_TYPE = "application/vnd.custodock.keeping+json"
MAX_MESSAGE_BYTES = 240 * 1024  # the embedded broker ends a connection that sends more than 256 KiB
MAX_PARTS = 256
_LENGTH_BYTES = 4
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Keep:
    """Part of the log's record, entries ``[start, size)`` of the log `log`, sealed by the hub for itself."""

    log: str  # origin of the log
    start: int
    size: int
    at: str  # when the hub made it, RFC 3339; what is 90 days older may be dropped
    sealed: bytes


@dataclass(frozen=True, slots=True)
class RefillRequest:
    """The hub asks a station for what it holds: envelopes from `from_seq` on, keepings that end after `from_size`.

    `from_seq` 0 asks for the newest checkpoint alone. `number` comes back in the answer.
    """

    station: str
    number: int
    from_seq: int
    from_size: int


@dataclass(frozen=True, slots=True)
class Held:
    """One envelope of the answering station, with its opening where it has one, as they travel (`attach`).

    `log_index` is None where no receipt has told it yet.
    """

    seq: int
    log_index: int | None
    message: bytes


@dataclass(frozen=True, slots=True)
class Refilled:
    """One page of an answer; `next_seq` and `next_size` go into the next request, both None after the last page."""

    station: str
    number: int
    checkpoint: str | None  # signed note of the newest checkpoint that the station has verified
    held: tuple[Held, ...]
    keeps: tuple[bytes, ...]  # whole messages, as the hub sent them
    next_seq: int | None
    next_size: int | None


def seal_keep(keep: Keep, key: SigningKey) -> bytes:
    """The message, signed with the hub's receipt key. Raises FormatError when it is too long for a broker."""
    body = {"type": "keep.v1", "log": keep.log, "start": keep.start, "size": keep.size, "at": keep.at}
    return _message(body | {"sha256": _digest(keep.sealed)}, key, [keep.sealed])


def open_keep(raw: bytes, receipt_key: VerifyKey) -> Keep:
    """1. Signed by the hub. 2. The sealed bytes have the named digest. Raises FormatError or SignatureInvalid."""
    body, parts = _open(raw, receipt_key, "keep.v1")
    match body:
        case {"log": str(log), "start": start, "size": size, "at": str(at), "sha256": str(digest)}:
            [sealed] = _checked(parts, [digest])
            if not _whole(start) < _whole(size):
                raise FormatError("a keeping holds at least one entry")
            return Keep(log, start, size, at, sealed)
    raise FormatError("not a keeping")


def seal_refill_request(request: RefillRequest, key: SigningKey) -> bytes:
    """The message, signed with the hub's receipt key."""
    body = {"type": "refill.v1", "station": request.station, "number": request.number}
    return _message(body | {"from_seq": request.from_seq, "from_size": request.from_size}, key, [])


def open_refill_request(raw: bytes, station: str, receipt_key: VerifyKey) -> RefillRequest:
    """1. Signed by the hub. 2. For this station. Raises FormatError or SignatureInvalid."""
    body, _ = _open(raw, receipt_key, "refill.v1")
    if body.get("station") != station:
        raise FormatError("the request is for another station")
    numbers = (_whole(body.get(name)) for name in ("number", "from_seq", "from_size"))
    return RefillRequest(station, *numbers)


def seal_refilled(page: Refilled, key: SigningKey) -> bytes:
    """The message, signed with the station's key. Raises FormatError when it is too long for a broker."""
    body = {
        "type": "refilled.v1",
        "station": page.station,
        "number": page.number,
        "checkpoint": page.checkpoint,
        "held": [[held.seq, held.log_index, _digest(held.message)] for held in page.held],
        "keeps": [_digest(raw) for raw in page.keeps],
        "next_seq": page.next_seq,
        "next_size": page.next_size,
    }
    return _message(body, key, [*(held.message for held in page.held), *page.keeps])


def open_refilled(raw: bytes, station: str, key: VerifyKey | None) -> Refilled:
    """Read an answer; `key` None reads one of a station whose key is not known yet: then nothing in it is its word.

    1. Signed by the station. 2. It names itself. 3. Envelopes and keepings have the named digests; what they hold is
    still to be verified. Raises FormatError or SignatureInvalid.
    """
    body, parts = _open(raw, key, "refilled.v1")
    if body.get("station") != station:
        raise FormatError("the answer is of another station")
    match body:
        case {"checkpoint": str() | None as note, "held": [*held], "keeps": [*keeps], "number": number}:
            rows = [_held(row) for row in held[:MAX_PARTS]]
            contents = _checked(parts, [digest for _, _, digest in rows] + keeps)
            envelopes, kept = contents[: len(rows)], contents[len(rows) :]
            found = tuple(Held(seq, at, raw) for (seq, at, _), raw in zip(rows, envelopes, strict=True))
            return Refilled(
                station, _whole(number), note, found, tuple(kept), _next(body, "next_seq"), _next(body, "next_size")
            )
    raise FormatError("not an answer to a refill request")


def claimed_type(raw: bytes) -> str:
    """The type that a message on the keep topic claims, so that the right function opens it; "" when unreadable."""
    try:
        return str(_open(raw, None, None)[0].get("type"))
    except FormatError:
        return ""


def pages(sizes: Sequence[int], room: int) -> int:
    """How many of these byte strings fit into `room` bytes; at least one, so that a reader gets on."""
    taken = 0
    for count, size in enumerate(sizes):
        taken += size + _LENGTH_BYTES
        if count and (taken > room or count >= MAX_PARTS // 2):
            return count
    return len(sizes)


# --- one form for all of them ---


def _message(body: dict[str, Any], key: SigningKey, parts: Sequence[bytes]) -> bytes:
    pieces = [seal(KEEPING_TYPE, dump_json(body), key), *parts]
    raw = b"".join(len(piece).to_bytes(_LENGTH_BYTES) + piece for piece in pieces)
    if len(raw) > MAX_MESSAGE_BYTES or len(parts) > MAX_PARTS:
        raise FormatError(f"a message holds at most {MAX_PARTS} parts and {MAX_MESSAGE_BYTES} bytes")
    return raw


def _open(raw: bytes, key: VerifyKey | None, kind: str | None) -> tuple[dict[str, Any], list[bytes]]:
    if len(raw) > MAX_MESSAGE_BYTES:
        raise FormatError(f"a message holds at most {MAX_MESSAGE_BYTES} bytes")
    pieces, at = [], 0
    while at < len(raw):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(raw[at:start])
        pieces.append(raw[start:at])
    if at != len(raw) or not 1 <= len(pieces) <= MAX_PARTS + 1:
        raise FormatError("not an envelope with its parts, each behind its length")
    if key is None:
        envelope = parse_envelope(pieces[0])
        if envelope.payload_type != KEEPING_TYPE:
            raise FormatError(f"unexpected payload type {envelope.payload_type[:80]!r}")
        payload = envelope.payload
    else:
        payload = open_envelope(pieces[0], key, KEEPING_TYPE)
    body = load_object(payload)
    if kind is not None and body.get("type") != kind:
        raise FormatError(f"{kind} was expected")
    return body, pieces[1:]


def _checked(parts: list[bytes], digests: Sequence[object]) -> list[bytes]:
    if [_digest(part) for part in parts] != list(digests):
        raise FormatError("the parts are not those that were signed")
    return parts


def _held(row: object) -> tuple[int, int | None, str]:
    match row:
        case [seq, index, str(digest)] if _SHA256.fullmatch(digest):
            return _whole(seq), None if index is None else _whole(index), digest
    raise FormatError("an envelope is named by seq, log index and SHA-256")


def _next(body: dict[str, Any], name: str) -> int | None:
    return None if body.get(name) is None else _whole(body[name])


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise FormatError("a whole number expected")
    return value
