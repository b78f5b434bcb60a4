"""A real Mosquitto with the delivered configuration, the access list, and real certificates."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.integration.mqtt_peer import Client, answers, wait_until
from tests.ports import free_port

DEPLOY = Path(__file__).parents[2] / "deploy" / "mosquitto"
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
MISSING = not (MOSQUITTO and shutil.which("openssl"))


@dataclass
class Site:
    """A running broker with its certificates."""

    port: int
    directory: Path
    process: subprocess.Popen[bytes]

    def tls(self, name: str) -> tuple[Path, Path, Path]:
        if not (self.directory / f"{name}.pem").exists():
            subprocess.run([DEPLOY / "issue", self.directory, name], check=True)
        return self.directory / "ca.pem", self.directory / f"{name}.pem", self.directory / f"{name}.key"

    def client(self, name: str, session_seconds: int = 0, ack: bool = True) -> Client:
        return Client(self.port, name, tls=self.tls(name), session_seconds=session_seconds, ack=ack)

    def start(self) -> None:
        config = self.directory / "custodock.conf"
        assert MOSQUITTO
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=subprocess.DEVNULL)
        wait_until(lambda: answers(self.port) or self.process.poll() is not None, "mosquitto to listen")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(15)


def make_site(directory: Path, *supervisors: str) -> Site:
    """The delivered files with only paths, port and user name replaced, started; `supervisors` as NAME:UNIT."""
    site = Site(free_port(), directory, subprocess.Popen(["true"]))
    site.process.wait()
    subprocess.run([DEPLOY / "issue", directory, "server", "127.0.0.1"], check=True)
    config = (DEPLOY / "custodock.conf").read_text(encoding="utf-8")
    for delivered, here in {
        "/etc/custodock/mosquitto": str(directory),
        "/var/lib/custodock/mosquitto/": f"{directory}/",
        "listener 8883": f"listener {site.port} 127.0.0.1",
        "per_listener_settings": "user root\nper_listener_settings",  # started as root it would become "mosquitto"
    }.items():
        assert delivered in config
        config = config.replace(delivered, here)
    (directory / "custodock.conf").write_text(config, encoding="utf-8")
    named = [word for one in supervisors for word in ("--supervisor", one)]
    made = subprocess.run([sys.executable, DEPLOY / "make-acl", *named], check=True, capture_output=True)
    (directory / "acl").write_bytes(made.stdout)
    site.start()
    return site
