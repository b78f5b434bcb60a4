-- The latest time that this station is sure has been reached, and what the clock that nobody can set said then: no grant
-- to view that was over by it is ever good again (grants.py).
CREATE TABLE clock_mark (
    id INTEGER PRIMARY KEY CHECK (id = 1), at TEXT NOT NULL, boot TEXT NOT NULL, boottime_seconds REAL NOT NULL
) STRICT;

-- Where footage is served to the hub, as the station has stated it.
CREATE TABLE viewing_offer (seq INTEGER PRIMARY KEY, address TEXT NOT NULL, certificate_sha256 TEXT) STRICT;
