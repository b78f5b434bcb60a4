-- Authorisations to clear cameras, and what became of them.

-- When the camera of a docking was taken out again; NULL while nobody saw it leave.
ALTER TABLE docking ADD COLUMN left_at TEXT;

-- States: waiting (nothing was cleared), intended (its release.intended event is in the outbox), over (so is the
-- release.finished event). Rows are never deleted.
CREATE TABLE release_order (
    command_sha256 TEXT PRIMARY KEY,      -- of the command's envelope, which `command` keeps
    number         INTEGER NOT NULL REFERENCES command (number) DEFERRABLE INITIALLY DEFERRED,
    command_id     TEXT NOT NULL,
    camera         TEXT NOT NULL,
    docking        TEXT NOT NULL,
    received_at    TEXT NOT NULL,
    state          TEXT NOT NULL DEFAULT 'waiting',
    rule           TEXT                   -- why it waits, or how it ended
) STRICT;

CREATE INDEX release_open ON release_order (camera) WHERE state <> 'over';

-- What became of each file so far; `rule` is "cleared" or what keeps the file on the camera.
CREATE TABLE release_file (
    command_sha256 TEXT NOT NULL REFERENCES release_order (command_sha256),
    entry          INTEGER NOT NULL,
    rule           TEXT NOT NULL,
    PRIMARY KEY (command_sha256, entry)
) STRICT, WITHOUT ROWID;

-- Checkpoints of the log that this station has proved to continue all it saw before (agent/witness.py): no release
-- without one. Each is the text of its note without signatures; the oldest are forgotten.
CREATE TABLE proved_checkpoint (
    n    INTEGER PRIMARY KEY,
    body TEXT NOT NULL UNIQUE
) STRICT;
