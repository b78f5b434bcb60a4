"""What people state of recordings. The first two follow from the log and are rebuilt by ``dock-hub reindex``; requests
for a lower mark follow from it too and are checked against it; saved filters are a person's own and in no log.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Table, Text, text

from hub.tables.schema import BigId, metadata

recording_state = Table(
    "recording_state",
    metadata,
    # how a recording stands now; none for one of which nobody stated anything (hub/recordings/standing.py)
    Column("recording", BigId, primary_key=True, autoincrement=False),  # log index of its seal
    Column("kind", Text),  # a code of Art. 4
    Column("parties_present", Boolean),
    # log indexes of the labellings whose openings hold the values: those are in no other table
    Column("place_at", BigInteger),
    Column("matter_at", BigInteger),
    Column("case_at", BigInteger),
    Column("mark", Text, nullable=False),  # of secrecy, Art. 18
    Index(
        "ix_recording_state_restricted",
        "recording",
        sqlite_where=text("mark <> 'normal'"),
        postgresql_where=text("mark <> 'normal'"),
    ),
)

recording_known = Table(
    "recording_known",
    metadata,
    # who may know more of a restricted recording than that it exists
    Column("recording", BigId, primary_key=True, autoincrement=False),
    Column("account", Text, primary_key=True),
)

mark_request = Table(
    "mark_request",
    metadata,
    # a lower mark: asked for by one person, decided by another
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("recordings", Text, nullable=False),  # JSON list of log indexes, rising
    Column("mark", Text, nullable=False),
    Column("reason", Text, nullable=False),  # code, see custody/hubevents.py
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("approved", Boolean),
    CheckConstraint("approved IS NULL OR decided_by IS NOT NULL", name="decided_by_somebody"),
    CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="two_people"),
)

saved_filter = Table(
    "saved_filter",
    metadata,
    Column("account", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("query", Text, nullable=False),  # of the list's address
    Column("is_default", Boolean, nullable=False),  # of an account at most one: the list opens with it
)
