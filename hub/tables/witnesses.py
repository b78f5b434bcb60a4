"""Witnesses of the log: written by hub/witnesses only."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, Table, Text

from hub.tables.schema import BigId, metadata

witness = Table(
    "witness",
    metadata,
    # accepted by people; every change is an event of the log
    Column("name", Text, primary_key=True),  # of its key
    Column("key_line", Text, nullable=False),  # C2SP vkey of type 0x04
    Column("station", Text),  # asked over this station's topics
    Column("url", Text),  # asked by HTTP; neither of the two: it asks by itself
    Column("added_at", Text, nullable=False),
    Column("removed_at", Text),  # set: counts no more, and its name is not used again
)

witness_removal = Table(
    "witness_removal",
    metadata,
    # that a witness's key count no more; the newest of a witness that is not approved is the open request
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("witness", Text, nullable=False),
    Column("key_line", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("approved_by", Text),
    Column("removed_at", Text),
    CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="two_people"),
)

witness_policy = Table(
    "witness_policy",
    metadata,
    # no row: no checkpoint is called witnessed
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("needed", BigInteger, nullable=False),  # so many witnesses in force make a checkpoint witnessed
    Column("set_at", Text, nullable=False),
)

cosignature = Table(
    "cosignature",
    metadata,
    # beside the checkpoints, whose rows never change; verified before it is stored; triggers refuse change
    Column("size", BigId, primary_key=True, autoincrement=False),  # of the checkpoint
    Column("witness", Text, primary_key=True),
    Column("line", Text, nullable=False),  # the note signature line with its newline
    Column("cosigned_at", Text, nullable=False),  # by the witness's clock
    Column("received_at", Text, nullable=False),
)

witness_state = Table(
    "witness_state",
    metadata,
    # where asking stands; nothing of it is evidence, all of it can be lost
    Column("witness", Text, primary_key=True),
    Column("known_size", BigInteger, nullable=False),  # of the last checkpoint it cosigned, as far as we know
    Column("heard_at", Text),  # its last answer
    Column("alarm", Text),  # code of why it refuses; null: it does not
    Column("alarm_size", BigInteger),  # of the largest checkpoint it knows
    Column("alarm_sha256", Text),  # of that note; null: it sent none that our key signed
    Column("alarm_note", Text),  # that note: the evidence
    Column("alarm_at", Text),
)
