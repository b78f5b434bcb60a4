-- The bay a camera was checked out at: its departure may have to be stated later, when nobody saw it.

ALTER TABLE checkout ADD COLUMN bay TEXT NOT NULL DEFAULT '-';
