"""A whole release for tests: a card, its real docking, a log that holds it, and the hub's authorisation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.opening import Opened
from agent.pipeline import Order, Result, offload
from agent.store import Store
from custody.approval import Approval
from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.commands import Header, body_sha256, body_text, seal_command
from custody.digest import EMPTY_ROOT, leaf_hash, node_hash
from custody.event import NO_PREVIOUS, Event, Sha256Hex
from custody.events import seal_event
from custody.hubevents import CommandApproved, CommandRequested
from custody.merkle import inclusion_proof
from custody.releasebody import EntryRange, Release
from custody.tlogproof import LogProof

COMMAND_KEY = SigningKey.from_seed("hub-commands", bytes([7]) * 32)
LOG_KEY = SigningKey.from_seed("log.example", bytes([8]) * 32)
HUB_KEY = SigningKey.from_seed("hub", bytes([9]) * 32)
COMMAND_ID = "01900000-0000-7000-8000-000000000001"


@dataclass
class Log:
    """An RFC 6962 log in a list."""

    leaves: list[bytes] = field(default_factory=list)
    hub_seq: int = 0
    hub_previous: Sha256Hex = NO_PREVIOUS

    def add(self, envelope: bytes) -> int:
        """The index of the new entry."""
        self.leaves.append(leaf_hash(envelope))
        return len(self.leaves) - 1

    def state(self, cls: type[Event], at: datetime, **facts: Any) -> tuple[bytes, int]:
        """An event of the hub's own, and its index."""
        self.hub_seq += 1
        source = facts.pop("source", "hub")
        event = cls(
            id=f"01900000-0000-7000-8000-{self.hub_seq:012}", source=source, seq=self.hub_seq,
            previous=self.hub_previous, at=at, clock="synchronised", **facts,
        )  # fmt: skip
        raw = seal_event(event, HUB_KEY)
        self.hub_previous = Sha256Hex(hashlib.sha256(raw).hexdigest())
        return raw, self.add(raw)

    def subtree(self, level: int, index: int) -> bytes:
        """Hash of a perfect subtree."""
        if level == 0:
            return self.leaves[index]
        return node_hash(self.subtree(level - 1, 2 * index), self.subtree(level - 1, 2 * index + 1))

    def checkpoint(self) -> Checkpoint:
        """The tree now."""
        root = EMPTY_ROOT
        if self.leaves:
            from custody.merkle import range_root  # noqa: PLC0415

            root = range_root(0, len(self.leaves), self.subtree)
        return Checkpoint(LOG_KEY.name, len(self.leaves), root)

    def note(self, key: SigningKey = LOG_KEY) -> str:
        """The checkpoint, signed."""
        return sign_checkpoint(self.checkpoint(), key)

    def proof(self, index: int) -> tuple[bytes, ...]:
        """Inclusion of one entry in the tree now."""
        return tuple(inclusion_proof(index, len(self.leaves), self.subtree))

    def proof_text(self, index: int) -> str:
        """The same as a C2SP tlog-proof."""
        return LogProof(index, self.proof(index), self.note()).text


def release_body(log: Log, station_closed: bytes, closed: Any, entries: Sequence[tuple[int, int]], at: int) -> Release:
    """The body for one docking whose closing envelope stands at index `at`."""
    return Release(
        camera_id=closed.camera_id,
        docking_id=closed.docking_id,
        manifest_sha256=closed.manifest_sha256,
        closed_sha256=Sha256Hex(hashlib.sha256(station_closed).hexdigest()),
        closed_index=at,
        checkpoint=log.note(),
        proof=tuple(Sha256Hex(one.hex()) for one in log.proof(at)),
        entries=tuple(EntryRange(first=first, last=last) for first, last in entries),
    )


@dataclass(frozen=True)
class Command:
    """How a command is made; each field can be made wrong."""

    station: str
    body: Release
    issued_at: datetime
    valid: timedelta = timedelta(hours=8)
    key: SigningKey = COMMAND_KEY
    requested_by: str = "custodian"
    approved_by: str = "leader"
    approval: str = "good"  # none, other_body, not_the_hub, not_in_log


def seal_release(log: Log, wanted: Command) -> bytes:
    """Request and approval in the log, then the command."""
    text = body_text(wanted.body)
    digest = body_sha256(text)
    shown = Sha256Hex("ab" * 32) if wanted.approval == "other_body" else digest
    source = "dock-9" if wanted.approval == "not_the_hub" else "hub"
    request, request_at = log.state(
        CommandRequested, wanted.issued_at, command_id=COMMAND_ID, station=wanted.station, kind="release.v1",
        body_sha256=digest, requested_by=wanted.requested_by,
    )  # fmt: skip
    approved, approved_at = log.state(
        CommandApproved, wanted.issued_at, command_id=COMMAND_ID, body_sha256=shown, approved_by=wanted.approved_by,
        source=source,
    )  # fmt: skip
    approval = Approval(
        request=request.decode(), request_proof=log.proof_text(request_at), approval=approved.decode(),
        approval_proof=log.proof_text(approved_at if wanted.approval != "not_in_log" else request_at),
    )  # fmt: skip
    header = Header(
        id=COMMAND_ID, station=wanted.station, number=1, previous=NO_PREVIOUS, issued_at=wanted.issued_at,
        expires_at=wanted.issued_at + wanted.valid, kind="release.v1", body=text,
        approval=None if wanted.approval == "none" else approval,
    )  # fmt: skip
    return seal_command(header, wanted.key)


@dataclass(frozen=True)
class Case:
    """A docking of a real card and what is needed to release it."""

    opened: Opened
    result: Result
    card: Path
    log: Log
    closed: bytes
    command: bytes
    body: Release

    @property
    def folder(self) -> Path:
        """Of the docking in the vault."""
        return next(self.opened.dock.vault.glob(f"*/*/*/*/{self.result.docking_id}"))

    @property
    def manifest(self) -> Path:
        """Its manifest."""
        return self.folder / ".custody/manifest.jsonl"

    def seals(self) -> dict[str, tuple[int, Path]]:
        """Path on the card → entry number and copy in the vault."""
        found = {}
        for line in self.manifest.read_bytes().splitlines():
            body = json.loads(line)
            if "envelope" in body:
                import base64  # noqa: PLC0415

                statement = json.loads(base64.b64decode(body["envelope"]["payload"]))
                path = statement["predicate"]["path"]
                found[path] = (body["entry"], self.opened.dock.vault / statement["subject"][0]["name"])
        return found


async def docked(
    opened: Opened, card: Path, entries: Sequence[tuple[int, int]] | None = None, camera: str = "CAM1", bay: str = "1"
) -> Case:
    """Offload the card as any other, let a log take it in, and authorise the release of all, or of `entries`."""
    result = await offload(opened.dock, Order(card, camera, bay), lambda _: None)
    assert result.closed is not None
    assert result.closed.complete, result.closed
    rows = await opened.dock.store.call(lambda store: store.outbox_from(1, 100_000))
    return await authorised(opened, result, card, [row.envelope for row in rows], entries)


async def authorised(
    opened: Opened,
    result: Result,
    card: Path,
    envelopes: list[bytes],
    entries: Sequence[tuple[int, int]] | None = None,
    **changes: Any,
) -> Case:
    """The release of a docking whose envelopes these are; they get receipts."""
    from custody.envelope import parse_envelope  # noqa: PLC0415
    from custody.events import decode_event  # noqa: PLC0415
    from custody.stationevents import DockingClosed  # noqa: PLC0415

    log = Log()
    indexes = [log.add(raw) for raw in envelopes]
    found = None
    for raw, index in zip(envelopes, indexes, strict=True):
        envelope = parse_envelope(raw)
        event = decode_event(envelope.payload_type, envelope.payload)
        if isinstance(event, DockingClosed) and event.docking_id == result.docking_id:
            found = raw, event, index
    assert found is not None
    closed, event, at = found
    counts = event.counts
    body = release_body(log, closed, event, entries or [(1, counts.listed)], at)
    now = datetime.now(UTC)
    wanted = replace(Command(opened.station.id, body, now - timedelta(minutes=1)), **changes)
    command = seal_release(log, wanted)

    def receipt(store: Store) -> None:
        with store.begin():
            rows = [(n, hashlib.sha256(raw).digest(), n - 1) for n, raw in enumerate(envelopes, 1)]
            store.set_receipted(rows, now)

    await opened.dock.store.call(receipt)
    return Case(opened, result, card, log, closed, command, body)
