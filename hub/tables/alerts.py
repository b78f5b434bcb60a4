"""Alerts: opened and ended by `hub.alerts.raising` in the transaction of their cause, changed by hub/alerts only."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text, text

from hub.tables.schema import BigId, metadata

alert = Table(
    "alert",
    metadata,
    # follows from the hub's own events, see hub/alerts/derived.py
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("kind", Text, nullable=False),  # see hub/alerts/kinds.py
    Column("subject", Text, nullable=False),  # one alert of a kind is open about it
    Column("station", Text),
    Column("camera", Text),
    Column("bay", Text),
    Column("detail", Text, nullable=False),
    Column("cause", BigInteger),  # log index of the entry that it follows from
    Column("opened_at", Text, nullable=False),
    Column("level", BigInteger, nullable=False),  # how often it went to the next
    Column("level_at", Text, nullable=False),  # when it went to those who have it now
    Column("acknowledged_by", Text),
    Column("acknowledged_at", Text),
    Column("assigned_to", Text),
    Column("resolved_by", Text),  # null with `resolved_at`: it ended by itself
    Column("resolved_at", Text),
    Index(
        "ix_alert_open",
        "kind",
        "subject",
        unique=True,
        sqlite_where=text("resolved_at IS NULL"),
        postgresql_where=text("resolved_at IS NULL"),
    ),
    Index("ix_alert_resolved_at", "resolved_at"),
)

alert_repeat = Table(
    "alert_repeat",
    metadata,
    # of open alerts, in no event: lost with a restore, an alert counts from one again
    Column("id", Text, primary_key=True),  # of the alert
    Column("met", BigInteger, nullable=False),  # how often it was met
    Column("last_at", Text, nullable=False),  # the last time
    Column("well_since", Text),  # what it is about is well again, not yet for long enough
)

alert_message = Table(
    "alert_message",
    metadata,
    # what is to be sent to people outside the pages; in the transaction of what it tells
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("alert", Text, nullable=False),
    Column("level", BigInteger, nullable=False),  # to whom: those of this step
    Column("created_at", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("next_at", Text),  # not before; null: it was sent, or is not to be sent any more
    Column("outcome", Text),  # sent, over, too_late, or the last fault
    Index(
        "ix_alert_message_due",
        "next_at",
        sqlite_where=text("next_at IS NOT NULL"),
        postgresql_where=text("next_at IS NOT NULL"),
    ),
)

backup_made = Table(
    "backup_made",
    metadata,
    # backups that were completed and checked; for people and for the alert of a missing one, never evidence
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("finished_at", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # entries of the log that it holds
)
