"""A station's chain: where it ends, and what an authentic envelope is to it.

`judge` is pure; the rest reads and moves the ends in the caller's transaction, under the log's lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, bindparam, insert, select, update

from custody.checkpoint import VerifyKey
from hub.opening import Link
from hub.stationkeys import station_key
from hub.tables import log_entry, station
from hub.tables import station_key as station_key_row

_PARAMETERS = 400  # values in one IN list
# made once: to build a statement costs more than to run it
_ENDS = select(
    station.c.id, station.c.last_seq, station.c.last_hash, station.c.frozen_at, station.c.revoked_at, station.c.key_line
).where(station.c.id.in_(bindparam("names", expanding=True)))
_MOVE_HEAD = (
    update(station)
    .where(station.c.id == bindparam("key"))
    .values(
        last_seq=bindparam("seq"),
        last_hash=bindparam("hash"),
        last_event_at=bindparam("event_at"),
        last_received_at=bindparam("now"),
    )
)


class Verdict(Enum):
    """What becomes of an authentic envelope."""

    ACCEPT = "accept"
    DUPLICATE = "duplicate"  # the same bytes are in the log: no effect, but the receipt again
    GAP = "gap"  # what comes before is missing: ask for it
    FORK = "fork"  # the station's history was told in two ways
    FROZEN = "frozen"
    REVOKED = "revoked"  # its key counts no more
    OLD_KEY = "old_key"  # of a key that was replaced: whoever has it cannot go on with the chain, nor freeze it


@dataclass(slots=True)
class ChainEnd:
    """Where a station's chain stands, this batch included."""

    seq: int
    sha256: str
    frozen: bool
    key_line: str
    revoked: bool = False


def judge(end: ChainEnd, link: Link, logged_sha256: str | None) -> Verdict:
    """Decide on one envelope; `logged_sha256` is the digest of the logged one with this seq, if there is one."""
    if end.revoked:
        return Verdict.REVOKED
    if end.frozen:
        return Verdict.FROZEN
    if link.seq <= end.seq and link.sha256 == logged_sha256:
        return Verdict.DUPLICATE
    if link.key_line != end.key_line:
        return Verdict.OLD_KEY
    if link.seq <= end.seq:
        return Verdict.FORK
    if link.seq > end.seq + 1:
        return Verdict.GAP
    return Verdict.ACCEPT if link.previous == end.sha256 else Verdict.FORK


def chain_ends(tx: Connection, names: set[str]) -> dict[str, ChainEnd]:
    """Where each station's chain stands."""
    wanted, ends = sorted(names), {}
    for i in range(0, len(wanted), _PARAMETERS):
        for row in tx.execute(_ENDS, {"names": wanted[i : i + _PARAMETERS]}):
            ends[row.id] = ChainEnd(
                row.last_seq, row.last_hash, row.frozen_at is not None, row.key_line, row.revoked_at is not None
            )
    return ends


def logged_entries(tx: Connection, wanted: list[tuple[str, int]]) -> dict[tuple[str, int], tuple[str | None, int]]:
    """Digest and index of logged entries by station and seq."""
    by_station: dict[str, list[int]] = {}
    for name, seq in wanted:
        by_station.setdefault(name, []).append(seq)
    found: dict[tuple[str, int], tuple[str | None, int]] = {}
    for name, seqs in by_station.items():
        for i in range(0, len(seqs), _PARAMETERS):
            rows = tx.execute(
                select(log_entry.c.seq, log_entry.c.envelope_sha256, log_entry.c.idx).where(
                    log_entry.c.source == name, log_entry.c.seq.in_(seqs[i : i + _PARAMETERS])
                )
            )
            found |= {(name, row.seq): (row.envelope_sha256, row.idx) for row in rows}
    return found


def station_keys(connection: Connection) -> dict[str, tuple[VerifyKey, ...]]:
    """Every key that each enrolled station has or had, the one that counts last."""
    found: dict[str, tuple[VerifyKey, ...]] = {}
    for row in connection.execute(
        select(station_key_row).order_by(station_key_row.c.station, station_key_row.c.first_seq)
    ):
        found[row.station] = (*found.get(row.station, ()), station_key(row.key_line))
    return found


def keep_key(tx: Connection, link: Link) -> None:
    """The rotation in `link` was logged: from the next seq on only its new key counts."""
    row = {"station": link.station, "first_seq": link.seq + 1, "key_line": link.next_key_line}
    tx.execute(insert(station_key_row).values(**row))
    tx.execute(update(station).where(station.c.id == link.station).values(key_line=link.next_key_line))


def move_heads(tx: Connection, moved: dict[str, Link], received_at: str) -> None:
    """Make these links the ends of their stations' chains."""
    if moved:
        heads = [
            {"key": key, "seq": link.seq, "hash": link.sha256, "event_at": link.event_at, "now": received_at}
            for key, link in moved.items()
        ]
        tx.execute(_MOVE_HEAD, heads)
