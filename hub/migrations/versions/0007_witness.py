"""Witnesses of the log: who they are, what they cosigned, where asking them stands."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """New tables beside the log; checkpoint rows stay as they are."""
    op.add_column("station", sa.Column("witness_key", sa.Text()))
    op.create_table(
        "witness",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_line", sa.Text(), nullable=False),
        sa.Column("station", sa.Text()),
        sa.Column("url", sa.Text()),
        sa.Column("added_at", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.Text()),
        sa.PrimaryKeyConstraint("name", name="pk_witness"),
    )
    op.create_table(
        "witness_policy",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("needed", sa.BigInteger(), nullable=False),
        sa.Column("set_at", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_witness_policy_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_witness_policy"),
    )
    op.create_table(
        "cosignature",
        sa.Column("size", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("cosigned_at", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", "witness", name="pk_cosignature"),
    )
    op.create_table(
        "witness_state",
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("known_size", sa.BigInteger(), nullable=False),
        sa.Column("heard_at", sa.Text()),
        sa.Column("alarm", sa.Text()),
        sa.Column("alarm_size", sa.BigInteger()),
        sa.Column("alarm_sha256", sa.Text()),
        sa.Column("alarm_note", sa.Text()),
        sa.Column("alarm_at", sa.Text()),
        sa.PrimaryKeyConstraint("witness", name="pk_witness_state"),
    )
    if op.get_bind().dialect.name == "sqlite":
        refuse = "BEGIN SELECT RAISE(ABORT, 'a cosignature is kept as it came'); END"
        for change in ("update", "delete"):
            op.execute(f"CREATE TRIGGER cosignature_no_{change} BEFORE {change} ON cosignature {refuse}")
        return
    op.execute(
        "CREATE TRIGGER cosignature_no_change BEFORE UPDATE OR DELETE ON cosignature "
        "FOR EACH ROW EXECUTE FUNCTION refuse_log_change()"
    )
    op.execute(
        "CREATE TRIGGER cosignature_no_truncate BEFORE TRUNCATE ON cosignature "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change()"
    )
