"""Is the stored log what its hashes say? Asked before anything is signed, and in full by ``dock-hub log check``.

1. `log_state` agrees with the number of entries. 2. Its compact range follows from the stored tiles. 3. The newest
checkpoint is signed by our log key and states this size and root. 4. Envelopes give the leaves that the tiles hold, and
their own digests (the last ones; all of them in full). 5. Each source's chain ends where its row says.
6. In full only: every tile follows from the leaves and every envelope follows its source's previous one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, desc, func, select

from custody.checkpoint import open_checkpoint
from custody.digest import CompactRange, leaf_hash, tree_root
from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.events import NO_PREVIOUS, decode_chain
from hub import log
from hub.errors import LogUntrusted
from hub.keys import HubKeys
from hub.tables import log_entry, log_tile, station

START_CHECK_ENTRIES = 1000
_PAGE = 500


@dataclass(frozen=True, slots=True)
class LogReport:
    """A log found sound. `checked` is how many envelopes were hashed again."""

    size: int
    root: bytes
    checked: int


def check_log(connection: Connection, keys: HubKeys, *, full: bool) -> LogReport:
    """Check the stored log against itself and our key. Raises LogUntrusted, saying what does not fit."""
    head = log.read_head(connection)
    _check_count(connection, head.size)  # 1
    tree = CompactRange(head.size, head.roots) if len(head.roots) == head.size.bit_count() else None
    if tree is None or tree.roots != _roots_from_tiles(connection, head.size):  # 2
        raise LogUntrusted("日志状态与哈希块不符", "the log's state does not follow from its tiles")
    _check_checkpoint(connection, keys, head.size, tree.root())  # 3
    first = 0 if full else max(0, head.size - START_CHECK_ENTRIES)
    _check_entries(connection, first, head.size, full=full)  # 4, 6
    _check_heads(connection, head)  # 5
    if full:
        _check_tiles(connection, head.size)  # 6
    return LogReport(head.size, tree.root(), head.size - first)


def _check_count(connection: Connection, size: int) -> None:
    # MIN and MAX each in a query of its own: together SQLite scans, apart it looks at both ends of the primary key
    low = connection.execute(select(func.min(log_entry.c.idx))).scalar_one()
    high = connection.execute(select(func.max(log_entry.c.idx))).scalar_one()
    count = connection.execute(select(func.count()).select_from(log_entry)).scalar_one()
    if (low, high, count) != ((0, size - 1, size) if size else (None, None, 0)):
        text = f"log_state says {size} entries, the table holds {count} (from {low} to {high})"
        raise LogUntrusted(f"日志应有 {size} 条，实有 {count} 条", text)


def _roots_from_tiles(connection: Connection, size: int) -> list[bytes]:
    subtree, roots, start = log.subtrees(connection), [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            roots.append(subtree(level, start >> level))
            start += 1 << level
    return roots


def _check_checkpoint(connection: Connection, keys: HubKeys, size: int, root: bytes) -> None:
    try:
        signed = open_checkpoint(log.newest_note(connection), keys.log.verify_key)
    except CustodyError as error:
        raise LogUntrusted("最新检查点不是本机密钥所签", f"the newest checkpoint is not ours: {error}") from None
    if (signed.size, signed.root) != (size, root):
        text = f"the newest checkpoint is of {signed.size} entries, the log has {size}, or their roots differ"
        raise LogUntrusted("最新检查点与日志不符", text)


def _check_entries(connection: Connection, first: int, size: int, *, full: bool) -> None:
    leaf_at = log.subtrees(connection)
    heads: dict[str, tuple[int, str]] = {}
    for start in range(first, size, _PAGE):
        rows = connection.execute(
            select(log_entry)
            .where(log_entry.c.idx >= start, log_entry.c.idx < min(size, start + _PAGE))
            .order_by("idx")
        ).all()
        for row in rows:
            raw = bytes(row.envelope)
            leaf, digest = leaf_hash(raw), hashlib.sha256(raw).hexdigest()
            if leaf != leaf_at(0, row.idx) or digest != row.envelope_sha256:
                raise LogUntrusted(f"第 {row.idx} 条已被改动", f"entry {row.idx} is not what was logged")
            if full:
                _check_link(heads, row.idx, row.source, raw, digest)


def _check_link(heads: dict[str, tuple[int, str]], index: int, source: str, raw: bytes, digest: str) -> None:
    """Raise LogUntrusted unless entry `index` continues its source's chain."""
    envelope = parse_envelope(raw)
    said, seq, previous = decode_chain(envelope.payload_type, envelope.payload)
    head = heads.get(source, (0, NO_PREVIOUS))
    if (said, seq, previous) != (source, head[0] + 1, head[1]):
        raise LogUntrusted(f"第 {index} 条与前一条不衔接", f"entry {index} breaks the chain of {source}")
    heads[source] = (seq, digest)


def _check_tiles(connection: Connection, size: int) -> None:
    """Raise LogUntrusted unless exactly the tiles of `size` entries exist and upper ones follow from lower ones."""
    level, hashes, expected = 0, size, 0
    while hashes:
        expected += -(-hashes // log.TILE_WIDTH)
        full_tiles = hashes // log.TILE_WIDTH
        above = b"".join(tree_root(log.split(log.read_tile(connection, level, i))) for i in range(full_tiles))
        stored = b"".join(log.read_tile(connection, level + 1, i) for i in range(-(-full_tiles // log.TILE_WIDTH)))
        if above != stored:
            raise LogUntrusted("哈希块不符", f"the tiles of level {level + 1} do not follow from level {level}")
        level, hashes = level + 1, full_tiles
    count = connection.execute(select(func.count()).select_from(log_tile)).scalar_one()
    if count != expected:
        raise LogUntrusted("哈希块数目不符", f"{expected} tiles expected, {count} stored")


def _check_heads(connection: Connection, head: log.LogHead) -> None:
    heads = {row.id: (row.last_seq, row.last_hash) for row in connection.execute(select(station))}
    heads[log.HUB_SOURCE] = (head.own_seq, head.own_hash)
    for source, expected in heads.items():
        row = connection.execute(
            select(log_entry.c.seq, log_entry.c.envelope_sha256)
            .where(log_entry.c.source == source)
            .order_by(desc(log_entry.c.seq))
            .limit(1)
        ).one_or_none()
        if (tuple(row) if row else (0, NO_PREVIOUS)) != expected:
            raise LogUntrusted(f"{source} 的链尾不符", f"the chain of {source} does not end where its row says")
