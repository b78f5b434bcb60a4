"""The walk over the stored log, oldest entry first: everything is derived again and compared with what is stored.

For each page of 256 entries, one tile of level 0: 1. No entry is missing. 2. Its leaf is the tile's; if not, the signed
checkpoint above decides which of the two was changed. 3. Its columns say what its envelope says. 4. It follows its
source's previous entry. 5. Its source signed it, with the key that counted
there: of a station the one that the log itself enrolled, or that followed it by rotations. 6. It was received when its
checkpoint was signed. At each checkpoint: 7. It is the next one, signed by our key, for exactly this tree.
At the end: 8. Upper tiles follow from lower ones. 9. There is nothing more. Memory does not grow with the log.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from sqlalchemy import Connection, Table, func, or_, select, type_coerce
from sqlalchemy.types import NullType

from custody.checkpoint import VerifyKey, open_checkpoint
from custody.digest import HASH_BYTES, CompactRange, leaf_hash
from custody.envelope import Envelope, parse_envelope
from custody.errors import CustodyError, FormatError, UnknownType
from custody.event import NO_PREVIOUS, Event
from custody.events import decode_chain, decode_event
from custody.hubevents import KeyRevoked, StationEnrolled
from custody.keyrotation import successor
from custody.tiles import TILE_BITS, TILE_WIDTH, Tile, range_of, split_hashes, tile_hash
from hub import log
from hub.errors import LogUntrusted
from hub.keyhistory import read_history
from hub.keys import HubKeys
from hub.logfaults import untrusted
from hub.opening import claimed_type
from hub.stationkeys import station_key
from hub.tables import checkpoint, log_entry, log_tile
from hub.times import to_text

_MANY = 1000


@dataclass(frozen=True, slots=True)
class Logged:
    """One entry that was checked. `event` is None when this version cannot read it; `unread` is the code of why."""

    index: int
    source: str
    seq: int
    sha256: str
    event_type: str
    received_at: str
    event: Event | None
    unread: str


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """A stored checkpoint that our key signed."""

    size: int
    root: bytes
    signed_at: str


@dataclass(slots=True)
class _Level:
    """The hashes of one level above 0 that no full tile holds yet, and the index of the tile that they begin."""

    tile: int = 0
    hashes: list[bytes] = field(default_factory=list)


def plain(table: Table, *names: str) -> list[Any]:
    """Columns as the database holds them: what somebody put in place of a value must not fail to be read."""
    return [type_coerce(table.c[name], NullType()).label(name) for name in names or table.c.keys()]


def first_outside(connection: Connection, index: Any, size: int) -> int | None:
    """The smallest value of an indexed column outside ``[0, size)``; looks at both ends only, however many rows."""
    lowest: int | None = connection.execute(select(func.min(index))).scalar_one()
    if lowest is not None and lowest < 0:
        return lowest
    highest: int | None = connection.execute(select(func.min(index)).where(index >= size)).scalar_one()
    return highest


class LogWalk:
    """One walk over the entries ``[first, size)``; `first` is a multiple of 256. Raises LogUntrusted at a fault.

    From 0 everything is derived. From later on `first` counts as proven by the tiles, and `known` holds the keys.
    """

    def __init__(
        self,
        connection: Connection,
        keys: HubKeys,
        size: int,
        first: int = 0,
        known: dict[str, VerifyKey] | None = None,
    ) -> None:
        """Begin; nothing is read yet but what stands before `first`."""
        self.size, self.first = size, first
        self.heads: dict[str, tuple[int, str]] = {}  # seq and digest of each source's last entry so far
        self.tree = range_of(first, log.stored_subtrees(connection)) if first else CompactRange()
        self._connection = connection
        self._history = read_history(connection, keys)
        self._signers: dict[str, VerifyKey] = dict(known or {})
        self._levels: list[_Level] = []
        self._checkpoints = self._read_checkpoints()
        self._before: _Checkpoint | None = None
        self._cover = next(self._checkpoints, None)  # the checkpoint that covers the next entry

    def pages(self) -> Iterator[list[Logged]]:
        """The entries, page by page, each page once it was checked."""
        self._reach_checkpoint()
        for start in range(self.first, self.size, TILE_WIDTH):
            yield self._page(start, min(self.size, start + TILE_WIDTH))
        if self.first == 0:
            self._finish_levels()

    # --- entries ---

    def _page(self, start: int, end: int) -> list[Logged]:
        hashes = self._leaves(start, end)
        rows = self._connection.execute(
            select(*plain(log_entry)).where(log_entry.c.idx >= start, log_entry.c.idx < end).order_by(log_entry.c.idx)
        )
        found = []
        for index, row in zip_longest(range(start, end), rows.all()):
            if row is None or row.idx != index:  # 1
                raise untrusted("entry_missing", f"entry/{index}")
            raw = log.stored_bytes(row.envelope)
            leaf = leaf_hash(raw)
            if leaf != hashes[index - start]:  # 2
                raise self._judge(index)
            self.tree.append(leaf)
            found.append(self._entry(row, raw))
            self._reach_checkpoint()
        if end - start == TILE_WIDTH and self.first == 0:
            self._lift(0, b"".join(hashes))
        return found

    def _leaves(self, start: int, end: int) -> list[bytes]:
        tile = Tile(0, start // TILE_WIDTH)
        raw = log.find_tile(self._connection, tile.level, tile.index)
        if raw is None:
            raise untrusted("tile_missing", tile.path)
        if len(raw) != (end - start) * HASH_BYTES:
            raise untrusted("tile_altered", tile.path, f"it has {len(raw)} bytes")
        return split_hashes(raw)

    def _judge(self, index: int) -> LogUntrusted:
        """2. Entry `index` and its tile differ: the one that leads to the signed root is right."""
        cover = self._cover
        if cover is None:
            return untrusted("entry_altered", f"entry/{index}")
        tree = CompactRange(self.tree.size, self.tree.roots)
        rows = self._connection.execute(
            select(*plain(log_entry, "idx", "envelope"))
            .where(log_entry.c.idx >= index, log_entry.c.idx < cover.size)
            .order_by(log_entry.c.idx)
            .execution_options(yield_per=TILE_WIDTH)
        )
        for row in rows:
            tree.append(leaf_hash(log.stored_bytes(row.envelope)))
        if (tree.size, tree.root()) == (cover.size, cover.root):
            return untrusted("tile_altered", Tile(0, index // TILE_WIDTH).path)
        return untrusted("entry_altered", f"entry/{index}")

    def _entry(self, row: Any, raw: bytes) -> Logged:
        item = f"entry/{row.idx}"
        try:
            envelope = parse_envelope(raw)
            entry, previous = _read(row, envelope)
        except FormatError as error:
            raise untrusted("entry_altered", item, f"not an envelope: {error}") from None
        if entry.sha256 != row.envelope_sha256:  # 3
            raise untrusted("entry_column", item, "envelope_sha256")
        for name in ("source", "seq", "event_type"):
            if getattr(entry, name) != getattr(row, name):
                raise untrusted("entry_column", item, name)
        if (entry.seq - 1, previous) != self._head(entry.source, entry.seq):  # 4
            raise untrusted("entry_chain", item, f"of {entry.source}")
        self.heads[entry.source] = (entry.seq, entry.sha256)
        self._check_signature(entry, envelope)  # 5
        if self._cover is not None and entry.received_at != self._cover.signed_at:
            raise self._judge_time(entry, self._cover)  # 6
        return entry

    def _head(self, source: str, seq: int) -> tuple[int, str]:
        """4. Seq and digest of the source's last entry before the walk came here."""
        if source in self.heads or self.first == 0 or seq == 1:
            return self.heads.get(source, (0, NO_PREVIOUS))
        digest = self._connection.execute(
            select(log_entry.c.envelope_sha256).where(log_entry.c.source == source, log_entry.c.seq == seq - 1)
        ).scalar_one_or_none()
        return seq - 1, str(digest)

    def _check_signature(self, entry: Logged, envelope: Envelope) -> None:
        hubs = entry.source == log.HUB_SOURCE
        key = self._history.events_at(entry.index) if hubs else self._signers.get(entry.source)
        if key is None:
            raise untrusted(
                "entry_signature", f"entry/{entry.index}", f"the log holds no key of {entry.source} that counts here"
            )
        try:
            envelope.verify(key)
            if isinstance(entry.event, StationEnrolled) and entry.source == log.HUB_SOURCE != entry.event.station:
                self._signers[entry.event.station] = station_key(entry.event.key_line)
            if isinstance(entry.event, KeyRevoked) and hubs:
                self._signers.pop(entry.event.station, None)
            follows = None if hubs else successor(entry.event, key)
            if follows is not None:
                self._signers[entry.source] = station_key(follows.line)
        except CustodyError as error:
            raise untrusted("entry_signature", f"entry/{entry.index}", str(error)) from None

    def _judge_time(self, entry: Logged, cover: _Checkpoint) -> LogUntrusted:
        """6. The entry's time is not its checkpoint's: a hub event's own time, or the rest of the batch, decides."""
        start = self._before.size if self._before is not None else self.first
        others = self._connection.execute(
            select(*plain(log_entry, "received_at"))
            .where(log_entry.c.idx >= start, log_entry.c.idx < cover.size, log_entry.c.idx != entry.index)
            .limit(_MANY)
        ).scalars()
        told = list(others)
        if entry.event is not None and entry.source == log.HUB_SOURCE:
            told = [to_text(entry.event.at)]
        if entry.received_at in told and cover.signed_at not in told:
            return untrusted("checkpoint_altered", f"checkpoint/{cover.size}", "signed_at")
        more = "" if told else f"or checkpoint/{cover.size}: this entry alone cannot tell"
        return untrusted("entry_time", f"entry/{entry.index}", more)

    # --- checkpoints ---

    def _read_checkpoints(self) -> Iterator[_Checkpoint]:
        """7. The stored checkpoints from the last one at or before `first`, each one checked when it comes up."""
        before: _Checkpoint | None = None
        if self.first:
            base = select(func.max(checkpoint.c.size)).where(checkpoint.c.size <= self.first)
            start = self._connection.execute(base).scalar_one_or_none()
        else:
            start = None
        query = select(*plain(checkpoint)).order_by(checkpoint.c.size).limit(_MANY)
        while True:
            after = before.size if before is not None else None
            page = query if after is None else query.where(checkpoint.c.size > after)
            if after is None and start is not None:
                page = query.where(checkpoint.c.size >= start)
            rows = self._connection.execute(page).all()
            for row in rows:
                before = self._checked(row, before)
                yield before
            if not rows:
                return

    def _checked(self, row: Any, before: _Checkpoint | None) -> _Checkpoint:
        """A stored checkpoint that our key signed and that comes right after `before`."""
        item, root = f"checkpoint/{row.size}", self._root_of(row)
        if root is None:
            raise untrusted("checkpoint_altered", item)
        expected = None if before is None else before.size
        in_place = row.previous_size == expected and (before is not None or row.size == 0)
        if in_place or (before is None and self.first):  # a walk from later on begins with any
            return _Checkpoint(row.size, root, row.signed_at)
        missing = row.previous_size if isinstance(row.previous_size, int) else None
        if missing is not None and (before is None or before.size < missing) and missing < row.size:
            first_covered = select(*plain(log_entry, "received_at")).where(log_entry.c.idx == (expected or 0))
            received_at = self._connection.execute(first_covered).scalar_one_or_none()
            if received_at != row.signed_at or before is None:
                raise untrusted("checkpoint_missing", f"checkpoint/{missing}")
        raise untrusted("checkpoint_altered", item, "previous_size")

    def _root_of(self, row: Any) -> bytes | None:
        """The root that a stored checkpoint states if our key signed it and it holds not a byte more; else None."""
        key = self._history.log_at(row.previous_size if isinstance(row.previous_size, int) else 0)
        try:
            stated = open_checkpoint(row.note, key)
            raw = base64.b64decode(row.note.split(" ")[-1])
        except (CustodyError, AttributeError, TypeError, ValueError):  # no text at all, or no base64
            return None
        whole = f"{stated.body}\n\u2014 {key.name} {base64.b64encode(raw).decode()}\n"  # base64 may have stray bits
        return stated.root if row.note == whole and stated.size == row.size else None

    def _reach_checkpoint(self) -> None:
        """7. Where the walk stands at a checkpoint, its root must be that of the entries so far."""
        while self._cover is not None and self._cover.size <= self.tree.size:
            if self._cover.size == self.tree.size and self._cover.root != self.tree.root():
                raise untrusted("checkpoint_forked", f"checkpoint/{self._cover.size}")
            self._before, self._cover = self._cover, next(self._checkpoints, None)
        if self._cover is None and self.tree.size < self.size:
            raise untrusted("checkpoint_missing", f"checkpoint/{self._next_commit(self.tree.size)}")

    # --- tiles above level 0, and what is too much ---

    def _lift(self, level: int, full: bytes) -> None:
        """8. Add a full tile's hash to the level above, and compare that level's tile once it is full too."""
        if level == len(self._levels):
            self._levels.append(_Level())
        above = self._levels[level]
        above.hashes.append(tile_hash(full))
        if len(above.hashes) == TILE_WIDTH:
            full_above = self._compare_tile(level + 1, above)
            above.tile, above.hashes = above.tile + 1, []
            self._lift(level + 1, full_above)

    def _compare_tile(self, level: int, derived: _Level) -> bytes:
        tile, raw = Tile(level, derived.tile), b"".join(derived.hashes)
        stored = log.find_tile(self._connection, level, derived.tile)
        if stored is None:
            raise untrusted("tile_missing", tile.path)
        if stored != raw:
            raise untrusted("tile_altered", tile.path)
        return raw

    def _finish_levels(self) -> None:
        for above, derived in enumerate(self._levels):
            if derived.hashes:
                self._compare_tile(above + 1, derived)

    def find_more(self) -> None:
        """9. Nothing stands beyond the end, nor before the beginning."""
        size, extra = self.size, first_outside(self._connection, log_entry.c.idx, self.size)
        if extra is not None:
            raise untrusted("entry_extra", f"entry/{extra}")
        if self._cover is not None:
            raise untrusted(
                "checkpoint_forked", f"checkpoint/{self._cover.size}", "it covers entries that are not there"
            )
        within, level = [], 0
        while hashes := size >> TILE_BITS * level:
            end = -(-hashes // TILE_WIDTH)
            within.append((log_tile.c.level == level) & (log_tile.c.idx >= 0) & (log_tile.c.idx < end))
            level += 1
        beyond = select(*plain(log_tile, "level", "idx")).order_by(log_tile.c.level, log_tile.c.idx).limit(1)
        more = self._connection.execute(beyond.where(~or_(*within)) if within else beyond).one_or_none()
        if more is not None:
            raise untrusted("tile_extra", f"tile/{more.level}/{more.idx}")

    def _next_commit(self, size: int) -> int:
        """Where the commit ended whose first entry is `size`: entries of one commit were received at one time."""
        idx, at = log_entry.c.idx, log_entry.c.received_at
        first = select(at).where(idx == size).scalar_subquery()
        found = self._connection.execute(select(func.min(idx)).where(idx > size, at != first)).scalar_one()
        return self.size if found is None else int(found)


def _read(row: Any, envelope: Envelope) -> tuple[Logged, str]:
    """What an envelope says, and its previous hash. Raises FormatError when it names no place in a chain."""
    event, unread = None, ""
    try:
        event = decode_event(envelope.payload_type, envelope.payload)
        source, seq, previous, kind = event.source, event.seq, str(event.previous), event.TYPE
    except (UnknownType, FormatError) as error:
        source, seq, previous = decode_chain(envelope.payload_type, envelope.payload)
        kind, unread = claimed_type(envelope), error.code
    sha256 = hashlib.sha256(envelope.raw).hexdigest()
    return Logged(row.idx, source, seq, sha256, kind, row.received_at, event, unread), previous
