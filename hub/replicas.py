"""Several hub processes on one PostgreSQL divide the stations among them.

Not by the broker's shared subscriptions: those hand neighbours of one chain to different processes, which then wait
for each other at every envelope. Here each process counts up a beat of its own once a second; whose beat moved lately
is alive, by the watcher's own clock, so no two clocks are compared. A station belongs to the living process that
rendezvous hashing gives it: when one goes, only its stations move. While processes differ about who is alive, a station
has two or none of them: what is taken twice is a duplicate and has no effect; what nobody took, its new process asks
for again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

from sqlalchemy import Connection, delete, select

from hub.db import upsert_rows
from hub.tables import replica

ALIVE_SECONDS = 5.0
FORGET_SECONDS = 60.0


def owner(station: str, alive: Collection[str]) -> str:
    """Who of `alive` (not empty) takes this station in: the highest hash of both names, the same for whoever asks."""
    return max(alive, key=lambda name: (hashlib.sha256(f"{name}\0{station}".encode()).digest(), name))


class Replicas:
    """One process's view of all of them. Belongs to one thread."""

    def __init__(self, me: str) -> None:
        """`me` is this process's name, unlike every other's."""
        self._me, self._beat = me, 0
        self._seen: dict[str, tuple[int, float]] = {}  # name: its beat, and when (monotonic, seconds) it last moved

    def beat(self, tx: Connection, now: float) -> None:
        """Say that we are alive, look who else is, and forget whose beat stands still. `now`: monotonic seconds."""
        rows = dict(tx.execute(select(replica.c.name, replica.c.beat)).tuples().all())
        self._beat = max(self._beat, rows.get(self._me, 0)) + 1
        upsert_rows(tx, replica, ("name", "beat"), [(self._me, self._beat)])
        rows[self._me] = self._beat
        self._seen = {
            name: self._seen[name] if name in self._seen and self._seen[name][0] == beat else (beat, now)
            for name, beat in rows.items()
        }
        gone = [name for name, (_, moved) in self._seen.items() if now - moved > FORGET_SECONDS]
        if gone:  # should one of them only have been slow, its next beat puts it back
            tx.execute(delete(replica).where(replica.c.name.in_(gone)))

    def leave(self, tx: Connection) -> None:
        """Say that we are not there any more, so that nobody waits for our beat."""
        tx.execute(delete(replica).where(replica.c.name == self._me))

    def alive(self, now: float) -> frozenset[str]:
        """Names of the processes that are alive, we among them. `now`: monotonic seconds."""
        lately = {name for name, (_, moved) in self._seen.items() if now - moved <= ALIVE_SECONDS}
        return frozenset(lately | {self._me})

    def share(self, stations: Iterable[str], now: float) -> frozenset[str]:
        """Those of `stations` that are ours."""
        alive = self.alive(now)
        return frozenset(name for name in stations if owner(name, alive) == self._me)

    def leads(self, now: float) -> bool:
        """Whether we do what one is enough for."""
        return min(self.alive(now)) == self._me
