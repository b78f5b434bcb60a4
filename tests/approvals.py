"""Approvals of commands as a hub's log proves them, right or with one thing wrong."""

from __future__ import annotations

from datetime import UTC, datetime

from custody.approval import Approval
from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.commands import body_sha256
from custody.digest import leaf_hash, tree_root
from custody.event import NO_PREVIOUS, Event
from custody.events import seal_event
from custody.hubevents import CommandApproved, CommandRequested
from custody.merkle import inclusion_proof
from custody.tlogproof import LogProof

EVENT_KEY = SigningKey.from_seed("hub.example/events", bytes(range(8, 40)))


def make_approval(
    log_key: SigningKey, command_id: str, station: str, kind: str, body_text: str, /, **changes: object
) -> Approval:
    """Request by ``records`` and approval by ``leader`` in a log of five entries; `changes` are made to the events."""
    digest = body_sha256(body_text)
    facts: dict[str, object] = {
        "requested_by": "records", "approved_by": "leader", "source": "hub", "command_id": command_id,
        "station": station, "kind": kind, "body_sha256": digest, "approved_sha256": digest,
    } | changes  # fmt: skip
    common = {"id": command_id, "previous": NO_PREVIOUS, "at": datetime(2026, 3, 5, tzinfo=UTC), "clock": "unknown"}
    common |= {"source": facts["source"]}
    asked = {name: facts[name] for name in ("command_id", "station", "kind", "body_sha256", "requested_by")}
    decided = {"command_id": facts["command_id"], "body_sha256": facts["approved_sha256"]}
    events: list[Event] = [
        CommandRequested(**common, **asked, seq=1),  # type: ignore[arg-type]
        CommandApproved(**common, **decided, seq=2, approved_by=facts["approved_by"]),  # type: ignore[arg-type]
    ]
    raws = [seal_event(event, EVENT_KEY) for event in events]
    leaves = [leaf_hash(raw) for raw in (b"a", raws[0], b"b", raws[1], b"c")]

    def subtree(level: int, index: int) -> bytes:
        return tree_root(leaves[index << level : (index + 1) << level])

    note = sign_checkpoint(Checkpoint(log_key.name, 5, tree_root(leaves)), log_key)
    proofs = [LogProof(i, tuple(inclusion_proof(i, 5, subtree)), note).text for i in (1, 3)]
    return Approval(
        request=raws[0].decode(), request_proof=proofs[0], approval=raws[1].decode(), approval_proof=proofs[1]
    )
