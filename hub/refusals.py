"""Messages that were not taken in: counted by minute, topic and reason, kept as samples, stated once in the log.

Anybody who reaches a topic can cause these, so every part is bounded: rows per minute, rows in all, bytes per sample,
and one `EnvelopeRefused` event per row once its minute is over. A restart finds unstated rows and states them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from custody.hubevents import EnvelopeRefused
from hub.log import Appender
from hub.opening import Refused
from hub.tables import refused
from hub.times import to_text

MAX_ROWS = 5_000
MAX_ROWS_PER_MINUTE = 20
MAX_TOPIC_CHARACTERS = 200
SAMPLE_BYTES = 4 * 1024
OTHER_TOPICS = "*"


def count_refused(tx: Connection, messages: Sequence[Refused], at: datetime) -> None:
    """Count refused messages, with a sample of the first of each kind. Beyond the limit topics share one row."""
    if not messages:
        return
    minute = minute_of(at)
    held = {
        (row.topic, row.reason): row.id
        for row in tx.execute(select(refused.c.id, refused.c.topic, refused.c.reason).where(refused.c.minute == minute))
    }
    groups: dict[tuple[str, str], list[Refused]] = {}
    for message in messages:
        topic = shown_topic(message.message.topic)
        key: tuple[str, str] = (topic, message.reason)
        if key not in held and key not in groups and len(held) + len(groups) >= MAX_ROWS_PER_MINUTE:
            key = (OTHER_TOPICS, message.reason)
        groups.setdefault(key, []).append(message)
    for key, group in groups.items():
        if key in held:
            _add(tx, held[key], len(group), at)
        else:
            _insert(tx, minute, key, group, at)


def state_refused(tx: Connection, entries: Appender, at: datetime) -> None:
    """State in the log every row whose minute is over, and drop the oldest rows."""
    due = tx.execute(
        select(refused).where(refused.c.log_index.is_(None), refused.c.minute < minute_of(at)).order_by(refused.c.id)
    ).all()
    for row in due:
        index = entries.record(
            EnvelopeRefused,
            topic=row.topic,
            reason=row.reason,
            count=row.count,
            sample_sha256=row.sample_sha256,
            sample_bytes=row.sample_bytes,
        )
        tx.execute(update(refused).where(refused.c.id == row.id).values(log_index=index))
    if due:
        newest = tx.execute(select(func.max(refused.c.id))).scalar_one()
        tx.execute(delete(refused).where(refused.c.id <= newest - MAX_ROWS, refused.c.log_index.is_not(None)))


def minute_of(at: datetime) -> str:
    """The minute a row stands for."""
    return to_text(at)[:16]


def shown_topic(topic: str) -> str:
    """A topic as rows and events hold it: short and printable."""
    return "".join(ch if ch.isprintable() else "\ufffd" for ch in topic[:MAX_TOPIC_CHARACTERS])


def _add(tx: Connection, row_id: int, count: int, at: datetime) -> None:
    values = {"count": refused.c.count + count, "last_at": to_text(at)}
    tx.execute(update(refused).where(refused.c.id == row_id).values(**values))


def _insert(tx: Connection, minute: str, key: tuple[str, str], group: list[Refused], at: datetime) -> None:
    raw = group[0].message.raw
    # of a fork the whole envelope is kept: it is the proof that a station's history was told twice
    sample = raw if group[0].reason == "fork" else raw[:SAMPLE_BYTES]
    tx.execute(
        insert(refused).values(
            minute=minute,
            topic=key[0],
            reason=key[1],
            count=len(group),
            first_at=to_text(at),
            last_at=to_text(at),
            sample=sample,
            sample_sha256=hashlib.sha256(raw).hexdigest(),
            sample_bytes=len(raw),
        )
    )
