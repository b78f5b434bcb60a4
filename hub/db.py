"""Connections to the hub's database: SQLite (WAL, synchronous=FULL) or PostgreSQL, behind two methods.

``begin()`` is the one way to write, ``read()`` the one way to read. SQLite has a single writer: ``begin()`` takes its
lock at once (BEGIN IMMEDIATE), so a transaction never fails half-way because another one wrote first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

BUSY_TIMEOUT_MS = 10_000  # well below the broker's patience with a silent client


@dataclass(frozen=True, slots=True)
class Database:
    """One database. `is_sqlite` is for the few statements that the two engines spell differently."""

    writer: Engine
    reader: Engine

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite; otherwise PostgreSQL."""
        return self.writer.dialect.name == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A writing transaction: committed and durable when the block ends, rolled back when it raises."""
        with self.writer.begin() as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent, read-only view; the database refuses writes inside."""
        with self.reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.writer.dispose()
        self.reader.dispose()


def open_database(url: str) -> Database:
    """Connect to ``sqlite:///path`` or ``postgresql+psycopg://…``. Raises ValueError for another kind."""
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database:
        return Database(_sqlite_engine(url, begin="BEGIN IMMEDIATE"), _sqlite_engine(url, begin="BEGIN"))
    if backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, pool_pre_ping=True, isolation_level="READ COMMITTED")
        reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return Database(engine, reader)
    raise ValueError(f"not a database the hub can use: {parsed.render_as_string(hide_password=True)}")


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path.absolute()}"


def _sqlite_engine(url: str, *, begin: str) -> Engine:
    writes = begin == "BEGIN IMMEDIATE"
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1 if writes else 8,
        max_overflow=0 if writes else 8,
        pool_timeout=30,
        connect_args={"cached_statements": 512},
    )

    def set_up(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own: `start` does
        for pragma in (
            "page_size=8192",  # of a new file: three entries to a page; with 4096 each would waste half of its own
            "journal_mode=WAL",
            "wal_autocheckpoint=4000",  # 32 MiB: hot index pages are copied back once for many commits
            "synchronous=FULL",  # NORMAL lost committed rows in 499 of 500 simulated power cuts
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "cache_size=-65536" if writes else "cache_size=-32768",
            "mmap_size=268435456",
            "temp_store=MEMORY",
            f"query_only={'OFF' if writes else 'ON'}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", start)
    return engine


Row = tuple[Any, ...]


def insert_rows(tx: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Insert many rows at once, values in the order of `columns`.

    Straight to the driver: SQLAlchemy's per-row parameter processing would double the cost of ingest. PostgreSQL gets
    them by COPY: row by row it would spend three times as long on its statements.
    """
    if rows and tx.dialect.name == "postgresql":
        _copy_rows(tx, table, columns, rows)
    elif rows:
        tx.exec_driver_sql(_insert_sql(table, columns, tx.dialect.paramstyle), list(rows))


def add_rows(tx: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Insert rows; one whose primary key is taken changes nothing."""
    if rows:
        tx.exec_driver_sql(f"{_insert_sql(table, columns, tx.dialect.paramstyle)} ON CONFLICT DO NOTHING", list(rows))


def upsert_rows(
    tx: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Sequence[Row],
    keep: tuple[str, ...] = (),
) -> None:
    """Insert rows or, where the primary key is taken, replace the given columns except those in `keep`."""
    if rows:
        keys = tuple(c.name for c in table.primary_key)
        changed = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in keys and c not in keep)
        sql = _insert_sql(table.name, columns, tx.dialect.paramstyle)
        tx.exec_driver_sql(f"{sql} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}", list(rows))


def _copy_rows(tx: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    import psycopg  # noqa: PLC0415  only where there is PostgreSQL

    sql = f"COPY {table} ({', '.join(columns)}) FROM STDIN"  # our names
    driver: Any = tx.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(sql) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:  # what the transaction's other statements raise, so that callers see one kind
        raise DBAPIError.instance(sql, None, error, psycopg.Error, dialect=tx.dialect) from error


@cache
def _insert_sql(table: str, columns: tuple[str, ...], paramstyle: str) -> str:
    row = ", ".join(["?" if paramstyle == "qmark" else "%s"] * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({row})"  # noqa: S608 (our names)
