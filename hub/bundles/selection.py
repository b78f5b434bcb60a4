"""What an export holds, read from the log: seals, the statements around them, and the proofs that all are logged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from custody.checkpoint import Checkpoint, parse_checkpoint
from custody.envelope import Envelope, parse_envelope
from custody.errors import CustodyError
from custody.event import Event
from custody.events import decode_event
from custody.hubevents import (
    BundleExported,
    BundleFinished,
    KeyRevoked,
    StationEnrolled,
    StationEnrolledV2,
    UseDecided,
    UseRequested,
)
from custody.merkle import inclusion_proof
from custody.stationevents import DockingClosed, SegmentSealed
from custody.tlogproof import LogProof
from custody.witness import size_of
from hub import log
from hub.access import Actor
from hub.db import Database
from hub.errors import NotFound
from hub.logfaults import untrusted
from hub.recordings.filters import RecordingFilter
from hub.recordings.queries import MAX_PAGE_ROWS, load_recordings
from hub.tables import docking, log_entry, segment
from hub.witnesses.queries import newest_witnessed

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log: its exact bytes and what they say."""

    index: int
    raw: bytes
    event: Event


def find_recordings(
    db: Database, limits: RecordingFilter, actor: Actor | None = None, most: int | None = None
) -> list[int]:
    """Log indexes of all recordings within `limits` that `actor` may see, rising; None: whoever runs the computer.

    Where there are more than `most`, some of them: more than `most`.
    """
    found: list[int] = []
    page = load_recordings(db, actor, limits, None, MAX_PAGE_ROWS)
    while True:
        found += [row.log_index for row in page.rows if not row.masked]
        if page.next_cursor is None or (most is not None and len(found) > most):
            return sorted(found)
        page = load_recordings(db, actor, limits, page.next_cursor, MAX_PAGE_ROWS)


def load_seals(connection: Connection, indexes: Sequence[int]) -> dict[int, SegmentSealed]:
    """The seals at these log indexes. Raises NotFound, naming the first that is none."""
    seals = {index: seal for index, raw in _rows(connection, indexes) if (seal := _seal(index, raw)) is not None}
    for index in indexes:
        if index not in seals:
            raise no_recording(index)
    return seals


def no_recording(index: int) -> NotFound:
    """The error of an export that names something else."""
    return NotFound(
        f"日志第 {index} 条不是录像，未导出任何内容；序号见录像页地址。 / "
        f"log entry {index} is no recording; nothing was exported. A recording's number stands in the address "
        "of its page."
    )


def read_entries(connection: Connection, indexes: Iterable[int]) -> Iterator[Entry]:
    """Entries of the log by index, rising; an index that the log lacks is left out. Raises LogUntrusted."""
    for index, raw in _rows(connection, indexes):
        yield _entry(index, raw)


def _rows(connection: Connection, indexes: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    wanted = sorted(set(indexes))
    for start in range(0, len(wanted), _PAGE):
        rows = connection.execute(
            select(log_entry.c.idx, log_entry.c.envelope)
            .where(log_entry.c.idx.in_(wanted[start : start + _PAGE]))
            .order_by(log_entry.c.idx)
        )
        for row in rows:
            yield row.idx, bytes(row.envelope)


def statements_around(connection: Connection, seals: Iterable[SegmentSealed]) -> set[int]:
    """Log indexes of the dockings' openings and closings, and of the enrolments and revocations of their stations."""
    dockings = {(seal.source, seal.docking_id) for seal in seals}
    enrolments = _hub_events(connection, StationEnrolled, StationEnrolledV2, KeyRevoked)
    found = {e.index for e in enrolments if _concerns(e.event, {s for s, _ in dockings})}
    for station, docking_id in dockings:
        rows = connection.execute(
            select(docking.c.started_index, docking.c.closed_index).where(
                docking.c.station == station, docking.c.id == docking_id
            )
        )
        found |= {index for row in rows for index in row if index is not None}
    return found


def _concerns(event: Event, stations: set[str]) -> bool:
    return (
        isinstance(event, StationEnrolled | KeyRevoked) and event.source == log.HUB_SOURCE and event.station in stations
    )


def exports_in_log(connection: Connection) -> list[tuple[int, BundleExported]]:
    """Every statement of an export that the hub has made, with its log index, oldest first."""
    found = _hub_events(connection, BundleExported)
    return [(e.index, e.event) for e in found if isinstance(e.event, BundleExported)]


def export_endings(connection: Connection) -> list[BundleFinished]:
    """How exports ended, in the log's order."""
    found = _hub_events(connection, BundleFinished)
    return [e.event for e in found if isinstance(e.event, BundleFinished)]


def copies_in_log(connection: Connection) -> dict[str, list[tuple[int, UseRequested | UseDecided]]]:
    """By request: the statements of every approved copy with their log indexes, in the log's order."""
    found: dict[str, list[tuple[int, UseRequested | UseDecided]]] = {}
    for entry in _hub_events(connection, UseRequested, UseDecided):
        if isinstance(entry.event, UseRequested | UseDecided):
            found.setdefault(entry.event.request_id, []).append((entry.index, entry.event))
    return {key: entries for key, entries in found.items() if number_of(entries) is not None}


def number_of(entries: Iterable[tuple[int, UseRequested | UseDecided]]) -> int | None:
    """The number of a copy by the statements about it."""
    return next((event.copy_number for _, event in entries if isinstance(event, UseDecided)), None)


def segments_of(connection: Connection, station: str, docking_id: str) -> int:
    """How many recordings of a docking the index knows."""
    query = select(func.count()).where(segment.c.station == station, segment.c.docking == docking_id)
    return int(connection.execute(query).scalar_one())


def closing_of(entries: Iterable[Event]) -> dict[tuple[str, str], DockingClosed]:
    """The closings among these events, by station and docking."""
    return {(e.source, e.docking_id): e for e in entries if isinstance(e, DockingClosed)}


class Prover:
    """Makes proofs under one checkpoint of this connection's view."""

    def __init__(self, connection: Connection, witnessed_over: int | None = None) -> None:
        """Pin the checkpoint: the newest; with `witnessed_over` the newest witnessed one that covers this entry.

        Where none does, the newest all the same.
        """
        witnessed = newest_witnessed(connection) if witnessed_over is not None else None
        covers = witnessed is not None and size_of(witnessed) > (witnessed_over or 0)
        self.note = witnessed if witnessed is not None and covers else log.newest_note(connection)
        self.checkpoint: Checkpoint = parse_checkpoint(self.note.partition("\n\n")[0] + "\n")
        self._subtree = log.stored_subtrees(connection)

    def prove(self, index: int) -> LogProof:
        """That entry `index` is in the log. Raises ValueError when the checkpoint does not cover it."""
        return LogProof(index, tuple(inclusion_proof(index, self.checkpoint.size, self._subtree)), self.note)


def _hub_events(connection: Connection, *kinds: type[Event]) -> Iterator[Entry]:
    """The hub's own events of these types. What a station states under such a name is logged too, and need not read."""
    rows = connection.execute(
        select(log_entry.c.idx, log_entry.c.envelope)
        .where(log_entry.c.event_type.in_([kind.TYPE for kind in kinds]), log_entry.c.source == log.HUB_SOURCE)
        .order_by(log_entry.c.idx)
    )
    for row in rows:
        yield _entry(row.idx, bytes(row.envelope))


def _entry(index: int, raw: bytes) -> Entry:
    envelope = _envelope(index, raw)
    try:
        return Entry(index, raw, decode_event(envelope.payload_type, envelope.payload))
    except CustodyError:
        raise untrusted("entry_altered", f"entry/{index}", "it cannot be read") from None


def _seal(index: int, raw: bytes) -> SegmentSealed | None:
    envelope = _envelope(index, raw)
    try:
        event = decode_event(envelope.payload_type, envelope.payload)
    except CustodyError:
        return None  # authentic and unreadable: a log holds such entries
    return event if isinstance(event, SegmentSealed) else None


def _envelope(index: int, raw: bytes) -> Envelope:
    try:
        return parse_envelope(raw)
    except CustodyError:
        raise untrusted("entry_altered", f"entry/{index}", "no envelope") from None
