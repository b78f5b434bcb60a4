"""The openings that the hub holds: put down once they fit, read for pages, emptied when people removed them.

An emptied row stays: whoever sends the opening again brings nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, text

from custody.commitments import Opened, Opening, render_opening
from hub.db import Database, Row, add_rows, upsert_rows
from hub.tables import opening

COLUMNS = ("log_index", "field", "salt", "value")
_REMOVED_COLUMNS = ("log_index", "field", "salt", "value", "removed_index")


@dataclass(frozen=True, slots=True)
class Held:
    """What the hub holds of one committed field. `value` None: people removed it, by the entry at `removed_index`."""

    field: str
    salt: bytes
    value: str | None
    removed_index: int | None


def keep_openings(tx: Connection, rows: Sequence[Row]) -> None:
    """Put down verified openings, values in the order of `COLUMNS`; what is there already, or removed, stays."""
    add_rows(tx, opening.name, COLUMNS, rows)


def empty_openings(tx: Connection, field: str, entries: Iterable[int], removed_index: int) -> None:
    """Remove the value and salt of a field of these entries, held or not, for ever."""
    rows = [(index, field, None, None, removed_index) for index in entries]
    sqlite = tx.dialect.name == "sqlite"
    if sqlite:  # what these rows held is overwritten; always on, it would write every page that full text lets go
        tx.exec_driver_sql("PRAGMA secure_delete=ON")
    upsert_rows(tx, opening, _REMOVED_COLUMNS, rows)
    if sqlite:
        tx.exec_driver_sql("PRAGMA secure_delete=OFF")


def read_openings(connection: Connection, indexes: Iterable[int]) -> dict[int, tuple[Held, ...]]:
    """What is held for each of these entries, fields rising; entries without are left out."""
    found: dict[int, tuple[Held, ...]] = {}
    query = (
        select(opening).where(opening.c.log_index.in_(tuple(indexes))).order_by(opening.c.log_index, opening.c.field)
    )
    for row in connection.execute(query):
        value = None if row.value is None else bytes(row.value).decode()
        held = Held(row.field, bytes(row.salt or b""), value, row.removed_index)
        found[row.log_index] = (*found.get(row.log_index, ()), held)
    return found


def opening_bytes(envelope_sha256: str, held: Iterable[Held]) -> bytes | None:
    """What is still there as an opening to hand out; None where nothing is."""
    there = tuple(Opened(one.field, one.salt, one.value) for one in held if one.value is not None)
    return render_opening(Opening(envelope_sha256, there)) if there else None


def overwrite_removed(db: Database) -> bool:
    """After the commit of a removal: no copy of the old rows is left in the database's own files; whether that is so.

    False where a reader still holds an older view of SQLite's WAL: its next checkpoint does it.

    SQLite overwrites what it deletes (`secure_delete`); the old pages in its WAL go when that is emptied. PostgreSQL
    keeps old rows until the table is written anew; its WAL segments are its keeper's, see commitments.md.
    """
    if db.writer.dialect.name == "sqlite":
        raw = db.writer.raw_connection()  # outside any transaction, which `connect` would begin
        try:
            driver: Any = raw.driver_connection
            ((busy, *_),) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            raw.close()
        return not busy
    with db.writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"VACUUM FULL {opening.name}"))
    return True
