-- What this station knows of the hub's log as its witness, see custody/witness.py and agent/witness.py.

-- One row a log. Every note in it was signed by that log's key. Written before any cosignature leaves.
CREATE TABLE witness (
    log      TEXT PRIMARY KEY,            -- its origin
    cosigned TEXT,                        -- last checkpoint proven and cosigned
    pending  TEXT,                        -- first one seen since without a proof: nothing larger is cosigned before it
    newest   TEXT,                        -- largest one seen
    stopped  TEXT                         -- code of why nothing is cosigned and no receipt taken
) STRICT;

-- What was the newest checkpoint so far becomes the first that the log has to prove.
INSERT INTO witness (log, pending, newest)
SELECT substr(note, 1, instr(note, char(10)) - 1), note, note FROM checkpoint;
DROP TABLE checkpoint;

-- Two checkpoints of one log that do not go together: evidence, never removed.
CREATE TABLE contradiction (
    n          INTEGER PRIMARY KEY,
    log        TEXT NOT NULL,
    code       TEXT NOT NULL,
    kept       TEXT NOT NULL,             -- the note this station holds to; '' for none
    refused    TEXT NOT NULL,             -- the note it refused
    found_at   TEXT NOT NULL,
    event_seq  INTEGER NOT NULL,          -- envelope that states it
    settled_at TEXT,
    settled_by TEXT                       -- 'proof', or 'people' by the command that clears it
) STRICT;

CREATE TRIGGER contradiction_stays BEFORE DELETE ON contradiction
BEGIN SELECT RAISE(ABORT, 'evidence is never deleted'); END;

CREATE TRIGGER contradiction_notes_stay BEFORE UPDATE OF n, log, code, kept, refused, found_at, event_seq ON contradiction
BEGIN SELECT RAISE(ABORT, 'evidence never changes'); END;

-- Keys that this station has told the hub it witnesses with.
CREATE TABLE witness_offer (key_line TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
