"""The scratch area of a restore: ``DIR/refill.db``, an SQLite file beside whatever database the hub has.

What comes in is put here, durably and once, until everything is here; then one transaction moves it into the log and
the file goes. A kill at any moment leaves what was committed here; asking goes on where it stopped.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hub.keeping import Run
from hub.restore.placing import Told

FILE_NAME = "refill.db"
_TABLES = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS outside (who TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL,
    told_at TEXT NOT NULL, PRIMARY KEY (who, size, root)) STRICT;
CREATE TABLE IF NOT EXISTS asked (station TEXT PRIMARY KEY, next_seq INTEGER NOT NULL, next_size INTEGER NOT NULL,
    asked_at TEXT, answered_at TEXT, done INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS entry (source TEXT NOT NULL, seq INTEGER NOT NULL, sha256 TEXT NOT NULL,
    envelope BLOB NOT NULL, given_by TEXT NOT NULL, opening BLOB, PRIMARY KEY (source, seq)) STRICT;
CREATE TABLE IF NOT EXISTS claim (idx INTEGER NOT NULL, source TEXT NOT NULL, seq INTEGER NOT NULL,
    given_by TEXT NOT NULL, PRIMARY KEY (idx, source, seq)) STRICT;
CREATE TABLE IF NOT EXISTS told (size INTEGER NOT NULL, start INTEGER NOT NULL, runs TEXT NOT NULL,
    PRIMARY KEY (size, start)) STRICT;
CREATE TABLE IF NOT EXISTS commits (size INTEGER PRIMARY KEY, signed_at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS fault (what TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Outside:
    """A checkpoint of our key that somebody outside keeps; `note` was verified."""

    who: str
    size: int
    root: bytes
    note: str
    told_at: str


@dataclass(frozen=True, slots=True)
class Asked:
    """How far a station has answered. `next_seq`, `next_size`: where the next request begins."""

    station: str
    next_seq: int
    next_size: int
    asked_at: str | None
    answered_at: str | None
    done: bool


@dataclass(frozen=True, slots=True)
class Given:
    """An envelope that was verified when it came, and its opening as it came."""

    source: str
    seq: int
    sha256: str
    envelope: bytes
    given_by: str
    opening: bytes | None = None


class Scratch:
    """Open the file, making it if need be. Belongs to one thread; several processes may open it."""

    def __init__(self, directory: Path) -> None:
        """`directory`: the hub's own."""
        self.path = directory / FILE_NAME
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        self.path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """What was committed stays."""
        self._db.close()

    @contextmanager
    def begin(self) -> Iterator[None]:
        """One transaction: everything inside is durable when it ends, or nothing happened."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # --- writing, inside `begin` ---

    def set_fact(self, name: str, value: str) -> None:
        """Remember one thing about this restore."""
        self._db.execute(
            "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )

    def add_outside(self, outside: Outside) -> None:
        """A checkpoint that somebody keeps."""
        self._db.execute(
            "INSERT INTO outside VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (outside.who, outside.size, outside.root, outside.note, outside.told_at),
        )

    def note_asked(self, station: str, next_seq: int, next_size: int, at: str) -> None:
        """A request went out."""
        self._db.execute(
            "INSERT INTO asked (station, next_seq, next_size, asked_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (station) DO UPDATE SET asked_at = excluded.asked_at",
            (station, next_seq, next_size, at),
        )

    def note_answered(self, station: str, next_seq: int, next_size: int, at: str, *, done: bool) -> None:
        """A page came in whole."""
        self._db.execute(
            "INSERT INTO asked VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (station) DO UPDATE SET "
            "next_seq = excluded.next_seq, next_size = excluded.next_size, answered_at = excluded.answered_at, "
            "done = excluded.done",
            (station, next_seq, next_size, at, at, int(done)),
        )

    def add_given(self, given: Given) -> str | None:
        """Put a verified envelope down. Returns the digest that stands at its place already, if that is another one."""
        self._db.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (source, seq) DO UPDATE SET "
            "opening = excluded.opening WHERE opening IS NULL AND sha256 = excluded.sha256",
            (given.source, given.seq, given.sha256, given.envelope, given.given_by, given.opening),
        )
        (held,) = self._db.execute(
            "SELECT sha256 FROM entry WHERE source = ? AND seq = ?", (given.source, given.seq)
        ).fetchone()
        return None if held == given.sha256 else str(held)

    def add_claim(self, index: int, source: str, seq: int, given_by: str) -> None:
        """Somebody says that this envelope stands at this log index."""
        self._db.execute("INSERT INTO claim VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (index, source, seq, given_by))

    def add_told(self, told: Told, commits: Sequence[tuple[int, str]]) -> None:
        """What a keeping tells."""
        runs = json.dumps([[run.source, run.first_seq, run.count] for run in told.runs])
        self._db.execute("INSERT INTO told VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (told.size, told.start, runs))
        self._db.executemany("INSERT INTO commits VALUES (?, ?) ON CONFLICT DO NOTHING", commits)

    def add_fault(self, what: str, at: str) -> None:
        """Something that people must look at."""
        self._db.execute("INSERT INTO fault VALUES (?, ?) ON CONFLICT DO NOTHING", (what, at))

    # --- reading ---

    def fact(self, name: str) -> str | None:
        """One thing about this restore."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def outside(self) -> list[Outside]:
        """Every checkpoint that somebody keeps, the largest first."""
        return [Outside(*row) for row in self._db.execute("SELECT * FROM outside ORDER BY size DESC, who")]

    def asked(self) -> dict[str, Asked]:
        """Every station that was asked."""
        rows = self._db.execute(
            "SELECT station, next_seq, next_size, asked_at, answered_at, done FROM asked ORDER BY station"
        )
        return {row[0]: Asked(row[0], row[1], row[2], row[3], row[4], bool(row[5])) for row in rows}

    def told(self) -> list[Told]:
        """What keepings tell."""
        rows = self._db.execute("SELECT start, size, runs FROM told ORDER BY size, start")
        return [Told(start, size, tuple(Run(*run) for run in json.loads(runs))) for start, size, runs in rows]

    def commits(self) -> list[tuple[int, str]]:
        """Sizes at which checkpoints were signed, and when."""
        return self._db.execute("SELECT size, signed_at FROM commits ORDER BY size").fetchall()

    def claims(self) -> dict[int, tuple[str, int]]:
        """Source and seq by log index; an index that two envelopes claim is left out, see `disputed_claims`.

        Stations that are not waited for have no say about places; their envelopes are good all the same.
        """
        found: dict[int, tuple[str, int]] = {}
        disputed = set(self.disputed_claims())
        for index, source, seq in self._heard_claims():
            if index not in disputed:
                found[index] = (source, seq)
        return found

    def disputed_claims(self) -> dict[int, list[str]]:
        """Who says what, by log index, where two envelopes claim one."""
        said: dict[int, list[str]] = {}
        for index, source, seq in self._heard_claims():
            said.setdefault(index, []).append(f"{source} seq {seq}")
        return {index: claims for index, claims in said.items() if len(claims) > 1}

    def without(self) -> set[str]:
        """Stations that people decided not to wait for."""
        return set(json.loads(self.fact("without") or "[]"))

    def _heard_claims(self) -> Iterator[tuple[int, str, int]]:
        unheard = sorted(self.without())
        marks = ", ".join("?" * len(unheard))
        yield from self._db.execute(
            f"SELECT DISTINCT idx, source, seq FROM claim WHERE given_by NOT IN ({marks}) ORDER BY idx",  # noqa: S608
            unheard,
        )

    def seqs(self) -> dict[str, list[tuple[int, int]]]:
        """Seqs at hand by source, as rising ranges ``(first, end)``."""
        found: dict[str, list[tuple[int, int]]] = {}
        for source, seq in self._db.execute("SELECT source, seq FROM entry ORDER BY source, seq"):
            held = found.setdefault(source, [])
            if held and held[-1][1] == seq:
                held[-1] = (held[-1][0], seq + 1)
            else:
                held.append((seq, seq + 1))
        return found

    def given(self, source: str, first_seq: int, count: int) -> Iterator[Given]:
        """Envelopes of one source in order."""
        for row in self._db.execute(
            "SELECT source, seq, sha256, envelope, given_by, opening FROM entry "
            "WHERE source = ? AND seq >= ? AND seq < ? ORDER BY seq",
            (source, first_seq, first_seq + count),
        ):
            yield Given(*row)

    def faults(self) -> list[str]:
        """What people must look at."""
        return [what for (what,) in self._db.execute("SELECT what FROM fault ORDER BY at")]


def scratch_exists(directory: Path) -> bool:
    """Whether a restore is under way, or was and left its file."""
    return (directory / FILE_NAME).exists()


def drop_scratch(directory: Path) -> None:
    """Remove the file once everything of it is in the log."""
    for suffix in ("", "-wal", "-shm"):
        (directory / f"{FILE_NAME}{suffix}").unlink(missing_ok=True)
