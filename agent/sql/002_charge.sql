-- What was known of each camera's charge when it came, while it stayed and when it left; bounded by charge_history.py.

CREATE TABLE charge_reading (
    n           INTEGER PRIMARY KEY,      -- order of arrival; the clock may jump
    camera      TEXT NOT NULL,
    moment      TEXT NOT NULL,            -- arrived, seen, left
    at          TEXT NOT NULL,
    percent     INTEGER,
    state       TEXT NOT NULL,
    origin      TEXT NOT NULL,
    source      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    charged_mah INTEGER                   -- since it arrived, by the bay's sensor
) STRICT;

CREATE INDEX charge_reading_camera ON charge_reading (camera, moment, n);

-- Bytes that came into the vault, by UTC day of the docking's start: one row a day, made from the entries.

CREATE TABLE vault_day (
    day           TEXT PRIMARY KEY,       -- YYYY-MM-DD
    written_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX docking_started ON docking (started_at);
