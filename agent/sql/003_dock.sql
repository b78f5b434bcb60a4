-- Who may take cameras, who has which, and which cameras this dock has met.

CREATE TABLE officer (
    number        TEXT PRIMARY KEY,       -- service number; events name it, never the person
    name          TEXT NOT NULL,          -- for the dock's own screen; never leaves the station
    pin_hash      TEXT NOT NULL,          -- scrypt, see officers.py
    failures      INTEGER NOT NULL DEFAULT 0, -- wrong PINs in a row
    blocked_until TEXT,
    disabled_at   TEXT
) STRICT;

-- One row per duty: taken, and brought back. `overdue_seq`: envelope that stated that it did not come back in time.
CREATE TABLE checkout (
    n           INTEGER PRIMARY KEY,
    camera      TEXT NOT NULL,
    officer     TEXT NOT NULL,
    verdict     TEXT NOT NULL,
    at          TEXT NOT NULL,
    due_at      TEXT NOT NULL,
    left_at     TEXT,                     -- when it was taken out; NULL while it still lies in the bay
    returned_at TEXT,                     -- when a dock of ours met it again, or the check-out was taken back
    overdue_seq INTEGER
) STRICT;

CREATE UNIQUE INDEX checkout_open ON checkout (camera) WHERE returned_at IS NULL;

CREATE TABLE known_camera (
    camera        TEXT PRIMARY KEY,
    identity      TEXT NOT NULL,          -- JSON of what it was recognised by
    disputed      INTEGER NOT NULL DEFAULT 0,
    first_seen_at TEXT NOT NULL,
    last_seen_at  TEXT NOT NULL
) STRICT;
