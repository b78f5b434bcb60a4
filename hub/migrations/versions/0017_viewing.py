"""Viewings of footage by grant."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """None yet."""
    op.create_table(
        "viewing",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("recording", sa.BigInteger(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("started_index", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.Text()),
        sa.Column("ended_index", sa.BigInteger()),
        sa.Column("reason", sa.Text()),
        sa.Column("bytes_streamed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes_reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("chunks", sa.LargeBinary()),
        sa.Column("active_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_viewing"),
    )
    op.create_index("ix_viewing_recording", "viewing", ["recording"])
    is_open = sa.text("ended_at IS NULL")
    op.create_index("ix_viewing_open", "viewing", ["account"], sqlite_where=is_open, postgresql_where=is_open)
