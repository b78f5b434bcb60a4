"""Stations are enrolled by two people: what was asked for, and what became of it. Their keys rotate."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Nothing was asked for yet; each station has had one key."""
    op.create_table(
        "station_key",
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("key_line", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station", "first_seq", name="pk_station_key"),
    )
    op.execute("INSERT INTO station_key (station, first_seq, key_line) SELECT id, 1, key_line FROM station")
    op.create_table(
        "station_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("key_line", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_at", sa.Text()),
        sa.Column("approved", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name="pk_station_request"),
        sa.CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="ck_station_request_two_people"),
    )
    op.create_index(
        "ix_station_request_open",
        "station_request",
        ["station"],
        unique=True,
        sqlite_where=sa.text("decided_at IS NULL"),
        postgresql_where=sa.text("decided_at IS NULL"),
    )
