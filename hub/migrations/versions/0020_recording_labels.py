"""What people state of recordings: labels, marks of secrecy, who may know; saved filters."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Nobody stated anything yet."""
    op.create_table(
        "recording_state",
        sa.Column("recording", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text()),
        sa.Column("parties_present", sa.Boolean()),
        sa.Column("place_at", sa.BigInteger()),
        sa.Column("matter_at", sa.BigInteger()),
        sa.Column("case_at", sa.BigInteger()),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("recording", name="pk_recording_state"),
    )
    restricted = sa.text("mark <> 'normal'")
    op.create_index(
        "ix_recording_state_restricted",
        "recording_state",
        ["recording"],
        sqlite_where=restricted,
        postgresql_where=restricted,
    )
    op.create_table(
        "recording_known",
        sa.Column("recording", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("recording", "account", name="pk_recording_known"),
    )
    op.create_table(
        "mark_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("recordings", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_at", sa.Text()),
        sa.Column("approved", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name="pk_mark_request"),
        sa.CheckConstraint("approved IS NULL OR decided_by IS NOT NULL", name="ck_mark_request_decided_by_somebody"),
        sa.CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="ck_mark_request_two_people"),
    )
    op.create_table(
        "saved_filter",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("account", "name", name="pk_saved_filter"),
    )
