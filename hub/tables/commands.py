"""Commands to stations: written by hub/commands only; rotations of the hub's keys: by hub/keychanges only.

What a station answered is in `command_answer`, which is of the index.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, LargeBinary, Table, Text, text

from hub.tables.schema import metadata

command = Table(
    "command",
    metadata,
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("station", Text, nullable=False),
    Column("kind", Text, nullable=False),  # see custody/commandbody.py
    Column("body", Text),  # exact text; null once a roster was answered: it names people
    Column("body_sha256", Text, nullable=False),
    Column("valid_seconds", BigInteger, nullable=False),  # from the issue on
    Column("requested_by", Text, nullable=False),  # account
    Column("requested_at", Text, nullable=False),
    Column("request_index", BigInteger),  # of command.requested; null for a kind that one person may order
    Column("approved_by", Text),
    Column("approved_at", Text),
    Column("approval_index", BigInteger),
    Column("withdrawn_by", Text),
    Column("withdrawn_at", Text),
    # set by the issue: place in the station's chain of commands, and the exact bytes that are sent until it answers
    Column("number", BigInteger),
    Column("command_sha256", Text),
    Column("envelope", LargeBinary),  # null before the issue, and once a roster was answered
    Column("issued_at", Text),
    Column("expires_at", Text),
    Column("sent_at", Text),  # first handed to the broker while the station was online; for people, in no event
    # where a restore lost the bytes of a command that its station never had, another one takes its number
    Index(
        "ix_command_station_number",
        "station",
        "number",
        unique=True,
        sqlite_where=text("envelope IS NOT NULL"),
        postgresql_where=text("envelope IS NOT NULL"),
    ),
    CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="two_people"),
    CheckConstraint("withdrawn_by IS NULL OR number IS NULL", name="withdrawn_before_issue"),
    Index("ix_command_requested_at", "requested_at"),
)

key_change = Table(
    "key_change",
    metadata,
    # rotations of the hub's keys, see hub/keychanges; the newest of a role that is not approved is the open request
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("role", Text, nullable=False),
    Column("old_line", Text, nullable=False),
    Column("new_line", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("approved_by", Text),
    Column("rotated_at", Text),
    Column("rotated_index", BigInteger),  # log index of key.rotated
    Column("announced_at", Text),  # when every station was told by a command; in no event of its own
    CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="two_people"),
)
