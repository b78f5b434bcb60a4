"""``dock-hub backup``: one consistent copy while the hub runs, verified before it gets its name.

SQLite is copied by its online backup API. PostgreSQL is read in one REPEATABLE READ transaction into an SQLite file of
the same tables, so there is one form of backup, it can be checked without a server, and either engine can be restored
from it. The full text is built anew in that case: it is no evidence.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from sqlalchemy import Connection, insert, select, text

from custody.checkpoint import parse_checkpoint
from hub import log
from hub.backupfiles import CHECKPOINT, DATABASE, KEYS, Manifest, publish, write_manifest
from hub.db import Database, open_database, sqlite_url
from hub.errors import Invalid
from hub.keys import ROLES, HubKeys
from hub.logcheck import check_log, check_start
from hub.migrations import check_schema, migrate
from hub.reindex import reindex
from hub.settings import FILE_NAME, Settings, write_new
from hub.tables import backup_made, metadata
from hub.times import now_utc, to_text

_MANY = 2000


def back_up(
    settings: Settings,
    db: Database,
    keys: HubKeys,
    target: Path,
    *,
    with_keys: bool = False,
    passphrase: bytes | None = None,
    quick: bool = False,
) -> Manifest:
    """Write a backup to `target`: a folder, or a file ``*.tar``. When this returns, it is durable and was checked.

    `quick` checks what a start checks, else all of it. Raises Invalid for a target that exists, LogUntrusted when the
    copy is not sound: then nothing has the target's name. A kill leaves ``.NAME.part``, which the next run removes.
    """
    target = target.absolute()
    aside = target.with_name(f".{target.name}.part")
    if target.exists():
        raise Invalid(f"{target} exists: a backup never replaces anything")
    if not target.parent.is_dir():
        raise Invalid(f"{target.parent} is no directory")
    shutil.rmtree(aside, ignore_errors=True)
    aside.with_name(aside.name + ".tar").unlink(missing_ok=True)
    aside.mkdir(mode=0o700)
    copy = aside / DATABASE
    copy_database(settings, db, copy)
    note, schema = _check(settings, keys, copy, quick=quick)
    write_new(aside / CHECKPOINT, note.encode(), 0o600)
    write_new(aside / FILE_NAME, (settings.directory / FILE_NAME).read_bytes(), 0o600)
    if with_keys:
        _copy_keys(keys, aside / KEYS, passphrase)
    stated = parse_checkpoint(note.partition("\n\n")[0] + "\n")
    facts = {
        "hub_id": settings.hub_id,
        "log": keys.log.name,
        "size": stated.size,
        "checkpoint": note,
        "created_at": to_text(now_utc()),
        "software": version("custodock"),
        "schema": schema,
        "engine": db.writer.dialect.name,
        "keys": "none" if not with_keys else "encrypted" if passphrase else "plain",
    }
    manifest = write_manifest(aside, facts)
    publish(aside, target)
    return manifest


def note_backup(db: Database, size: int) -> None:
    """Remember that a backup was completed, with so many entries: an alert tells when none is for long."""
    with db.begin() as tx:
        tx.execute(insert(backup_made).values(finished_at=to_text(now_utc()), size=size))


def copy_database(settings: Settings, db: Database, target: Path) -> None:
    """The hub's tables as of one moment, as a new SQLite file."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    if db.is_sqlite:
        source_path = db.reader.url.database
        assert source_path is not None  # noqa: S101 - an SQLite file
        source, copy = sqlite3.connect(source_path), sqlite3.connect(target)
        try:
            source.backup(copy)  # one step: a writer beside us would make several begin again
        finally:
            source.close()
            copy.close()
        return
    copy_db = open_database(sqlite_url(target))
    migrate(copy_db)
    with db.read() as connection:
        check_schema(connection)
        copy_rows(connection, copy_db)
    reindex_copy(copy_db, settings.utc_offset_minutes)
    copy_db.close()


def copy_rows(source: Connection, target: Database) -> None:
    """Every row of every table into a database that was just migrated, in one transaction."""
    with target.begin() as tx:
        for table in metadata.sorted_tables:
            if table.info.get("only") is not None:
                continue
            rows = source.execute(select(table).execution_options(yield_per=_MANY))
            for part in rows.partitions(_MANY):
                tx.execute(insert(table), [dict(row._mapping) for row in part])
        if not target.is_sqlite:
            tx.execute(
                text("SELECT setval(pg_get_serial_sequence('refused', 'id'), coalesce(max(id), 1)) FROM refused")
            )


def reindex_copy(target: Database, utc_offset_minutes: int) -> None:
    """Build the full text, which the engines hold differently, and with it every other projection."""
    reindex(target, utc_offset_minutes, closed=True)


def _check(settings: Settings, keys: HubKeys, copy: Path, *, quick: bool) -> tuple[str, str]:
    """Open the copy and check its log; its newest checkpoint and schema. Leaves one file, without a journal."""
    db = open_database(sqlite_url(copy))
    try:
        with db.read() as connection:
            check_schema(connection)
            (check_start if quick else check_log)(connection, keys, settings.utc_offset_minutes)
            note = log.newest_note(connection)
            schema = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    finally:
        db.close()
    plain = sqlite3.connect(copy)
    plain.execute("PRAGMA journal_mode=DELETE")
    plain.close()
    return note, schema


def _copy_keys(keys: HubKeys, folder: Path, passphrase: bytes | None) -> None:
    folder.mkdir(mode=0o700)
    how: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        how = serialization.BestAvailableEncryption(passphrase)
    for role in ROLES:
        private = getattr(keys, role).private
        pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
        write_new(folder / f"{role}.pem", pem, 0o600)
