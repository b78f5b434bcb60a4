"""``dock-hub reindex``: throw the projections away and build them again from the log, in one transaction."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, delete, select

from custody.envelope import parse_envelope
from custody.errors import CustodyError, UnknownType
from custody.events import decode_event
from hub import log
from hub.db import Database, insert_rows
from hub.opening import draft_of
from hub.projections import Projection
from hub.recordings import states
from hub.tables import (
    camera,
    camera_event,
    command_answer,
    disposition,
    docking,
    hub_subject,
    log_entry,
    segment,
    segment_bigrams,
    unprojected,
)

_PAGE = 500


def reindex(db: Database, utc_offset_minutes: int, *, closed: bool = False) -> int:
    """Rebuild every projection and return how many entries were read. Readers see the old rows until the commit.

    `closed`: of a copy whose log may be read-only. Raises LogReadOnly otherwise.
    """
    with db.begin() as tx:
        size = (log.lock_closed if closed else log.lock)(tx).size  # holds intake back, or its rows would be missing
        _clear(tx)
        for start in range(0, size, _PAGE):
            _project(tx, start, min(size, start + _PAGE), utc_offset_minutes)
        _find_subjects(tx)
        states.refresh_since(tx)
    return size


def _clear(tx: Connection) -> None:
    states.clear(tx)
    for table in (segment, docking, camera, camera_event, command_answer, disposition, unprojected, hub_subject):
        tx.execute(delete(table))
    if tx.dialect.name == "sqlite":
        tx.exec_driver_sql("INSERT INTO segment_text (segment_text) VALUES ('delete-all')")
    else:
        tx.execute(delete(segment_bigrams))


def _project(tx: Connection, start: int, end: int, utc_offset_minutes: int) -> None:
    projection = Projection()
    rows = tx.execute(
        select(log_entry)
        .where(log_entry.c.idx >= start, log_entry.c.idx < end, log_entry.c.source != log.HUB_SOURCE)
        .order_by(log_entry.c.idx)
    )
    for row in rows:
        envelope = parse_envelope(bytes(row.envelope))
        try:
            draft, unread = draft_of(decode_event(envelope.payload_type, envelope.payload), utc_offset_minutes)
        except CustodyError as error:
            draft, unread = None, error.code
        if draft:
            projection.add(row.idx, draft, row.received_at)
        else:
            projection.set_aside(row.idx, row.source, row.event_type, unread, row.received_at)
    projection.write(tx)


def _find_subjects(tx: Connection) -> None:
    """What the hub's own events are about, along its own chain."""
    after = 0
    while rows := tx.execute(
        select(log_entry.c.idx, log_entry.c.seq, log_entry.c.envelope)
        .where(log_entry.c.source == log.HUB_SOURCE, log_entry.c.seq > after)
        .order_by(log_entry.c.seq)
        .limit(_PAGE)
    ).all():
        found = []
        for row in rows:
            envelope = parse_envelope(bytes(row.envelope))
            with suppress(UnknownType):  # stated by a later version
                found += log.subject_rows(decode_event(envelope.payload_type, envelope.payload), row.idx)
        insert_rows(tx, hub_subject.name, log.SUBJECT_COLUMNS, found)
        after = rows[-1].seq
