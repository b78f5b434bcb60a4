"""What this station keeps for its hub, and what it gives back: see ``custody/spec/keeping.md``.

Functions of the store's thread. The station verifies signatures and digests; it cannot read what it keeps.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from agent.keyrotation import rotations
from agent.outbox import WINDOW
from agent.station import Station
from agent.store import Store
from agent.witness import load_memory
from custody.checkpoint import VerifyKey
from custody.commitments import attach
from custody.keeping import Held, Keep, Refilled, RefillRequest, pages, seal_refilled

KEPT_FOR = timedelta(days=90)
KEPT_BYTES = 1 << 30
PAGE_BYTES = 170 * 1024  # with digests and signature well under a message's limit
_PAGE_ROWS = 120
_PRUNE_EVERY = 100  # keepings


def keep(store: Store, kept: Keep, raw: bytes) -> None:
    """Put a verified keeping down, durable when this returns. The same one again changes nothing."""
    with store.begin():
        store.execute(
            "INSERT INTO kept VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (kept.log, kept.size, kept.start, kept.at, raw),
        )
        (count,) = store.execute("SELECT count(*) FROM kept").fetchone()
        if count % _PRUNE_EVERY == 0:
            _prune(store, kept)


def kept_through(store: Store, log: str, through: int) -> int:
    """Up to which size of this log keepings reach without a gap from size `through`; 0: from the oldest kept one.

    What was dropped as too old is no gap.
    """
    if through == 0:
        row = store.execute("SELECT min(start) FROM kept WHERE log = ?", (log,)).fetchone()
        through = int(row[0] or 0)
    rows = store.execute("SELECT start, size FROM kept WHERE log = ? AND size > ? ORDER BY size, start", (log, through))
    for start, size in rows:
        if start > through:
            break
        through = size
    return through


def newest_checkpoint(store: Store, log_key: VerifyKey) -> str | None:
    """The newest checkpoint of the hub's present log that this station holds, proven to it or not."""
    return load_memory(store, log_key.name).largest or None


def answer(store: Store, station: Station, log_key: VerifyKey, request: RefillRequest) -> bytes:
    """One page of what the hub asked for, signed; see `RefillRequest`."""
    note, station_key = newest_checkpoint(store, log_key), station.key
    # a hub put back from before a rotation knows the old key only: these prove the one that signs this page
    rotated = tuple(Held(*row) for row in rotations(store))
    page = Refilled(station.id, request.number, note, rotated, (), None, None)
    if not request.from_seq:
        return seal_refilled(page, station_key)
    keeps = _keeps(store, log_key.name, request.from_size)  # first: they tell whose envelope stands where
    if keeps:
        raws = tuple(raw for _, raw in keeps)
        return seal_refilled(replace(page, keeps=raws, next_seq=request.from_seq, next_size=keeps[-1][0]), station_key)
    held = _held(store, request.from_seq)
    if held:
        page = replace(page, held=(*rotated, *held), next_seq=held[-1].seq + 1, next_size=request.from_size)
    return seal_refilled(page, station_key)


def _held(store: Store, from_seq: int) -> tuple[Held, ...]:
    """Envelopes from a seq on, but of those without receipt only what can have been sent before."""
    first = store.first_unreceipted()
    end = store.head().seq + 1 if first is None else first + WINDOW
    rows = [
        Held(seq, index, attach(envelope, opening))
        for seq, index, envelope, opening in store.execute(
            "SELECT seq, log_index, envelope, opening FROM outbox LEFT JOIN opening USING (seq) "
            "WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
            (from_seq, end, _PAGE_ROWS),
        )
    ]
    return tuple(rows[: pages([len(row.message) for row in rows], PAGE_BYTES)])


def _keeps(store: Store, log: str, from_size: int) -> list[tuple[int, bytes]]:
    rows = [
        (int(size), bytes(message))
        for size, message in store.execute(
            "SELECT size, message FROM kept WHERE log = ? AND size > ? ORDER BY size, start LIMIT ?",
            (log, from_size, _PAGE_ROWS),
        )
    ]
    return rows[: pages([len(raw) for _, raw in rows], PAGE_BYTES)]


def _prune(store: Store, newest: Keep) -> None:
    """Drop what is too old by the hub's own times, and the oldest beyond the limit of bytes."""
    oldest = (datetime.fromisoformat(newest.at) - KEPT_FOR).isoformat()
    store.execute("DELETE FROM kept WHERE at < ?", (oldest,))
    (held,) = store.execute("SELECT coalesce(sum(length(message)), 0) FROM kept").fetchone()
    while held > KEPT_BYTES:
        log, size, length = store.execute(
            "SELECT log, size, sum(length(message)) FROM kept GROUP BY log, size ORDER BY min(at), size LIMIT 1"
        ).fetchone()
        store.execute("DELETE FROM kept WHERE log = ? AND size = ?", (log, size))
        held -= length
