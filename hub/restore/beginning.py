"""From a backup to a new hub directory whose log is read-only until it is refilled.

Order, so that a kill at any moment is repeated and never half used: database aside, marked read-only, then under its
name; keys; the scratch area; hub.toml last, for it marks a hub that is ready.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from custody.checkpoint import open_checkpoint
from custody.errors import CustodyError
from hub import log
from hub.backup import copy_rows, reindex_copy
from hub.backupfiles import DATABASE, KEYS, read_manifest, unpack
from hub.db import Database, open_database, sqlite_url
from hub.errors import BackupUnusable, Invalid
from hub.keys import ROLES, HubKeys, load_keys
from hub.logcheck import check_start
from hub.mark import WHO, Mark
from hub.migrations import migrate
from hub.readonly import RESTORING, close_log
from hub.restore.outside import read_outside
from hub.restore.scratch import Scratch, drop_scratch
from hub.settings import FILE_NAME, Settings, make_settings, sync_directory, write_new, write_settings
from hub.times import now_utc, to_text


@dataclass(frozen=True, slots=True)
class Begun:
    """A restored hub, read-only."""

    hub_id: str
    directory: str
    size: int
    log: str


def begin(
    backup: Path,
    directory: Path,
    *,
    keys_from: Path | None = None,
    passphrase: bytes | None = None,
    database: str | None = None,
) -> Begun:
    """Make `directory` a hub as it was when `backup` was made, its log closed.

    `keys_from`: a folder with the private keys, where the backup holds none. `database`: URL of an empty PostgreSQL
    database. Raises BackupUnusable, Invalid, KeysUnusable, LogUntrusted; an unfinished directory may be begun again.
    """
    if (directory / FILE_NAME).exists():
        raise Invalid(f"{directory} holds a hub already; choose an empty directory")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = directory / ".restoring"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    folder = unpack(backup, work)
    manifest = read_manifest(folder)
    values = tomllib.loads((folder / FILE_NAME).read_text("utf-8"))
    values.pop("database", None)
    settings = make_settings(directory, values | ({"database": database} if database else {}))
    keys = _place_keys(keys_from or folder / KEYS, settings, passphrase)
    try:
        open_checkpoint(manifest.checkpoint, keys.log.verify_key)
    except CustodyError as error:
        raise BackupUnusable(f"these keys are not those of the backup's log {manifest.log}: {error}") from None
    db = _place_database(folder / DATABASE, work, settings)
    with db.read() as connection:
        size, root = log.read_head(connection).size, check_start(connection, keys, settings.utc_offset_minutes)
    drop_scratch(directory)
    scratch = Scratch(directory)
    with scratch.begin():
        scratch.set_fact("backup", f"{backup} ({manifest.created_at})")
        scratch.set_fact("begun_at", to_text(now_utc()))
        note = Mark(keys_from).read() if keys_from is not None else None  # what the lost hub noted beside its keys
        kept = None if note is None else read_outside(keys, WHO, note)
        if kept is not None:
            scratch.add_outside(kept)
    scratch.close()
    db.close()
    write_settings(settings)
    shutil.rmtree(work)
    return Begun(settings.hub_id, str(directory), size, f"{manifest.log} {root.root.hex()}")


def _place_keys(source: Path, settings: Settings, passphrase: bytes | None) -> HubKeys:
    """Put the keys under their names, decrypted, mode 0600; those that are there already stay and must be the same."""
    settings.keys_directory.mkdir(mode=0o700, exist_ok=True)
    for role in ROLES:
        path, target = source / f"{role}.pem", settings.keys_directory / f"{role}.pem"
        if target.exists():
            continue
        try:
            pem = path.read_bytes()
        except OSError as error:
            raise BackupUnusable(f"the private keys are needed (--keys DIR): {error}") from None
        try:
            private = serialization.load_pem_private_key(pem, passphrase if b"ENCRYPTED" in pem else None)
        except (ValueError, TypeError) as error:
            raise BackupUnusable(f"{path} cannot be opened with this passphrase: {error}") from None
        plain = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_new(target, plain, 0o600)
    return load_keys(settings.keys_directory, settings.hub_id)


def _place_database(backup: Path, work: Path, settings: Settings) -> Database:
    """The restored database, closed to appends before it has its name."""
    aside = work / "database"
    shutil.copyfile(backup, aside)
    aside.chmod(0o600)
    copy = open_database(sqlite_url(aside))
    migrate(copy)
    close_log(copy, RESTORING)
    if settings.database:
        try:
            target = open_database(settings.database_url)
        except ValueError as error:
            raise Invalid(str(error)) from None
        migrate(target)
        with copy.read() as connection:
            copy_rows(connection, target)
        reindex_copy(target, settings.utc_offset_minutes)
        copy.close()
        return target
    copy.close()  # checkpoints the journal into the file
    fd = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    for suffix in ("-wal", "-shm"):
        (settings.directory / f"hub.db{suffix}").unlink(missing_ok=True)
    os.replace(aside, settings.directory / "hub.db")
    sync_directory(settings.directory)
    return open_database(settings.database_url)
