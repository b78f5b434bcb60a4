-- The station's own book: what was met on each card, what is saved, and what the hub has not yet receipted.

CREATE TABLE docking (
    id           TEXT PRIMARY KEY,
    camera       TEXT NOT NULL,
    bay          TEXT NOT NULL,
    folder       BLOB NOT NULL,            -- relative to the vault
    source       TEXT NOT NULL,            -- JSON of SourceFacts
    started_at   TEXT NOT NULL,
    announced    INTEGER NOT NULL DEFAULT 0, -- 1 once docking.started is in the outbox
    closed_seq   INTEGER,                  -- outbox seq of docking.closed; NULL while open
    reason       TEXT
) STRICT;

CREATE INDEX docking_open ON docking (id) WHERE closed_seq IS NULL;

-- One row per file of a docking. States: planned, sealed, changed (sealed, but it changed while copied),
-- known (saved by an earlier docking), failed.
CREATE TABLE entry (
    docking      TEXT NOT NULL REFERENCES docking (id),
    n            INTEGER NOT NULL,
    camera       TEXT NOT NULL,
    path         TEXT NOT NULL,            -- wire form: JSON list, each component latin-1 for its bytes
    path_key     BLOB NOT NULL,
    size_bytes   INTEGER NOT NULL,
    modified_ns  INTEGER,
    handle       TEXT NOT NULL,
    version      INTEGER NOT NULL,
    part_key     TEXT NOT NULL,
    target       BLOB NOT NULL,
    leaves_target BLOB,
    known_leaf   BLOB,
    known_in     TEXT,                     -- docking that saved it, for `known`
    state        TEXT NOT NULL,
    sha256       BLOB,
    first_leaf   BLOB,
    saved_bytes  INTEGER,
    gap_count    INTEGER NOT NULL DEFAULT 0,
    seal_seq     INTEGER,
    detail       TEXT,
    PRIMARY KEY (docking, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX entry_saved ON entry (camera, path_key) WHERE state IN ('sealed', 'changed');

CREATE TABLE gap (
    docking TEXT NOT NULL, n INTEGER NOT NULL, offset_bytes INTEGER NOT NULL, length_bytes INTEGER NOT NULL
) STRICT;

CREATE TABLE finding (
    docking TEXT NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL, detail TEXT NOT NULL,
    offset_bytes INTEGER, length_bytes INTEGER
) STRICT;

CREATE INDEX finding_docking ON finding (docking);
CREATE INDEX gap_docking ON gap (docking, n);

-- Every envelope this station ever signed, in order. Cleared for the uplink by `receipted_at`, never deleted here.
CREATE TABLE outbox (
    seq          INTEGER PRIMARY KEY,
    sha256       BLOB NOT NULL,
    envelope     BLOB NOT NULL,
    created_at   TEXT NOT NULL,
    log_index    INTEGER,
    receipted_at TEXT
) STRICT;

CREATE INDEX outbox_unreceipted ON outbox (seq) WHERE receipted_at IS NULL;

CREATE TRIGGER outbox_bytes_stay BEFORE UPDATE OF seq, sha256, envelope ON outbox
BEGIN SELECT RAISE(ABORT, 'an envelope never changes'); END;

CREATE TRIGGER outbox_rows_stay BEFORE DELETE ON outbox WHEN OLD.receipted_at IS NULL
BEGIN SELECT RAISE(ABORT, 'an unreceipted envelope is never deleted'); END;

CREATE TABLE checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, note TEXT NOT NULL
) STRICT;
