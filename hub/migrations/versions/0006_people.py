"""Changes of accounts need two people; an authenticator's code as second factor."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """New tables; every session ends, because it does not know of the second factor."""
    op.create_table(
        "account_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("role", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_at", sa.Text()),
        sa.Column("approved", sa.Boolean()),
        sa.CheckConstraint(
            "approved IS NOT TRUE OR decided_by IS NULL OR decided_by <> requested_by",
            name="ck_account_request_two_people",
        ),
        sa.CheckConstraint(
            "approved IS NOT TRUE OR decided_by IS NULL OR decided_by <> account",
            name="ck_account_request_not_about_oneself",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_account_request"),
    )
    is_open = sa.text("decided_at IS NULL")
    op.create_index(
        "ix_account_request_open",
        "account_request",
        ["account"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_table(
        "second_factor",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("confirmed_at", sa.Text()),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name="pk_second_factor"),
    )
    op.execute("DELETE FROM session")
    op.add_column("session", sa.Column("code_due", sa.Boolean(), nullable=False, server_default=sa.false()))
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("session", "code_due", server_default=None)
