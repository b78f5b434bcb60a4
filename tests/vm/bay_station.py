"""The installed dock with its eight bays set up, its screen followed, and a hub on this machine that receipts."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.processes import Member, run_json
from tests.ports import free_port
from tests.vm.dock import installed_dock, take_up, waiting_dock
from tests.vm.lab import SLOTS, Lab
from tests.vm.writelog import Cut

STATE = "/var/lib/custodock"
AS_USER = "runuser -u custodock --"
KIOSK_PORT = 8766
HOST = "10.0.3.2"
Bay = dict[str, Any]


class BayStation:
    """A dock at work. `lab` plugs, `screen` tells what people see."""

    def __init__(self, lab: Lab, root: Path, beside: Mapping[int, str]) -> None:
        """`beside`: further settings of single bays."""
        self.lab, self.vault = lab, f"{STATE}/vault"
        self._hub_dir, mqtt_port = root / "hub", free_port()
        mqtt = f"mqtt://127.0.0.1:{mqtt_port}"
        keys = run_json("hub.app", "init", "--dir", self._hub_dir, "--json")
        self._broker = Member(
            "broker", ["hub.app", "broker", "--port", str(mqtt_port), "--dir", self._hub_dir], root / "broker.log"
        )
        web = ["--port", str(free_port()), "--mqtt", mqtt]
        self._hub = Member("hub", ["hub.app", "run", "--dir", self._hub_dir, *web], root / "hub.log")
        self._enrol(keys, mqtt_port, beside)
        self._broker.start()
        self._hub.start()
        lab.run("systemctl restart custodock-agent", timeout=300)
        self.screen = Screen(lab.forward_loopback(KIOSK_PORT))

    def _enrol(self, keys: dict[str, str], mqtt_port: int, beside: Mapping[int, str]) -> None:
        bays = "".join(
            f'[[bay]]\nname = "{n}"\nports = ["{port(n)}", "{port(n, 3)}"]\n{beside.get(n, "")}\n' for n in SLOTS
        )
        settings = f'vault = "vault"\nkiosk_port = {KIOSK_PORT}\n{bays}'
        self.lab.run(f"systemctl stop custodock-agent && cat > {STATE}/agent.toml", stdin=settings.encode())
        said = self.lab.run(
            f"{AS_USER} dock-agent enrol --dir {STATE} --hub-receipt-key '{keys['receipt_key']}' "
            f"--hub-log-key '{keys['log_key']}' --hub-command-key '{keys['command_key']}' "
            f"--mqtt mqtt://{HOST}:{mqtt_port} --json"
        )
        run_json("hub.app", "station", "add", json.loads(said.out)["key"], "--dir", self._hub_dir, "--json")

    def status(self) -> dict[str, Any]:
        """`dock-agent status --json`."""
        answer: dict[str, Any] = json.loads(self.lab.run(f"{AS_USER} dock-agent status --dir {STATE} --json").out)
        return answer

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """What the station has stated, of one type."""
        rows = json.loads(self.lab.run("python3 -", stdin=EVENTS.encode()).out)
        return [event for event in rows if not kind or event["type"] == kind]

    def until_receipted(self, seconds: float = 120) -> None:
        """Everything stated so far has the hub's receipt."""
        deadline = time.monotonic() + seconds
        while (status := self.status())["outbox"]["unreceipted"]:
            assert time.monotonic() < deadline, status
            time.sleep(1)

    def acknowledged(self) -> dict[int, bytes]:
        """The envelopes of this station that the hub has in its log, by number."""
        with closing(sqlite3.connect(f"file:{self._hub_dir / 'hub.db'}?mode=ro", uri=True)) as db:
            return dict(db.execute("SELECT seq, envelope FROM log_entry WHERE source != 'hub'"))

    def power_cut(self, *, keep: float, seed: int, lying: bool = False) -> Cut:
        """Pull the dock's plug, unflushed writes lost; see `Lab.power_cut`."""
        self.screen.close()
        cut = self.lab.power_cut(lose_unflushed=True, keep=keep, seed=seed, lying=lying)
        assert cut is not None
        return cut

    def boot(self, *, really: bool = True) -> None:
        """Switch it on again; without `really` from a snapshot taken before its data disk was in use, in seconds."""
        if really:
            self.lab.boot()
        else:
            self.lab.resume(waiting_dock())
            take_up(self.lab)
        self.screen = Screen(self.lab.forward_loopback(KIOSK_PORT))

    def close(self) -> None:
        self.screen.close()
        for member in (self._hub, self._broker):
            if member.alive():
                member.kill()


class Screen:
    """What the dock's screen shows, as its page gets it."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.seen: list[dict[str, Any]] = []
        self._news, self._over = threading.Condition(), False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._over:
            try:
                with httpx2.stream("GET", f"{self.address}/events", timeout=40) as answer:
                    for line in answer.iter_lines():
                        if line.startswith("data: "):
                            with self._news:
                                self.seen.append(json.loads(line[6:]))
                                self._news.notify_all()
                        if self._over:
                            return
            except httpx2.HTTPError:  # not up yet, or restarted
                time.sleep(0.3)

    def until(self, bay: str, wanted: Callable[[Bay], bool], seconds: float = 180, since: int = 0) -> Bay:
        """The bay once the screen shows it as wanted, in a picture after the first `since`, with the time it was so."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                for picture in self.seen[since:]:
                    for one in picture["bays"]:
                        if one["bay"] == bay and wanted(one):
                            return {**one, "at": picture["at"]}
                since = len(self.seen)
                assert self._news.wait(max(0.0, deadline - time.monotonic())), self.now(bay)

    def saw(self, bay: str, wanted: Callable[[Bay], bool], since: int) -> bool:
        """Whether any picture after the first `since` shows the bay as wanted."""
        return any(one["bay"] == bay and wanted(one) for picture in self.seen[since:] for one in picture["bays"])

    def until_now(self, bay: str, wanted: Callable[[Bay], bool], seconds: float = 60) -> Bay:
        """The bay once its newest picture is as wanted."""
        deadline = time.monotonic() + seconds
        while (one := self.now(bay)) is None or not wanted(one):
            assert time.monotonic() < deadline, one
            time.sleep(0.05)
        return one

    def now(self, bay: str) -> Bay | None:
        """The newest picture of a bay."""
        bays = self.seen[-1]["bays"] if self.seen else []
        return next((one for one in bays if one["bay"] == bay), None)

    def mark(self) -> int:
        """How many pictures have come, for `until`."""
        return len(self.seen)

    def close(self) -> None:
        self._over = True


def port(slot: int, generation: int = 2) -> str:
    """What the agent calls a slot's port."""
    return f"0000:00:10.0-usb{generation}-{slot}"


@contextmanager
def bay_station(root: Path, prepare: Callable[[Lab], Mapping[int, str]] | None = None) -> Iterator[BayStation]:
    """A dock of its own with its bays set up; `prepare` readies it and names further settings of single bays."""
    with Lab(installed_dock()) as lab:
        station = BayStation(lab, root, prepare(lab) if prepare else {})
        try:
            yield station
        finally:
            station.close()


EVENTS = """
import base64, json, sqlite3
db = sqlite3.connect("file:/var/lib/custodock/station.db?mode=ro", uri=True)
found = []
for (raw,) in db.execute("SELECT envelope FROM outbox ORDER BY seq"):
    body = json.loads(base64.b64decode(json.loads(raw)["payload"]))
    if "predicate" in body:
        subject = body["subject"][0]
        body = body["predicate"] | {"vault_path": subject["name"], "sha256": subject["digest"]["sha256"]}
    found.append(body)
print(json.dumps(found))
"""
