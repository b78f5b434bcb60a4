"""Exports of footage that were asked for: written by hub/exports only."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Table, Text

from hub.tables.schema import metadata

export_request = Table(
    "export_request",
    metadata,
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("recordings", Text),  # JSON list of log indexes, rising; null after a restore: the log holds its digest only
    Column("recordings_sha256", Text, nullable=False),
    Column("recordings_in_all", BigInteger, nullable=False),
    Column("bytes_in_all", BigInteger, nullable=False),
    Column("selection", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),  # account
    Column("requested_at", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("approved", Boolean),
    Column("expires_at", Text),  # set with the approval
    CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="two_people"),
)
