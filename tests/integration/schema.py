"""Databases at this version's schema: the migrations run once in each process, what they made is copied.

`test_migrations.py` runs them from nothing on both engines, and every test that starts `dock-hub` runs them there.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from hub.db import Database, open_database, sqlite_url
from hub.migrations import migrate


def open_migrated(url: str) -> Database:
    """The database of this URL; one that is empty gets the schema by copy, any other is migrated."""
    place = make_url(url)
    if place.get_backend_name() == "sqlite":
        file = Path(str(place.database))
        if not file.exists():
            file.write_bytes(_sqlite_file())
            return open_database(url)
    elif _is_empty(url):
        _copy_template(url)
        return open_database(url)
    db = open_database(url)
    migrate(db)
    return db


@cache
def _sqlite_file() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "hub.db"
        _migrate(sqlite_url(file))
        assert list(file.parent.iterdir()) == [file]  # nothing is left in a journal
        return file.read_bytes()


def _migrate(url: str) -> None:
    db = open_database(url)
    migrate(db)
    db.close()


def _plain(url: str, database: str = "") -> str:
    """The same for psycopg; another database of the same server."""
    changed = make_url(url).set(drivername="postgresql")
    return (changed.set(database=database) if database else changed).render_as_string(hide_password=False)


def _is_empty(url: str) -> bool:
    with psycopg.connect(_plain(url)) as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    return found == (0,)


def _copy_template(url: str) -> None:
    """The empty database is created once more, as a copy: PostgreSQL fills none that is there."""
    server, name = _plain(url, "postgres"), make_url(url).database
    template = _postgres_template(server)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name}".encode())
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())


@cache
def _postgres_template(server: str) -> str:
    """The name of a migrated database on this server."""
    name = "migrated"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    _migrate(make_url(server).set(drivername="postgresql+psycopg", database=name).render_as_string(hide_password=False))
    return name
