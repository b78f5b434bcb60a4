"""Intake: a batch of messages becomes log entries, index rows and receipts, in one commit.

For each message: 1. open it (`hub.opening`: authentic, or refused). 2. Under the log's lock, judge its place in the
station's chain. 3. Append, project, move the chain's head. 4. Commit. 5. Only then seal receipts. A failure of ours
before the commit leaves nothing behind and is raised, so that nobody acknowledges; a message that itself cannot be
handled is found by halving the batch and set aside, so that it never stops the others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, update
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError, StatementError

from custody.checkpoint import SigningKey
from custody.hubevents import StationFrozen
from custody.receipt import ReceiptEntry
from hub import log
from hub.alerts.rules import Signal
from hub.answers import Answer, Answers, Taken
from hub.chains import ChainEnd, Verdict, chain_ends, judge, keep_key, logged_entries, move_heads, station_keys
from hub.db import Database, Row
from hub.errors import HubError
from hub.keys import HubKeys
from hub.opener import Opener, Opening
from hub.opening import Link, Message, Opened, Reason, Refused, StationKeys, open_all
from hub.openings.rows import keep_openings
from hub.projections import Projection
from hub.refusals import count_refused, minute_of, state_refused
from hub.states import State, keep_states
from hub.tables import station
from hub.times import now_utc, to_text

logger = logging.getLogger("hub.intake")

MAX_BATCH = 500
_REASONS: dict[Verdict, Reason] = {
    Verdict.FROZEN: "station_frozen", Verdict.OLD_KEY: "old_key", Verdict.REVOKED: "key_revoked",
}  # fmt: skip


@dataclass(slots=True)
class Counters:
    """Messages by what became of them since the start, and commits."""

    accepted: int = 0
    duplicates: int = 0
    gaps: int = 0
    refused: int = 0
    forks: int = 0
    commits: int = 0


@dataclass(slots=True)
class _Batch:
    """What one transaction did."""

    accepted: int = 0
    duplicates: int = 0
    refused: list[Refused] = field(default_factory=list)
    forks: list[Link] = field(default_factory=list)
    taken: Taken = field(default_factory=Taken)


class Intake:
    """One per process; MQTT and HTTP share it and wait for each other."""

    def __init__(self, db: Database, keys: HubKeys, utc_offset_minutes: int) -> None:
        """`utc_offset_minutes`: local time of the stations, for times that a source gives in UTC."""
        self.counters = Counters()
        self._one_at_a_time = threading.Lock()
        self._db, self._keys, self._offset = db, keys, utc_offset_minutes
        self._opener = Opener(utc_offset_minutes)
        self._stations: StationKeys = {}
        self._stated_minute = ""

    @property
    def keys(self) -> HubKeys:
        """The hub's keys."""
        return self._keys

    @property
    def receipt_key(self) -> SigningKey:
        """The key that seals answers."""
        return self._keys.receipts

    def close(self) -> None:
        """End the opener's process."""
        self._opener.close()

    def open(self, messages: Sequence[Message]) -> list[Opened]:
        """Open messages here and now. Raises SQLAlchemy's errors when stations cannot be looked up."""
        self._learn_stations(messages)
        return open_all(messages, self._stations, self._offset)

    def start_opener(self) -> None:
        """Start the opener's process before there is work for it."""
        self._opener.start()

    def begin_opening(self, messages: Sequence[Message]) -> Opening:
        """Begin to open messages beside what this process does; for one thread only. Raises as `open` does."""
        self._learn_stations(messages)
        return self._opener.begin(messages, self._stations)

    def commit(self, opened: Sequence[Opened]) -> Taken:
        """Handle opened messages in one transaction; when this returns, all is durable.

        What no key known at its opening signed is opened once more after that, with the keys as they are then: a
        rotation may have been taken in meanwhile, also by another process.

        Raises SQLAlchemy's errors when the database fails and HubError when the log is untrusted: then nothing was
        committed that was not whole, and all of it may be given again.
        """
        links = [one for one in opened if isinstance(one, Link)]
        links.sort(key=lambda link: (link.station, link.seq))  # shared subscriptions may swap neighbours
        states = [one for one in opened if isinstance(one, State)]
        refused = [one for one in opened if isinstance(one, Refused)]
        unsigned = [one.message for one in refused if one.reason == "bad_signature"]
        refused = [one for one in refused if one.reason != "bad_signature"]
        with self._one_at_a_time:
            taken = self._commit(links, states, refused, project=True) if len(opened) > len(unsigned) else Taken()
            return taken.joined(self._commit_later(unsigned)) if unsigned else taken

    def _commit_later(self, messages: Sequence[Message]) -> Taken:
        self._read_stations()
        opened = open_all(messages, self._stations, self._offset)
        links = [one for one in opened if isinstance(one, Link)]
        links.sort(key=lambda link: (link.station, link.seq))
        return self._commit(links, [], [one for one in opened if isinstance(one, Refused)], project=True)

    def take(self, messages: Sequence[Message]) -> list[Answer]:
        """Open and commit up to `MAX_BATCH` messages, and seal the answers at once. Raises as `commit` does."""
        answers = Answers(self._keys.receipts)
        answers.add(self.commit(self.open(messages)))
        return answers.seal(now_utc())

    def tick(self) -> None:
        """Call about once a second: states refused messages in the log once their minute is over."""
        now = now_utc()
        if minute_of(now) == self._stated_minute:
            return
        with self._db.begin() as tx, log.appending(tx, self._keys, now) as entries:
            state_refused(tx, entries, now)
        self._stated_minute = minute_of(now)

    # --- opening: no database, no lock ---

    def _learn_stations(self, messages: Sequence[Message]) -> None:
        """Read the enrolled keys again when somebody unknown speaks: they may have been enrolled just now."""
        if all(m.station in self._stations for m in messages):
            return
        self._read_stations()

    def _read_stations(self) -> None:
        with self._db.read() as connection:
            self._stations = station_keys(connection)

    # --- one transaction ---

    def _commit(self, links: list[Link], states: list[State], refused: list[Refused], *, project: bool) -> Taken:
        now = now_utc()
        batch = _Batch(refused=list(refused))
        try:
            with self._db.begin() as tx:
                with log.appending(tx, self._keys, now) as entries:
                    self._append(tx, entries, links, batch, now, project=project)
                    keep_states(tx, states, now)
                    count_refused(tx, batch.refused, now)
                batch.taken.note = entries.note
        except HubError:
            raise
        except Exception as error:
            if _is_ours(error):
                raise
            return self._set_aside(links, states, refused, error, project=project)
        self._count(batch)
        for link in batch.forks:  # a frozen station gets no receipts, not even for what came before in this batch
            batch.taken.receipts.pop(link.station, None)
        return batch.taken

    def _set_aside(
        self, links: list[Link], states: list[State], refused: list[Refused], error: Exception, *, project: bool
    ) -> Taken:
        """Halve the batch until the message that breaks it stands alone; log it without index rows, or refuse it."""
        if len(links) + len(states) > 1:
            half, half_states = len(links) // 2, len(states) // 2
            first = self._commit(links[:half], states[:half_states], refused, project=project)
            return first.joined(self._commit(links[half:], states[half_states:], [], project=project))
        if not links and not states:
            raise error
        logger.error("message_set_aside error=%r project=%s", error, project)
        if links and project:
            return self._commit(links, [], refused, project=False)
        unprocessable = [Refused(link.message, "unprocessable") for link in links]
        return self._commit([], [], refused + unprocessable, project=False)

    def _append(
        self,
        tx: Connection,
        entries: log.Appender,
        links: list[Link],
        batch: _Batch,
        now: datetime,
        *,
        project: bool,
    ) -> None:
        ends = chain_ends(tx, {link.station for link in links})
        logged = logged_entries(
            tx, [(x.station, x.seq) for x in links if x.station in ends and x.seq <= ends[x.station].seq]
        )
        projection, received_at = Projection(), to_text(now)
        openings: list[Row] = []
        moved: dict[str, Link] = {}
        for link in links:
            key, end = (link.station, link.seq), ends[link.station]
            sha256, index = logged.get(key, (None, -1))
            verdict = judge(end, link, sha256)
            if verdict is Verdict.ACCEPT:
                index = entries.add(link.station, link.seq, link.message.raw, link.sha256, link.event_type)
                end.seq, end.sha256, logged[key] = link.seq, link.sha256, (link.sha256, index)
                moved[link.station] = link
                if link.next_key_line != link.key_line:
                    keep_key(tx, link)
                    end.key_line = link.next_key_line
                if link.draft is None or not project:
                    reason = link.unread or "projection_failed"
                    projection.set_aside(index, link.station, link.event_type, reason, received_at)
                else:
                    projection.add(index, link.draft, received_at)
                    entries.signals += [replace(Signal(*values), cause=index) for values in link.signals]
                batch.accepted += 1
            elif verdict is Verdict.DUPLICATE:
                batch.duplicates += 1
            elif verdict is Verdict.GAP:
                batch.taken.resend[link.station] = end.seq + 1
                continue
            else:
                self._refuse(tx, entries, link, end, batch, verdict, received_at)
                continue
            openings += [(index, *one) for one in link.opened]  # of a duplicate too: it may have come without at first
            if link.opening_wrong:
                batch.refused.append(Refused(link.message, "opening_wrong"))
            batch.taken.receipts.setdefault(link.station, {})[link.seq] = ReceiptEntry(link.seq, link.sha256, index)
        move_heads(tx, moved, received_at)
        projection.write(tx)
        keep_openings(tx, openings)

    def _refuse(
        self,
        tx: Connection,
        entries: log.Appender,
        link: Link,
        end: ChainEnd,
        batch: _Batch,
        verdict: Verdict,
        received_at: str,
    ) -> None:
        """Refuse an authentic envelope; a fork freezes its station, which a hub event states."""
        if verdict is not Verdict.FORK:
            batch.refused.append(Refused(link.message, _REASONS[verdict]))
            return
        end.frozen = True
        batch.refused.append(Refused(link.message, "fork"))
        batch.forks.append(link)
        told = f"seq {link.seq} was told twice" if link.seq <= end.seq else f"seq {link.seq} does not follow {end.seq}"
        entries.record(
            StationFrozen, station=link.station, reason=told, station_seq=link.seq, envelope_sha256=link.sha256
        )
        tx.execute(
            update(station).where(station.c.id == link.station).values(frozen_at=received_at, frozen_reason=told)
        )

    # --- after the commit ---

    def _count(self, batch: _Batch) -> None:
        self.counters.commits += 1
        self.counters.accepted += batch.accepted
        self.counters.duplicates += batch.duplicates
        self.counters.gaps += len(batch.taken.resend)
        self.counters.refused += len(batch.refused)
        self.counters.forks += len(batch.forks)
        for link in batch.forks:
            logger.critical("station_frozen station=%s seq=%d sha256=%s", link.station, link.seq, link.sha256)


def _is_ours(error: Exception) -> bool:
    """Whether the database failed us (disk full, locked, gone): retry. Everything else is the message's own doing."""
    if isinstance(error, IntegrityError | DataError | ProgrammingError) or type(error) is StatementError:
        return False
    return isinstance(error, SQLAlchemyError | OSError | MemoryError)
