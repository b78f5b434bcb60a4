"""Every table of the hub, once, for SQLite and PostgreSQL. The migrations are checked against this module.

Times are aware UTC as ISO 8601 text with microseconds and ``Z`` unless a column says otherwise; digests are lower-case
hex. `log_entry` is the truth; every table under "projections" can be thrown away and rebuilt by ``dock-hub reindex``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite keeps 64-bit row ids only under the type name INTEGER
BigId = BigInteger().with_variant(Integer(), "sqlite")

# --- the log: written by hub/log.py only ---

log_entry = Table(
    "log_entry",
    metadata,
    Column("idx", BigId, primary_key=True, autoincrement=False),  # gapless from 0: the leaf's index in the tree
    Column("source", Text, nullable=False),  # station id, or "hub"
    Column("seq", BigInteger, nullable=False),
    Column("envelope", LargeBinary, nullable=False),  # the exact bytes received; triggers refuse update and delete
    Column("envelope_sha256", Text, nullable=False),
    Column("event_type", Text, nullable=False),  # as the event says, known to this version or not
    Column("received_at", Text, nullable=False),  # by the hub's clock
    UniqueConstraint("source", "seq"),
    Index("ix_log_entry_event_type_idx", "event_type", "idx", "source"),  # rows hold the envelopes: never scan them
)

log_state = Table(
    "log_state",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),  # entries in the log; every append compares and swaps it
    Column("roots", LargeBinary, nullable=False),  # compact range: one 32-byte root per set bit of size
    Column("own_seq", BigInteger, nullable=False),  # head of the hub's own chain
    Column("own_hash", Text, nullable=False),
    Column("key_set", Text),  # digest of the key lines that may sign now (hub.keys.key_set); null: of an older version
    Column("read_only", Text),  # null: may be appended to; else why not, one of hub/readonly.py
)

log_tile = Table(
    "log_tile",
    metadata,
    # C2SP tlog-tiles: level L holds the roots of subtrees of 256**L entries, 256 of 32 bytes to a full tile
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("idx", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),  # only the last tile of a level may be partial
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", BigId, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),  # C2SP signed note; one per commit that appended
    Column("signed_at", Text, nullable=False),
    Column("previous_size", BigInteger),  # of the checkpoint before: its entries are those from there on; null: first
)

checkpoint_timestamp = Table(
    "checkpoint_timestamp",
    metadata,
    # RFC 3161 time-stamps of checkpoints, see hub/timestamps.py; triggers refuse update and delete
    Column("size", BigId, primary_key=True, autoincrement=False),  # of the checkpoint
    Column("token", LargeBinary, nullable=False),  # DER, as the authority gave it and as it was verified
    Column("stamped_at", Text, nullable=False),  # the authority's time
    Column("authority", Text, nullable=False),  # subject of the certificate that signed
    Column("obtained_at", Text, nullable=False),  # by the hub's clock
)

timestamp_attempt = Table(
    "timestamp_attempt",
    metadata,
    # how the last request ended: shown to people, never evidence
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("fault", Text, nullable=False),  # "" when it succeeded
)

log_check = Table(
    "log_check",
    metadata,
    # how full checks of the log ended; shown to people, never evidence: whoever alters the log can alter this too
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # entries of the newest checkpoint when it began
    Column("fault", Text, nullable=False),  # a code of hub/logfaults.py; "": sound
    Column("item", Text, nullable=False),  # the first wrong thing; "": none
)

log_reader = Table(
    "log_reader",
    metadata,
    # programs that may read entries without an account: monitors; see hub/audit/readers.py
    Column("name", Text, primary_key=True),
    Column("token_sha256", Text, nullable=False, unique=True),  # the token itself is shown once and kept nowhere
    Column("created_at", Text, nullable=False),
    Column("revoked_at", Text),
)

# --- stations: enrolled by people, advanced by intake ---

station = Table(
    "station",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key_line", Text, nullable=False),
    Column("enrolled_at", Text, nullable=False),
    Column("frozen_at", Text),
    Column("frozen_reason", Text),  # set: nothing more is accepted until people have looked
    Column("last_seq", BigInteger, nullable=False),  # head of its chain in the log
    Column("last_hash", Text, nullable=False),
    Column("last_event_at", Text),  # by the station's clock
    Column("last_received_at", Text),
    Column("software", Text),  # from its last station.started
    Column("witness_key", Text),  # key line from its last witness.offered; counts once people accepted it as a witness
)

station_state = Table(
    "station_state",
    metadata,
    # unsigned, from a retained MQTT message: shown to people, never evidence
    Column("station", Text, primary_key=True),
    Column("json", Text, nullable=False),  # a JSON object exactly as received
    Column("online", Boolean, nullable=False),  # json.online; false also after the broker published the last will
    Column("received_at", Text, nullable=False),
)

bay_state = Table(
    "bay_state",
    metadata,
    Column("station", Text, primary_key=True),
    Column("bay", Text, primary_key=True),
    Column("json", Text, nullable=False),  # a JSON object exactly as received
    Column("received_at", Text, nullable=False),
)

# --- hub processes on one database: written by hub/replicas.py only ---

replica = Table(
    "replica",
    metadata,
    Column("name", Text, primary_key=True),  # MQTT client id
    Column("beat", BigInteger, nullable=False),  # counts up once a second while the process lives
)

# --- witnesses of the log: written by hub/witnesses only ---

witness = Table(
    "witness",
    metadata,
    # accepted by people; every change is an event of the log
    Column("name", Text, primary_key=True),  # of its key
    Column("key_line", Text, nullable=False),  # C2SP vkey of type 0x04
    Column("station", Text),  # asked over this station's topics
    Column("url", Text),  # asked by HTTP; neither of the two: it asks by itself
    Column("added_at", Text, nullable=False),
    Column("removed_at", Text),  # set: counts no more, and its name is not used again
)

witness_policy = Table(
    "witness_policy",
    metadata,
    # no row: no checkpoint is called witnessed
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("needed", BigInteger, nullable=False),  # so many witnesses in force make a checkpoint witnessed
    Column("set_at", Text, nullable=False),
)

cosignature = Table(
    "cosignature",
    metadata,
    # beside the checkpoints, whose rows never change; verified before it is stored; triggers refuse change
    Column("size", BigId, primary_key=True, autoincrement=False),  # of the checkpoint
    Column("witness", Text, primary_key=True),
    Column("line", Text, nullable=False),  # the note signature line with its newline
    Column("cosigned_at", Text, nullable=False),  # by the witness's clock
    Column("received_at", Text, nullable=False),
)

witness_state = Table(
    "witness_state",
    metadata,
    # where asking stands; nothing of it is evidence, all of it can be lost
    Column("witness", Text, primary_key=True),
    Column("known_size", BigInteger, nullable=False),  # of the last checkpoint it cosigned, as far as we know
    Column("heard_at", Text),  # its last answer
    Column("alarm", Text),  # code of why it refuses; null: it does not
    Column("alarm_size", BigInteger),  # of the largest checkpoint it knows
    Column("alarm_sha256", Text),  # of that note; null: it sent none that our key signed
    Column("alarm_note", Text),  # that note: the evidence
    Column("alarm_at", Text),
)

# --- commands to stations: written by hub/commands only; what a station answered is in command_answer ---

command = Table(
    "command",
    metadata,
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("station", Text, nullable=False),
    Column("kind", Text, nullable=False),  # see custody/commandbody.py
    Column("body", Text),  # exact text; null once a roster was answered: it names people
    Column("body_sha256", Text, nullable=False),
    Column("valid_seconds", BigInteger, nullable=False),  # from the issue on
    Column("requested_by", Text, nullable=False),  # account
    Column("requested_at", Text, nullable=False),
    Column("request_index", BigInteger),  # of command.requested; null for a kind that one person may order
    Column("approved_by", Text),
    Column("approved_at", Text),
    Column("approval_index", BigInteger),
    Column("withdrawn_by", Text),
    Column("withdrawn_at", Text),
    # set by the issue: place in the station's chain of commands, and the exact bytes that are sent until it answers
    Column("number", BigInteger),
    Column("command_sha256", Text),
    Column("envelope", LargeBinary),  # null before the issue, and once a roster was answered
    Column("issued_at", Text),
    Column("expires_at", Text),
    Column("sent_at", Text),  # first handed to the broker while the station was online; for people, in no event
    UniqueConstraint("station", "number"),
    CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="two_people"),
    CheckConstraint("withdrawn_by IS NULL OR number IS NULL", name="withdrawn_before_issue"),
    Index("ix_command_requested_at", "requested_at"),
)

key_change = Table(
    "key_change",
    metadata,
    # rotations of the hub's keys, see hub/keychanges; the newest of a role that is not approved is the open request
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("role", Text, nullable=False),
    Column("old_line", Text, nullable=False),
    Column("new_line", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("approved_by", Text),
    Column("rotated_at", Text),
    Column("rotated_index", BigInteger),  # log index of key.rotated
    Column("announced_at", Text),  # when every station was told by a command; in no event of its own
    CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="two_people"),
)

# --- people: written by hub/accounts only ---

account = Table(
    "account",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),  # one of access.Role
    Column("password_hash", Text, nullable=False),  # argon2id, PHC string
    Column("must_change_password", Boolean, nullable=False),  # true until the person has chosen their own
    Column("created_at", Text, nullable=False),
    Column("disabled_at", Text),
)

account_request = Table(
    "account_request",
    metadata,
    # a change of who may do what: asked by one person, decided by another
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("account", Text, nullable=False),  # whom it is about
    Column("change", Text, nullable=False),  # see account.change_requested.v1
    Column("role", Text),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("decided_by", Text),  # null although decided: the first administrator named the second
    Column("decided_at", Text),
    Column("approved", Boolean),
    CheckConstraint("approved IS NOT TRUE OR decided_by IS NULL OR decided_by <> requested_by", name="two_people"),
    CheckConstraint("approved IS NOT TRUE OR decided_by IS NULL OR decided_by <> account", name="not_about_oneself"),
    Index(
        "ix_account_request_open",
        "account",
        unique=True,
        sqlite_where=text("decided_at IS NULL"),
        postgresql_where=text("decided_at IS NULL"),
    ),
)

second_factor = Table(
    "second_factor",
    metadata,
    Column("account", Text, primary_key=True),
    Column("secret", Text, nullable=False),  # base32, RFC 6238 with SHA-1, 6 digits, 30 s: what authenticators know
    Column("confirmed_at", Text),  # null: shown to the person, who has not yet entered a code
    Column("last_step", BigInteger, nullable=False),  # of the last code taken: none is taken twice
)

session = Table(
    "session",
    metadata,
    Column("token_sha256", Text, primary_key=True),  # the token itself exists only in the browser's cookie
    Column("account", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("last_seen_at", Text, nullable=False),
    Column("code_due", Boolean, nullable=False),  # password given, the authenticator's code not yet
    Index("ix_session_account", "account"),
)

sign_in_failure = Table(
    "sign_in_failure",
    metadata,
    # one row per account name tried and one per client address, existing or not: nothing tells which names exist
    Column("subject", Text, primary_key=True),  # "name:..." or "address:..."
    Column("count", Integer, nullable=False),  # failures in a row
    Column("blocked_until", Text, nullable=False),
)

# --- what was not taken in ---

refused = Table(
    "refused",
    metadata,
    # one row per minute, topic and reason; the oldest go when there are more than refusals.MAX_ROWS
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("minute", Text, nullable=False),  # YYYY-MM-DDTHH:MM, UTC
    Column("topic", Text, nullable=False),  # as received, cut to 200 characters
    Column("reason", Text, nullable=False),  # stable code: bad_format, bad_signature, unknown_station, ...
    Column("count", BigInteger, nullable=False),
    Column("first_at", Text, nullable=False),
    Column("last_at", Text, nullable=False),
    Column("sample", LargeBinary, nullable=False),  # first bytes of the first message, at most refusals.SAMPLE_BYTES
    Column("sample_sha256", Text, nullable=False),  # of the whole message
    Column("sample_bytes", BigInteger, nullable=False),
    Column("log_index", BigInteger),  # of the hub event that states it; null until the minute is over
    UniqueConstraint("minute", "topic", "reason"),
)

# --- projections: rebuilt from the log at will ---

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
    Column("kind", Text, primary_key=True),  # account, recording, camera, export
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
