"""What became of dispositions of footage from stations' vaults; removals of witnesses by two people."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """No station so far carried a disposition out; witnesses were removed by one person."""
    op.create_table(
        "disposition",
        sa.Column("log_index", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("docking", sa.Text(), nullable=False),
        sa.Column("command_sha256", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("disposed", sa.Text(), nullable=False),
        sa.Column("kept", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("log_index", name="pk_disposition"),
    )
    op.create_index("ix_disposition_station_docking", "disposition", ["station", "docking"])
    op.create_table(
        "witness_removal",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("key_line", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text()),
        sa.Column("removed_at", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_witness_removal"),
        sa.CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="ck_witness_removal_two_people"),
    )
