-- Commands of the hub: each number once, in one commit with what it did and with its answer.
CREATE TABLE command (
    number      INTEGER PRIMARY KEY,
    sha256      BLOB NOT NULL,
    kind        TEXT NOT NULL,
    envelope    BLOB,                     -- the exact bytes; NULL for a roster, which names people
    result      TEXT NOT NULL,            -- accepted, refused, expired
    reason      TEXT NOT NULL,
    answer_seq  INTEGER NOT NULL,         -- outbox seq of command.answered
    answered_at TEXT NOT NULL
) STRICT;

CREATE TRIGGER command_stays BEFORE DELETE ON command
BEGIN SELECT RAISE(ABORT, 'an answered command is never forgotten'); END;

-- What must stay; a hold fits where every one of its three that is set does. `lifted_by`: number of the command.
CREATE TABLE hold (
    number      INTEGER PRIMARY KEY REFERENCES command (number) DEFERRABLE INITIALLY DEFERRED,
    hold_id     TEXT NOT NULL,
    camera      TEXT,
    docking     TEXT,
    file_sha256 TEXT,
    reason      TEXT NOT NULL,
    lifted_by   INTEGER
) STRICT;

CREATE INDEX hold_id ON hold (hold_id);

-- Who may view what, see grants.py. `boot`, `boottime_seconds`: the clock that nobody can set, at its receipt.
CREATE TABLE view_grant (
    grant_id         TEXT PRIMARY KEY,
    number           INTEGER NOT NULL REFERENCES command (number) DEFERRABLE INITIALLY DEFERRED,
    docking          TEXT NOT NULL,
    file_sha256      TEXT NOT NULL,
    holder           TEXT NOT NULL,
    purpose          TEXT NOT NULL,
    valid_seconds    INTEGER NOT NULL,
    until            TEXT NOT NULL,
    boot             TEXT NOT NULL,
    boottime_seconds REAL NOT NULL
) STRICT;

-- Also of grants that have not come: a revocation only protects.
CREATE TABLE grant_revoked (
    grant_id TEXT PRIMARY KEY, number INTEGER NOT NULL REFERENCES command (number) DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- What the hub asks of cameras here; the last row goes before the settings of agent.toml.
CREATE TABLE ordered_policy (
    number                 INTEGER PRIMARY KEY REFERENCES command (number) DEFERRABLE INITIALLY DEFERRED,
    minimum_charge_percent INTEGER NOT NULL,
    minimum_minutes        INTEGER NOT NULL,
    duty_minutes           INTEGER NOT NULL
) STRICT;

-- Keys of the hub that followed those pinned at enrolment: the last row of a role counts. Only ever added.
CREATE TABLE hub_key (
    number INTEGER NOT NULL REFERENCES command (number) DEFERRABLE INITIALLY DEFERRED,
    role   TEXT NOT NULL,                 -- log, receipts, commands
    line   TEXT NOT NULL,
    PRIMARY KEY (role, number)
) STRICT, WITHOUT ROWID;
