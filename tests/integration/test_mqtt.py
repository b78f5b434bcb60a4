"""The hub's line against the real embedded broker: receipts, hostile messages, kills, a broker that goes away."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from custody.checkpoint import open_checkpoint
from custody.receipt import Receipt, open_receipt
from custody.stationevents import CameraReturnedV2
from custody.topics import LOG_CHECKPOINT, station_topic
from hub import log
from hub.db import open_database
from hub.intake import Intake
from hub.keys import create_keys, load_keys
from hub.logcheck import check_log
from hub.mqtt import HubLine, filters
from hub.settings import Settings, load_settings, make_settings, write_settings
from hub.stations.service import enrol_station
from hub.times import now_utc
from hub.witnesses.asking import Asking
from tests.bench.stations import SigningStation
from tests.integration.hubs import TestHub
from tests.integration.mqtt_peer import Client, answers
from tests.integration.schema import open_migrated
from tests.ports import free_port

WAIT_SECONDS = 60.0


def wait_until(condition: object, what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS} s for {what}"
        time.sleep(0.05)


class Installation:
    """A hub's directory with its broker and hub processes."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.directory = directory
        settings = make_settings(directory, {"hub_id": "test", "mqtt": f"mqtt://127.0.0.1:{self.port}"})
        write_settings(settings)
        keys = create_keys(settings.keys_directory, "test")
        db = open_migrated(settings.database_url)
        with db.begin() as tx:
            log.create(tx, keys, now_utc())
        self.settings: Settings = load_settings(directory)
        self.hub = TestHub(db, load_keys(settings.keys_directory, "test"), Intake(db, keys, 480))
        self.broker: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start_broker(self) -> None:
        command = [sys.executable, "-m", "hub.broker", "--port", str(self.port), "--dir", str(self.directory)]
        self.broker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(lambda: answers(self.port), "the broker")

    def start_hub(self) -> None:
        command = [sys.executable, "-m", "hub.app", "run", "--dir", str(self.directory), "--port", str(free_port())]
        said = self.directory / "hub.log"
        said.write_bytes(b"")
        with said.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        wait_until(lambda: b"broker_subscribed" in said.read_bytes(), "the hub")

    def kill_hub(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def count(self, source: str) -> int:
        with self.hub.db.read() as connection:
            return connection.execute(
                text("SELECT count(*) FROM log_entry WHERE source = :source"), {"source": source}
            ).scalar_one()

    def close(self) -> None:
        for process in (self.process, self.broker):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        self.hub.intake.close()
        self.hub.db.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    made.start_broker()
    yield made
    made.close()


@pytest.fixture
def line(place: Installation) -> Iterator[HubLine]:
    """The line in a thread of this process."""
    made = HubLine(place.settings, place.hub.db, place.hub.intake, Asking(place.hub.db, place.hub.keys, by_http=False))
    thread = threading.Thread(target=made.run)
    thread.start()
    wait_until(lambda: made.subscribed, "the line and its subscriptions")
    yield made
    made.stop()
    thread.join(60)
    assert not thread.is_alive()


def test_receipts_come_back_and_the_checkpoint_is_retained(place: Installation, line: HubLine) -> None:
    dock = place.hub.enrol()
    peer = Client(place.port, "dock-1")
    peer.subscribe(station_topic("dock-1", "receipts"))
    for raw in (dock.started(), *(dock.segment() for _ in range(300))):
        peer.paho.publish(station_topic("dock-1", "events"), raw, qos=1)
    keys = place.hub.keys

    def receipted() -> set[int]:
        opened = [
            open_receipt(raw, "dock-1", keys.receipts.verify_key, keys.log.verify_key)[0] for raw in peer.payloads
        ]
        return {e.seq for receipt in opened if isinstance(receipt, Receipt) for e in receipt.entries}

    wait_until(lambda: receipted() == set(range(1, 302)), "all receipts")
    late = Client(place.port, "late")
    late.subscribe(LOG_CHECKPOINT)
    wait_until(
        lambda: late.payloads and open_checkpoint(late.payloads[-1].decode(), keys.log.verify_key).size == 302,
        "the newest checkpoint",
    )
    newest = Client(place.port, "newest")
    newest.subscribe(LOG_CHECKPOINT)
    wait_until(lambda: newest.payloads, "the retained checkpoint")
    assert newest.payloads == late.payloads[-1:]
    newest.close()
    peer.close()
    late.close()


def test_hostile_messages_on_any_topic_stop_nothing(place: Installation, line: HubLine) -> None:
    dock = place.hub.enrol()
    other = SigningStation("dock-1")
    other.key = SigningStation("thief").key
    peer = Client(place.port, "dock-1")
    chance = random.Random(7)
    topics = [
        "custodock/1/dock-1/events",
        "custodock/1/dock-1/state",
        "custodock/1/dock-1/bay/3",
        "custodock/1/dock-1/bay/\u202e",
        "custodock/1/DOCK/events",
        "custodock/1/log/events",
        "custodock/1//events",
        "custodock/1/nobody/state",
    ]
    payloads = [b"", b"\x00", b"{", b"[" * 50_000, b"\xff\xfe", b"x" * 100_000, other.started(), chance.randbytes(999)]
    for topic in topics:
        for payload in payloads:
            peer.publish(topic, payload, retain=topic.endswith("state"))
    honest = dock.started()
    peer.publish("custodock/1/dock-2/events", honest)  # on another's topic
    peer.publish("custodock/1/dock-1/events", honest)
    wait_until(lambda: place.count("dock-1") == 1, "the honest envelope")
    assert place.hub.intake.counters.refused >= 50
    assert place.hub.root_is_naive_root()
    peer.close()


def test_the_line_comes_back_after_the_broker(place: Installation, line: HubLine) -> None:
    dock = place.hub.enrol()
    for round_number in (1, 2):
        peer = Client(place.port, "dock-1")
        peer.publish("custodock/1/dock-1/events", dock.segment())
        wait_until(lambda n=round_number: place.count("dock-1") == n, "the envelope")
        assert place.broker is not None
        place.broker.kill()
        place.broker.wait()
        wait_until(lambda: not line.connected, "the loss to be noticed")
        place.start_broker()
        wait_until(lambda: line.subscribed, "the line to come back")
        peer.close()


def test_while_the_database_fails_nothing_is_acknowledged_and_then_all_is_taken(
    place: Installation, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.db.BUSY_TIMEOUT_MS", 200)
    db = open_database(place.settings.database_url)
    intake = Intake(db, place.hub.keys, 480)
    dock = place.hub.enrol()
    line = HubLine(place.settings, db, intake, Asking(db, place.hub.keys, by_http=False))
    thread = threading.Thread(target=line.run)
    thread.start()
    wait_until(lambda: line.subscribed, "the line and its subscriptions")
    peer = Client(place.port, "dock-1")
    with place.hub.db.begin():  # somebody holds the write lock
        for _ in range(150):
            peer.publish("custodock/1/dock-1/events", dock.segment())
        wait_until(lambda: "intake_failed" in caplog.text, "the failure to be told")
    wait_until(lambda: place.count("dock-1") == 150, "everything")
    line.stop()
    thread.join(60)
    peer.close()
    intake.close()
    db.close()


@pytest.mark.slow
def test_kill_9_in_the_middle_loses_and_doubles_nothing(place: Installation) -> None:
    docks = [SigningStation(f"dock-{n}") for n in range(3)]
    for dock in docks:
        enrol_station(place.hub.db, place.hub.keys, dock.key.verify_key.line)
    place.start_hub()
    peers = [Client(place.port, dock.name) for dock in docks]
    for _ in range(500):
        for dock, peer in zip(docks, peers, strict=True):
            peer.paho.publish(station_topic(dock.name, "events"), dock.segment(), qos=1)
    for share in (200, 700, 1100):
        wait_until(lambda n=share: sum(place.count(d.name) for d in docks) >= n, "some of it")
        place.kill_hub()
        place.start_hub()
    wait_until(lambda: [place.count(d.name) for d in docks] == [500] * 3, "all of it")
    for peer in peers:
        peer.close()
    assert place.process is not None
    place.process.send_signal(signal.SIGTERM)
    assert place.process.wait(60) == 0
    with place.hub.db.read() as connection:
        check_log(connection, place.hub.keys, 480)
        assert connection.execute(text("SELECT count(*) FROM segment")).scalar_one() == 1500
    assert place.hub.root_is_naive_root()


@pytest.mark.slow
def test_acknowledged_to_the_station_but_not_committed_comes_again(place: Installation) -> None:
    dock = place.hub.enrol()
    place.start_hub()
    peer = Client(place.port, "dock-1")
    with place.hub.db.begin():  # the hub receives, but cannot commit
        for _ in range(60):
            peer.publish("custodock/1/dock-1/events", dock.segment())  # waits for the broker's PUBACK
        time.sleep(1)
        place.kill_hub()
    assert place.count("dock-1") == 0
    place.start_hub()
    wait_until(lambda: place.count("dock-1") == 60, "what was not committed")
    peer.close()


def test_an_untrusted_log_stops_the_start(place: Installation) -> None:
    place.hub.enrol()
    with place.hub.db.begin() as tx:
        tx.exec_driver_sql("UPDATE log_state SET own_seq = 7")
    command = [sys.executable, "-m", "hub.app", "run", "--dir", str(place.directory), "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)
    assert done.returncode == 4
    assert "日志不可信" in done.stderr


def test_a_process_subscribes_to_all_stations_or_to_its_own() -> None:
    assert filters()[:3] == ["custodock/1/+/state", "custodock/1/+/bay/+", "custodock/1/+/events"]
    assert "custodock/1/dock-2/events" in filters(["dock-1", "dock-2"])
    assert not any("+" in topic.split("/")[2] for topic in filters(["dock-1", "dock-2"]))


def test_open_alerts_are_retained_and_cleared(place: Installation, line: HubLine) -> None:
    """On the embedded broker, which keeps nothing when it ends."""
    dock = place.hub.enrol()
    wait_until(lambda: line.subscribed, "the line")
    place.hub.take("dock-1", dock.overdue())
    reader = Client(place.port, "reader")
    reader.subscribe("custodock/1/alerts/#")
    wait_until(lambda: len(reader.messages) == 1, "the alert")
    assert b'"camera_overdue"' in reader.payloads[0]
    place.broker.kill()
    place.broker.wait()
    place.start_broker()
    again = Client(place.port, "again")
    again.subscribe("custodock/1/alerts/#")
    wait_until(lambda: again.payloads == reader.payloads, "the alert on a broker that had forgotten it")
    returned = dock.stated(CameraReturnedV2, camera_id="DSJ-000123", bay="1", officer="310042", was_out=True)
    place.hub.take("dock-1", returned)
    wait_until(lambda: again.payloads[-1] == b"", "its end")
    last = Client(place.port, "last")
    last.subscribe("custodock/1/alerts/#")
    last.publish("custodock/1/alerts/~bureau/0", b"mark", retain=False)
    wait_until(lambda: last.payloads[-1:] == [b"mark"], "what came after all that is retained")
    assert last.payloads == [b"mark"]
    for one in (again, last):
        one.close()
