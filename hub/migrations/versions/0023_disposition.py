"""What became of dispositions of footage from stations' vaults."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0016"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """No station so far carried one out."""
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
