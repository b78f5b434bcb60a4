"""Alerts, what is to be sent of them, and which backups were made."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """None is open yet: what happened before is in the log."""
    op.create_table(
        "alert",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("station", sa.Text()),
        sa.Column("camera", sa.Text()),
        sa.Column("bay", sa.Text()),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("cause", sa.BigInteger()),
        sa.Column("opened_at", sa.Text(), nullable=False),
        sa.Column("level", sa.BigInteger(), nullable=False),
        sa.Column("level_at", sa.Text(), nullable=False),
        sa.Column("acknowledged_by", sa.Text()),
        sa.Column("acknowledged_at", sa.Text()),
        sa.Column("assigned_to", sa.Text()),
        sa.Column("resolved_by", sa.Text()),
        sa.Column("resolved_at", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_alert"),
    )
    _index("ix_alert_open", "alert", ["kind", "subject"], "resolved_at IS NULL", unique=True)
    op.create_index("ix_alert_resolved_at", "alert", ["resolved_at"])
    op.create_table(
        "alert_repeat",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("met", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.Text(), nullable=False),
        sa.Column("well_since", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_alert_repeat"),
    )
    op.create_table(
        "alert_message",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("alert", sa.Text(), nullable=False),
        sa.Column("level", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.Text()),
        sa.Column("outcome", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_alert_message"),
    )
    _index("ix_alert_message_due", "alert_message", ["next_at"], "next_at IS NOT NULL", unique=False)
    op.create_table(
        "backup_made",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_backup_made"),
    )


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
