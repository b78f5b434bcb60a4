"""Log entries and proofs to hand out."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from custody.checkpoint import parse_checkpoint
from custody.tlogproof import LogProof
from hub import log
from hub.tables import log_entry


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `envelope` is the exact text that was signed and logged."""

    index: int
    source: str
    seq: int
    event_type: str
    received_at: str
    envelope_sha256: str
    envelope: str


def show_entries(connection: Connection, start: int, limit: int) -> list[Entry]:
    """Up to `limit` entries from index `start` on."""
    rows = connection.execute(select(log_entry).where(log_entry.c.idx >= start).order_by(log_entry.c.idx).limit(limit))
    return [
        Entry(r.idx, r.source, r.seq, r.event_type, r.received_at, r.envelope_sha256, bytes(r.envelope).decode())
        for r in rows
    ]


def make_proof(connection: Connection, index: int) -> LogProof:
    """Proof under the newest checkpoint. Raises ValueError when there is no such entry."""
    note = log.newest_note(connection)
    size = parse_checkpoint(note.partition("\n\n")[0] + "\n").size
    return LogProof(index, tuple(log.prove_inclusion(connection, index, size)), note)
