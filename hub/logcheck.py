"""Is the stored log what its hashes and signatures say? Asked before anything is signed, and in full every night.

At a start, in a time that does not grow with the log: 1. The newest checkpoint is our key's. 2. `log_state` is of this
size, root and keys. 3. So are the tiles on the tree's right edge. 4. The last entries (at least
`START_CHECK_ENTRIES`) pass the walk of `hub/logwalk.py`, and so do their index rows. 5. Every source's chain ends where
its row says. Whatever lies further back is under the tiles that step 3 led to the signed root; that each old row is
still what they say is asked by the full check.

In full (``dock-hub log check``): the walk from the first entry on, the state, and every row that follows from the log
(`hub/indexcheck.py`). The first wrong item is named. What no check of one hub alone can find is a whole database put
back to an earlier day, and a change by somebody who holds the log key: that is what stations and witnesses are for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, desc, func, insert, select

from custody.checkpoint import VerifyKey, open_checkpoint
from custody.digest import HASH_BYTES, CompactRange
from custody.errors import CustodyError
from custody.event import NO_PREVIOUS
from custody.tiles import ENTRIES, TILE_WIDTH, range_of, right_edge
from hub import log
from hub.db import Database
from hub.errors import LogUntrusted
from hub.indexcheck import IndexCheck
from hub.keyhistory import read_history
from hub.keys import HubKeys, key_set
from hub.logfaults import IndexWrong, untrusted
from hub.logwalk import LogWalk, plain
from hub.stationkeys import station_key
from hub.tables import checkpoint, log_check, log_entry, log_tile, station, station_revocation
from hub.tables import station_key as station_key_row
from hub.times import now_utc, to_text

START_CHECK_ENTRIES = 1000


@dataclass(frozen=True, slots=True)
class LogReport:
    """A log found sound. `checked` is how many envelopes were hashed and verified again."""

    size: int
    root: bytes
    checked: int


def check_log(connection: Connection, keys: HubKeys, utc_offset_minutes: int) -> LogReport:
    """Derive everything again. Raises LogUntrusted, or IndexWrong when the log is sound and its index is not."""
    head = log.read_head(connection)
    size = _signed_size(connection, keys, head.size)
    walk, index = LogWalk(connection, keys, size), IndexCheck(connection, utc_offset_minutes, whole=True)
    try:
        for entries in walk.pages():
            index.page(entries)
        walk.find_more()
        _check_state(head, walk.tree, walk.heads.get(log.HUB_SOURCE, (0, NO_PREVIOUS)))
        _check_key_set(head, keys)
        index.finish(size)
    finally:
        index.close()
    if index.fault is not None:
        raise index.fault
    return LogReport(size, walk.tree.root(), size)


def check_and_keep(db: Database, keys: HubKeys, utc_offset_minutes: int) -> LogReport:
    """`check_log`, and keep how it ended for the people who look at the log page. Raises as `check_log`."""
    started = now_utc()
    with db.read() as connection:
        size = int(connection.execute(select(func.max(checkpoint.c.size))).scalar_one() or 0)
        try:
            report = check_log(connection, keys, utc_offset_minutes)
        except (LogUntrusted, IndexWrong) as found:
            fault: LogUntrusted | IndexWrong | None = found
        else:
            fault = None
    kept = {"fault": fault.fault, "item": fault.item[:500]} if fault else {"fault": "", "item": ""}
    with db.begin() as tx:
        tx.execute(
            insert(log_check).values(started_at=to_text(started), finished_at=to_text(now_utc()), size=size, **kept)
        )
    if fault is not None:
        raise fault
    return report


def check_start(connection: Connection, keys: HubKeys, utc_offset_minutes: int) -> LogReport:
    """What must hold before this process may sign: bounded, whatever the size of the log. Raises as `check_log`.

    An entry that only an earlier version could not read is no reason not to start: `check_log` tells of it.
    """
    head = log.read_head(connection)
    newest = open_newest(connection, keys)  # 1
    tree = CompactRange(head.size, head.roots)
    if newest != (head.size, tree.root()):  # 2
        raise untrusted("state_altered", "log_state", f"{head.size} entries; the newest checkpoint has {newest[0]}")
    _check_key_set(head, keys)
    _check_edge(connection, tree)  # 3
    first = max(0, head.size - START_CHECK_ENTRIES) // TILE_WIDTH * TILE_WIDTH
    rows = connection.execute(select(*plain(station))).all()
    known = _keys_from(connection, {row.id: row.key_line for row in rows}, first)
    walk = LogWalk(connection, keys, head.size, first, known)
    index = IndexCheck(connection, utc_offset_minutes, whole=False)
    for entries in walk.pages():  # 4
        index.page(entries)
    walk.find_more()
    index.find_more(head.size)
    heads = {row.id: (row.last_seq, row.last_hash) for row in rows}
    for source, expected in {**heads, log.HUB_SOURCE: (head.own_seq, head.own_hash)}.items():  # 5
        if _last_of(connection, source) != expected:
            if source == log.HUB_SOURCE:
                raise untrusted("state_altered", "log_state", "the hub's own chain")
            raise untrusted("station_altered", f"station/{source}", "its chain does not end where its row says")
    if index.fault is not None and index.fault.fault != "index_stale":
        raise index.fault
    return LogReport(head.size, tree.root(), head.size - first)


def _keys_from(connection: Connection, lines: dict[str, Any], first: int) -> dict[str, VerifyKey]:
    """The key that each station's first entry from index `first` on must carry; `lines` are those of now."""
    had: dict[str, list[tuple[int, VerifyKey]]] = {}
    for row in connection.execute(select(*plain(station_key_row)).order_by(station_key_row.c.first_seq)):
        try:
            had.setdefault(row.station, []).append((row.first_seq, station_key(row.key_line)))
        except (CustodyError, AttributeError, TypeError):
            raise untrusted("station_altered", f"station_key/{row.station}", "key_line") from None
    known: dict[str, VerifyKey] = {}
    for name, line in lines.items():
        keys = had.get(name, [])
        if not keys or keys[-1][1].line != line:
            raise untrusted("station_altered", f"station/{name}", "key_line")
        known[name] = keys[-1][1]
        if len(keys) > 1:
            place = (log_entry.c.source == name) & (log_entry.c.idx >= first)
            seq = connection.execute(select(func.min(log_entry.c.seq)).where(place)).scalar_one()
            known[name] = next((key for start, key in reversed(keys) if seq is None or start <= seq), keys[0][1])
    ended = select(station_revocation.c.station).where(station_revocation.c.revoked_index < first)
    for name in connection.execute(ended).scalars():
        known.pop(name, None)
    return known


def open_newest(connection: Connection, keys: HubKeys) -> tuple[int, bytes]:
    """Size and root of the newest checkpoint. Raises LogUntrusted unless our key signed it."""
    row = connection.execute(select(*plain(checkpoint)).order_by(desc(checkpoint.c.size)).limit(1)).one_or_none()
    if row is None:
        raise untrusted("checkpoint_missing", "checkpoint/0", "there is none at all")
    try:
        signed = open_checkpoint(row.note, _log_key(connection, keys, row))
    except (CustodyError, AttributeError, TypeError) as error:
        raise untrusted("checkpoint_altered", f"checkpoint/{row.size}", str(error)) from None
    if signed.size != row.size:
        raise untrusted("checkpoint_altered", f"checkpoint/{row.size}", f"its note is of {signed.size}")
    return signed.size, signed.root


def _log_key(connection: Connection, keys: HubKeys, row: Any) -> VerifyKey:
    """The key that must have signed a stored checkpoint."""
    return read_history(connection, keys).log_at(row.previous_size if isinstance(row.previous_size, int) else 0)


def _signed_size(connection: Connection, keys: HubKeys, state_size: int) -> int:
    """How many entries there must be: as the newest checkpoint says, if it is ours, else as the state says."""
    row = connection.execute(select(*plain(checkpoint)).order_by(desc(checkpoint.c.size)).limit(1)).one_or_none()
    if row is None:
        raise untrusted("checkpoint_missing", f"checkpoint/{state_size}", "there is none at all")
    try:
        signed = open_checkpoint(row.note, _log_key(connection, keys, row))
    except (CustodyError, AttributeError, TypeError):
        return state_size  # the walk comes to this checkpoint and names it
    if signed.size != row.size:
        return state_size
    goes_on = connection.execute(select(log_entry.c.idx).where(log_entry.c.idx == signed.size)).first()
    return state_size if goes_on and signed.size < state_size else signed.size  # the walk names what is missing


def _check_state(head: log.LogHead, tree: CompactRange, own: tuple[int, str]) -> None:
    if (head.size, list(head.roots)) != (tree.size, tree.roots):
        raise untrusted("state_altered", "log_state", f"it has {head.size} entries, the log {tree.size}")
    if (head.own_seq, head.own_hash) != own:
        raise untrusted("state_altered", "log_state", "the hub's own chain")


def _check_key_set(head: log.LogHead, keys: HubKeys) -> None:
    if head.key_set != key_set(keys):
        raise untrusted("state_altered", "log_state", "the keys that may sign are not those of this hub")


def _check_edge(connection: Connection, tree: CompactRange) -> None:
    """3. The tiles of the right edge give the signed root, have their length, and nothing stands behind them."""
    if range_of(tree.size, log.stored_subtrees(connection)).roots != tree.roots:
        raise untrusted("tile_altered", "tile/edge", "the tiles do not give the root of the newest checkpoint")
    edge = [tile for tile in right_edge(tree.size) if tile.level != ENTRIES]
    for tile in edge:
        if len(log.read_tile(connection, tile.level, tile.index)) != tile.width * HASH_BYTES:
            raise untrusted("tile_altered", tile.path)
        last = connection.execute(select(func.max(log_tile.c.idx)).where(log_tile.c.level == tile.level)).scalar_one()
        if last != tile.index:
            raise untrusted("tile_extra", f"tile/{tile.level}/{last}")
    above = connection.execute(select(func.max(log_tile.c.level))).scalar_one()
    if above is not None and above >= len(edge):
        raise untrusted("tile_extra", f"tile/{above}/000")


def _last_of(connection: Connection, source: str) -> tuple[int, str]:
    row = connection.execute(
        select(log_entry.c.seq, log_entry.c.envelope_sha256)
        .where(log_entry.c.source == source)
        .order_by(desc(log_entry.c.seq))
        .limit(1)
    ).one_or_none()
    return (row.seq, row.envelope_sha256) if row else (0, NO_PREVIOUS)
