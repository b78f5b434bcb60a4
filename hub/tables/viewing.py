"""Viewings of footage by grant: written by hub/viewing only."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text, text

from hub.tables.schema import metadata

viewing = Table(
    "viewing",
    metadata,
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("account", Text, nullable=False),  # who views
    Column("recording", BigInteger, nullable=False),  # log index of its seal
    Column("grant_id", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column(
        "started_index", BigInteger, nullable=False
    ),  # of footage.view_started: no byte leaves before it is committed
    Column("ended_at", Text),
    Column("ended_index", BigInteger),
    Column("reason", Text),  # see footage.viewed.v1; null: open
    # While it is open: what was sent, and what a stream under way may send before it says so here. In no event; at the
    # end they make the figures of footage.viewed.
    Column("bytes_streamed", BigInteger, nullable=False, server_default="0"),
    Column("bytes_reserved", BigInteger, nullable=False, server_default="0"),
    Column("chunks", LargeBinary),  # one bit a chunk of 1 MiB that was begun; null: none
    Column("active_at", Text, nullable=False),  # of the last stream
    Index("ix_viewing_recording", "recording"),
    Index(
        "ix_viewing_open",
        "account",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
