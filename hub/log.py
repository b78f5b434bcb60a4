"""The append-only log: entries, tiles of subtree hashes and a signed checkpoint, all in the caller's transaction.

A leaf is ``SHA-256(0x00 || envelope bytes)``. Whoever appends holds the one lock (SQLite: the write lock; PostgreSQL:
the row of `log_state`), so indexes are gapless and every committed entry is under a committed checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, desc, insert, select, update

from custody.checkpoint import Checkpoint, sign_checkpoint
from custody.digest import CompactRange, leaf_hash, tree_root
from custody.events import NO_PREVIOUS, Event, Sha256Hex, seal_event
from custody.merkle import inclusion_proof
from hub.db import insert_rows, upsert_rows
from hub.errors import LogUntrusted
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.tables import checkpoint, log_entry, log_state, log_tile
from hub.times import to_text

HUB_SOURCE = "hub"
TILE_WIDTH = 256
TILE_BITS = 8
HASH_BYTES = 32
_MAX_TILES_HELD = 64
# made once: to build a statement costs more than to run it
_HEAD = select(log_state)
_LOCKED_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = update(log_state).where(log_state.c.id == 1, log_state.c.size == bindparam("old_size"))
_ADD_CHECKPOINT = insert(checkpoint)
_NEWEST_NOTE = select(checkpoint.c.note).order_by(desc(checkpoint.c.size)).limit(1)
_TILE = select(log_tile.c.hashes).where(log_tile.c.level == bindparam("level"), log_tile.c.idx == bindparam("idx"))
_ENTRY_COLUMNS = ("idx", "source", "seq", "envelope", "envelope_sha256", "event_type", "received_at")


@dataclass(frozen=True, slots=True)
class LogHead:
    """What `log_state` holds: the tree so far and the head of the hub's own chain."""

    size: int
    roots: tuple[bytes, ...]
    own_seq: int
    own_hash: str


class Appender:
    """Collects what one transaction appends; `appending` writes it when the block ends.

    Invariant: `size` is the index that the next entry gets, final because the lock is held until the commit.
    """

    def __init__(self, keys: HubKeys, head: LogHead, at: datetime) -> None:
        """`head` was read under the lock."""
        self.note = ""  # after the block: the checkpoint that covers everything in the log
        self._keys, self._head, self._at = keys, head, at
        self._at_text = to_text(at)
        self._own_seq, self._own_hash = head.own_seq, head.own_hash
        self._rows: list[tuple[Any, ...]] = []
        self._leaves: list[bytes] = []

    @property
    def size(self) -> int:
        """Entries in the log, these included."""
        return self._head.size + len(self._rows)

    def add(self, source: str, seq: int, raw: bytes, envelope_sha256: str, event_type: str) -> int:
        """Append one envelope as received and return its log index. The caller has checked signature and chain."""
        index = self.size
        self._rows.append((index, source, seq, raw, envelope_sha256, event_type, self._at_text))
        self._leaves.append(leaf_hash(raw))
        return index

    def record(self, kind: type[Event], **facts: Any) -> int:
        """State an event of the hub itself, signed with its event key, and return its log index."""
        event = kind(
            id=new_id(self._at),
            source=HUB_SOURCE,
            seq=self._own_seq + 1,
            previous=Sha256Hex(self._own_hash),
            at=self._at,
            clock="unknown",
            **facts,
        )
        raw = seal_event(event, self._keys.events)
        self._own_seq, self._own_hash = event.seq, hashlib.sha256(raw).hexdigest()
        return self.add(HUB_SOURCE, event.seq, raw, self._own_hash, kind.TYPE)

    def flush(self, tx: Connection) -> None:
        """Write entries, tiles, state and checkpoint. Raises LogUntrusted when the state moved under our lock."""
        if not self._rows:
            self.note = newest_note(tx)
            return
        tree = CompactRange(self._head.size, self._head.roots)
        for leaf in self._leaves:
            tree.append(leaf)
        insert_rows(tx, log_entry.name, _ENTRY_COLUMNS, self._rows)
        _extend_tiles(tx, self._head.size, self._leaves)
        state = {"size": tree.size, "roots": b"".join(tree.roots), "own_seq": self._own_seq, "own_hash": self._own_hash}
        swapped = tx.execute(_MOVE_HEAD, state | {"old_size": self._head.size})
        if swapped.rowcount != 1:
            raise LogUntrusted("持锁期间另有写入", "another writer appended while the lock was held")
        self.note = sign_checkpoint(Checkpoint(self._keys.log.name, tree.size, tree.root()), self._keys.log)
        tx.execute(_ADD_CHECKPOINT, {"size": tree.size, "note": self.note, "signed_at": self._at_text})


@contextmanager
def appending(tx: Connection, keys: HubKeys, at: datetime) -> Iterator[Appender]:
    """Take the log's lock until `tx` ends; on leaving the block, write what was added with one new checkpoint.

    Take it before reading what decides about an entry: the lock is what makes the decision hold.
    """
    head = lock(tx)
    appender = Appender(keys, head, at)
    yield appender
    appender.flush(tx)


def create(tx: Connection, keys: HubKeys, at: datetime) -> None:
    """Start an empty log with a signed checkpoint of size 0."""
    tx.execute(insert(log_state).values(id=1, size=0, roots=b"", own_seq=0, own_hash=NO_PREVIOUS))
    note = sign_checkpoint(Checkpoint(keys.log.name, 0, CompactRange().root()), keys.log)
    tx.execute(insert(checkpoint).values(size=0, note=note, signed_at=to_text(at)))


def lock(tx: Connection) -> LogHead:
    """Take the lock and return the head. Raises LogUntrusted when there is no log."""
    return _head(tx, _LOCKED_HEAD)


def read_head(connection: Connection) -> LogHead:
    """The head as last committed. Raises LogUntrusted when there is no log."""
    return _head(connection, _HEAD)


def newest_note(connection: Connection) -> str:
    """The newest checkpoint's signed note."""
    note: str = connection.execute(_NEWEST_NOTE).scalar_one()
    return note


def subtrees(connection: Connection) -> Callable[[int, int], bytes]:
    """`subtree(level, index)` for custody.merkle out of stored tiles: at most 255 hashes and one row per call."""
    tiles: dict[tuple[int, int], bytes] = {}

    def subtree(level: int, index: int) -> bytes:
        tile_level, inner = divmod(level, TILE_BITS)
        first = index << inner
        key = (tile_level, first // TILE_WIDTH)
        if key not in tiles:
            if len(tiles) >= _MAX_TILES_HELD:
                tiles.clear()
            tiles[key] = read_tile(connection, *key)
        offset = first % TILE_WIDTH
        hashes = split(tiles[key][offset * HASH_BYTES : (offset + (1 << inner)) * HASH_BYTES])
        if len(hashes) != 1 << inner:
            raise LogUntrusted("哈希块不完整", f"tile {key[0]}/{key[1]} holds too few hashes")
        return tree_root(hashes)

    return subtree


def prove_inclusion(connection: Connection, index: int, size: int) -> list[bytes]:
    """Audit path of entry `index` in the tree of `size`; O(log n) tiles read. Raises ValueError when not in it."""
    return inclusion_proof(index, size, subtrees(connection))


def _head(connection: Connection, query: Any) -> LogHead:
    row = connection.execute(query).one_or_none()
    if row is None:
        raise LogUntrusted("数据库中没有日志", "the database has no log")
    return LogHead(row.size, tuple(split(row.roots)), row.own_seq, row.own_hash)


def _extend_tiles(tx: Connection, start: int, hashes: Sequence[bytes]) -> None:
    """Add `hashes` at leaf position `start` and, for every tile that fills up, its root on the level above."""
    level = 0
    while hashes:
        tile, held = divmod(start, TILE_WIDTH)
        content = (read_tile(tx, level, tile) if held else b"") + b"".join(hashes)
        if len(content) != (held + len(hashes)) * HASH_BYTES:
            raise LogUntrusted("哈希块长度不符", f"tile {level}/{tile} does not hold {held} hashes")
        width = TILE_WIDTH * HASH_BYTES
        parts = [content[i : i + width] for i in range(0, len(content), width)]
        rows = [(level, tile + i, part) for i, part in enumerate(parts)]
        upsert_rows(tx, log_tile, ("level", "idx", "hashes"), rows)
        hashes = [tree_root(split(part)) for part in parts if len(part) == width]
        start, level = tile, level + 1


def read_tile(connection: Connection, level: int, index: int) -> bytes:
    """The stored hashes of a tile, full or partial. Raises LogUntrusted when it is missing."""
    found = connection.execute(_TILE, {"level": level, "idx": index}).scalar_one_or_none()
    if found is None:
        raise LogUntrusted("缺少哈希块", f"tile {level}/{index} is missing")
    return bytes(found)


def split(raw: bytes) -> list[bytes]:
    """Concatenated hashes apart."""
    return [raw[i : i + HASH_BYTES] for i in range(0, len(raw), HASH_BYTES)]
