"""Since when a station is on line or silent, and when it was silent before; whose a commitment is, found by index."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0023"


def upgrade() -> None:
    """Nothing of the silences is known for the time before."""
    op.create_index("ix_opening_value", "opening", ["value"], postgresql_using="hash")
    op.add_column("station_state", sa.Column("since", sa.Text()))
    op.create_table(
        "station_silence",
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("began_at", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station", "began_at", name="pk_station_silence"),
    )
