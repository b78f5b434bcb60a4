"""A station that takes one command and is killed at a given moment of it: ``command_child DIR MOMENT < envelope``.

`MOMENT`: a word of SQL (the process dies as SQLite begins such a statement), ``answered`` (it dies after
the commit, before anything could be sent), or ``never`` (the control).
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from agent.commands import Trust, take_command
from agent.station import load_or_create_station
from agent.store import Store
from tests.unit.test_agent_commands import AT, COMMAND_KEY, LOG_KEY


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(directory: Path, moment: str) -> None:
    station, store = load_or_create_station(directory, "dock-1"), Store(directory / "station.db")
    connection: Any = store.execute("SELECT 1").connection
    assert isinstance(connection, sqlite3.Connection)
    connection.set_trace_callback(lambda sql: die() if sql.startswith(moment) else None)
    trust = Trust(COMMAND_KEY.verify_key, LOG_KEY.verify_key, {})
    take_command(store, station, trust, sys.stdin.buffer.read(), AT + timedelta(hours=1), "synchronised")
    if moment == "answered":
        die()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
