"""What the hub hands to stations for keeping, sealed for itself: see ``custody/spec/keeping.md``.

Handed over before the receipts and checkpoints that cover it, so that what anybody can hold against us can be refilled.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, func, select

from custody.checkpoint import SigningKey
from custody.errors import FormatError
from custody.keeping import Keep, seal_keep
from hub import log
from hub.keys import HubKeys
from hub.tables import checkpoint, log_entry
from hub.times import to_text

KEPT_FOR = timedelta(days=90)  # as stations do: older keepings are not handed to a station that is new
MAX_ENTRIES = 4000
_OWN_BYTES = 56 * 1024  # of hub envelopes in one keeping; the last one may go beyond
_INFO = b"custodock/keeping/v1"
_KEY_BYTES = 64


@dataclass(frozen=True, slots=True)
class Run:
    """`count` entries of one source, one after the other in the log and in the source's chain."""

    source: str
    first_seq: int
    count: int


@dataclass(frozen=True, slots=True)
class Span:
    """What one keeping tells of the entries ``[start, size)``."""

    start: int
    size: int
    runs: tuple[Run, ...]
    commits: tuple[tuple[int, str], ...]  # sizes in (start, size] at which checkpoints were signed, and when
    own: tuple[bytes, ...]  # the hub's own envelopes, in order
    note: str  # the newest checkpoint when it was made


def read_span(connection: Connection, start: int) -> Span | None:
    """What is to be told from entry `start` on, at most one keeping; None when nothing is."""
    rows = connection.execute(
        select(log_entry.c.idx, log_entry.c.source, log_entry.c.seq)
        .where(log_entry.c.idx >= start, log_entry.c.idx < start + MAX_ENTRIES)
        .order_by(log_entry.c.idx)
    ).all()
    runs: list[Run] = []
    own: list[bytes] = []
    size, own_bytes = start, 0
    for index, source, seq in rows:
        if own_bytes > _OWN_BYTES:
            break
        if source == log.HUB_SOURCE:
            own.append(_envelope(connection, index))
            own_bytes += len(own[-1])
        if runs and runs[-1].source == source:
            runs[-1] = Run(source, runs[-1].first_seq, runs[-1].count + 1)
        else:
            runs.append(Run(source, seq, 1))
        size = index + 1
    if size == start:
        return None
    commits = connection.execute(
        select(checkpoint.c.size, checkpoint.c.signed_at)
        .where(checkpoint.c.size > start, checkpoint.c.size <= size)
        .order_by(checkpoint.c.size)
    )
    stated = tuple((int(row.size), str(row.signed_at)) for row in commits)
    return Span(start, size, tuple(runs), stated, tuple(own), log.newest_note(connection))


def oldest_to_keep(connection: Connection, now: datetime) -> int:
    """The index from which on a station that keeps nothing yet is told."""
    old = select(func.max(checkpoint.c.size)).where(checkpoint.c.signed_at < to_text(now - KEPT_FOR))
    return int(connection.execute(old).scalar_one() or 0)


def make_keep(span: Span, keys: HubKeys, at: datetime) -> bytes:
    """The message for every station."""
    body = {
        "runs": [[run.source, run.first_seq, run.count] for run in span.runs],
        "commits": [list(commit) for commit in span.commits],
        "own": [base64.b64encode(raw).decode() for raw in span.own],
        "note": span.note,
    }
    plain = zlib.compress(json.dumps(body, separators=(",", ":")).encode())
    sealed = _cipher(keys.log).encrypt(plain, _context(keys.log.name, span.start, span.size))
    return seal_keep(Keep(keys.log.name, span.start, span.size, to_text(at), sealed), keys.receipts)


def read_keep(keep: Keep, key: SigningKey) -> Span:
    """What a keeping tells. Raises FormatError unless the holder of the log key made it, for exactly this part."""
    try:
        plain = _cipher(key).decrypt(keep.sealed, _context(keep.log, keep.start, keep.size))
        body: dict[str, Any] = json.loads(zlib.decompress(plain))
        runs = tuple(Run(str(source), int(first), int(count)) for source, first, count in body["runs"])
        commits = tuple((int(size), str(at)) for size, at in body["commits"])
        own = tuple(base64.b64decode(raw, validate=True) for raw in body["own"])
        return Span(keep.start, keep.size, runs, commits, own, str(body["note"]))
    except (InvalidTag, zlib.error, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"a keeping that our log key does not open: {error!r}") from None


def _envelope(connection: Connection, index: int) -> bytes:
    return bytes(connection.execute(select(log_entry.c.envelope).where(log_entry.c.idx == index)).scalar_one())


def _cipher(key: SigningKey) -> AESSIV:
    seed = key.private.private_bytes_raw()
    return AESSIV(HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=_INFO).derive(seed))


def _context(origin: str, start: int, size: int) -> list[bytes]:
    return [_INFO, f"{origin}/{start}/{size}".encode()]
