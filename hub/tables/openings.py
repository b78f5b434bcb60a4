"""What opens the log's commitments, and its removal: written by hub/openings only. No projection, and in no leaf."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, LargeBinary, Table, Text

from hub.tables.schema import BigId, metadata

opening = Table(
    "opening",
    metadata,
    # the only place of these values; a row that was removed stays without them, so that nothing brings them back. No
    # index holds a value: whoever removes one looks through all rows, and no page split leaves a copy behind
    Column("log_index", BigId, primary_key=True, autoincrement=False),
    Column("field", Text, primary_key=True),
    Column("salt", LargeBinary),
    Column("value", LargeBinary),  # UTF-8; bytes, for PostgreSQL's text holds no NUL
    Column("removed_index", BigInteger),  # log index of opening.removed
    Index("ix_opening_value", "value", postgresql_using="hash"),  # whose: every list of a section's or person's own
    CheckConstraint("(value IS NULL) = (salt IS NULL)", name="whole"),
    CheckConstraint("(value IS NULL) = (removed_index IS NOT NULL)", name="removed_or_there"),
)

opening_removal = Table(
    "opening_removal",
    metadata,
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("field", Text, nullable=False),
    Column("entries", Text, nullable=False),  # JSON list of log indexes, rising
    Column("reason", Text, nullable=False),  # code, see custody/hubevents.py
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("approved_by", Text),
    Column("removed_at", Text),
    Column("removed_index", BigInteger),  # log index of opening.removed
    CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="two_people"),
)
