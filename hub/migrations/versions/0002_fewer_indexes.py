"""Lists of segments by camera, station or label ask the full-text index: their own indexes go."""

from alembic import op

revision = "0002"
down_revision = "0001"

GONE = (
    "ix_segment_camera_log_index",
    "ix_segment_camera_recorded_day_log_index",
    "ix_segment_labelled",
    "ix_segment_station_docking_entry",
    "ix_segment_station_log_index",
    "ix_segment_station_recorded_day_log_index",
)


def upgrade() -> None:
    """Nothing but indexes: every row stays."""
    for name in GONE:
        op.drop_index(name, table_name="segment")
