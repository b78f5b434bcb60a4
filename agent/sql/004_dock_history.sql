-- The bay a camera was checked out at: its departure may have to be stated later, when nobody saw it.
ALTER TABLE checkout ADD COLUMN bay TEXT NOT NULL DEFAULT '-';

-- What this station asked of cameras, and from which day on; the last row is in force. Rows are only ever added.
CREATE TABLE policy (
    n              INTEGER PRIMARY KEY,
    asked          TEXT NOT NULL,         -- JSON of readiness.Policy
    effective_from TEXT NOT NULL          -- YYYY-MM-DD, the station's own calendar
) STRICT;
