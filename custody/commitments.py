"""Salted commitments: a person's detail in the log as a digest that nobody can guess. See custody/spec/commitments.md.

The event holds `commit` of a text; the text itself and its salt travel beside the envelope in an opening, which may be
deleted while envelope, chain and proofs stay as they were. Pure: whoever states an event brings the salts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from custody.envelope import STATEMENT_TYPE, Envelope
from custody.errors import CustodyError, FormatError
from custody.event import Event, Sha256Hex
from custody.fields import dump_json, load_object

SALT_BYTES = 32
MAX_OPENING_BYTES = 4096
MAX_OPENED = 16  # fields of one event
_DOMAIN = b"custodock/commitment/v1"
_SUFFIX = "_commitment"
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SALT = re.compile(r"[0-9a-f]{64}")
_NEWLINE = b"\n"
E_ = TypeVar("E_", bound=Event)


class OpeningWrong(CustodyError):
    """An opening that does not fit the envelope beside it: another value, salt, field or envelope."""

    code = "opening_wrong"


@dataclass(frozen=True, slots=True)
class Opened:
    """One field of an event: the text that its commitment stands for, and the salt that shows it."""

    field: str
    salt: bytes  # 32, new for each field of each event
    value: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens commitments of one envelope, fields rising. It carries no signature: the envelope's covers them."""

    envelope_sha256: str  # of the exact bytes, hex
    fields: tuple[Opened, ...]


@dataclass(frozen=True, slots=True)
class Stated:
    """An event that is about to be signed, and what opens its commitments."""

    event: Event
    opened: tuple[Opened, ...] = ()


def commit(event_type: str, field: str, value: str, salt: bytes) -> Sha256Hex:
    """What stands in an event of this type for `value`. Raises FormatError for what no reader could open.

    HMAC-SHA-256 (RFC 2104) under the salt. Neither type nor field holds a NUL, so no two triples give one message.
    """
    if len(salt) != SALT_BYTES:
        raise FormatError(f"a salt has {SALT_BYTES} bytes")
    if "\0" in event_type or not _FIELD.fullmatch(field):
        raise FormatError("no name of an event type or field")
    try:
        message = b"\0".join((_DOMAIN, event_type.encode(), field.encode(), value.encode()))
    except UnicodeEncodeError:
        raise FormatError("text with lone surrogates") from None
    return Sha256Hex(hmac.digest(salt, message, hashlib.sha256).hex())


def state(kind: type[E_], new_salt: Callable[[int], bytes], facts: Mapping[str, Any]) -> Stated:
    """An event of `kind` from its facts, each of its fields in `COMMITTED` replaced by a commitment under a new salt.

    `new_salt` gives that many random bytes. A value of None stays None: that there is nobody names nobody.
    """
    plain, opened = dict(facts), []
    for field in kind.COMMITTED:
        value = plain.pop(field)
        plain[field + _SUFFIX] = None
        if value is not None:
            opened.append(Opened(field, new_salt(SALT_BYTES), value))
            plain[field + _SUFFIX] = commit(kind.TYPE, field, value, opened[-1].salt)
    return Stated(kind(**plain), tuple(sorted(opened, key=lambda one: one.field)))


# --- the form of an opening ---


def render_opening(opening: Opening) -> bytes:
    """The one form of an opening, on one line without its end. Raises FormatError for what `parse_opening` refuses."""
    fields = [[one.field, one.salt.hex(), one.value] for one in opening.fields]
    raw = dump_json({"envelope": opening.envelope_sha256, "openings": fields})
    if len(raw) > MAX_OPENING_BYTES:
        raise FormatError(f"an opening holds at most {MAX_OPENING_BYTES} bytes")
    return raw


def parse_opening(raw: bytes) -> Opening:
    """Read an opening. Raises FormatError for anything but the one form in which `render_opening` writes it."""
    if len(raw) > MAX_OPENING_BYTES:
        raise FormatError(f"an opening holds at most {MAX_OPENING_BYTES} bytes")
    match load_object(raw):
        case {"envelope": str(digest), "openings": [_, *_] as rows} if _SHA256.fullmatch(digest):
            opening = Opening(digest, tuple(_opened(row) for row in rows[: MAX_OPENED + 1]))
        case _:
            raise FormatError("not an opening")
    names = [one.field for one in opening.fields]
    if len(names) > MAX_OPENED or names != sorted(set(names)):
        raise FormatError(f"an opening names 1 to {MAX_OPENED} fields, each once, rising")
    if render_opening(opening) != raw:
        raise FormatError("not an opening of our form")
    return opening


def _opened(row: object) -> Opened:
    match row:
        case [str(field), str(salt), str(value)] if _FIELD.fullmatch(field) and _SALT.fullmatch(salt):
            return Opened(field, bytes.fromhex(salt), value)
    raise FormatError("an opening's field is a name, a salt of 64 hex digits and a text")


# --- an opening and its envelope ---


def committed(envelope: Envelope) -> tuple[str, dict[str, str]]:
    """The type that an envelope's payload claims and its commitments by field, known type or not. Raises FormatError.

    Believe it once the envelope's signature was checked.
    """
    body = load_object(envelope.payload)
    if envelope.payload_type == STATEMENT_TYPE:
        body = body["predicate"] if isinstance(body.get("predicate"), dict) else {}
    found = {name.removesuffix(_SUFFIX): value for name, value in body.items() if name.endswith(_SUFFIX)}
    return str(body.get("type")), {name: value for name, value in found.items() if isinstance(value, str)}


def check_opening(opening: Opening, envelope: Envelope) -> None:
    """1. It is of this very envelope. 2. Each value, under its salt, gives the commitment that stands there.

    The envelope's signature is the caller's to check. Raises OpeningWrong, FormatError.
    """
    if opening.envelope_sha256 != envelope.hash.hex():  # 1
        raise OpeningWrong("it opens another envelope")
    kind, commitments = committed(envelope)
    for one in opening.fields:  # 2
        given = commitments.get(one.field)
        if given is None or not hmac.compare_digest(
            commit(kind, one.field, one.value, one.salt).encode(), given.encode()
        ):
            raise OpeningWrong(f"{one.field}: this value does not give the commitment")


def attach(envelope: bytes, opening: bytes | None) -> bytes:
    """Both as they travel: the envelope and, where there is one, a line feed and its opening."""
    return envelope if opening is None else envelope + _NEWLINE + opening


def detach(message: bytes) -> tuple[bytes, bytes | None]:
    """The envelope and the opening of a message, unread; an envelope holds no line feed."""
    envelope, found, opening = message.partition(_NEWLINE)
    return envelope, opening if found else None
