"""The hub's authorisation of a disposition for tests: in a log, approved, witnessed, right or with one thing wrong."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from custody.approval import Approval
from custody.checkpoint import Checkpoint, SigningKey
from custody.commandbody import Disposition
from custody.commands import Header, body_sha256, body_text, seal_command
from custody.cosignature import CosigningKey
from custody.event import NO_PREVIOUS, Sha256Hex
from custody.hubevents import CommandApproved, CommandRequested
from custody.tlogproof import LogProof
from tests.release_case import COMMAND_ID, COMMAND_KEY, LOG_KEY, Log

WITNESS = CosigningKey(SigningKey.from_seed("witness.example", bytes([2]) * 32))
DISPOSITION_ID = "01900000-0000-7000-8000-00000000d15b"


@dataclass(frozen=True)
class Command:
    """How a command is made; each field can be made wrong."""

    station: str
    body: Disposition
    issued_at: datetime
    valid: timedelta = timedelta(days=7)
    key: SigningKey = COMMAND_KEY
    requested_by: str = "records"
    approved_by: str = "leader"
    approval: str = "good"  # none, other_body, not_the_hub, not_in_log
    log_key: SigningKey = LOG_KEY
    cosigned: bool = True


@dataclass(frozen=True)
class Sealed:
    """The command, and the checkpoint under which the log proves its approval."""

    raw: bytes
    checkpoint: Checkpoint


def seal_disposition(log: Log, wanted: Command) -> Sealed:
    """Request and approval in the log, then the command."""
    text = body_text(wanted.body)
    digest = body_sha256(text)
    shown = Sha256Hex("ab" * 32) if wanted.approval == "other_body" else digest
    source = "dock-9" if wanted.approval == "not_the_hub" else "hub"
    request, request_at = log.state(
        CommandRequested, wanted.issued_at, command_id=COMMAND_ID, station=wanted.station, kind="disposition.v1",
        body_sha256=digest, requested_by=wanted.requested_by,
    )  # fmt: skip
    approved, approved_at = log.state(
        CommandApproved, wanted.issued_at, command_id=COMMAND_ID, body_sha256=shown, approved_by=wanted.approved_by,
        source=source,
    )  # fmt: skip
    note = log.note(wanted.log_key)
    if wanted.cosigned:
        note += WITNESS.cosign(note, wanted.issued_at)

    def proof(index: int) -> str:
        return LogProof(index, log.proof(index), note).text

    approval = Approval(
        request=request.decode(), request_proof=proof(request_at), approval=approved.decode(),
        approval_proof=proof(approved_at if wanted.approval != "not_in_log" else request_at),
    )  # fmt: skip
    header = Header(
        id=COMMAND_ID, station=wanted.station, number=1, previous=NO_PREVIOUS, issued_at=wanted.issued_at,
        expires_at=wanted.issued_at + wanted.valid, kind="disposition.v1", body=text,
        approval=None if wanted.approval == "none" else approval,
    )  # fmt: skip
    return Sealed(seal_command(header, wanted.key), log.checkpoint())


def sha256(raw: bytes) -> Sha256Hex:
    """In hex."""
    return Sha256Hex(hashlib.sha256(raw).hexdigest())
