"""An ordinary mosquitto_sub sees exactly the open alerts of its unit, whatever hub, broker and alerts did meanwhile."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from hub import log
from hub.alerts.queries import read_open
from hub.alerts.raising import raise_alerts
from hub.alerts.rules import ending, opening
from hub.db import open_database
from hub.intake import Intake
from hub.keys import create_keys
from hub.migrations import migrate
from hub.settings import make_settings, write_settings
from hub.tables import station
from hub.times import now_utc
from tests.integration.hubs import TestHub
from tests.integration.mosquitto import MISSING, Site, make_site
from tests.integration.mqtt_peer import wait_until
from tests.ports import free_port

SUB = shutil.which("mosquitto_sub")
pytestmark = pytest.mark.skipif(
    MISSING or SUB is None, reason="needs the programs mosquitto, mosquitto_sub and openssl"
)
UNITS = {"head-east": "east", "head-west": "west", "chief": ""}  # who reads what; "": the bureau's own
STATIONS = {"dock-e": "east", "dock-w": "west"}


class Place:
    """A broker, a hub as a process, and the hub's database, in which this process opens and ends alerts."""

    def __init__(self, directory: Path) -> None:
        self.site: Site = make_site(directory, "head-east:east", "head-west:west", "chief:~bureau")
        self.directory = directory / "hub"
        self.directory.mkdir()
        authority, certificate, key = map(str, self.site.tls("hub"))
        broker = {"mqtt": f"mqtts://127.0.0.1:{self.site.port}", "mqtt_ca": authority}
        files = {"mqtt_cert": certificate, "mqtt_key": key}
        settings = make_settings(self.directory, {"hub_id": "test", **broker, **files})
        write_settings(settings)
        keys, db = create_keys(settings.keys_directory, "test"), open_database(settings.database_url)
        migrate(db)
        with db.begin() as tx:
            log.create(tx, keys, now_utc())
        self.hub = TestHub(db, keys, Intake(db, keys, 480))
        for name, section in STATIONS.items():
            self.hub.enrol(name)
            with db.begin() as tx:
                tx.execute(update(station).where(station.c.id == name).values(section=section))
        self.process: subprocess.Popen[bytes] | None = None

    def start_hub(self) -> None:
        command = [sys.executable, "-m", "hub.app", "run", "--dir", self.directory, "--port", str(free_port())]
        said = self.directory / "hub.log"
        said.write_bytes(b"")
        with said.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        wait_until(lambda: b"broker_subscribed" in said.read_bytes(), "the hub")

    def kill_hub(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def change(self, chance: random.Random) -> None:
        """Open one, or meet one again, or end one."""
        camera, name = f"cam-{chance.randrange(4)}", chance.choice(sorted(STATIONS))
        facts: dict[str, str | None] = {"station": name, "camera": camera}
        signals = [
            opening("camera_overdue", f"{name}/{camera}", **facts),
            ending("camera_overdue", f"{name}/{camera}"),
            opening("key_revoked", name, station=name),  # the bureau's
            ending("key_revoked", name),
        ]
        with self.hub.db.begin() as tx, log.appending(tx, self.hub.keys, now_utc()) as entries:
            raise_alerts(tx, entries, chance.sample(signals, 2), now_utc())

    def wanted(self, who: str) -> set[str]:
        with self.hub.db.read() as connection:
            return {row.id for row in read_open(connection) if row.unit == UNITS[who]}

    def seen(self, who: str) -> set[str]:
        """What a new mosquitto_sub is given, within the second that it waits."""
        authority, certificate, key = self.site.tls(who)
        assert SUB
        done = subprocess.run(
            [SUB, "-h", "127.0.0.1", "-p", str(self.site.port), "-V", "mqttv5", "--cafile", authority, "--cert",
             certificate, "--key", key, "-t", "custodock/1/alerts/#", "-W", "1", "-F", "%t %p"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 27, done.stderr  # its time is over
        found: set[str] = set()
        for line in done.stdout.splitlines():
            topic, _, payload = line.partition(" ")
            if not payload:  # it ended while we looked
                found.discard(topic.rpartition("/")[2])
                continue
            body: dict[str, Any] = json.loads(payload)
            assert topic == f"custodock/1/alerts/{UNITS[who] or '~bureau'}/{body['id']}"
            assert body.keys() == {"id", "kind", "severity", "article", "state", "station", "opened_at", "zh", "en"}
            found.add(body["id"])
        return found

    def everybody_sees_the_open_ones(self) -> None:
        for who in UNITS:
            wait_until(lambda who=who: self.seen(who) == self.wanted(who), f"{who} to see the open ones")  # type: ignore[misc]

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill_hub()
        if self.site.process.poll() is None:
            self.site.stop(signal.SIGKILL)
        self.hub.intake.close()
        self.hub.db.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("alerts"))
    made.start_hub()
    yield made
    made.close()


def test_each_unit_sees_its_own(place: Place) -> None:
    chance = random.Random(1)
    for _ in range(12):
        place.change(chance)
    assert all(place.wanted(who) for who in UNITS)
    place.everybody_sees_the_open_ones()


def test_after_whatever_happened_it_is_exactly_the_open_ones(place: Place) -> None:
    chance, stored = random.Random(2), place.site.directory / "mosquitto.db"
    for what in ("hub", "broker", "both", "broker"):
        old = None
        if what in ("hub", "both"):
            place.kill_hub()
        if what == "broker":
            place.site.stop(signal.SIGKILL)  # what it retained since its last save is lost
        elif what == "both":
            place.site.stop()  # it saves, and gets that back below: what it holds is older than what follows
            old = stored.read_bytes()
        before = {who: place.wanted(who) for who in UNITS}
        while all(place.wanted(who) == before[who] for who in UNITS):
            place.change(chance)
        for _ in range(6):
            place.change(chance)
        if old is not None:
            stored.write_bytes(old)
            place.site.start()
            # the control: nobody has set it right yet, and the comparison says so
            assert any(place.seen(who) != place.wanted(who) for who in UNITS)
        elif what == "broker":
            place.site.start()
        if what in ("hub", "both"):
            place.start_hub()
        place.everybody_sees_the_open_ones()


def test_a_station_that_moves_takes_its_alerts_along(place: Place) -> None:
    with place.hub.db.begin() as tx, log.appending(tx, place.hub.keys, now_utc()) as entries:
        raise_alerts(tx, entries, [opening("camera_overdue", "moves", station="dock-e", camera="c")], now_utc())
    place.everybody_sees_the_open_ones()
    with place.hub.db.begin() as tx:
        tx.execute(update(station).where(station.c.id == "dock-e").values(section="west"))
    assert place.wanted("head-east") == set()
    place.everybody_sees_the_open_ones()
