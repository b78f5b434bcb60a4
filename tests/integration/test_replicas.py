"""Two hub processes on one PostgreSQL divide the stations; one is killed and the other takes over."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.receipt import Receipt, ResendRequest, open_receipt
from custody.topics import station_topic
from hub import log
from hub.intake import Intake
from hub.keys import create_keys
from hub.settings import make_settings, write_settings
from hub.times import now_utc
from tests.bench.stations import SigningStation
from tests.integration.hubs import TestHub
from tests.integration.mqtt_peer import Client, answers
from tests.integration.postgres import new_database, server_programs
from tests.integration.schema import open_migrated
from tests.ports import free_port

pytestmark = [
    pytest.mark.needs_postgres,
    pytest.mark.skipif(server_programs() is None, reason="no PostgreSQL server programs are installed"),
]
STATIONS = 12
EACH = 120
WAIT_SECONDS = 60.0
SILENCE_SECONDS = 2.0  # a station without receipts for so long sends again


def wait_until(condition: object, what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS} s for {what}"
        time.sleep(0.05)


class Sender:
    """A station's end: sends everything in order, and again from where it is asked or nothing is answered."""

    def __init__(self, place: Replicated, name: str) -> None:
        self.station: SigningStation = place.hub.enrol(name)
        self.raws = [self.station.started(), *(self.station.segment() for _ in range(EACH - 1))]
        self.receipted: set[int] = set()
        self._keys = place.hub.keys.receipts.verify_key, place.hub.keys.log.verify_key
        self._peer = Client(place.port, name)
        self._peer.subscribe(station_topic(name, "receipts"))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def done(self) -> bool:
        return len(self.receipted) == EACH

    def _run(self) -> None:
        read, following, heard_at = 0, 1, time.monotonic()
        while not self.done():
            if following <= EACH:
                topic = station_topic(self.station.name, "events")
                self._peer.paho.publish(topic, self.raws[following - 1], qos=1)
                following += 1
            for raw in self._peer.payloads[read:]:
                read, heard_at = read + 1, time.monotonic()
                answer, _ = open_receipt(raw, self.station.name, *self._keys)
                if isinstance(answer, Receipt):
                    self.receipted |= {entry.seq for entry in answer.entries}
                elif isinstance(answer, ResendRequest):
                    following = answer.from_seq
            if time.monotonic() - heard_at > SILENCE_SECONDS:
                following, heard_at = min(set(range(1, EACH + 1)) - self.receipted, default=EACH), time.monotonic()
            time.sleep(0.02)


class Replicated:
    """A hub on PostgreSQL, its broker, and hub processes by name."""

    def __init__(self, directory: Path, database: str) -> None:
        self.port, self.directory = free_port(), directory
        values = {"hub_id": "test", "mqtt": f"mqtt://127.0.0.1:{self.port}", "database": database}
        settings = make_settings(directory, values)
        write_settings(settings)
        keys = create_keys(settings.keys_directory, "test")
        db = open_migrated(database)
        with db.begin() as tx:
            log.create(tx, keys, now_utc())
        self.hub = TestHub(db, keys, Intake(db, keys, 480))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        command = ["run", "--dir", str(self.directory), "--port", str(free_port()), "--replica", name]
        self._spawn(name, ["-m", "hub.app", *command])

    def start_broker(self) -> None:
        self._spawn("broker", ["-m", "hub.broker", "--port", str(self.port), "--dir", str(self.directory)])
        wait_until(lambda: answers(self.port), "the broker")

    def _spawn(self, name: str, command: list[str]) -> None:
        with (self.directory / f"{name}.log").open("wb") as out:
            self.processes[name] = subprocess.Popen([sys.executable, *command], stdout=out, stderr=out)

    def share_of(self, name: str) -> int:
        """How many stations this process said last that it has; -1: none yet."""
        said = re.findall(r"stations_divided ours=(\d+)", (self.directory / f"{name}.log").read_text())
        return int(said[-1]) if said else -1

    def close(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()
        self.hub.intake.close()
        self.hub.db.close()


@pytest.fixture
def place(tmp_path: Path, postgres: str) -> Iterator[Replicated]:
    made = Replicated(tmp_path, new_database(postgres))
    made.start_broker()
    yield made
    made.close()


def test_a_killed_process_loses_nothing_and_the_other_takes_its_stations(place: Replicated) -> None:
    senders = [Sender(place, f"dock-{n}") for n in range(STATIONS)]
    place.start("a")
    place.start("b")
    wait_until(lambda: 0 < place.share_of("a") < STATIONS, "a share for the first")
    wait_until(lambda: place.share_of("a") + place.share_of("b") == STATIONS, "all stations divided")
    wait_until(lambda: any(sender.receipted for sender in senders), "the first receipts")
    place.processes["a"].kill()
    place.processes["a"].wait()
    wait_until(lambda: place.share_of("b") == STATIONS, "the other to take over")
    wait_until(lambda: all(sender.done() for sender in senders), "every receipt")
    place.start("a")
    wait_until(lambda: 0 < place.share_of("a") < STATIONS, "a share for the one that is back")
    wait_until(lambda: place.share_of("a") + place.share_of("b") == STATIONS, "all stations divided again")
    by_source: dict[str, list[int]] = {}
    for _, source, seq, _ in place.hub.entries():
        by_source.setdefault(source, []).append(seq)
    assert {name: seqs for name, seqs in by_source.items() if name != "hub"} == {
        f"dock-{n}": list(range(1, EACH + 1)) for n in range(STATIONS)
    }
    assert place.hub.root_is_naive_root()
