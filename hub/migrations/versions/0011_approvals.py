"""Exports of footage are asked for by one person and approved by another."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """A new table; nothing that was there changes."""
    op.create_table(
        "export_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("recordings", sa.Text()),
        sa.Column("recordings_sha256", sa.Text(), nullable=False),
        sa.Column("recordings_in_all", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in_all", sa.BigInteger(), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_at", sa.Text()),
        sa.Column("approved", sa.Boolean()),
        sa.Column("expires_at", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_export_request"),
        sa.CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="ck_export_request_two_people"),
    )
