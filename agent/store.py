"""The station's SQLite store: dockings, entries and the outbox, each change one durable commit.

WAL with ``synchronous=FULL``: a commit that returned survives a power cut. The store belongs to one thread; the
event loop reaches it through `StoreThread`. Inside `translated`, as inside `begin`, what SQLite says becomes ours:
StoreUntrusted when the file is damaged, VaultFull when its disk is.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from agent.errors import StoreUntrusted, VaultFull, VaultReadOnly
from custody.commitments import attach
from custody.event import Sha256Hex
from custody.events import ChainHead

MIGRATIONS = (
    "001_store.sql",
    "002_charge.sql",
    "003_dock.sql",
    "004_dock_history.sql",
    "005_witness.sql",
    "006_set_aside.sql",
    "007_commands.sql",
    "008_release.sql",
    "009_keeping.sql",
    "010_key_rotation.sql",
    "011_openings.sql",
    "012_secret.sql",
    "013_disposition.sql",
    "014_viewing.sql",
)


@dataclass(frozen=True, slots=True)
class DockingRow:
    """One stay of a camera in a bay. `folder` is relative to the vault."""

    id: str
    camera: str
    bay: str
    folder: bytes
    source: str
    started_at: datetime
    announced: bool
    closed_seq: int | None
    reason: str | None


class EntryRow(NamedTuple):
    """One file of a docking and what became of it; columns as in ``sql/001_store.sql``. A tuple: there are many."""

    n: int
    path: str
    path_key: bytes
    size_bytes: int
    modified_ns: int | None
    handle: str
    version: int
    part_key: str
    target: bytes
    leaves_target: bytes | None
    known_leaf: bytes | None
    known_in: str | None
    state: str
    sha256: bytes | None = None
    first_leaf: bytes | None = None
    saved_bytes: int | None = None
    gap_count: int = 0
    seal_seq: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedRow:
    """What became of entry `n`: the columns that change after planning."""

    n: int
    state: str
    known_in: str | None = None
    sha256: bytes | None = None
    first_leaf: bytes | None = None
    saved_bytes: int | None = None
    gap_count: int = 0
    seal_seq: int | None = None
    detail: str | None = None


_ENTRY_COLUMNS = (
    "n, path, path_key, size_bytes, modified_ns, handle, version, part_key, target, leaves_target, known_leaf, "
    "known_in, state, sha256, first_leaf, saved_bytes, gap_count, seal_seq, detail"
)


@dataclass(frozen=True, slots=True)
class Saved:
    """An earlier copy of the same path of the same camera."""

    docking: str
    size_bytes: int
    modified_ns: int | None
    first_leaf: bytes | None
    sha256: bytes
    state: str


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One signed envelope that waits for, or has, its receipt; `opening` is what shows the values it commits to."""

    seq: int
    sha256: bytes
    envelope: bytes
    opening: bytes | None = None

    @property
    def message(self) -> bytes:
        """Both as they travel."""
        return attach(self.envelope, self.opening)


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding of a docking; `path` in wire form."""

    kind: str
    path: str
    detail: str
    offset_bytes: int | None
    length_bytes: int | None


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A hold in force: nothing that fits every field that is set may be cleared or leave the vault."""

    hold_id: str
    camera: str | None
    docking: str | None
    file_sha256: str | None  # hex
    reason: str

    def fits(self, camera: str, docking: str, file_sha256: str) -> bool:
        """Whether it keeps this file of this docking of this camera."""
        pairs = ((self.camera, camera), (self.docking, docking), (self.file_sha256, file_sha256))
        return all(held is None or held == given for held, given in pairs)


class Store:
    """All reads and writes of the station's database; every write method runs inside `begin`."""

    def __init__(self, path: Path) -> None:
        """Open or create the database and bring it to the newest schema. Raises StoreUntrusted."""
        self._path = path
        with self.translated():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute("PRAGMA foreign_keys=ON")
                self._db.execute("PRAGMA busy_timeout=10000")
                self._migrate()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the database; committed work is safe without it."""
        self._db.close()

    @contextmanager
    def begin(self) -> Iterator[None]:
        """One transaction: everything inside is durable when it ends, or nothing happened."""
        with self.translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # A failed COMMIT (disk full) has already ended the transaction on some errors.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """One statement, for the modules that keep a table of their own here; writes run inside `begin`."""
        return self._db.execute(sql, values)

    # --- dockings and entries ---

    def add_docking(self, row: DockingRow) -> None:
        """A docking that was not yet announced."""
        self._db.execute(
            "INSERT INTO docking (id, camera, bay, folder, source, started_at) VALUES (?,?,?,?,?,?)",
            (row.id, row.camera, row.bay, row.folder, row.source, _text(row.started_at)),
        )

    def set_source(self, docking: str, source: str) -> None:
        """Keep what the source said of itself (JSON)."""
        self._db.execute("UPDATE docking SET source = ? WHERE id = ?", (source, docking))

    def mark_announced(self, docking: str) -> None:
        """The docking.started event is in the outbox (same transaction)."""
        self._db.execute("UPDATE docking SET announced = 1 WHERE id = ?", (docking,))

    def mark_closed(self, docking: str, seq: int, reason: str) -> None:
        """The docking.closed event is in the outbox as `seq` (same transaction)."""
        self._db.execute("UPDATE docking SET closed_seq = ?, reason = ? WHERE id = ?", (seq, reason, docking))

    def forget_docking(self, docking: str) -> None:
        """Remove a docking that was never announced and saved nothing."""
        for statement in (
            "DELETE FROM entry WHERE docking = ?",
            "DELETE FROM finding WHERE docking = ?",
            "DELETE FROM docking WHERE id = ? AND announced = 0",
        ):
            self._db.execute(statement, (docking,))

    def docking(self, docking: str) -> DockingRow:
        """One docking. Raises KeyError when there is none."""
        for row in self._dockings("WHERE id = ?", (docking,)):
            return row
        raise KeyError(docking)

    def open_dockings(self) -> list[DockingRow]:
        """Dockings that a stop of the agent left open."""
        return self._dockings("WHERE closed_seq IS NULL ORDER BY id", ())

    def recent_dockings(self, limit: int) -> list[DockingRow]:
        """The newest dockings first."""
        return self._dockings("ORDER BY started_at DESC, id DESC LIMIT ?", (limit,))

    def _dockings(self, where: str, args: tuple[object, ...]) -> list[DockingRow]:
        columns = "id, camera, bay, folder, source, started_at, announced, closed_seq, reason"
        rows = self._db.execute(f"SELECT {columns} FROM docking {where}", args)  # noqa: S608 - constants only
        return [
            DockingRow(i, c, b, f, s, datetime.fromisoformat(at), bool(a), seq, why)
            for i, c, b, f, s, at, a, seq, why in rows
        ]

    def add_entries(self, docking: str, camera: str, rows: Iterable[EntryRow]) -> None:
        """Rows of newly listed files, before anything of them is copied."""
        self._db.executemany(
            f"INSERT INTO entry (docking, camera, {_ENTRY_COLUMNS}) VALUES ({','.join('?' * 21)})",  # noqa: S608
            [(docking, camera, *row) for row in rows],
        )

    def add_findings(self, docking: str, rows: Iterable[FindingRow]) -> None:
        """What was met on the card besides files."""
        self._db.executemany(
            "INSERT INTO finding VALUES (?,?,?,?,?,?)",
            [(docking, r.kind, r.path, r.detail, r.offset_bytes, r.length_bytes) for r in rows],
        )

    def saved_copies(self, camera: str, path_keys: Sequence[bytes]) -> dict[bytes, list[Saved]]:
        """Earlier copies by path key, oldest first."""
        found: dict[bytes, list[Saved]] = {}
        for i in range(0, len(path_keys), 400):
            some = path_keys[i : i + 400]
            rows = self._db.execute(
                "SELECT path_key, docking, size_bytes, modified_ns, first_leaf, sha256, state FROM entry "  # noqa: S608
                "WHERE camera = ? AND state IN ('sealed', 'changed') "
                f"AND path_key IN ({','.join('?' * len(some))}) ORDER BY seal_seq",
                (camera, *some),
            )
            for key, *saved in rows:
                found.setdefault(key, []).append(Saved(*saved))
        return found

    def entries(self, docking: str, state: str | None = None, after: int = 0, limit: int = 500) -> list[EntryRow]:
        """A page of a docking's entries in order, so that memory stays flat."""
        rows = self._db.execute(
            f"SELECT {_ENTRY_COLUMNS} FROM entry WHERE docking = ? AND n > ? AND (? IS NULL OR state = ?) "  # noqa: S608
            "ORDER BY n LIMIT ?",
            (docking, after, state, state, limit),
        )
        return [EntryRow._make(row) for row in rows]

    def all_entries(self, docking: str, state: str | None = None) -> Iterator[EntryRow]:
        """Every entry of a docking, page by page."""
        after = 0
        while page := self.entries(docking, state, after):
            yield from page
            after = page[-1].n

    def sealed_entries(self, docking: str) -> Iterator[tuple[EntryRow, bytes | None]]:
        """Every entry with the envelope of its seal, if it has one, page by page."""
        after = 0
        while page := self.entries(docking, None, after):
            seqs = [row.seal_seq for row in page if row.seal_seq is not None]
            marks = ",".join("?" * len(seqs))
            found = self._db.execute(f"SELECT seq, envelope FROM outbox WHERE seq IN ({marks})", seqs)  # noqa: S608
            envelopes: dict[int | None, bytes] = dict(found.fetchall())
            if missing := set(seqs) - envelopes.keys():
                raise _untrusted(f"envelope {min(missing)} is missing")
            yield from ((row, envelopes.get(row.seal_seq)) for row in page)
            after = page[-1].n

    def finish_entries(self, docking: str, rows: Iterable[FinishedRow]) -> None:
        """Write what became of entries."""
        self._db.executemany(
            "UPDATE entry SET state=?, known_in=?, sha256=?, first_leaf=?, saved_bytes=?, gap_count=?, seal_seq=?, "
            "detail=? WHERE docking=? AND n=?",
            [
                (r.state, r.known_in, r.sha256, r.first_leaf, r.saved_bytes, r.gap_count, r.seal_seq, r.detail,
                 docking, r.n)
                for r in rows
            ],
        )  # fmt: skip

    def fail_planned(self, docking: str, detail: str) -> None:
        """What was planned and not copied is marked so."""
        self._db.execute(
            "UPDATE entry SET state = 'failed', known_in = NULL, sha256 = NULL, detail = ? "
            "WHERE docking = ? AND state = 'planned'",
            (detail, docking),
        )

    def add_gaps(self, docking: str, n: int, gaps: Iterable[tuple[int, int]]) -> None:
        """Unreadable ranges (offset, length) of one entry."""
        self._db.executemany("INSERT INTO gap VALUES (?,?,?,?)", [(docking, n, o, length) for o, length in gaps])

    def gap_files(self, docking: str) -> int:
        """How many files of a docking have gaps."""
        row = self._db.execute("SELECT count(*) FROM entry WHERE docking = ? AND gap_count > 0", (docking,)).fetchone()
        return int(row[0])

    def keys_with_gaps(self, docking: str) -> list[str]:
        """Part keys of a docking's saved files with gaps."""
        rows = self._db.execute("SELECT part_key FROM entry WHERE docking = ? AND gap_count > 0", (docking,))
        return [key for (key,) in rows]

    def long_gap_lists(self, docking: str, sealed: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """(entry, its gaps beyond the first `sealed`) for entries with more than that."""
        for (n,) in self._db.execute(
            "SELECT n FROM entry WHERE docking = ? AND gap_count > ? ORDER BY n", (docking, sealed)
        ).fetchall():
            rows = self._db.execute(
                "SELECT offset_bytes, length_bytes FROM gap WHERE docking = ? AND n = ? ORDER BY offset_bytes "
                "LIMIT -1 OFFSET ?",
                (docking, n, sealed),
            )
            yield n, list(rows)

    def still_changing(self, docking: str) -> bool:
        """Whether a file's newest copy is one that changed while it was copied."""
        row = self._db.execute(
            "SELECT 1 FROM entry e WHERE docking = ? AND state = 'changed' AND NOT EXISTS (SELECT 1 FROM entry l "
            "WHERE l.docking = e.docking AND l.path_key = e.path_key AND l.n > e.n AND l.state = 'sealed')",
            (docking,),
        ).fetchone()
        return row is not None

    def findings(self, docking: str) -> Iterator[FindingRow]:
        """Every finding of a docking."""
        rows = self._db.execute(
            "SELECT kind, path, detail, offset_bytes, length_bytes FROM finding WHERE docking = ? ORDER BY rowid",
            (docking,),
        )
        for row in rows:
            yield FindingRow(*row)

    def state_counts(self, docking: str) -> dict[str, tuple[int, int]]:
        """State → (number of entries, their listed bytes)."""
        rows = self._db.execute(
            "SELECT state, count(*), coalesce(sum(coalesce(saved_bytes, size_bytes)), 0) FROM entry "
            "WHERE docking = ? GROUP BY state",
            (docking,),
        )
        return {state: (number, size) for state, number, size in rows}

    def surely_new(self, docking: str) -> tuple[int, int]:
        """Number and bytes of planned entries that no earlier copy resembles."""
        number, size = self._db.execute(
            "SELECT count(*), coalesce(sum(size_bytes), 0) FROM entry "
            "WHERE docking = ? AND state = 'planned' AND known_leaf IS NULL",
            (docking,),
        ).fetchone()
        return number, size

    def finding_counts(self, docking: str) -> dict[str, int]:
        """Finding kind → number."""
        return dict(self._db.execute("SELECT kind, count(*) FROM finding WHERE docking = ? GROUP BY kind", (docking,)))

    def last_entry(self, docking: str) -> int:
        """The highest entry number of a docking, 0 for none."""
        return int(
            self._db.execute("SELECT coalesce(max(n), 0) FROM entry WHERE docking = ?", (docking,)).fetchone()[0]
        )

    # --- outbox ---

    def head(self) -> ChainHead:
        """Where this station's chain stands."""
        row = self._db.execute("SELECT seq, sha256 FROM outbox ORDER BY seq DESC LIMIT 1").fetchone()
        return ChainHead(row[0], Sha256Hex(row[1].hex())) if row else ChainHead()

    def key_line(self) -> str | None:
        """The key line that the next envelope must carry, where the key was ever replaced."""
        row = self._db.execute("SELECT new_line FROM key_rotation ORDER BY seq DESC LIMIT 1").fetchone()
        return str(row[0]) if row else None

    def add_envelopes(self, rows: Iterable[OutboxRow], at: datetime) -> None:
        """Queue signed envelopes, in the transaction of the facts they state."""
        created, rows = _text(at), list(rows)
        self._db.executemany(
            "INSERT INTO outbox (seq, sha256, envelope, created_at) VALUES (?,?,?,?)",
            [(r.seq, r.sha256, r.envelope, created) for r in rows],
        )
        self._db.executemany(
            "INSERT INTO opening (seq, opening) VALUES (?,?)",
            [(r.seq, r.opening) for r in rows if r.opening is not None],
        )

    def outbox_from(self, seq: int, limit: int) -> list[OutboxRow]:
        """Envelopes from `seq` on, receipted or not, in order."""
        rows = self._db.execute(
            "SELECT seq, sha256, envelope, opening FROM outbox LEFT JOIN opening USING (seq) WHERE seq >= ? "
            "ORDER BY seq LIMIT ?",
            (seq, limit),
        )
        return [OutboxRow(*row) for row in rows]

    def envelope(self, seq: int) -> bytes:
        """The exact bytes of one envelope. Raises StoreUntrusted when it is gone."""
        row = self._db.execute("SELECT envelope FROM outbox WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            raise _untrusted(f"envelope {seq} is missing")
        return bytes(row[0])

    def first_unreceipted(self) -> int | None:
        """Lowest seq that waits for its receipt; None when all have one."""
        row = self._db.execute("SELECT min(seq) FROM outbox WHERE receipted_at IS NULL").fetchone()
        return None if row[0] is None else int(row[0])

    def set_receipted(self, entries: Iterable[tuple[int, bytes, int]], at: datetime) -> int:
        """Clear rows by (seq, envelope hash, log index); a row whose hash differs stays. Returns the rows cleared."""
        cleared = self._db.executemany(
            "UPDATE outbox SET receipted_at = ?, log_index = ? WHERE seq = ? AND sha256 = ? AND receipted_at IS NULL",
            [(_text(at), index, seq, sha256) for seq, sha256, index in entries],
        )
        return cleared.rowcount

    def outbox_depth(self) -> tuple[int, datetime | None]:
        """How many envelopes wait for a receipt, and since when the oldest does."""
        (number,) = self._db.execute("SELECT count(*) FROM outbox WHERE receipted_at IS NULL").fetchone()
        oldest = self._db.execute(
            "SELECT created_at FROM outbox WHERE receipted_at IS NULL ORDER BY seq LIMIT 1"
        ).fetchone()
        return number, None if oldest is None else datetime.fromisoformat(oldest[0])

    # --- holds, as commands place and lift them ---

    def holds(self) -> list[HoldRow]:
        """Every hold in force, oldest first."""
        rows = self._db.execute(
            "SELECT hold_id, camera, docking, file_sha256, reason FROM hold WHERE lifted_by IS NULL ORDER BY number"
        )
        return [HoldRow(*row) for row in rows]

    def check(self) -> str:
        """SQLite's own quick check: ``ok`` or what is damaged."""
        with self.translated():
            return str(self._db.execute("PRAGMA quick_check(1)").fetchone()[0])

    # --- inside ---

    def _migrate(self) -> None:
        """Bring the schema to the newest. Agent and commands may open a new database at once: one of them does it."""
        if self._schema() == len(MIGRATIONS):
            return
        with self.begin():
            version = self._schema()  # again, now that nobody else can change it
            if version > len(MIGRATIONS):
                raise _untrusted(f"it was written by a newer version of the agent (schema {version})")
            for name in MIGRATIONS[version:]:
                for statement in _statements(resources.files("agent").joinpath("sql", name).read_text("utf-8")):
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _schema(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Inside, SQLite's errors leave as StoreUntrusted, VaultFull or VaultReadOnly."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name == "SQLITE_FULL":
                raise VaultFull from error
            if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
                raise VaultReadOnly from error
            raise _untrusted(f"{name or type(error).__name__}: {error}") from error


def _statements(script: str) -> Iterator[str]:
    """The statements of `script` one by one: ``executescript`` would commit the transaction it is called in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _untrusted(what: str) -> StoreUntrusted:
    return StoreUntrusted(
        f"The station's own database cannot be trusted: {what}. Footage already in the vault is safe and the camera is "
        "untouched. Do not clear the camera. Restore the database from backup or call support.",
        f"采集站自身的数据库不可信：{what}。存证库中的录像安全，记录仪未被改动。请勿清除记录仪，请从备份恢复数据库或联系技术支持。",
    )


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def facts_json(value: dict[str, object]) -> str:
    """One-line JSON for the `source` column."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
