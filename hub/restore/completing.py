"""From the scratch area into the log: plan, verify, and one transaction.

`make_plan` says what is the target and what is missing. `complete`, once nothing is: 1. Every envelope is its source's,
signed and the next of its chain. 2. Every checkpoint that anybody outside keeps has the root of exactly these entries.
3. Only then, in one transaction: entries at their indexes, index rows, the checkpoints that were signed at the time
(Ed25519 signs equal bytes equally, so they are the same ones), and `log.restored.v1`. A kill before the commit leaves
everything in the scratch area; a kill after it leaves a file that the next start removes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sqlalchemy import Connection, select
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from custody.checkpoint import VerifyKey
from custody.digest import CompactRange, leaf_hash
from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.event import Event, Sha256Hex
from custody.events import decode_chain, decode_event
from custody.hubevents import KeyRevoked, LogRestored, StationEnrolled
from custody.keyrotation import successor
from custody.topics import station_topic
from hub import log
from hub.chains import keep_key, move_heads
from hub.db import Database
from hub.errors import HubError
from hub.keys import HubKeys
from hub.logcheck import check_start
from hub.opening import Link, Message, claimed_type, open_message
from hub.openings.rows import keep_openings
from hub.projections import Projection
from hub.readonly import FORKED, open_log
from hub.recordings.states import refresh_since
from hub.restore.hubrows import write_hub_rows
from hub.restore.outside import Verdict, compare
from hub.restore.placing import Missing, Piece, find_missing, place
from hub.restore.scratch import Given, Outside, Scratch
from hub.stationkeys import station_key
from hub.tables import station
from hub.times import from_text, now_utc, to_text

logger = logging.getLogger("hub.restore")

_MOST_AT_ONCE = 2000  # entries between two checkpoints where nobody kept when they were signed


class LogForked(HubError):
    """Our log key signed two histories: nothing can be put together that agrees with both."""

    code = "log_forked"
    exit_code = 4

    def __init__(self, one: Outside | str, other: Outside) -> None:
        """The two checkpoints that contradict each other; `one` may be the root of our own log."""
        first = one if isinstance(one, str) else f"{one.who}:\n{one.note}"
        super().__init__(
            "检查点相互矛盾：同一日志密钥签署了两段历史。未恢复、未签署任何内容；请保留两份检查点并交审计人员。 / "
            "Two checkpoints contradict each other: one log key signed two histories. Nothing was restored or signed; "
            f"keep both checkpoints and hand them to the auditor.\n{first}\n{other.who}:\n{other.note}"
        )


class RefillWrong(HubError):
    """Everything seems to be here, but it does not lead to the signed root."""

    code = "refill_wrong"
    exit_code = 4

    def __init__(self, what: str) -> None:
        """What does not fit, for the engineer."""
        super().__init__(
            f"补齐的内容与检查点不符：{what}。未签署任何内容；请提供日志镜像（dock-hub restore add --entries）。 / "
            f"What was given back does not fit the checkpoint: {what}. Nothing was signed; put in a mirror of the log "
            "(`dock-hub restore add --entries`)."
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """How far a restore is. `target` None: nobody outside keeps a checkpoint that the backup does not reach."""

    base_size: int
    target: Outside | None
    pieces: tuple[Piece, ...]
    missing: tuple[Missing, ...]
    timed: tuple[tuple[int, str], ...]  # commits within, and when they were signed
    covered: tuple[tuple[int, int], ...]  # what keepings tell of, so where `timed` knows every commit

    @property
    def size(self) -> int:
        """Entries that the log will have."""
        return self.base_size if self.target is None else self.target.size


def make_plan(connection: Connection, scratch: Scratch) -> Plan:
    """How things stand. Raises LogForked when two checkpoints, or one and our log, contradict each other."""
    head = log.read_head(connection)
    outside = scratch.outside()
    for one, other in pairwise(outside):
        if one.size == other.size and one.root != other.root:
            raise LogForked(one, other)
    for kept in outside:
        if compare(connection, kept) is Verdict.FORKED:
            raise LogForked(f"this log has another root at size {kept.size}", kept)
    target = next((kept for kept in outside if kept.size > head.size), None)
    if target is None:
        return Plan(head.size, None, (), (), (), ())
    rows = connection.execute(select(station.c.id, station.c.last_seq)).all()
    heads = {row.id: int(row.last_seq) for row in rows} | {log.HUB_SOURCE: head.own_seq}
    seqs, told = scratch.seqs(), scratch.told()
    held = {source: _reach(found, heads.get(source, 0)) for source, found in seqs.items()}
    pieces = place(head.size, target.size, told, heads, scratch.claims(), held)
    timed = tuple((size, at) for size, at in scratch.commits() if head.size < size <= target.size)
    covered = tuple((part.start, part.size) for part in told)
    return Plan(head.size, target, tuple(pieces), tuple(find_missing(pieces, seqs)), timed, covered)


def complete(db: Database, keys: HubKeys, scratch: Scratch, plan: Plan, utc_offset_minutes: int) -> int:
    """Put everything into the log and open it again; the size it then has. Raises LogForked, RefillWrong.

    Call it when nothing is missing and everybody has answered who is waited for.
    """
    now = now_utc()
    without = tuple(sorted(scratch.without()))
    with db.read() as connection:
        _verify(connection, keys, scratch, plan)  # 1, 2
    with db.begin() as tx:
        head = log.lock_closed(tx)
        if head.read_only is None:  # another process was faster
            return head.size
        if head.read_only == FORKED or head.size != plan.base_size:
            raise RefillWrong(f"the log was changed meanwhile ({head.read_only}, {head.size} entries)")
        untimed = _write(tx, keys, scratch, plan, utc_offset_minutes, now)  # 3
        refresh_since(tx, plan.base_size)
        open_log(tx)
        with log.appending(tx, keys, now) as entries:
            held_by = plan.target.who if plan.target else "nobody else: the backup held everything"
            root = CompactRange(*_tree(tx)).root()
            facts = {"base_size": plan.base_size, "size": plan.size, "root": Sha256Hex(root.hex()), "held_by": held_by}
            entries.record(LogRestored, **facts, without=without, untimed=untimed)
        size = check_start(tx, keys, utc_offset_minutes).size
    logger.warning("log_restored base_size=%d size=%d untimed=%d", plan.base_size, plan.size, untimed)
    return size


def _tree(connection: Connection) -> tuple[int, tuple[bytes, ...]]:
    head = log.read_head(connection)
    return head.size, head.roots


def _reach(held: Sequence[tuple[int, int]], head: int) -> int:
    """Up to which seq envelopes are at hand without a gap after `head`."""
    for first, end in held:
        if first <= head + 1 < end:
            return end - 1
    return head


# --- before anything is written ---


def _verify(connection: Connection, keys: HubKeys, scratch: Scratch, plan: Plan) -> None:
    head = log.read_head(connection)
    rows = connection.execute(select(station.c.id, station.c.key_line, station.c.last_seq, station.c.last_hash)).all()
    signers: dict[str, VerifyKey] = {row.id: station_key(row.key_line) for row in rows}
    signers[log.HUB_SOURCE] = keys.events.verify_key
    ends = {row.id: (int(row.last_seq), str(row.last_hash)) for row in rows}
    ends[log.HUB_SOURCE] = (head.own_seq, head.own_hash)
    kept = {outside.size: outside for outside in scratch.outside()}
    tree = CompactRange(head.size, head.roots)
    for given in _entries(scratch, plan.pieces):
        index, envelope = tree.size, parse_envelope(given.envelope)
        try:
            source, seq, previous = decode_chain(envelope.payload_type, envelope.payload)
            if source not in signers or (seq - 1, previous) != ends.get(source, (0, "0" * 64)):
                raise RefillWrong(f"entry {index}, {source} seq {seq}, does not follow the one before")
            envelope.verify(signers[source])
            follows = None if source == log.HUB_SOURCE else successor(_event_of(given), signers[source])
        except CustodyError as error:
            raise RefillWrong(f"entry {index}: {error}") from None
        ends[source] = (seq, given.sha256)
        if follows is not None:
            signers[source] = follows
        event = _event_of(given) if source == log.HUB_SOURCE else None
        if isinstance(event, KeyRevoked):
            signers.pop(event.station, None)
        if isinstance(event, StationEnrolled):
            signers.setdefault(event.station, station_key(event.key_line))
        tree.append(leaf_hash(given.envelope))
        outside = kept.get(tree.size)
        if outside is not None and outside.root != tree.root():
            raise RefillWrong(f"the entries up to {tree.size} do not give the root of {outside.who}'s checkpoint")
    if tree.size != plan.size:
        raise RefillWrong(f"{tree.size} entries instead of {plan.size}")


def _entries(scratch: Scratch, pieces: Sequence[Piece]) -> Iterator[Given]:
    for piece in pieces:
        assert piece.source is not None  # noqa: S101 - nothing is missing
        yield from scratch.given(piece.source, piece.first_seq, piece.count)


def _event_of(given: Given) -> Event | None:
    envelope = parse_envelope(given.envelope)
    try:
        return decode_event(envelope.payload_type, envelope.payload)
    except CustodyError:  # of a later version
        return None


# --- the one transaction ---


def _write(tx: Connection, keys: HubKeys, scratch: Scratch, plan: Plan, utc_offset_minutes: int, now: datetime) -> int:
    """Append everything, commit by commit; how many entries have no time of receipt of their own."""
    entries, at, untimed = _entries(scratch, plan.pieces), plan.base_size, 0
    for size, signed_at in _commits(plan):
        batch = [next(entries) for _ in range(size - at)]
        untimed += 0 if signed_at else len(batch)
        _append(tx, keys, batch, from_text(signed_at) or now, utc_offset_minutes)
        at = size
    return untimed


def _commits(plan: Plan) -> list[tuple[int, str | None]]:
    """Where checkpoints stand, and when each was signed; None where nobody kept it."""
    ends: dict[int, str | None] = {}
    at = plan.base_size
    for start, size in sorted(plan.covered):
        for end in (*range(at + _MOST_AT_ONCE, start, _MOST_AT_ONCE), start):
            if at < end < plan.size:
                ends[end] = None
        at = max(at, size)
    for end in (*range(at + _MOST_AT_ONCE, plan.size, _MOST_AT_ONCE), plan.size):
        if end > plan.base_size:
            ends[end] = None
    return sorted((ends | dict(plan.timed)).items())


def _append(tx: Connection, keys: HubKeys, batch: Sequence[Given], at: datetime, utc_offset_minutes: int) -> None:
    """One commit as it was: its entries, their rows, its checkpoint."""
    head, received_at = log.lock_closed(tx), to_text(at)
    appender = log.Appender(keys, head, at)
    links: list[tuple[int, Link]] = []
    signers: dict[str, list[VerifyKey]] = {}
    for given in batch:
        if given.source == log.HUB_SOURCE:
            event, envelope = _event_of(given), parse_envelope(given.envelope)
            kind = claimed_type(envelope) if event is None else event.TYPE
            index = appender.add_own(given.seq, given.envelope, given.sha256, kind, event)
            write_hub_rows(tx, event, index, received_at)
            continue
        link = _open(tx, given, signers, utc_offset_minutes)
        if link.next_key_line != link.key_line:
            keep_key(tx, link)
            signers[link.station] = [station_key(link.next_key_line)]
        links.append((appender.add(link.station, link.seq, given.envelope, link.sha256, link.event_type), link))
    move_heads(tx, {link.station: link for _, link in links}, received_at)
    _project(tx, links, received_at)
    keep_openings(tx, [(index, *one) for index, link in links for one in link.opened])
    appender.flush(tx)


def _project(tx: Connection, links: Sequence[tuple[int, Link]], received_at: str) -> None:
    """Write index rows; what the database refuses is halved until it stands alone and is set aside, as in intake."""
    projection = Projection()
    for index, link in links:
        if link.draft is None:
            projection.set_aside(index, link.station, link.event_type, link.unread, received_at)
        else:
            projection.add(index, link.draft, received_at)
    try:
        with tx.begin_nested():
            projection.write(tx)
    except (IntegrityError, DataError, ProgrammingError):
        if len(links) > 1:
            half = len(links) // 2
            _project(tx, links[:half], received_at)
            _project(tx, links[half:], received_at)
            return
        logger.exception("projection_failed")
        [(index, link)] = links
        alone = Projection()
        alone.set_aside(index, link.station, link.event_type, "projection_failed", received_at)
        alone.write(tx)


def _open(tx: Connection, given: Given, signers: dict[str, list[VerifyKey]], utc_offset_minutes: int) -> Link:
    """As intake opens it; its station may have been enrolled a moment ago in this transaction."""
    if given.source not in signers:
        line = tx.execute(select(station.c.key_line).where(station.c.id == given.source)).scalar_one()
        signers[given.source] = [station_key(line)]
    message = Message(station_topic(given.source, "events"), given.envelope, given.source, given.opening)
    opened = open_message(message, signers, utc_offset_minutes)
    if not isinstance(opened, Link):
        raise RefillWrong(f"{given.source} seq {given.seq}: {opened.reason}")
    return opened
