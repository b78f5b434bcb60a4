"""A whole installation as processes: broker, hub and station, each killable at any moment and startable again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ports import free_port

START_SECONDS = 60.0


def wait_for(what: str, condition: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Poll until `condition` holds. Raises TimeoutError naming `what`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


def run_json(*argv: str | Path) -> Any:
    """Run one of our modules to its end and read its JSON."""
    done = subprocess.run([sys.executable, "-m", *map(str, argv)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


class Member:
    """One process with a log file; `kill` is kill -9."""

    def __init__(self, name: str, argv: list[str | Path], log: Path) -> None:
        self.name, self._argv, self._log = name, [str(a) for a in argv], log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-m", *self._argv], stdout=log, stderr=log)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tail(self) -> str:
        return self._log.read_text("utf-8", "replace")[-3000:] if self._log.exists() else ""


class Installation:
    """Broker, hub and one station with one watched folder, in one directory."""

    def __init__(self, root: Path, camera: str = "CAM-1") -> None:
        self.root, self.hub_dir, self.agent_dir = root, root / "hub", root / "agent"
        self.vault, self.folder = self.agent_dir / "vault", root / "bay-1"
        self.folder.mkdir(parents=True)
        self.mqtt_port, self.http_port = free_port(), free_port()
        mqtt = f"mqtt://127.0.0.1:{self.mqtt_port}"
        keys = run_json("hub.app", "init", "--dir", self.hub_dir, "--json")
        enrolled = run_json(
            "agent.app", "enrol", "--dir", self.agent_dir, "--hub-receipt-key", keys["receipt_key"],
            "--hub-log-key", keys["log_key"], "--hub-command-key", keys["command_key"], "--mqtt", mqtt, "--json",
        )  # fmt: skip
        self.station, self.station_key = enrolled["station"], enrolled["key"]
        run_json("hub.app", "station", "add", self.station_key, "--dir", self.hub_dir, "--json")
        (self.agent_dir / "agent.toml").write_text(
            f'vault = "vault"\nsettle_seconds = 0.3\n[[bay]]\nname = "1"\nfolder = "{self.folder}"\n'
            f'camera = "{camera}"\n',
            "utf-8",
        )
        port, home = str(self.mqtt_port), self.hub_dir
        run_hub: list[str | Path] = ["hub.app", "run", "--dir", home, "--port", str(self.http_port), "--mqtt", mqtt]
        self.broker = Member("broker", ["hub.app", "broker", "--port", port, "--dir", home], root / "broker.log")
        self.hub = Member("hub", run_hub, root / "hub.log")
        self.agent = Member("agent", ["agent.app", "run", "--dir", self.agent_dir], root / "agent.log")

    @property
    def members(self) -> tuple[Member, Member, Member]:
        return self.broker, self.hub, self.agent

    def start(self) -> None:
        for member in self.members:
            member.start()

    def stop(self) -> None:
        for member in reversed(self.members):
            if member.alive():
                member.kill()

    def status(self) -> dict[str, Any]:
        """`dock-agent status --json`."""
        status: dict[str, Any] = run_json("agent.app", "status", "--dir", self.agent_dir, "--json")
        return status

    def logs(self) -> str:
        return "\n".join(f"--- {m.name}\n{m.tail()}" for m in self.members)
