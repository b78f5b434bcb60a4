"""The authorisation to let files leave the vault, a command ``disposition.v1``, and what must be provable of it. Pure.

See ``custody/spec/disposition.md``. The station opens it before it acts; a verifier opens what the station left beside
the manifest, and so tells a file that was disposed of from one that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from custody.approval import Approved, NotApproved, check_approval
from custody.checkpoint import Checkpoint, VerifyKey
from custody.commandbody import Disposition
from custody.commands import COMMAND_TYPE, CommandHead, CommandRefused, Header, body_sha256, open_command, read_body
from custody.envelope import open_envelope, parse_envelope
from custody.errors import CustodyError, FormatError
from custody.event import Clock, Sha256Hex
from custody.events import decode_event
from custody.fields import load_object, read_fields
from custody.release import Pins, ReleaseRefused, check_note
from custody.stationevents import DispositionIntended
from custody.tlogproof import parse_proof

FLOOR_YEARS = 3  # Art. 15: no setting lowers it
RECORD_NAME = re.compile(rb"\.custody/disposition-([0-9a-f]{16})\.jsonl")


class DispositionRefused(CustodyError):
    """A rule of the disposition is not fulfilled; `rule` is its stable name. Nothing leaves the vault."""

    code = "disposition_refused"

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(f"{rule}: {detail}" if detail else rule)
        self.rule = rule
        self.detail = detail


@dataclass(frozen=True, slots=True)
class DispositionOrder:
    """A disposition that was opened. `checkpoints`: those under which the log proves its request and approval."""

    header: Header
    body: Disposition
    approved: Approved
    sha256: Sha256Hex  # of the command's exact bytes: names this authorisation
    checkpoints: tuple[Checkpoint, ...]


def open_disposition(
    raw: bytes, station: str, command_key: VerifyKey, pins: Pins, now: datetime, clock: Clock
) -> DispositionOrder:
    """Open a command as a disposition, wherever the chain of commands stands.

    1. The hub's command key signed it, and it is a disposition. 2. It is for this station, and in time by a
    synchronised clock. 3. The log proves that two people stand for it. 4. Enough witnesses signed the checkpoints of
    that proof.
    Raises DispositionRefused.
    """
    header, body = read_disposition(raw, command_key)  # 1
    before = CommandHead(max(0, header.number - 1), header.previous)
    try:
        command = open_command(raw, station, command_key, before, now, clock)  # 2
    except CommandRefused as error:
        rule = error.code if error.code in ("expired", "clock_unsynchronised") else "not_authorised"
        raise DispositionRefused(rule, str(error)) from None
    approved = check_two_people(header, station, pins.log_key)  # 3
    return DispositionOrder(header, body, approved, command.sha256, tuple(_witnessed(header, pins)))  # 4


def read_disposition(raw: bytes, command_key: VerifyKey) -> tuple[Header, Disposition]:
    """A disposition that the hub signed, for whichever station and time. Raises DispositionRefused."""
    try:
        return _read(open_envelope(raw, command_key, COMMAND_TYPE))
    except CustodyError as error:
        raise DispositionRefused("not_authorised", str(error)) from None


def _read(payload: bytes) -> tuple[Header, Disposition]:
    header = read_fields(Header, load_object(payload), "command")
    body = read_body(header.kind, header.body) if header.kind == Disposition.KIND else None
    if not isinstance(body, Disposition):
        raise FormatError(f"it is a {header.kind[:80]}")
    return header, body


def check_two_people(header: Header, station: str, log_key: VerifyKey) -> Approved:
    """Who stands for it, by the log. Raises DispositionRefused."""
    try:
        digest = body_sha256(header.body)
        return check_approval(header.approval, header.id, station, header.kind, digest, log_key)
    except NotApproved as error:
        raise DispositionRefused("not_approved", str(error)) from None


def _witnessed(header: Header, pins: Pins) -> Iterator[Checkpoint]:
    approval = header.approval
    for text in () if approval is None else (approval.request_proof, approval.approval_proof):
        try:
            yield check_note(parse_proof(text.encode()).note, pins)
        except ReleaseRefused as error:
            raise DispositionRefused(error.rule, error.detail) from None


def floor_ends(recorded_by: datetime) -> datetime:
    """The end of the least time of keeping, three calendar years; of 29 February, 1 March."""
    year = recorded_by.year + FLOOR_YEARS
    try:
        return recorded_by.replace(year=year)
    except ValueError:
        return recorded_by.replace(year=year, month=3, day=1)


# --- what stays beside the manifest ---


@dataclass(frozen=True, slots=True)
class Record:
    """A disposition as its record states it: the station's intent, and the hub's command behind it.

    The intent is believed as far as its signature goes, which whoever reads checks; the command binds what was asked.
    """

    intent_envelope: bytes
    intent: DispositionIntended
    header: Header
    body: Disposition
    rotations: tuple[bytes, ...]  # envelopes of the station's key rotations, from the docking on


def record_name(command_sha256: str) -> bytes:
    """Where a disposition's record lies in the folder of its docking."""
    return f".custody/disposition-{command_sha256[:16]}.jsonl".encode()


def record_lines(intent_envelope: bytes, command: bytes, rotations: Iterable[bytes] = ()) -> bytes:
    """The record: the exact bytes of the station's intent, of the hub's command, and of the station's key rotations
    between the docking and the intent, a line each."""
    lines = (intent_envelope, command, *rotations)
    if any(b"\n" in line for line in lines):
        raise FormatError("an envelope is one line")
    return b"".join(line + b"\n" for line in lines)


def read_record(raw: bytes, name: bytes) -> Record:
    """Read what `record_lines` wrote under `name`, with the command's digest checked. Raises FormatError."""
    *lines, rest = raw.split(b"\n")
    if len(lines) < 2 or rest:
        raise FormatError("a record of a disposition has two lines and more")
    envelope = parse_envelope(lines[0])
    intent = decode_event(envelope.payload_type, envelope.payload)
    command = parse_envelope(lines[1])
    if not isinstance(intent, DispositionIntended) or command.payload_type != COMMAND_TYPE:
        raise FormatError("not the intent of a disposition and its command")
    header, body = _read(command.payload)
    if intent.command_sha256 != command.hash.hex() or name != record_name(intent.command_sha256):
        raise FormatError("its command is another one")
    if (intent.command_id, intent.docking_id, intent.source) != (header.id, body.docking, header.station):
        raise FormatError("intent and command contradict each other")
    return Record(lines[0], intent, header, body, tuple(lines[2:]))


def log_proves(record: Record, keys: Iterable[VerifyKey]) -> bool | None:
    """Whether the log proves that two people stand for it; None where none of `keys` is that log's."""
    approval = record.header.approval
    try:
        origin = "" if approval is None else parse_proof(approval.approval_proof.encode()).note.partition("\n")[0]
    except FormatError:
        return False
    theirs = [key for key in keys if key.name == origin]
    if not theirs:
        return None if approval is not None else False
    for key in theirs:
        try:
            check_two_people(record.header, record.intent.source, key)
        except DispositionRefused:
            continue
        return True
    return False
