"""A log that may not be written: put back from a backup, or behind what others hold of it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Every log stays writable."""
    op.add_column("log_state", sa.Column("read_only", sa.Text()))
