"""What stations state of cameras in their bays."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """A new projection; `dock-hub reindex` fills it for entries that came before."""
    op.create_table(
        "camera_event",
        sa.Column(
            "log_index", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("bay", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text()),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("officer", sa.Text()),
        sa.Column("charge_percent", sa.BigInteger()),
        sa.Column("free_minutes", sa.BigInteger()),
        sa.Column("offload", sa.Text()),
        sa.Column("due_at", sa.Text()),
        sa.Column("disputed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("log_index", name="pk_camera_event"),
    )
    op.create_index("ix_camera_event_camera_log_index", "camera_event", ["camera", "log_index"])
    op.create_index("ix_camera_event_station_log_index", "camera_event", ["station", "log_index"])
