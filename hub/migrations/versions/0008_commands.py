"""Commands to stations, what stations answered, and rotations of the hub's keys."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Three new tables and a column that an older log does not need; nothing that was there changes."""
    op.create_table(
        "command",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("body_sha256", sa.Text(), nullable=False),
        sa.Column("valid_seconds", sa.BigInteger(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("request_index", sa.BigInteger()),
        sa.Column("approved_by", sa.Text()),
        sa.Column("approved_at", sa.Text()),
        sa.Column("approval_index", sa.BigInteger()),
        sa.Column("withdrawn_by", sa.Text()),
        sa.Column("withdrawn_at", sa.Text()),
        sa.Column("number", sa.BigInteger()),
        sa.Column("command_sha256", sa.Text()),
        sa.Column("envelope", sa.LargeBinary()),
        sa.Column("issued_at", sa.Text()),
        sa.Column("expires_at", sa.Text()),
        sa.Column("sent_at", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_command"),
        sa.UniqueConstraint("station", "number", name="uq_command_station_number"),
        sa.CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="ck_command_two_people"),
        sa.CheckConstraint("withdrawn_by IS NULL OR number IS NULL", name="ck_command_withdrawn_before_issue"),
    )
    op.create_index("ix_command_requested_at", "command", ["requested_at"])
    op.create_table(
        "command_answer",
        sa.Column("log_index", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("command_sha256", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("log_index", name="pk_command_answer"),
    )
    op.create_index("ix_command_answer_station_number", "command_answer", ["station", "number"])
    op.create_table(
        "key_change",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("old_line", sa.Text(), nullable=False),
        sa.Column("new_line", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text()),
        sa.Column("rotated_at", sa.Text()),
        sa.Column("rotated_index", sa.BigInteger()),
        sa.Column("announced_at", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_key_change"),
        sa.CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="ck_key_change_two_people"),
    )
    op.add_column("log_state", sa.Column("key_set", sa.Text()))
