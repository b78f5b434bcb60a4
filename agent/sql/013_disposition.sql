-- Authorisations to let files leave the vault, and what became of them.

-- States: waiting (nothing has left), intended (its disposition.intended event is in the outbox and the entries are in
-- the state `disposed`), over (so is the disposition.finished event). Rows are never deleted.
CREATE TABLE disposition_order (
    command_sha256 TEXT PRIMARY KEY,      -- of the command's envelope, which `command` keeps
    number         INTEGER NOT NULL REFERENCES command (number) DEFERRABLE INITIALLY DEFERRED,
    command_id     TEXT NOT NULL,
    disposition_id TEXT NOT NULL,
    docking        TEXT NOT NULL,
    received_at    TEXT NOT NULL,
    state          TEXT NOT NULL DEFAULT 'waiting',
    rule           TEXT,                  -- why it waits, or how it ended
    intent_seq     INTEGER                -- outbox seq of its disposition.intended event
) STRICT;

CREATE INDEX disposition_open ON disposition_order (number) WHERE state <> 'over';

-- Every file of an intent; `rule` is NULL until its fate is known, then "disposed" or what keeps it.
CREATE TABLE disposition_file (
    command_sha256 TEXT NOT NULL REFERENCES disposition_order (command_sha256),
    entry          INTEGER NOT NULL,
    was            TEXT NOT NULL,         -- state of the entry before
    rule           TEXT,
    PRIMARY KEY (command_sha256, entry)
) STRICT, WITHOUT ROWID;
