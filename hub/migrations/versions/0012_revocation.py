"""The key of a station is revoked by two people."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """No key was revoked yet."""
    op.add_column("station", sa.Column("revoked_at", sa.Text()))
    op.create_table(
        "station_revocation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("key_line", sa.Text(), nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text()),
        sa.Column("revoked_at", sa.Text()),
        sa.Column("revoked_index", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_station_revocation"),
        sa.CheckConstraint(
            "approved_by IS NULL OR approved_by <> requested_by", name="ck_station_revocation_two_people"
        ),
    )
