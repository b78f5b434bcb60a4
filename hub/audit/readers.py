"""Log readers: programs that may read entries with a token, above all monitors on machines that are not ours.

A token is 256 random bits, shown once; the hub keeps its SHA-256, in a row and in the event that made it. It opens the
entry bundles and nothing else. Reading is no event: a monitor that reads what it caused by reading would never end.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from sqlalchemy import insert, select, update

from custody.hubevents import LogReaderAdded, LogReaderRevoked
from hub import log
from hub.db import Database
from hub.errors import Conflict, Invalid, NotFound
from hub.keys import HubKeys
from hub.tables import log_reader
from hub.times import now_utc, to_text

_NAME = re.compile(r"[\w.@-]{1,64}")


@dataclass(frozen=True, slots=True)
class LogReader:
    """One program. `revoked_at` is None while its token is good."""

    name: str
    created_at: str
    revoked_at: str | None


def add_reader(db: Database, keys: HubKeys, name: str) -> str:
    """Admit a program, say so in the log, return its token. Raises Invalid for a bad name, Conflict for a taken one.

    A name is never used again: what a revoked token read stays its own.
    """
    if not _NAME.fullmatch(name):
        raise Invalid("a reader's name is 1 to 64 letters, digits or . _ @ -")
    token, now = secrets.token_urlsafe(32), now_utc()
    digest = _digest(token)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if tx.execute(select(log_reader.c.name).where(log_reader.c.name == name)).first():
            raise Conflict(f"there is a log reader {name!r} already; names are not used twice")
        tx.execute(insert(log_reader).values(name=name, token_sha256=digest, created_at=to_text(now)))
        entries.record(LogReaderAdded, reader=name, token_sha256=digest)
    return token


def revoke_reader(db: Database, keys: HubKeys, name: str) -> None:
    """End a reader's token, and say so in the log. Raises NotFound unless there is one that is still good."""
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        good = (log_reader.c.name == name) & log_reader.c.revoked_at.is_(None)
        if tx.execute(update(log_reader).where(good).values(revoked_at=to_text(now))).rowcount != 1:
            raise NotFound(f"there is no log reader {name!r} with a good token")
        entries.record(LogReaderRevoked, reader=name)


def list_readers(db: Database) -> list[LogReader]:
    """All of them, by name."""
    columns = (log_reader.c.name, log_reader.c.created_at, log_reader.c.revoked_at)
    with db.read() as connection:
        return [LogReader(*row) for row in connection.execute(select(*columns).order_by(log_reader.c.name))]


def is_reader(db: Database, token: str) -> bool:
    """Whether this token is good."""
    good = (log_reader.c.token_sha256 == _digest(token)) & log_reader.c.revoked_at.is_(None)
    with db.read() as connection:
        return connection.execute(select(log_reader.c.name).where(good)).first() is not None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
