"""The book of viewings: each begins with an entry of the log and ends with one; what was streamed is counted before it
leaves. Each function is one transaction.

A stream reserves bytes before it sends them, so whatever the hub dies of, the row says at least what was sent, and
`end_left_open` states it at the next start. No byte leaves for a viewing whose first entry is not committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, insert, select, update

from custody.digest import CHUNK_BYTES
from custody.event import Sha256Hex
from custody.hubevents import FootageMismatched, FootageViewed, FootageViewStarted
from custody.viewing import chunk_count
from hub import log
from hub.access import Action, Actor, may
from hub.db import Database
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.problems import NotFound
from hub.sections import recording_subjects
from hub.tables import log_entry, viewing
from hub.times import to_text
from hub.viewing.grants import Footage, HeldGrant, good_grant, load_footage
from hub.viewing.policy import IDLE, add_chunks, count_chunks, seconds_of
from hub.viewing.problems import NoGrant

Reason = Literal["closed", "idle", "grant_over", "mismatch", "hub_stopped"]


@dataclass(frozen=True, slots=True)
class Viewing:
    """One viewing. `reason` None: it is open. `started`: the exact envelope of its first entry."""

    id: str
    account: str
    grant_id: str
    started_at: datetime
    started_index: int
    started: bytes
    reason: Reason | None
    bytes_streamed: int
    chunks_streamed: int
    footage: Footage


def load_grant(connection: Connection, actor: Actor, recording: int, now: datetime) -> tuple[Footage, HeldGrant]:
    """What `actor` may view, by which grant. Raises NoGrant, or NotFound where not even the recording is theirs."""
    footage = load_footage(connection, recording)
    if footage is None:
        raise NotFound
    if not _knows(connection, actor.name, recording):
        raise NotFound
    held = good_grant(connection, actor.name, footage, now)
    if held is not None:
        return footage, held
    if not may(actor, Action.VIEW_FOOTAGE, recording_subjects(connection, [recording])[recording]):
        raise NotFound
    raise NoGrant


def _knows(connection: Connection, account: str, recording: int) -> bool:
    """Whether `account` may know this recording: a raised mark takes effect at once, whatever was granted (Art. 18)."""
    known_to = recording_subjects(connection, [recording])[recording].known_to
    return known_to is None or account in known_to


def start_viewing(db: Database, keys: HubKeys, actor: Actor, recording: int, now: datetime) -> str:
    """State that a viewing begins, and return its id; an open one by the same grant goes on.

    Raises as `load_grant` does.
    """
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        footage, held = load_grant(tx, actor, recording, now)
        c = viewing.c  # two equal files of an offload share their grants, not their viewings
        same = (c.recording == recording) & (c.grant_id == held.grant_id) & c.ended_at.is_(None)
        going_on = tx.execute(select(c.id).where(c.account == actor.name, same)).scalars().first()
        if going_on is not None:
            return str(going_on)
        viewing_id = new_id(now)
        index = entries.record(
            FootageViewStarted, viewing_id=viewing_id, account=actor.name, recording=recording, grant_id=held.grant_id,
            purpose=held.purpose, station=footage.station, docking_id=footage.docking,
            file_sha256=Sha256Hex(footage.file_sha256),
        )  # fmt: skip
        row = {"id": viewing_id, "account": actor.name, "recording": recording, "grant_id": held.grant_id}
        at = to_text(now)
        tx.execute(insert(viewing).values(**row, started_at=at, started_index=index, active_at=at))
    return viewing_id


def load_viewing(connection: Connection, actor: Actor, viewing_id: str) -> Viewing:
    """A viewing of `actor`'s own. Raises NotFound."""
    query = select(viewing, log_entry.c.envelope).join(log_entry, log_entry.c.idx == viewing.c.started_index)
    row = connection.execute(query.where(viewing.c.id == viewing_id, viewing.c.account == actor.name)).one_or_none()
    footage = load_footage(connection, row.recording) if row is not None else None
    if row is None or footage is None:
        raise NotFound
    return Viewing(
        row.id, row.account, row.grant_id, datetime.fromisoformat(row.started_at), row.started_index,
        log.stored_bytes(row.envelope), row.reason, row.bytes_streamed, count_chunks(row.chunks), footage,
    )  # fmt: skip


def held_grant(connection: Connection, one: Viewing, now: datetime) -> HeldGrant | None:
    """The grant of a viewing while it is good: asked for again before each chunk."""
    if not _knows(connection, one.account, one.footage.recording):
        return None
    return good_grant(connection, one.account, one.footage, now, one.grant_id)


def count_streamed(
    db: Database, one: Viewing, spent: int, chunks: frozenset[int], reserved: int, now: datetime
) -> bool:
    """Note `spent` bytes of these chunks as sent, and `reserved` more (or fewer) as about to be.

    Durable when this returns; False: the viewing has ended meanwhile, nothing may be sent for it.
    """
    with db.begin() as tx:
        query = select(viewing.c.chunks).where(viewing.c.id == one.id, viewing.c.ended_at.is_(None)).with_for_update()
        row = tx.execute(query).one_or_none()
        if row is None:
            return False
        counted = {
            "bytes_streamed": viewing.c.bytes_streamed + spent,
            "bytes_reserved": viewing.c.bytes_reserved + reserved,
            "chunks": add_chunks(row.chunks, chunks, one.footage.size_bytes),
            "active_at": to_text(now),
        }
        tx.execute(update(viewing).where(viewing.c.id == one.id).values(**counted))
    return True


def end_viewing(db: Database, keys: HubKeys, viewing_id: str, reason: Reason, now: datetime) -> bool:
    """State that a viewing ended and what was streamed; False when it had ended already."""
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        return _end(tx, entries, viewing_id, reason, now)


def state_mismatch(
    db: Database, keys: HubKeys, one: Viewing, chunk: int | None, leaf: bytes | None, now: datetime
) -> None:
    """State that a station gave other bytes than it sealed, and end the viewing."""
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        entries.record(
            FootageMismatched, viewing_id=one.id, account=one.account, recording=one.footage.recording,
            station=one.footage.station, chunk=chunk, leaf_sha256=None if leaf is None else Sha256Hex(leaf.hex()),
        )  # fmt: skip
        _end(tx, entries, one.id, "mismatch", now)


def end_left_open(db: Database, keys: HubKeys, now: datetime) -> int:
    """State the end of every viewing that an earlier life of this hub left open; how many there were."""
    with db.read() as connection:
        left = connection.execute(select(viewing.c.id).where(viewing.c.ended_at.is_(None))).scalars().all()
    return sum(end_viewing(db, keys, viewing_id, "hub_stopped", now) for viewing_id in left)


def end_overdue(db: Database, keys: HubKeys, now: datetime) -> int:
    """State the end of viewings whose grant is over, or for which nothing was streamed for a while; how many."""
    ended = 0
    with db.read() as connection:
        rows = connection.execute(select(viewing).where(viewing.c.ended_at.is_(None))).all()
        due: list[tuple[str, Reason]] = []
        for row in rows:
            footage = load_footage(connection, row.recording)
            if footage is None or good_grant(connection, row.account, footage, now, row.grant_id) is None:
                due.append((row.id, "grant_over"))
            elif now - datetime.fromisoformat(row.active_at) > IDLE:
                due.append((row.id, "idle"))
    for viewing_id, reason in due:
        ended += end_viewing(db, keys, viewing_id, reason, now)
    return ended


def _end(tx: Connection, entries: log.Appender, viewing_id: str, reason: Reason, now: datetime) -> bool:
    row = tx.execute(select(viewing).where(viewing.c.id == viewing_id, viewing.c.ended_at.is_(None))).one_or_none()
    if row is None:
        return False
    footage = load_footage(tx, row.recording)
    size_bytes, count = (footage.size_bytes, chunk_count(footage.size_bytes)) if footage else (0, 0)
    unsure = max(0, row.bytes_reserved)
    chunks = min(count, count_chunks(row.chunks) + -(-unsure // CHUNK_BYTES))
    index = entries.record(
        FootageViewed, viewing_id=viewing_id, account=row.account, recording=row.recording,
        bytes_streamed=row.bytes_streamed + unsure, chunks_streamed=chunks, chunk_count=count,
        seconds_streamed=seconds_of(chunks, size_bytes, footage.duration_ms) if footage else None,
        exact=unsure == 0, reason=reason,
    )  # fmt: skip
    done = {"ended_at": to_text(now), "ended_index": index, "reason": reason}
    figures = {"bytes_streamed": row.bytes_streamed + unsure, "bytes_reserved": 0}
    tx.execute(update(viewing).where(viewing.c.id == viewing_id).values(**done, **figures))
    return True
