"""``keys/newest``: the newest checkpoint that this process saw signed, outside the database and beside the keys.

A database that somebody copies back from an older day does not bring it along, so a start finds that it is behind.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection

from hub.db import Database
from hub.errors import KeysUnusable
from hub.keys import HubKeys
from hub.log import newest_note
from hub.logfaults import untrusted
from hub.restore.outside import Verdict, compare, notice, read_outside
from hub.settings import Settings, sync_directory

FILE_NAME = "newest"
WHO = "keys/newest"
MAX_BYTES = 64 * 1024


class Mark:
    """Keeps the file up to date; several processes may, each with what it knows to be committed."""

    def __init__(self, keys_directory: Path) -> None:
        """`keys_directory`: where the private keys are."""
        self._path = keys_directory / FILE_NAME
        self._kept = ""

    def keep(self, note: str) -> None:
        """Remember a committed checkpoint, durable when this returns. Call it in the order of commits."""
        if note == self._kept:
            return
        aside = self._path.with_name(f".{FILE_NAME}.{os.getpid()}")
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(note.encode())
            file.flush()
            os.fsync(fd)
        os.replace(aside, self._path)
        sync_directory(self._path.parent)
        self._kept = note

    def read(self) -> str | None:
        """What was kept last; None before the first time. Raises KeysUnusable."""
        try:
            return self._path.read_bytes()[:MAX_BYTES].decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise KeysUnusable(f"{self._path} cannot be read: {error}") from None


def look_outside(settings: Settings, db: Database, keys: HubKeys, *, keep: bool = True) -> None:
    """Close a log that is older than what the hub knows outside its database; whoever may append calls this first.

    `keep` what the log has otherwise: only by a process that has checked it. Raises LogUntrusted when the log is
    another history.
    """
    mark = Mark(settings.keys_directory)
    note = mark.read()
    with db.read() as connection:
        newest, behind = newest_note(connection), note is not None and is_behind(connection, keys, note)
    if note is not None and behind:
        notice(db, keys, settings.directory, WHO, note)
    elif keep:
        mark.keep(newest)


def is_behind(connection: Connection, keys: HubKeys, note: str) -> bool:
    """Whether the log is older than the kept checkpoint. Raises LogUntrusted when it is another history.

    A file that our log key has not signed tells nothing: it may be of another hub, whose keys were here before.
    """
    kept = read_outside(keys, WHO, note)
    if kept is None:
        return False
    verdict = compare(connection, kept)
    if verdict is Verdict.FORKED:
        raise untrusted("checkpoint_forked", f"checkpoint/{kept.size}", "it is not the one in keys/newest")
    return verdict is Verdict.AHEAD
