"""That two people stand for a command, as the log proves it: what a stolen command key alone cannot make.

The hub states a request and its approval as entries of its log and commits them before it issues the command. The
command carries both entries with their inclusion proofs, so a station can check them by the log's key.
"""

from __future__ import annotations

from dataclasses import dataclass

from custody.checkpoint import VerifyKey, open_checkpoint
from custody.digest import leaf_hash
from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.event import Event, Sha256Hex
from custody.events import decode_event
from custody.hubevents import CommandApproved, CommandRequested
from custody.merkle import verify_inclusion
from custody.tlogproof import parse_proof

HUB = "hub"  # source of the hub's own events; no station can have this id (`custody.topics.check_station_id`)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Two log entries and the proof of each. Nothing in it may be believed before `check_approval`."""

    request: str  # envelope of the command.requested.v1 event
    request_proof: str  # C2SP tlog-proof that it is in the log
    approval: str  # envelope of the command.approved.v1 event
    approval_proof: str  # C2SP tlog-proof that it is in the log


@dataclass(frozen=True, slots=True)
class Approved:
    """Who stands for a command; `log_index` is where the approval is in the log."""

    requested_by: str
    approved_by: str
    log_index: int


class NotApproved(CustodyError):
    """The log does not prove that two people stand for a command."""

    code = "not_approved"


def check_approval(
    approval: Approval | None, command_id: str, station: str, kind: str, body_sha256: Sha256Hex, log_key: VerifyKey
) -> Approved:
    """Raise NotApproved unless the log proves request and approval of exactly this command by two accounts.

    1. Both entries are in the tree of a checkpoint that the log's key signed. 2. Both are the hub's own. 3. They are of
    this command, station, kind and body. 4. The accounts differ.
    """
    if approval is None:
        raise NotApproved("the command carries no approval")
    try:
        request, _ = _entry(approval.request, approval.request_proof, log_key)  # 1, 2
        approved, log_index = _entry(approval.approval, approval.approval_proof, log_key)
    except CustodyError as error:
        raise NotApproved(f"its approval cannot be proved: {error}") from None
    if not isinstance(request, CommandRequested) or not isinstance(approved, CommandApproved):
        raise NotApproved("its log entries are no request and approval")
    wanted = (command_id, station, kind, body_sha256)  # 3
    if (request.command_id, request.station, request.kind, request.body_sha256) != wanted:
        raise NotApproved("the log entry of its request is of another command")
    if (approved.command_id, approved.body_sha256) != (command_id, body_sha256):
        raise NotApproved("the log entry of its approval is of another command")
    if request.requested_by == approved.approved_by:  # 4
        raise NotApproved("one account requested and approved it")
    return Approved(request.requested_by, approved.approved_by, log_index)


def _entry(envelope_text: str, proof_text: str, log_key: VerifyKey) -> tuple[Event, int]:
    raw = envelope_text.encode()
    proof = parse_proof(proof_text.encode())
    checkpoint = open_checkpoint(proof.note, log_key)
    verify_inclusion(leaf_hash(raw), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    envelope = parse_envelope(raw)
    event = decode_event(envelope.payload_type, envelope.payload)
    if event.source != HUB:  # a station may state what it likes under its own name
        raise NotApproved(f"{event.source} speaks for the hub")
    return event, proof.index
