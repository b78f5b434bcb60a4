"""A broker, a hub that gets lost and comes back, and real stations, as processes."""

from __future__ import annotations

import json
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.processes import Member, run_json, wait_for
from tests.ports import free_port


class Dock:
    """One real station with a watched folder as its bay."""

    def __init__(self, root: Path, name: str, keys: dict[str, str], mqtt: str) -> None:
        self.name, self.home, self.folder = name, root / name, root / f"{name}-bay"
        self.folder.mkdir(parents=True)
        enrolled = run_json(
            "agent.app", "enrol", "--dir", self.home, "--hub-receipt-key", keys["receipt_key"],
            "--hub-log-key", keys["log_key"], "--mqtt", mqtt, "--station", name, "--json",
        )  # fmt: skip
        self.key = str(enrolled["key"])
        (self.home / "agent.toml").write_text(
            f'vault = "vault"\nsettle_seconds = 0.2\n[[bay]]\nname = "1"\nfolder = "{self.folder}"\n'
            f'camera = "CAM-{name}"\n',
            "utf-8",
        )
        self.member = Member(name, ["agent.app", "run", "--dir", self.home], root / f"{name}.log")
        self._files = 0

    def film(self, count: int, chance: random.Random) -> None:
        """Files that appear whole."""
        for _ in range(count):
            self._files += 1
            aside = self.folder.with_name(f"{self.folder.name}-aside")
            aside.write_bytes(chance.randbytes(2000))
            aside.rename(self.folder / f"{self._files:05}.mp4")

    @property
    def files(self) -> int:
        return self._files

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.home / 'station.db'}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(query, values).fetchall()

    def keeps(self, size: int) -> bool:
        """Whether it holds keepings up to this size."""
        [(kept,)] = self.ask("SELECT coalesce(max(size), 0) FROM kept")
        return bool(kept >= size)

    def saved(self) -> bool:
        """Everything that was filmed is saved, and every envelope has its receipt."""
        try:
            self.ask("SELECT size FROM kept LIMIT 1")
        except sqlite3.OperationalError:  # its first start has not made the database yet
            return False
        [(saved,)] = self.ask("SELECT count(*) FROM entry WHERE state = 'sealed'")
        [(waiting,)] = self.ask("SELECT count(*) FROM outbox WHERE receipted_at IS NULL")
        return saved >= self._files and waiting == 0


class Bureau:
    """Everything in one directory. `hub_dir` moves on when the hub is restored into another one."""

    def __init__(self, root: Path, docks: int = 2) -> None:
        self.root, self.hub_dir = root, root / "hub"
        self.mqtt_port, self.http_port = free_port(), free_port()
        self.mqtt = f"mqtt://127.0.0.1:{self.mqtt_port}"
        self.keys: dict[str, str] = run_json("hub.app", "init", "--dir", self.hub_dir, "--id", "h1", "--json")
        self.docks = [Dock(root, f"dock-{n}", self.keys, self.mqtt) for n in range(1, docks + 1)]
        broker_dir = root / "broker"
        broker_dir.mkdir()
        words: list[str | Path] = ["hub.app", "broker", "--port", str(self.mqtt_port), "--dir", broker_dir]
        self.broker = Member("broker", words, root / "broker.log")
        self.hub = self._hub()

    def _hub(self) -> Member:
        words: list[str | Path] = [
            "hub.app", "run", "--dir", self.hub_dir, "--port", str(self.http_port), "--mqtt", self.mqtt,
        ]  # fmt: skip
        return Member("hub", words, self.root / "hub.log")

    def enrol(self, dock: Dock) -> None:
        self.command("station", "add", dock.key)

    def command(self, *words: str | Path) -> Any:
        """A `dock-hub` command that must succeed; its JSON."""
        return run_json("hub.app", *words, "--dir", self.hub_dir, "--json")

    def refused(self, *words: str | Path) -> tuple[int, str]:
        """A `dock-hub` command that must fail: exit code and code of the error."""
        done = subprocess.run(
            [sys.executable, "-m", "hub.app", *map(str, words), "--dir", str(self.hub_dir), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode, done.stdout
        return done.returncode, json.loads(done.stdout)["error"]

    def start(self) -> None:
        """The hub first: what a station sends before anybody listens is sent again, but only after 20 s."""
        self.broker.start()
        wait_for("the broker", self._broker_answers)
        self.start_hub("broker_connected")
        for dock in self.docks:
            dock.member.start()

    def start_hub(self, until: str) -> None:
        """Start the hub and wait until it has said `until`."""
        said = self.root / "hub.log"
        before = said.read_text("utf-8").count(until) if said.exists() else 0
        self.hub.start()
        wait_for(f"the hub: {until}", lambda: said.read_text("utf-8").count(until) > before)

    def _broker_answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.mqtt_port)) == 0

    def stop(self) -> None:
        for member in (self.hub, *(dock.member for dock in self.docks), self.broker):
            if member.alive():
                member.kill()

    def settled(self) -> None:
        """Wait until everything filmed is receipted and every station that runs keeps what the hub has stated."""
        for dock in self.docks:
            if dock.member.alive():
                # a station that waited in vain twice, beside a hub that was closed, sends again only after 80 s
                wait_for(f"{dock.name} receipted", dock.saved, seconds=200.0)

    def kept(self) -> None:
        """Wait until every station that runs holds keepings up to the newest checkpoint."""
        size = self.size()
        for dock in self.docks:
            if dock.member.alive():
                wait_for(f"{dock.name} keeps {size}", partial(dock.keeps, size))

    def backup(self, name: str) -> Path:
        path = self.root / name
        self.command("backup", "--to", path)
        return path

    def lose_hub(self) -> None:
        """The hub's computer is gone; its directory stays aside for the comparison. The keys were kept on paper."""
        if self.hub.alive():
            self.hub.kill()

    def restore(self, backup: Path, name: str) -> None:
        """A new directory from a backup and the keys; the hub that is started next is this one."""
        keys = self.root / "offline-keys"
        if not keys.exists():
            shutil.copytree(self.hub_dir / "keys", keys, ignore=shutil.ignore_patterns("newest"))
        self.hub_dir = self.root / name
        self.command("restore", "begin", backup, "--keys", keys)
        self.use_directory()

    def use_directory(self) -> None:
        """The hub that is started next is that of `hub_dir`."""
        self.hub = self._hub()

    def ask(self, query: str, *values: object, directory: Path | None = None) -> list[tuple[Any, ...]]:
        path = (directory or self.hub_dir) / "hub.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(query, values).fetchall()

    def size(self) -> int:
        return int(self.ask("SELECT size FROM log_state")[0][0])

    def read_only(self) -> str | None:
        reason: str | None = self.ask("SELECT read_only FROM log_state")[0][0]
        return reason

    def logs(self) -> str:
        return "\n".join(f"--- {m.name}\n{m.tail()}" for m in (self.hub, *(d.member for d in self.docks)))
