"""Commands: what the hub tells one station to do, signed, numbered and expiring. See ``custody/spec/commands.md``.

A command is an envelope of a payload type of its own, signed with the hub's command key. Commands to one station form a
chain of their own, gapless from 1, each naming the hash of the one before: none can be left out, repeated or swapped.
Pure: the station's clock, its key and where its chain stands come in as values.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from custody.approval import Approval
from custody.checkpoint import SigningKey, VerifyKey
from custody.commandbody import (
    Body,
    Disposition,
    Grant,
    GrantRevoked,
    Hold,
    HoldLifted,
    KeyChange,
    OpeningsForgotten,
    PolicyChange,
    Roster,
)
from custody.envelope import MAX_ENVELOPE_BYTES, open_envelope, seal
from custody.errors import CustodyError, FormatError, SignatureInvalid
from custody.event import NO_PREVIOUS, Clock
from custody.fields import Sha256Hex, dump_json, load_object, read_fields, write_fields
from custody.releasebody import Release
from custody.topics import check_station_id

COMMAND_TYPE = "application/vnd.custodock.command+json"
MAX_COMMAND_BYTES = MAX_ENVELOPE_BYTES
MAX_VALID = timedelta(days=366)
FUTURE_TOLERANCE = timedelta(minutes=5)  # a hub's clock may be ahead of a station's by so much

# Every kind that a station of this version knows. Whoever adds a kind adds its class here.
KINDS: dict[str, type[Body]] = {
    cls.KIND: cls
    for cls in (Roster, PolicyChange, Hold, HoldLifted, Grant, GrantRevoked, Disposition, KeyChange, Release)
} | {OpeningsForgotten.KIND: OpeningsForgotten}

# Refusals of a command that is not the next of the hub's to this station: its sender learns nothing, its number stays.
NOT_IN_PLACE = ("too_long", "bad_format", "bad_signature", "wrong_station", "replayed", "gap", "wrong_previous")
# Refusals of the next command: the station answers with this code, and the number is used up.
ANSWERED = ("unknown_kind", "bad_body", "expired", "from_future", "clock_unsynchronised", "not_approved")


@dataclass(frozen=True, slots=True)
class CommandHead:
    """Where a station's chain of commands stands: number and hash of the last one."""

    number: int = 0
    sha256: Sha256Hex = field(default=NO_PREVIOUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What every command carries, of a known kind or not."""

    id: str  # UUIDv7
    station: str  # the one station that it is for
    number: int  # gapless from 1 per station
    previous: Sha256Hex  # SHA-256 of the command before it to this station; zeros for the first
    issued_at: datetime  # by the hub's clock
    expires_at: datetime  # by the hub's clock; at most 366 days later
    kind: str  # name with version
    body: str  # JSON of the kind's fields, as text: `body_sha256` of the log's entries is over exactly these bytes
    approval: Approval | None = None  # log entries that prove that two people stand for it


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was opened: authentic, the next one, of a known kind, to be carried out now."""

    header: Header
    body: Body
    sha256: Sha256Hex  # of its exact bytes

    @property
    def head(self) -> CommandHead:
        """Where the chain stands once it is answered."""
        return CommandHead(self.header.number, self.sha256)


class CommandRefused(CustodyError):
    """A command that is not carried out. `code` is one of `NOT_IN_PLACE` or `ANSWERED`.

    `head` is None for the first group; for the second it is where the chain stands once the refusal is answered, and
    `kind` is what the command calls itself.
    """

    code: str
    codes: ClassVar[tuple[str, ...]] = NOT_IN_PLACE + ANSWERED

    def __init__(self, code: str, message: str, head: CommandHead | None = None, kind: str = "") -> None:
        super().__init__(message)
        self.code, self.head, self.kind = code, head, kind


def body_text(body: Body) -> str:
    """The exact text of a body, as `Header.body` holds it. Raises FormatError for a value that no station takes."""
    body.check()
    return dump_json(write_fields(body)).decode()


def body_sha256(text: str) -> Sha256Hex:
    """How the log's entries name a body."""
    return Sha256Hex(hashlib.sha256(text.encode()).hexdigest())


def read_body(kind: str, text: str) -> Body:
    """The body of a known kind. Raises FormatError; KeyError for a kind that this version does not know."""
    cls = KINDS[kind]
    body: Body = read_fields(cls, load_object(text.encode()), kind)
    body.check()
    return body


def seal_command(header: Header, key: SigningKey) -> bytes:
    """The signed bytes of a command. Raises FormatError for one that its station would refuse for its form."""
    check_station_id(header.station)
    read_body(header.kind, header.body)
    _check_span(header)
    if header.number < 1:
        raise FormatError("commands are numbered from 1")
    return seal(COMMAND_TYPE, dump_json(write_fields(header)), key)


def open_command(raw: bytes, station: str, key: VerifyKey, head: CommandHead, now: datetime, clock: Clock) -> Command:
    """Open the next command to `station`, whose chain stands at `head`; `now` and `clock` are the station's.

    1. It is no longer than an envelope may be. 2. It is a command in an envelope. 3. The command key signed it. 4. It
    is for this station. 5. Its number is the next one. 6. It names the command before it. From here on a refusal is
    answered: 7. Its kind is known. 8. Its body can be read. 9. The clock allows it. Whether two people stand for it is
    checked by the caller, who knows the log's key (`custody.approval.check_approval`). Raises CommandRefused.
    """
    if len(raw) > MAX_COMMAND_BYTES:  # 1
        raise CommandRefused("too_long", f"a command holds at most {MAX_COMMAND_BYTES} bytes")
    try:
        payload = open_envelope(raw, key, COMMAND_TYPE)  # 2, 3
        header = read_fields(Header, load_object(payload), "command")
    except SignatureInvalid as error:
        raise CommandRefused("bad_signature", str(error)) from None
    except FormatError as error:
        raise CommandRefused("bad_format", str(error)) from None
    if header.station != station:  # 4
        raise CommandRefused("wrong_station", f"the command is for {header.station[:80]}")
    if header.number <= head.number:  # 5
        raise CommandRefused("replayed", f"command {header.number} was answered already")
    if header.number != head.number + 1:
        raise CommandRefused("gap", f"command {header.number} came after {head.number}")
    if header.previous != head.sha256:  # 6
        raise CommandRefused("wrong_previous", f"command {header.number} does not follow ours")
    here = CommandHead(header.number, Sha256Hex(hashlib.sha256(raw).hexdigest()))
    if header.kind not in KINDS:  # 7
        raise CommandRefused("unknown_kind", f"unknown kind {header.kind[:80]!r}", here, header.kind[:80])
    try:
        body = read_body(header.kind, header.body)  # 8
        _check_span(header)
    except FormatError as error:
        raise CommandRefused("bad_body", str(error), here, header.kind) from None
    if (code := judge_times(header, body, now, clock)) is not None:  # 9
        raise CommandRefused(code, f"by this clock ({clock}) it cannot be carried out", here, header.kind)
    return Command(header, body, here.sha256)


def _check_span(header: Header) -> None:
    if not timedelta() < header.expires_at - header.issued_at <= MAX_VALID:
        raise FormatError(f"a command is good for at most {MAX_VALID.days} days")


def judge_times(header: Header, body: Body, now: datetime, clock: Clock) -> str | None:
    """Why the clock forbids to carry a command out; None when it does not. See `custody.commandbody.Timing`.

    A clock whose quality is unknown counts as not synchronised: a station that cannot tell must not loosen anything.
    """
    if body.TIMING == "always":
        return None
    if clock != "synchronised":
        return "clock_unsynchronised" if body.TIMING == "strict" else None
    if now >= header.expires_at:
        return "expired"
    if header.issued_at > now + FUTURE_TOLERANCE:
        return "from_future"
    return None
