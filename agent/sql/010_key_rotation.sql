-- Rotations of this station's key: the event with this seq is the last that the key before it signed. Only ever added.
CREATE TABLE key_rotation (
    seq INTEGER PRIMARY KEY,
    new_line TEXT NOT NULL
) STRICT;
