"""Sections of people and stations; officers' numbers. Where nobody names any, all are of the section ""."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Everybody and everything is of one section, as before."""
    for table, column in (("station", "section"), ("account", "section"), ("account", "officer")):
        op.add_column(table, sa.Column(column, sa.Text(), nullable=False, server_default=""))
    _unique("uq_account_officer", "account", "officer", "officer <> ''")
    named = sa.text("officer IS NOT NULL")
    op.create_index("ix_camera_event_officer", "camera_event", ["officer"], sqlite_where=named, postgresql_where=named)
    op.create_table(
        "section_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("station", sa.Text()),
        sa.Column("section", sa.Text(), nullable=False),
        sa.Column("officer", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_at", sa.Text()),
        sa.Column("approved", sa.Boolean()),
        sa.PrimaryKeyConstraint("id", name="pk_section_request"),
        sa.CheckConstraint("(account IS NULL) <> (station IS NULL)", name="ck_section_request_one_thing"),
        sa.CheckConstraint("station IS NULL OR officer = ''", name="ck_section_request_people_have_numbers"),
        sa.CheckConstraint("approved IS NULL OR decided_by IS NOT NULL", name="ck_section_request_decided_by_somebody"),
        sa.CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="ck_section_request_two_people"),
        sa.CheckConstraint(
            "approved IS NOT TRUE OR account IS NULL OR decided_by <> account",
            name="ck_section_request_not_about_oneself",
        ),
    )
    for thing in ("account", "station"):
        where = f"decided_at IS NULL AND {thing} IS NOT NULL"
        _unique(f"ix_section_request_open_{thing}", "section_request", thing, where)


def _unique(name: str, table: str, column: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], unique=True, sqlite_where=condition, postgresql_where=condition)
