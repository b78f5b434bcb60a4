-- Cameras that people have taken out of duty (dock-agent camera NAME --set-aside). Their footage is docked all the same.
CREATE TABLE set_aside (
    camera TEXT PRIMARY KEY,
    why    TEXT NOT NULL,
    at     TEXT NOT NULL
) STRICT;
