-- What opens the commitments of an envelope (custody/commitments.py), sent beside it. It names people, so it goes in time
-- (Store.forget_openings); the envelope stays.
CREATE TABLE opening (
    seq     INTEGER PRIMARY KEY REFERENCES outbox (seq),
    opening BLOB NOT NULL
) STRICT;
