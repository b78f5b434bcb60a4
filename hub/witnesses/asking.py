"""Asking witnesses: for which checkpoint, from where, and what follows from an answer.

At most every `ASK_SECONDS` the newest checkpoint becomes the target that all are asked for, so that their cosignatures
meet on one; an idle log's first commit is asked for at once. What a witness answers decides the next request to it, not
a memory of ours: the whole state may be lost at any moment. Whoever carries requests (MQTT, HTTP) has an `Asking`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from custody.checkpoint import open_checkpoint
from custody.errors import CustodyError
from custody.merkle import consistency_proof, range_root
from custody.witness import AddCheckpoint, Answer, Code, size_of
from hub import log
from hub.db import Database
from hub.keys import HubKeys
from hub.restore.outside import Verdict, notice
from hub.witnesses.queries import InForce, in_force, note_at
from hub.witnesses.service import Alarm, alarm_of, end_alarm, keep_alarm, keep_cosignature, keep_heard, root_in

logger = logging.getLogger("hub.witnesses")

ASK_SECONDS = 60.0
MAX_STEPS = 8  # requests to one witness for one target: a witness that leads us in circles waits for the next


@dataclass(frozen=True, slots=True)
class Request:
    """An add-checkpoint body for one witness. `size`: of the checkpoint in it."""

    witness: InForce
    old_size: int
    size: int
    raw: bytes


class Asking:
    """For the witnesses reached one way. Belongs to one thread."""

    def __init__(
        self,
        db: Database,
        keys: HubKeys,
        *,
        by_http: bool,
        every_seconds: float = ASK_SECONDS,
        directory: Path | None = None,
    ) -> None:
        """`by_http`: the witnesses with an address; otherwise the stations. `directory`: the hub's, for a lost log."""
        self._db, self._keys, self._by_http, self._every = db, keys, by_http, every_seconds
        self._directory = directory
        self._target: str = ""
        self._next_round = 0.0
        self._steps: dict[str, int] = {}  # by witness, for this target

    def due(self, now_seconds: float, stations: frozenset[str] | None = None) -> list[Request]:
        """What to ask now, on a monotonic clock in seconds, of these stations or of all. Call about once a second."""
        if now_seconds < self._next_round:
            return []
        with self._db.read() as connection:
            newest = log.newest_note(connection)
            mine = [w for w in self._mine(connection) if stations is None or w.station in stations]
            wanted = [w for w in mine if w.online and w.known_size < size_of(newest)]
            if not wanted:
                return []
            self._target, self._next_round = newest, now_seconds + self._every
            self._steps.clear()
            found = [self._request(connection, one, one.known_size, newest) for one in wanted]
        return [request for request in found if request is not None]

    def take(self, one: InForce, answer: Answer) -> Request | None:
        """Keep what a witness answered; the next request to it, if one follows.

        1. A checkpoint that our key signed and our log does not give is proof against us. 2. A cosignature is verified
        and kept. 3. What it holds and what it wants proven first decide what it is asked next.
        """
        answer = self._ours(answer)
        if not self._consistent(one.name, answer.newest, answer.pending):  # 1
            return None
        if answer.type == "cosigned.v1":  # 2
            if not keep_cosignature(self._db, one.name, answer.cosignature, answer.size):
                return None
        elif (alarm := alarm_of(answer.code)) is not None:
            keep_alarm(self._db, self._keys, one.name, alarm, answer.newest)
            # a proof that failed was perhaps not ours: anybody can send a genuine checkpoint with a wrong one
            if alarm != "bad_proof":
                return None
        else:
            keep_heard(self._db, one.name, answer.size)
            if self._ahead(answer):
                keep_alarm(self._db, self._keys, one.name, "rollback", "")
                return None
        return self._next(one, answer)  # 3

    def witness_of(self, station: str) -> InForce | None:
        """The station's witness in force."""
        with self._db.read() as connection:
            return next((w for w in in_force(connection) if w.station == station), None)

    def hear_stranger(self, station: str, answer: Answer) -> None:
        """A station that is no witness yet can prove against us all the same."""
        answer = self._ours(answer)
        if self._consistent(station, answer.newest, answer.pending):
            end_alarm(self._db, station)

    # --- inside ---

    def _mine(self, connection: Connection) -> list[InForce]:
        return [w for w in in_force(connection) if (w.url is not None if self._by_http else w.station is not None)]

    def _ours(self, answer: Answer) -> Answer:
        """The answer without notes that our key did not sign: they prove nothing, and nobody reads them further."""
        return replace(answer, newest=self._signed(answer.newest), pending=self._signed(answer.pending))

    def _signed(self, note: str) -> str:
        try:
            open_checkpoint(note, self._keys.log.verify_key)
        except CustodyError:
            return ""
        return note

    def _next(self, one: InForce, answer: Answer) -> Request | None:
        with self._db.read() as connection:
            if not self._target:
                self._target = log.newest_note(connection)
            target = self._target
            if answer.pending and answer.code in (Code.PROVE_FIRST, Code.BAD_PROOF):
                target = note_at(connection, size_of(answer.pending)) or ""
            if (
                not target
                or size_of(target) < answer.size
                or (answer.type == "cosigned.v1" and answer.size == size_of(target))
            ):
                return None
            if self._steps.get(one.name, 0) >= MAX_STEPS:
                return None
            return self._request(connection, one, answer.size, target)

    def _request(self, connection: Connection, one: InForce, old_size: int, target: str) -> Request | None:
        size = size_of(target)
        if old_size > size:
            return None
        subtree = log.stored_subtrees(connection)
        proof = consistency_proof(old_size, size, subtree) if 0 < old_size < size else []
        self._steps[one.name] = self._steps.get(one.name, 0) + 1
        return Request(one, old_size, size, AddCheckpoint(old_size, tuple(proof), target).raw)

    def _ahead(self, answer: Answer) -> bool:
        """Whether it says that it cosigned more than our log has, without showing it."""
        with self._db.read() as connection:
            return not answer.newest and answer.size > size_of(log.newest_note(connection))

    def _consistent(self, name: str, *notes: str) -> bool:
        """Whether our log gives the checkpoints of ours that a witness shows; otherwise the alarm is kept."""
        for note in notes:
            if note and (found := self._against(note)) is not None:
                if found == "rollback" and self._lost(name, note):
                    return False  # we are behind, so we state nothing: refilling it is what follows
                keep_alarm(self._db, self._keys, name, found, note)
                self._lost(name, note)
                return False
        return True

    def _lost(self, name: str, note: str) -> bool:
        """Close our log, because somebody holds what it has lost or contradicts; whether that was done."""
        if self._directory is None:
            return False
        return notice(self._db, self._keys, self._directory, name, note) is not Verdict.WITHIN

    def _against(self, note: str) -> Alarm | None:
        shown = open_checkpoint(note, self._keys.log.verify_key)
        with self._db.read() as connection:
            if shown.size > size_of(log.newest_note(connection)):
                return "rollback"
            own = note_at(connection, shown.size)
            root = root_in(own) if own else range_root(0, shown.size, log.stored_subtrees(connection))
        return None if root == shown.root else "fork"
