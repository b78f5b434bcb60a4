"""Time-stamps of checkpoints by an outside authority (RFC 3161): that the log stood like this, no later than then.

Off unless `timestamp_url` is set. At most one an hour, and only when the log has grown. The authority is never waited
for by anybody: a thread of its own asks, and a failure is kept for the log page and tried again. A token is stored only
once it is verified against the pinned certificates, and never changes.
"""

from __future__ import annotations

import logging
import secrets
import threading
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.client import HTTPException
from pathlib import Path

from cryptography import x509
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from custody.checkpoint import parse_checkpoint
from custody.errors import CustodyError
from custody.timestamp import (
    MAX_TOKEN_BYTES,
    REQUEST_TYPE,
    RESPONSE_TYPE,
    Timestamp,
    load_certificates,
    make_request,
    open_response,
    stamped_text,
)
from hub.db import Database, upsert_rows
from hub.errors import SettingsInvalid
from hub.tables import checkpoint, checkpoint_timestamp, timestamp_attempt
from hub.times import from_text, now_utc, to_text

log = logging.getLogger("hub.timestamps")

EVERY, AGAIN = timedelta(hours=1), timedelta(minutes=5)
ANSWER_SECONDS = 20
_LOOK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Authority:
    """Where to ask, and whom to believe."""

    url: str
    trusted: Sequence[x509.Certificate]


@dataclass(frozen=True, slots=True)
class Stamped:
    """A stored time-stamp."""

    size: int
    stamped_at: datetime
    authority: str


@dataclass(frozen=True, slots=True)
class StampState:
    """For the log page. `fault` is how the last request failed, "" when it did not."""

    wanted: bool
    newest: Stamped | None
    fault: str
    tried_at: datetime | None


def load_authority(url: str, ca_file: str) -> Authority | None:
    """The authority of the settings; None when there is none. Raises SettingsInvalid."""
    if not url:
        return None
    try:
        trusted = load_certificates(Path(ca_file).read_bytes())
    except (OSError, CustodyError) as error:
        raise SettingsInvalid(f"timestamp_ca: {ca_file or 'it is not set'}: {error}") from None
    return Authority(url, trusted)


def read_stamps(connection: Connection, wanted: bool) -> StampState:
    """How time-stamping stands."""
    c = checkpoint_timestamp.c
    row = connection.execute(select(c.size, c.stamped_at, c.authority).order_by(c.size.desc()).limit(1)).one_or_none()
    newest = Stamped(row.size, datetime.fromisoformat(row.stamped_at), row.authority) if row else None
    tried = connection.execute(select(timestamp_attempt)).one_or_none()
    return StampState(wanted, newest, tried.fault if tried else "", from_text(tried.at) if tried else None)


def is_due(now: datetime, size: int, state: StampState, obtained_at: datetime | None) -> bool:
    """Whether to ask now. A clock put back makes it due, never silent for ever. Pure."""
    if size == 0 or (state.newest is not None and size <= state.newest.size):
        return False
    waits = ((obtained_at, EVERY), (state.tried_at if state.fault else None, AGAIN))
    return all(at is None or not timedelta(0) <= now - at < pause for at, pause in waits)


def stamp_if_due(db: Database, authority: Authority, now: datetime) -> Stamped | None:
    """Ask for a time-stamp of the newest checkpoint when one is due; what was stored. A failure is kept, not raised."""
    with db.read() as connection:
        row = connection.execute(select(checkpoint).order_by(checkpoint.c.size.desc()).limit(1)).one()
        state = read_stamps(connection, wanted=True)
        obtained = connection.execute(
            select(checkpoint_timestamp.c.obtained_at).order_by(checkpoint_timestamp.c.size.desc()).limit(1)
        ).scalar_one_or_none()
    if not is_due(now, row.size, state, from_text(obtained)):
        return None
    try:
        token, stamp = ask(authority, stamped_text(row.note))
    except (OSError, HTTPException, CustodyError, ValueError) as error:
        log.warning("timestamp_failed", extra={"size": row.size, "error": str(error)[:200]})
        _keep_attempt(db, now, str(error)[:200] or type(error).__name__)
        return None
    stored = store_token(db, row.size, token, stamp, now)
    _keep_attempt(db, now, "")
    log.info("timestamp_stored", extra={"size": row.size})
    return stored


def ask(authority: Authority, message: bytes) -> tuple[bytes, Timestamp]:
    """A verified token over `message`. Raises OSError, HTTPException, CustodyError."""
    nonce = secrets.randbits(63) | 1 << 62
    request = urllib.request.Request(  # noqa: S310  the settings take http and https alone
        authority.url,
        make_request(message, nonce),
        {"content-type": REQUEST_TYPE, "accept": RESPONSE_TYPE, "user-agent": "custodock"},
    )
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
        raw = answer.read(MAX_TOKEN_BYTES + 1)
    if len(raw) > MAX_TOKEN_BYTES:
        raise OSError("the authority's answer is too long")
    return open_response(raw, message, nonce, authority.trusted)


def token_for(db: Database, authority: Authority | None, note: str, now: datetime) -> bytes | None:
    """The time-stamp of just this checkpoint: a stored one, else one asked for now; None where there is none to have.

    For bundles. A failure of the authority costs the time-stamp, never the bundle.
    """
    size = parse_checkpoint(note.partition("\n\n")[0] + "\n").size
    with db.read() as connection:
        query = select(checkpoint_timestamp.c.token).where(checkpoint_timestamp.c.size == size)
        stored = connection.execute(query).scalar_one_or_none()
    if stored is not None or authority is None:
        return bytes(stored) if stored is not None else None
    try:
        token, stamp = ask(authority, stamped_text(note))
    except (OSError, HTTPException, CustodyError, ValueError) as error:
        log.warning("timestamp_failed", extra={"size": size, "error": str(error)[:200]})
        return None
    store_token(db, size, token, stamp, now)
    return token


def store_token(db: Database, size: int, token: bytes, stamp: Timestamp, now: datetime) -> Stamped:
    """Keep a verified token for the checkpoint of `size`; the first one stays when another process was faster."""
    row = {
        "size": size,
        "token": token,
        "stamped_at": to_text(stamp.at),
        "authority": stamp.authority[:500].replace("\x00", "\ufffd"),
        "obtained_at": to_text(now),
    }
    try:
        with db.begin() as tx:
            tx.execute(insert(checkpoint_timestamp).values(row))
    except IntegrityError:
        pass
    return Stamped(size, stamp.at, stamp.authority)


def _keep_attempt(db: Database, now: datetime, fault: str) -> None:
    with db.begin() as tx:
        upsert_rows(tx, timestamp_attempt, ("id", "at", "fault"), [(1, to_text(now), fault.replace("\x00", "\ufffd"))])


class Stamper:
    """The thread that asks. It outlives every failure of authority and database; `close` ends it."""

    def __init__(self, db: Database, authority: Authority) -> None:
        """Begins at once."""
        self._db, self._authority = db, authority
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="timestamps", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; a request under way is left to the process's end: nothing of it would be missed."""
        self._end.set()
        self._thread.join(timeout=1)

    def _work(self) -> None:
        while not self._end.is_set():
            try:
                stamp_if_due(self._db, self._authority, now_utc())
            except DBAPIError as error:  # the database is away: intake says so loudly, this tries again
                log.warning("timestamp_waits", extra={"error": type(error).__name__})
            self._end.wait(_LOOK_SECONDS)
