"""The log, written by hub/log.py only, and what stands beside it. `log_entry` is the truth."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from hub.tables.schema import BigId, metadata

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
