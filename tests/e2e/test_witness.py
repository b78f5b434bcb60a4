"""A real broker, hub and station: the log is witnessed; the hub is restored from an old backup and found out."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from custody.cosignature import is_cosigned, parse_witness_line
from tests.e2e.processes import Installation, run_json, wait_for

SECONDS = 120.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    made.start()
    yield made
    made.stop()


def witnesses(place: Installation) -> dict[str, Any]:
    """`dock-hub witness list --json`."""
    found: dict[str, Any] = run_json("hub.app", "witness", "list", "--dir", place.hub_dir, "--json")
    return found


def known(place: Installation) -> dict[str, Any]:
    """`dock-agent witness --json`."""
    found: dict[str, Any] = run_json("agent.app", "witness", "--dir", place.agent_dir, "--json")
    return found


def witnessed(place: Installation) -> str | None:
    try:
        address = f"http://127.0.0.1:{place.http_port}/log/checkpoint/witnessed"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return None


def dock(place: Installation, name: str) -> None:
    """A file comes into the bay and is sealed."""
    (place.folder / f"{name}.txt").write_bytes(name.encode())
    wait_for(f"{name} to be docked", lambda: sealed(place) == len(list(place.folder.iterdir())), SECONDS)


def sealed(place: Installation) -> int:
    dockings = [one for one in place.status()["dockings"] if one["closed"]]
    return sum(one["files"].get("sealed", 0) for one in dockings)


def is_closed(place: Installation) -> bool:
    """Whether the hub takes nothing in any more, because a station showed it more than it has."""
    with closing(sqlite3.connect(place.hub_dir / "hub.db")) as db:
        return bool(db.execute("SELECT read_only FROM log_state").fetchone()[0])


def nothing_waits(place: Installation) -> bool:
    return bool(place.status()["outbox"]["unreceipted"] == 0)


def test_a_station_witnesses_the_log_and_finds_a_hub_that_was_rolled_back(place: Installation) -> None:
    wait_for("the station's offer", lambda: bool(witnesses(place)["offered"]), SECONDS)
    [[station, line]] = witnesses(place)["offered"]
    assert (station, line) == (place.station, known(place)["witness_key"])
    run_json("hub.app", "witness", "accept", station, "--dir", place.hub_dir, "--json")
    run_json("hub.app", "witness", "policy", "1", "--dir", place.hub_dir, "--json")
    wait_for("a witnessed checkpoint", lambda: witnessed(place) is not None, SECONDS)
    assert is_cosigned(witnessed(place) or "", parse_witness_line(line))
    backup = place.root / "backup.db"
    with sqlite3.connect(place.hub_dir / "hub.db") as source, sqlite3.connect(backup) as made:
        source.backup(made)
    source.close()
    made.close()

    dock(place, "one")
    wait_for("receipts", lambda: nothing_waits(place), SECONDS)
    place.hub.kill()
    before = known(place)

    for old in place.hub_dir.glob("hub.db*"):
        old.unlink()
    shutil.copyfile(backup, place.hub_dir / "hub.db")
    command = [sys.executable, "-m", "hub.app", "log", "reader", "add", "other", "--dir", str(place.hub_dir)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 6  # the hub knows that it had more
    for old in place.hub_dir.glob("hub.db*"):
        old.unlink()
    shutil.copyfile(backup, place.hub_dir / "hub.db")
    (place.hub_dir / "keys" / "newest").unlink()  # whoever rolls a log back takes away what would tell
    run_json("hub.app", "log", "reader", "add", "other", "--dir", place.hub_dir, "--json")  # another history
    place.hub.start()
    dock(place, "two")
    wait_for("the hub to close its log", lambda: is_closed(place), SECONDS)
    after = known(place)
    assert after["cosigned_size"] == before["cosigned_size"]
    assert after["pending"] or after["cosigned"] == before["newest"]  # what it saw is to be proven first, and cannot be
    assert after["cosigned"] == before["cosigned"]
    assert "Traceback" not in place.logs()
