"""A station that rotates its key and is killed at a given moment: ``rotate_child VAULT DIR MOMENT``.

`MOMENT`: ``made`` (the new key's file gets its name), ``BEGIN`` or ``COMMIT`` (the process dies as SQLite begins that
statement), ``used`` (as the new file is to take the old one's place), ``done`` (right after that), or ``never``. The
control ``file-first`` does it wrongly: the new file takes the old one's place and no event names it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from agent.keyrotation import NEXT_KEY_FILE, rotate_key
from agent.opening import open_dock
from agent.station import KEY_FILE, Station, create_key
from agent.store import Store


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    def hook(event: str, facts: tuple[Any, ...]) -> None:
        if event != "os.rename":
            return
        place = Path(os.fsdecode(facts[1])).name
        if (moment, place) in {("made", NEXT_KEY_FILE), ("used", KEY_FILE)}:
            die()

    sys.addaudithook(hook)


def rotate(store: Store, directory: Path, station: Station, moment: str) -> None:
    if moment == "file-first":
        create_key(directory / KEY_FILE, "station", station.id)
        return
    connection: Any = store.execute("SELECT 1").connection
    assert isinstance(connection, sqlite3.Connection)
    connection.set_trace_callback(lambda sql: die() if sql.startswith(moment) else None)
    arm(moment)
    rotate_key(store, directory, station)
    if moment == "done":
        die()


def main(vault: Path, directory: Path, moment: str) -> None:
    with open_dock(vault, directory) as opened:
        asyncio.run(opened.dock.store.call(rotate, directory, opened.station, moment))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
