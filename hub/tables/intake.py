"""The hub processes that share one database (hub/replicas.py), and what they did not take in (hub/refusals.py)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text, UniqueConstraint

from hub.tables.schema import BigId, metadata

replica = Table(
    "replica",
    metadata,
    Column("name", Text, primary_key=True),  # MQTT client id
    Column("beat", BigInteger, nullable=False),  # counts up once a second while the process lives
)

refused = Table(
    "refused",
    metadata,
    # one row per minute, topic and reason; the oldest go when there are more than refusals.MAX_ROWS
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("minute", Text, nullable=False),  # YYYY-MM-DDTHH:MM, UTC
    Column("topic", Text, nullable=False),  # as received, cut to 200 characters
    Column("reason", Text, nullable=False),  # stable code: bad_format, bad_signature, unknown_station, ...
    Column("count", BigInteger, nullable=False),
    Column("first_at", Text, nullable=False),
    Column("last_at", Text, nullable=False),
    Column("sample", LargeBinary, nullable=False),  # first bytes of the first message, at most refusals.SAMPLE_BYTES
    Column("sample_sha256", Text, nullable=False),  # of the whole message
    Column("sample_bytes", BigInteger, nullable=False),
    Column("log_index", BigInteger),  # of the hub event that states it; null until the minute is over
    UniqueConstraint("minute", "topic", "reason"),
)
