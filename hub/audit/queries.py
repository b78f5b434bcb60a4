"""The log as people see it: newest checkpoint, entries, one entry with its proof."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, func, select

from custody.checkpoint import parse_checkpoint, parse_key_line
from custody.digest import leaf_hash
from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.event import Event
from custody.events import decode_event
from custody.merkle import verify_inclusion
from custody.tlogproof import LogProof
from hub import log
from hub.access import Action, Actor, may
from hub.audit.selection import EntryFilter, newest_indexes
from hub.db import Database
from hub.keyhistory import events_line_at
from hub.openings.reading import reveal
from hub.openings.rows import read_openings
from hub.problems import NotFound
from hub.sections import entry_subject
from hub.tables import checkpoint, checkpoint_timestamp, log_check, log_entry, station, station_key

PAGE_ROWS = 50
MAX_PAGE_ROWS = 200
NO_FILTER = EntryFilter()


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One entry of the log in a list."""

    index: int
    source: str
    seq: int
    event_type: str
    envelope_sha256: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class EntryPage:
    """One page of entries, newest first; `next_cursor` is None on the last one."""

    rows: tuple[EntryRow, ...]
    next_cursor: int | None


@dataclass(frozen=True, slots=True)
class CheckpointNow:
    """The newest checkpoint. `note` is the signed text to compare with what others hold."""

    origin: str
    size: int
    root: str  # hex
    note: str
    signed_at: datetime

    @property
    def note_lines(self) -> list[str]:
        """The note line by line."""
        return self.note.split("\n")[:-1]


@dataclass(frozen=True, slots=True)
class LastCheck:
    """How a full check of the log ended. `fault` is a code of hub/logfaults.py, "" when all was sound."""

    finished_at: datetime
    seconds: float
    size: int  # entries when it began
    fault: str
    item: str


@dataclass(frozen=True, slots=True)
class EntryProof:
    """One entry and the proof that it is in the log; `holds` was computed from the stored bytes just now."""

    entry: EntryRow
    envelope: bytes
    signed_by: str  # label of the key whose signature fits the bytes; "" when none does
    path: tuple[str, ...]  # hex hashes from the leaf's sibling upwards
    checkpoint: CheckpointNow
    covered_at: datetime  # when the first checkpoint that includes it was signed
    holds: bool

    @property
    def proof_text(self) -> str:
        """The proof as C2SP tlog-proof: to hand out with the envelope."""
        return LogProof(self.entry.index, tuple(bytes.fromhex(h) for h in self.path), self.checkpoint.note).text


def load_checkpoint(db: Database) -> CheckpointNow:
    """The newest checkpoint; that of size 0 when nothing was logged yet."""
    with db.read() as connection:
        return newest_checkpoint(connection)


def load_entries(
    db: Database, asked: EntryFilter = NO_FILTER, before: int | None = None, rows: int = PAGE_ROWS
) -> EntryPage:
    """Entries below index `before` that fit, newest first."""
    with db.read() as connection:
        return read_entries(connection, asked, before, rows)


def read_entries(connection: Connection, asked: EntryFilter, before: int | None, rows: int) -> EntryPage:
    """As `load_entries`, within a view of the database."""
    found = newest_indexes(connection, asked, count_entries(connection), before, rows + 1)
    query = select(*(log_entry.c[name] for name in _COLUMNS)).where(log_entry.c.idx.in_(found[:rows]))
    held = {row["idx"]: _entry(row) for row in connection.execute(query).mappings()}
    shown = tuple(held[index] for index in found[:rows] if index in held)
    return EntryPage(shown, found[rows - 1] if len(found) > rows else None)


def read_events(connection: Connection, indexes: Iterable[int]) -> dict[int, Event | None]:
    """What each of these entries states, by index; None where this version cannot read it.

    Events that commit come as pages tell them: with the values that are held (`reveal`).
    """
    wanted = tuple(indexes)
    query = select(log_entry.c.idx, log_entry.c.envelope).where(log_entry.c.idx.in_(wanted))
    events = {row.idx: read_event(bytes(row.envelope)) for row in connection.execute(query)}
    held = read_openings(connection, wanted)
    return {index: event and reveal(event, held.get(index, ())) for index, event in events.items()}


def read_event(raw: bytes) -> Event | None:
    """The event of a logged envelope; None where this version cannot read it."""
    try:
        envelope = parse_envelope(raw)
        return decode_event(envelope.payload_type, envelope.payload)
    except CustodyError:
        return None


def read_sources(connection: Connection) -> tuple[str, ...]:
    """Whose entries the log can hold: the hub and every enrolled station."""
    return (log.HUB_SOURCE, *connection.execute(select(station.c.id).order_by(station.c.id)).scalars())


def read_last_check(connection: Connection) -> LastCheck | None:
    """How the last full check of the log ended; None when there was none yet."""
    row = connection.execute(select(log_check).order_by(log_check.c.id.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    finished = datetime.fromisoformat(row.finished_at)
    seconds = (finished - datetime.fromisoformat(row.started_at)).total_seconds()
    return LastCheck(finished, seconds, row.size, row.fault, row.item)


def load_note(db: Database, size: int) -> str:
    """The checkpoint over the first `size` entries. Raises NotFound when none was signed there."""
    with db.read() as connection:
        note = connection.execute(select(checkpoint.c.note).where(checkpoint.c.size == size)).scalar_one_or_none()
    if note is None:
        raise NotFound
    return str(note)


def load_token(db: Database, size: int) -> bytes:
    """The time-stamp of the checkpoint over the first `size` entries. Raises NotFound."""
    c = checkpoint_timestamp.c
    with db.read() as connection:
        token = connection.execute(select(c.token).where(c.size == size)).scalar_one_or_none()
    if token is None:
        raise NotFound
    return bytes(token)


def load_proof(db: Database, actor: Actor, index: int, hub_key_line: str) -> EntryProof:
    """One entry with its proof. Raises NotFound, also where `actor` may not see it."""
    with db.read() as connection:
        if not may(actor, Action.SEE_ENTRY, entry_subject(connection, index)):
            raise NotFound
        return prove_entry(connection, index, hub_key_line)


def prove_entry(connection: Connection, index: int, hub_key_line: str) -> EntryProof:
    """One entry with its proof against the newest checkpoint. Raises NotFound.

    1. Read the stored bytes. 2. Try the signature of its source's key over them. 3. Hash them into a leaf and follow
    the path to the checkpoint's root. Nothing here is taken from the index.
    """
    row = connection.execute(select(log_entry).where(log_entry.c.idx == index)).mappings().one_or_none()  # 1
    if row is None:
        raise NotFound
    envelope, now = bytes(row["envelope"]), newest_checkpoint(connection)
    path = log.prove_inclusion(connection, index, now.size)
    covered_at = connection.execute(
        select(checkpoint.c.signed_at).where(checkpoint.c.size > index).order_by(checkpoint.c.size).limit(1)
    ).scalar_one()
    try:
        verify_inclusion(leaf_hash(envelope), index, now.size, path, bytes.fromhex(now.root))  # 3
        holds = True
    except CustodyError:
        holds = False
    return EntryProof(
        entry=_entry(row),
        envelope=envelope,
        signed_by=_signer(envelope, _key_line(connection, row["source"], index, hub_key_line)),  # 2
        path=tuple(h.hex() for h in path),
        checkpoint=now,
        covered_at=datetime.fromisoformat(covered_at),
        holds=holds,
    )


def newest_checkpoint(connection: Connection) -> CheckpointNow:
    """The checkpoint that the last commit signed."""
    row = connection.execute(select(checkpoint).order_by(checkpoint.c.size.desc()).limit(1)).one()
    body = parse_checkpoint(row.note.rpartition("\n\n")[0] + "\n")
    return CheckpointNow(body.origin, body.size, body.root.hex(), row.note, datetime.fromisoformat(row.signed_at))


def count_entries(connection: Connection) -> int:
    """Entries in the log, from its newest checkpoint."""
    return int(connection.execute(select(func.max(checkpoint.c.size))).scalar_one() or 0)


def _key_line(connection: Connection, source: str, index: int, hub_key_line: str) -> str | None:
    if source == log.HUB_SOURCE:
        return events_line_at(connection, index, hub_key_line)
    seq = select(log_entry.c.seq).where(log_entry.c.idx == index).scalar_subquery()
    had = select(station_key.c.key_line).where(station_key.c.station == source, station_key.c.first_seq <= seq)
    return connection.execute(had.order_by(station_key.c.first_seq.desc()).limit(1)).scalar_one_or_none()


def _signer(raw: bytes, key_line: str | None) -> str:
    if key_line is None:
        return ""
    key = parse_key_line(key_line)
    try:
        parse_envelope(raw).verify(key)
    except CustodyError:
        return ""
    return key.label


_COLUMNS = ("idx", "source", "seq", "event_type", "envelope_sha256", "received_at")


def _entry(row: RowMapping) -> EntryRow:
    return EntryRow(
        index=row["idx"],
        source=row["source"],
        seq=row["seq"],
        event_type=row["event_type"],
        envelope_sha256=row["envelope_sha256"],
        received_at=datetime.fromisoformat(row["received_at"]),
    )
