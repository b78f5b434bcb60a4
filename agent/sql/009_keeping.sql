-- What the hub handed over for keeping: sealed parts of its log's record, given back when it has lost its own.

CREATE TABLE kept (
    log     TEXT NOT NULL,                -- origin of the log
    size    INTEGER NOT NULL,             -- it tells of the entries [start, size)
    start   INTEGER NOT NULL,
    at      TEXT NOT NULL,                -- by the hub's clock
    message BLOB NOT NULL,                -- as it came, with the hub's signature
    PRIMARY KEY (log, size, start)
) STRICT;
