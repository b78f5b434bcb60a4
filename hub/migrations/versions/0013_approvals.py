"""Exports of footage need two people; the number of a command whose bytes were lost can be given again."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """A new table; and a command's number is unique among those whose bytes the hub has."""
    _renumber()
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


def _renumber() -> None:
    """SQLite drops no constraint: the table is made anew there, with every row."""
    name, have_bytes = "uq_command_station_number", sa.text("envelope IS NOT NULL")
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("command", copy_from=_command(name)) as batch:
            batch.drop_constraint(name, type_="unique")
    else:
        op.drop_constraint(name, "command", type_="unique")
    op.create_index(
        "ix_command_station_number", "command", ["station", "number"], unique=True, sqlite_where=have_bytes,
        postgresql_where=have_bytes,
    )  # fmt: skip


def _command(unique: str) -> sa.Table:
    """The table as 0009 made it: what Alembic would read back from SQLite lacks the checks."""
    needed = ("station", "kind", "body_sha256", "requested_by", "requested_at")
    texts = ("station", "kind", "body", "body_sha256", "requested_by", "requested_at")
    return sa.Table(
        "command",
        sa.MetaData(),
        sa.Column("id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=name not in needed) for name in texts[:4]),
        sa.Column("valid_seconds", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts[4:]),
        sa.Column("request_index", sa.BigInteger()),
        sa.Column("approved_by", sa.Text()),
        sa.Column("approved_at", sa.Text()),
        sa.Column("approval_index", sa.BigInteger()),
        sa.Column("withdrawn_by", sa.Text()),
        sa.Column("withdrawn_at", sa.Text()),
        sa.Column("number", sa.BigInteger()),
        sa.Column("command_sha256", sa.Text()),
        sa.Column("envelope", sa.LargeBinary()),
        sa.Column("issued_at", sa.Text()),
        sa.Column("expires_at", sa.Text()),
        sa.Column("sent_at", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_command"),
        sa.UniqueConstraint("station", "number", name=unique),
        sa.CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="ck_command_two_people"),
        sa.CheckConstraint("withdrawn_by IS NULL OR number IS NULL", name="ck_command_withdrawn_before_issue"),
        sa.Index("ix_command_requested_at", "requested_at"),
    )
