"""The index: projections, each row of which follows from the log. Thrown away and rebuilt by ``dock-hub reindex``."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import TSVECTOR

from hub.tables.schema import BigId, metadata

unprojected = Table(
    "unprojected",
    metadata,
    # authentic entries whose event this version does not know or cannot read: in the log, not in the index
    Column("log_index", BigId, primary_key=True, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_at", Text, nullable=False),
)

hub_subject = Table(
    "hub_subject",
    metadata,
    # whom and what the hub's own events are about (hub/subjects.py); what the log's filters find them by
    Column("kind", Text, primary_key=True),  # account, recording, camera, export, alert
    Column("name", Text, primary_key=True),  # of a recording: the log index of its seal
    Column("log_index", BigId, primary_key=True, autoincrement=False),
    Column("event_type", Text, nullable=False),
    Index("ix_hub_subject_log_index", "log_index"),
)

camera = Table(
    "camera",
    metadata,
    Column("id", Text, primary_key=True),
    Column("first_seen_at", Text, nullable=False),  # hub time of its first docking
    Column("last_seen_at", Text, nullable=False),
    Column("last_station", Text, nullable=False),
)

docking = Table(
    "docking",
    metadata,
    # the key holds the station because a station chooses the id and must not reach another's rows
    Column("station", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("camera", Text, nullable=False),
    Column("bay", Text, nullable=False),
    Column("source_kind", Text),
    Column("started_at", Text),  # station's clock; null when only later events are known
    Column("new_files", BigInteger),
    Column("new_bytes", BigInteger),
    Column("closed_at", Text),  # null: still open, or the station vanished
    Column("complete", Boolean),
    Column("reason", Text),  # "complete" or the code of what stopped or marred it
    Column("listed", BigInteger),
    Column("copied", BigInteger),
    Column("already_saved", BigInteger),
    Column("failed", BigInteger),
    Column("skipped", BigInteger),
    Column("deleted_seen", BigInteger),
    Column("unreadable", BigInteger),
    Column("bytes_copied", BigInteger),
    Column("manifest_sha256", Text),
    Column("manifest_bytes", BigInteger),
    Column("started_index", BigInteger),  # log indexes of the two events
    Column("closed_index", BigInteger),
    Column("first_index", BigInteger, nullable=False),  # lowest of the two: keyset for the newest dockings
    Index("ix_docking_first_index", "first_index", unique=True),
    Index("ix_docking_station_first_index", "station", "first_index"),
    Index("ix_docking_camera_first_index", "camera", "first_index"),
)

segment = Table(
    "segment",
    metadata,
    # keyset pagination: log_index descending; with a filter by days alone, (recorded_day, log_index) descending
    Column("log_index", BigId, primary_key=True, autoincrement=False),
    Column("station", Text, nullable=False),
    Column("camera", Text, nullable=False),
    Column("bay", Text, nullable=False),
    Column("docking", Text, nullable=False),
    Column("entry", BigInteger, nullable=False),
    Column("path", Text, nullable=False),  # as the camera lists it; for people
    Column("file_name", Text, nullable=False),  # last component of path
    Column("version", BigInteger, nullable=False),
    Column("vault_path", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("tree_root", Text, nullable=False),
    Column("chunk_count", BigInteger, nullable=False),
    Column(
        "recorded_at", Text
    ),  # ISO 8601 without zone, local: the medium's start, else the file's time; null: unknown
    Column("recorded_day", Text),  # YYYY-MM-DD of recorded_at
    Column("sealed_at", Text, nullable=False),  # station's clock
    Column("duration_ms", BigInteger),
    Column("container", Text),
    Column("video_codec", Text),
    Column(
        "labels", Text, nullable=False
    ),  # JSON list: zero_length, truncated, unplayable, gaps, changed; "[]" is well
    Column("gap_count", BigInteger, nullable=False),
    Column("gap_bytes", BigInteger, nullable=False),
    # the list by days alone; every other filter is a word of the full text (hub/search.py), which costs ingest less
    Index("ix_segment_recorded_day_log_index", "recorded_day", "log_index"),
)

camera_event = Table(
    "camera_event",
    metadata,
    # what stations state of cameras in their bays, and of devices they refused; one row an event
    Column("log_index", BigId, primary_key=True, autoincrement=False),
    Column("station", Text, nullable=False),
    Column("bay", Text, nullable=False),  # "" where the camera is in none: overdue
    Column("camera", Text, nullable=False),  # "" for a refused device; of an unlocked one the serial that it told
    Column("kind", Text, nullable=False),  # event type
    Column("at", Text, nullable=False),  # station's clock
    Column("verdict", Text),  # ready, attention, not_ready; unchecked for a departure without one
    Column("reasons", Text, nullable=False),  # JSON list of codes: of the verdict, or why a device was refused
    Column("officer", Text),  # number of the officer
    Column("charge_percent", BigInteger),
    Column("free_minutes", BigInteger),
    Column("offload", Text),  # of a departure: safe, copying, incomplete
    Column("due_at", Text),
    Column("disputed", Boolean, nullable=False),
    Index("ix_camera_event_camera_log_index", "camera", "log_index"),
    Index("ix_camera_event_station_log_index", "station", "log_index"),
    # those of before they were committed to; the others are found by their openings
    Index(
        "ix_camera_event_officer",
        "officer",
        sqlite_where=text("officer IS NOT NULL"),
        postgresql_where=text("officer IS NOT NULL"),
    ),
)

command_answer = Table(
    "command_answer",
    metadata,
    # what stations state that became of commands; one row an event
    Column("log_index", BigId, primary_key=True, autoincrement=False),
    Column("station", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("command_sha256", Text, nullable=False),
    Column("result", Text, nullable=False),  # accepted, refused, expired
    Column("reason", Text, nullable=False),  # "done", or the code of why not
    Column("at", Text, nullable=False),  # station's clock
    Index("ix_command_answer_station_number", "station", "number"),
)

disposition = Table(
    "disposition",
    metadata,
    # what stations state that became of dispositions; one row an event
    Column("log_index", BigId, primary_key=True, autoincrement=False),
    Column("station", Text, nullable=False),
    Column("docking", Text, nullable=False),
    Column("command_sha256", Text, nullable=False),
    Column("outcome", Text, nullable=False),  # disposed, partly, refused
    Column("rule", Text, nullable=False),  # "complete", or what kept a file or ended it
    Column("disposed", Text, nullable=False),  # JSON list of manifest entries whose files left the vault
    Column("kept", BigInteger, nullable=False),  # files of its intent that stayed
    Column("at", Text, nullable=False),  # station's clock
    Index("ix_disposition_station_docking", "station", "docking"),
)

# Full text of a segment's path, see hub/search.py. SQLite: the FTS5 table `segment_text` (search.FTS5_TABLE), made in
# the migration because SQLAlchemy has no virtual tables. PostgreSQL: this table. Both are asked by search.find().
segment_bigrams = Table(
    "segment_bigrams",
    metadata,
    Column("log_index", BigInteger, primary_key=True, autoincrement=False),
    Column("bigrams", TSVECTOR, nullable=False),
    Index("ix_segment_bigrams_bigrams", "bigrams", postgresql_using="gin"),
    info={"only": "postgresql"},
)
