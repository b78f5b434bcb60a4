"""What opens the log's commitments, and its removal."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Two new tables; no entry so far holds a commitment."""
    op.create_table(
        "opening",
        sa.Column("log_index", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary()),
        sa.Column("value", sa.LargeBinary()),
        sa.Column("removed_index", sa.BigInteger()),
        sa.PrimaryKeyConstraint("log_index", "field", name="pk_opening"),
        sa.CheckConstraint("(value IS NULL) = (salt IS NULL)", name="ck_opening_whole"),
        sa.CheckConstraint("(value IS NULL) = (removed_index IS NOT NULL)", name="ck_opening_removed_or_there"),
    )
    op.create_table(
        "opening_removal",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("entries", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text()),
        sa.Column("removed_at", sa.Text()),
        sa.Column("removed_index", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_opening_removal"),
        sa.CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="ck_opening_removal_two_people"),
    )
