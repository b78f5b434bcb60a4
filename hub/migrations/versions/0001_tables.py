"""The first schema: log, stations, accounts, refused messages, projections."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0001"
down_revision = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create everything."""
    _create_tables()
    if op.get_bind().dialect.name == "sqlite":
        _finish_sqlite()
    else:
        _finish_postgresql()


def _create_tables() -> None:
    op.create_table(
        "account",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("must_change_password", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("disabled_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_account"),
    )
    op.create_table(
        "bay_state",
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("bay", sa.Text(), nullable=False),
        sa.Column("json", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station", "bay", name="pk_bay_state"),
    )
    op.create_table(
        "camera",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.Text(), nullable=False),
        sa.Column("last_seen_at", sa.Text(), nullable=False),
        sa.Column("last_station", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_camera"),
    )
    op.create_table(
        "checkpoint",
        sa.Column("size", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_checkpoint"),
    )
    op.create_table(
        "docking",
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("bay", sa.Text(), nullable=False),
        sa.Column("source_kind", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Text(), nullable=True),
        sa.Column("new_files", sa.BigInteger(), nullable=True),
        sa.Column("new_bytes", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.Text(), nullable=True),
        sa.Column("complete", sa.Boolean(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("listed", sa.BigInteger(), nullable=True),
        sa.Column("copied", sa.BigInteger(), nullable=True),
        sa.Column("already_saved", sa.BigInteger(), nullable=True),
        sa.Column("failed", sa.BigInteger(), nullable=True),
        sa.Column("skipped", sa.BigInteger(), nullable=True),
        sa.Column("deleted_seen", sa.BigInteger(), nullable=True),
        sa.Column("unreadable", sa.BigInteger(), nullable=True),
        sa.Column("bytes_copied", sa.BigInteger(), nullable=True),
        sa.Column("manifest_sha256", sa.Text(), nullable=True),
        sa.Column("manifest_bytes", sa.BigInteger(), nullable=True),
        sa.Column("started_index", sa.BigInteger(), nullable=True),
        sa.Column("closed_index", sa.BigInteger(), nullable=True),
        sa.Column("first_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("station", "id", name="pk_docking"),
    )
    op.create_index("ix_docking_camera_first_index", "docking", ["camera", "first_index"], unique=False)
    op.create_index("ix_docking_first_index", "docking", ["first_index"], unique=True)
    op.create_index("ix_docking_station_first_index", "docking", ["station", "first_index"], unique=False)
    op.create_table(
        "log_entry",
        sa.Column("idx", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("envelope_sha256", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("idx", name="pk_log_entry"),
        sa.UniqueConstraint("source", "seq", name="uq_log_entry_source_seq"),
    )
    op.create_index("ix_log_entry_event_type_idx", "log_entry", ["event_type", "idx", "source"], unique=False)
    op.create_table(
        "log_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("roots", sa.LargeBinary(), nullable=False),
        sa.Column("own_seq", sa.BigInteger(), nullable=False),
        sa.Column("own_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_state"),
    )
    op.create_table(
        "log_tile",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "idx", name="pk_log_tile"),
    )
    op.create_table(
        "refused",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("minute", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.Text(), nullable=False),
        sa.Column("last_at", sa.Text(), nullable=False),
        sa.Column("sample", sa.LargeBinary(), nullable=False),
        sa.Column("sample_sha256", sa.Text(), nullable=False),
        sa.Column("sample_bytes", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_refused"),
        sa.UniqueConstraint("minute", "topic", "reason", name="uq_refused_minute_topic_reason"),
    )
    op.create_table(
        "segment",
        sa.Column("log_index", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("bay", sa.Text(), nullable=False),
        sa.Column("docking", sa.Text(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("vault_path", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("tree_root", sa.Text(), nullable=False),
        sa.Column("chunk_count", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.Text(), nullable=True),
        sa.Column("recorded_day", sa.Text(), nullable=True),
        sa.Column("sealed_at", sa.Text(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("container", sa.Text(), nullable=True),
        sa.Column("video_codec", sa.Text(), nullable=True),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("gap_count", sa.BigInteger(), nullable=False),
        sa.Column("gap_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log_index", name="pk_segment"),
    )
    op.create_index("ix_segment_camera_log_index", "segment", ["camera", "log_index"], unique=False)
    op.create_index(
        "ix_segment_camera_recorded_day_log_index", "segment", ["camera", "recorded_day", "log_index"], unique=False
    )
    op.create_index(
        "ix_segment_labelled",
        "segment",
        ["log_index"],
        unique=False,
        sqlite_where=sa.text("labels <> '[]'"),
        postgresql_where=sa.text("labels <> '[]'"),
    )
    op.create_index("ix_segment_recorded_day_log_index", "segment", ["recorded_day", "log_index"], unique=False)
    op.create_index("ix_segment_station_docking_entry", "segment", ["station", "docking", "entry"], unique=False)
    op.create_index("ix_segment_station_log_index", "segment", ["station", "log_index"], unique=False)
    op.create_index(
        "ix_segment_station_recorded_day_log_index", "segment", ["station", "recorded_day", "log_index"], unique=False
    )
    op.create_table(
        "session",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("last_seen_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_session"),
    )
    op.create_index("ix_session_account", "session", ["account"], unique=False)
    op.create_table(
        "sign_in_failure",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("blocked_until", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_sign_in_failure"),
    )
    op.create_table(
        "station",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key_line", sa.Text(), nullable=False),
        sa.Column("enrolled_at", sa.Text(), nullable=False),
        sa.Column("frozen_at", sa.Text(), nullable=True),
        sa.Column("frozen_reason", sa.Text(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_hash", sa.Text(), nullable=False),
        sa.Column("last_event_at", sa.Text(), nullable=True),
        sa.Column("last_received_at", sa.Text(), nullable=True),
        sa.Column("software", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_station"),
    )
    op.create_table(
        "station_state",
        sa.Column("station", sa.Text(), nullable=False),
        sa.Column("json", sa.Text(), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("station", name="pk_station_state"),
    )
    op.create_table(
        "unprojected",
        sa.Column("log_index", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("log_index", name="pk_unprojected"),
    )


def _finish_sqlite() -> None:
    # contentless: the text itself stands in segment.path; rowid is the log index
    op.execute("CREATE VIRTUAL TABLE segment_text USING fts5(grams, content='', columnsize=0)")
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER log_entry_no_{change.lower()} BEFORE {change} ON log_entry "
            "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
        )


def _finish_postgresql() -> None:
    op.create_table(
        "segment_bigrams",
        sa.Column("log_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bigrams", TSVECTOR(), nullable=False),
        sa.PrimaryKeyConstraint("log_index", name="pk_segment_bigrams"),
    )
    op.create_index("ix_segment_bigrams_bigrams", "segment_bigrams", ["bigrams"], postgresql_using="gin")
    op.execute(
        "CREATE FUNCTION refuse_log_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the log is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER log_entry_no_change BEFORE UPDATE OR DELETE ON log_entry "
        "FOR EACH ROW EXECUTE FUNCTION refuse_log_change()"
    )
    op.execute(
        "CREATE TRIGGER log_entry_no_truncate BEFORE TRUNCATE ON log_entry "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change()"
    )
