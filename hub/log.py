"""The append-only log: entries, tiles of subtree hashes and a signed checkpoint, all in the caller's transaction.

A leaf is ``SHA-256(0x00 || envelope bytes)``. Whoever appends holds the one lock (SQLite: the write lock; PostgreSQL:
the row of `log_state`), so indexes are gapless and every committed entry is under a committed checkpoint. A checkpoint
is signed only on top of one that our key signed and whose root the state still gives; before the commit it is shown
to nobody. So hub processes on one database never sign two histories.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, desc, insert, select, type_coerce, update
from sqlalchemy.types import NullType

from custody.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from custody.commitments import state
from custody.digest import HASH_BYTES, CompactRange, leaf_hash
from custody.errors import CustodyError, FormatError
from custody.event import NO_PREVIOUS, Event, Sha256Hex
from custody.events import seal_event
from custody.merkle import Subtree, inclusion_proof
from custody.tiles import MAX_ENTRY_BYTES, Tile, grow, subtrees
from hub.alerts.raising import raise_alerts
from hub.alerts.rules import Signal, signals_of
from hub.db import insert_rows, upsert_rows
from hub.errors import KeysChanged, LogReadOnly
from hub.identifiers import new_id
from hub.keyhistory import read_history
from hub.keys import HubKeys, key_set
from hub.logfaults import untrusted
from hub.openings.rows import keep_openings
from hub.subjects import subjects_of
from hub.tables import checkpoint, hub_subject, log_entry, log_state, log_tile
from hub.times import to_text

HUB_SOURCE = "hub"
# made once: to build a statement costs more than to run it
_HEAD = select(*(type_coerce(column, NullType()).label(column.name) for column in log_state.c))
_LOCKED_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = update(log_state).where(log_state.c.id == 1, log_state.c.size == bindparam("old_size"))
_ADD_CHECKPOINT = insert(checkpoint)
_NEWEST_NOTE = select(checkpoint.c.note).order_by(desc(checkpoint.c.size)).limit(1)
_TILE = select(type_coerce(log_tile.c.hashes, NullType())).where(
    log_tile.c.level == bindparam("level"), log_tile.c.idx == bindparam("idx")
)
# checkpoints that this process signed or has verified, by label of the key: only saves checking a signature again
_KNOWN: deque[tuple[str, str]] = deque(maxlen=16)
_SHA256 = re.compile("[0-9a-f]{64}")
SUBJECT_COLUMNS = ("kind", "name", "log_index", "event_type")
_ENTRY_COLUMNS = ("idx", "source", "seq", "envelope", "envelope_sha256", "event_type", "received_at")


@dataclass(frozen=True, slots=True)
class LogHead:
    """What `log_state` holds: the tree so far and the head of the hub's own chain."""

    size: int
    roots: tuple[bytes, ...]
    own_seq: int
    own_hash: str
    key_set: str | None = None
    read_only: str | None = None  # why nothing may be appended


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
        self._subjects: list[tuple[str, str, int, str]] = []
        self.signals: list[Signal] = []  # what these entries mean for alerts
        self._openings: list[tuple[int, str, bytes, bytes]] = []

    @property
    def size(self) -> int:
        """Entries in the log, these included."""
        return self._head.size + len(self._rows)

    def add(self, source: str, seq: int, raw: bytes, envelope_sha256: str, event_type: str) -> int:
        """Append one envelope as received and return its log index. The caller has checked signature and chain."""
        if len(raw) > MAX_ENTRY_BYTES:
            raise ValueError(f"a log entry holds at most {MAX_ENTRY_BYTES} bytes, this one has {len(raw)}")
        index = self.size
        self._rows.append((index, source, seq, raw, envelope_sha256, event_type, self._at_text))
        self._leaves.append(leaf_hash(raw))
        return index

    def add_own(self, seq: int, raw: bytes, envelope_sha256: str, event_type: str, event: Event | None) -> int:
        """Append an envelope that the hub itself stated before it lost its log. The caller has checked it.

        `event`: what it says; None where this version cannot read it.
        """
        self._own_seq, self._own_hash = seq, envelope_sha256
        index = self.add(HUB_SOURCE, seq, raw, envelope_sha256, event_type)
        self._subjects += subject_rows(event, index) if event is not None else []
        return index

    def record(self, kind: type[Event], /, **facts: Any) -> int:
        """State an event of the hub itself, signed with its event key, and return its log index.

        Of what it commits to, the openings are kept beside the log.
        """
        head = {
            "id": new_id(self._at), "source": HUB_SOURCE, "seq": self._own_seq + 1,
            "previous": Sha256Hex(self._own_hash), "at": self._at, "clock": "unknown",
        }  # fmt: skip
        stated = state(kind, secrets.token_bytes, head | facts)
        event = stated.event
        raw = seal_event(event, self._keys.events)
        self._own_seq, self._own_hash = event.seq, hashlib.sha256(raw).hexdigest()
        index = self.add(HUB_SOURCE, event.seq, raw, self._own_hash, kind.TYPE)
        self._subjects += subject_rows(event, index)
        self.signals += [replace(signal, cause=index) for signal in signals_of(event)]
        self._openings += [(index, one.field, one.salt, one.value.encode()) for one in stated.opened]
        return index

    def flush(self, tx: Connection) -> None:
        """Write entries, tiles, state and checkpoint. Raises LogUntrusted when what is there is not what we signed."""
        newest = newest_note(tx)
        if not self._rows:
            self.note = newest
            return
        key, tree = self._keys.log, CompactRange(self._head.size, self._head.roots)
        _check_base(tx, newest, self._keys, tree)
        for leaf in self._leaves:
            tree.append(leaf)
        insert_rows(tx, log_entry.name, _ENTRY_COLUMNS, self._rows)
        insert_rows(tx, hub_subject.name, SUBJECT_COLUMNS, self._subjects)
        keep_openings(tx, self._openings)
        _extend_tiles(tx, self._head.size, self._leaves)
        state = {"size": tree.size, "roots": b"".join(tree.roots), "own_seq": self._own_seq, "own_hash": self._own_hash}
        swapped = tx.execute(_MOVE_HEAD, state | {"old_size": self._head.size})
        if swapped.rowcount != 1:
            raise untrusted("state_altered", "log_state", "another writer appended while the lock was held")
        self.note = sign_checkpoint(Checkpoint(key.name, tree.size, tree.root()), key)
        _KNOWN.append((key.verify_key.label, self.note))
        tx.execute(
            _ADD_CHECKPOINT,
            {
                "size": tree.size,
                "note": self.note,
                "signed_at": self._at_text,
                "previous_size": self._head.size,
            },
        )


@contextmanager
def appending(tx: Connection, keys: HubKeys, at: datetime) -> Iterator[Appender]:
    """Take the log's lock until `tx` ends; on leaving the block, write what was added with one new checkpoint.

    What was added may open alerts or end them: that is stated and written with it.

    Take it before reading what decides about an entry: the lock is what makes the decision hold.
    """
    head = lock(tx)
    if head.key_set is not None and head.key_set != key_set(keys):
        raise KeysChanged("中心密钥已更换，请重新启动 / a key of the hub was rotated; start this program again")
    appender = Appender(keys, head, at)
    yield appender
    raise_alerts(tx, appender, appender.signals, at)
    appender.flush(tx)


def subject_rows(event: Event, index: int) -> list[tuple[str, str, int, str]]:
    """Rows of `hub_subject` for the hub's event at `index`, in the order of `SUBJECT_COLUMNS`."""
    return [(kind, name, index, event.TYPE) for kind, name in subjects_of(event)]


def create(tx: Connection, keys: HubKeys, at: datetime) -> None:
    """Start an empty log with a signed checkpoint of size 0."""
    tx.execute(
        insert(log_state).values(id=1, size=0, roots=b"", own_seq=0, own_hash=NO_PREVIOUS, key_set=key_set(keys))
    )
    note = sign_checkpoint(Checkpoint(keys.log.name, 0, CompactRange().root()), keys.log)
    tx.execute(insert(checkpoint).values(size=0, note=note, signed_at=to_text(at)))


def keep_key_set(tx: Connection, keys: HubKeys) -> None:
    """State which keys may sign, in a database of a version that did not."""
    tx.execute(update(log_state).where(log_state.c.key_set.is_(None)).values(key_set=key_set(keys)))


def lock(tx: Connection) -> LogHead:
    """Take the lock and return the head. Raises LogUntrusted when there is no log, LogReadOnly when it is closed."""
    head = _head(tx, _LOCKED_HEAD)
    if head.read_only is not None:
        raise LogReadOnly(head.read_only)
    return head


def lock_closed(tx: Connection) -> LogHead:
    """As `lock`, for whoever refills a read-only log and for nobody else."""
    return _head(tx, _LOCKED_HEAD)


def read_head(connection: Connection) -> LogHead:
    """The head as last committed. Raises LogUntrusted when there is no log."""
    return _head(connection, _HEAD)


def newest_note(connection: Connection) -> str:
    """The newest checkpoint's signed note. Raises LogUntrusted when there is none, or no text in its place."""
    note = connection.execute(_NEWEST_NOTE).scalar_one_or_none()
    if not isinstance(note, str):
        raise untrusted("checkpoint_missing", "checkpoint/newest", "there is none at all")
    return note


def stored_subtrees(connection: Connection) -> Subtree:
    """Subtree hashes out of the stored tiles, for custody.merkle. Raises LogUntrusted for a missing or short one."""
    subtree = subtrees(lambda level, index: read_tile(connection, level, index))

    def checked(level: int, index: int) -> bytes:
        try:
            return subtree(level, index)
        except FormatError as error:
            raise untrusted("tile_altered", f"subtree/{level}/{index}", str(error)) from None

    return checked


def prove_inclusion(connection: Connection, index: int, size: int) -> list[bytes]:
    """Audit path of entry `index` in the tree of `size`; O(log n) tiles read. Raises ValueError when not in it."""
    return inclusion_proof(index, size, stored_subtrees(connection))


def _head(connection: Connection, query: Any) -> LogHead:
    rows = connection.execute(query).all()
    if len(rows) != 1:
        raise untrusted("state_altered", "log_state", f"the database has {len(rows)} states of a log")
    row = rows[0]
    roots = stored_bytes(row.roots)
    if not isinstance(row.size, int) or row.size < 0 or len(roots) != row.size.bit_count() * HASH_BYTES:
        raise untrusted("state_altered", "log_state", "it is no state of a tree")
    if not isinstance(row.own_seq, int) or not _SHA256.fullmatch(str(row.own_hash)):
        raise untrusted("state_altered", "log_state", "it is no head of a chain")
    hashes = tuple(roots[i : i + HASH_BYTES] for i in range(0, len(roots), HASH_BYTES))
    closed = None if row.read_only is None else str(row.read_only)
    return LogHead(row.size, hashes, row.own_seq, row.own_hash, row.key_set, closed)


def _check_base(tx: Connection, note: str, keys: HubKeys, tree: CompactRange) -> None:
    """Raise LogUntrusted unless `note`, the newest checkpoint, is our key's and of exactly this tree.

    The comparison in compare-and-swap: whoever changed state or checkpoint beside us is found before we sign.
    """
    key = keys.log.verify_key
    try:
        if (key.label, note) not in _KNOWN and key.label != _signer_of(note):  # the commit of a rotation, or a forgery
            before = tx.execute(select(checkpoint.c.previous_size).order_by(desc(checkpoint.c.size)).limit(1))
            key = read_history(tx, keys).log_at(before.scalar_one() or 0)
        if (key.label, note) in _KNOWN:
            signed = parse_checkpoint(note.partition("\n\n")[0] + "\n")
        else:
            signed = open_checkpoint(note, key)
            _KNOWN.append((key.label, note))
    except (CustodyError, AttributeError, TypeError) as error:  # or no text at all
        raise untrusted("checkpoint_altered", "checkpoint/newest", str(error)) from None
    if (signed.size, signed.root) != (tree.size, tree.root()):
        more = f"the state has {tree.size} entries, the newest checkpoint {signed.size}, or their roots differ"
        raise untrusted("state_altered", "log_state", more)


def _signer_of(note: str) -> str:
    """The label that a note's first signature claims; empty for what is no note."""
    name, _, encoded = note.rpartition("\n\n")[2].partition("\n")[0].removeprefix("\u2014 ").partition(" ")
    try:
        return f"{name}+{base64.b64decode(encoded)[:4].hex()}"
    except ValueError:
        return ""


def _extend_tiles(tx: Connection, start: int, leaves: Sequence[bytes]) -> None:
    """Add `leaves` at position `start` and, for every tile that fills up, its root on the level above."""
    try:
        changed = list(grow(start, leaves, lambda level, index: read_tile(tx, level, index)))
    except FormatError as error:
        raise untrusted("tile_altered", "tile/newest", str(error)) from None
    upsert_rows(tx, log_tile, ("level", "idx", "hashes"), changed)


def read_tile(connection: Connection, level: int, index: int) -> bytes:
    """The stored hashes of a tile, full or partial. Raises LogUntrusted when it is missing."""
    found = find_tile(connection, level, index)
    if found is None:
        raise untrusted("tile_missing", Tile(level, index).path)
    return found


def find_tile(connection: Connection, level: int, index: int) -> bytes | None:
    """The stored hashes of a tile, full or partial; None when there is none."""
    found = connection.execute(_TILE, {"level": level, "idx": index}).scalar_one_or_none()
    return None if found is None else stored_bytes(found)


def times_of(connection: Connection, indexes: Iterable[int]) -> dict[int, datetime]:
    """When the hub received each of these entries."""
    query = select(log_entry.c.idx, log_entry.c.received_at).where(log_entry.c.idx.in_(tuple(indexes)))
    return {row.idx: datetime.fromisoformat(row.received_at) for row in connection.execute(query)}


def stored_bytes(value: Any) -> bytes:
    """Bytes of a column. Whatever else somebody put there gives none: found wrong, not stumbled over."""
    return bytes(value) if isinstance(value, bytes | memoryview) else b""
