"""Requests to use footage (Art. 17), and which recordings each is about: written by hub/requests only."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Table, Text

from hub.tables.schema import metadata

use_request = Table(
    "use_request",
    metadata,
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("use", Text, nullable=False),  # see use.requested.v1
    Column("recordings_sha256", Text, nullable=False),
    Column("recordings_in_all", BigInteger, nullable=False),
    Column("bytes_in_all", BigInteger, nullable=False),
    Column("selection", Text, nullable=False),
    Column("holder", Text),  # account that is to view; null for a copy
    Column("recipient", Text, nullable=False),  # who gets the copy; empty for view
    Column("case_number", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("valid_seconds", BigInteger, nullable=False),  # from the approval on
    Column("requested_by", Text, nullable=False),  # account
    Column("requested_at", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("approved", Boolean),
    Column("refusal", Text),  # why; set with the decision
    Column("expires_at", Text),  # set with the approval
    Column("grants", Text),  # JSON list of ids; set with the decision
    Column("copy_number", BigInteger, unique=True),  # set with the approval of a copy
    Column("revoked_by", Text),
    Column("revoked_at", Text),
    Column("revocation", Text),  # why
    Column("copy_end", Text),  # see copy.ended.v1
    Column("copy_end_note", Text),
    Column("copy_end_by", Text),
    Column("copy_end_at", Text),
    CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="two_people"),
    CheckConstraint("approved IS NOT TRUE OR holder IS NULL OR decided_by <> holder", name="not_about_oneself"),
    CheckConstraint("revoked_by IS NULL OR approved IS TRUE", name="approved_before_revoked"),
    Index("ix_use_request_requested_at", "requested_at"),
)

use_recording = Table(
    "use_recording",
    metadata,
    Column("request_id", Text, primary_key=True),
    # log index of its seal. None of a request of an earlier version that came back with a restore: its event holds
    # the digest of the list alone, so it can never be approved or carried out
    Column("recording", BigInteger, primary_key=True, autoincrement=False),
    Index("ix_use_recording_recording", "recording"),
)
