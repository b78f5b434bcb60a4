"""The hub as a service: it says that it serves, no earlier, and that it stops; its units are shut in."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from deploy.hubinstalling import CHECK, UNIT, place_text
from tests.ports import free_port

SYSTEMD = Path(__file__).parents[2] / "systemd"
HUB = [sys.executable, "-c", "from hub.app import main; main()"]
EXPOSURE_MAX = 2.0


def listener(place: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(place))
    made.settimeout(60)
    return made


def test_it_says_ready_when_it_serves_that_it_is_alive_and_stopping_when_it_stops(tmp_path: Path) -> None:
    directory, port = tmp_path / "hub", free_port()
    subprocess.run([*HUB, "init", "--dir", directory], check=True, capture_output=True, umask=0o022)
    assert (directory / "hub.db").stat().st_mode & 0o777 == 0o600  # it holds secrets of second factors
    with listener(tmp_path / "notify") as manager:
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000", "PATH": "/usr/bin:/bin"}
        words = [*HUB, "run", "--dir", directory, "--port", str(port)]
        with subprocess.Popen([str(w) for w in words], env=environment, stderr=subprocess.DEVNULL) as hub:
            try:
                assert manager.recv(100) == b"READY=1"
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
                    assert answer.status == 200
                assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
                hub.send_signal(signal.SIGTERM)
                while (said := manager.recv(100)) == b"WATCHDOG=1":
                    pass
                assert said == b"STOPPING=1"
                assert hub.wait(30) == 0
            finally:
                hub.kill()


def test_a_hub_that_cannot_serve_never_says_ready(tmp_path: Path) -> None:
    directory = tmp_path / "hub"
    subprocess.run([*HUB, "init", "--dir", directory], check=True, capture_output=True)
    with listener(tmp_path / "notify") as manager, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "PATH": "/usr/bin:/bin"}
        words = [*HUB, "run", "--dir", directory, "--port", str(taken.getsockname()[1])]
        done = subprocess.run([str(w) for w in words], env=environment, capture_output=True, timeout=60, check=False)
        assert done.returncode != 0
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd; CI has it")
@pytest.mark.parametrize("unit", [UNIT, CHECK])
def test_systemd_rates_its_exposure_low(tmp_path: Path, unit: str) -> None:
    shutil.copy(SYSTEMD / unit, tmp_path)
    place = tmp_path / f"{unit}.d" / "place.conf"
    place.parent.mkdir()
    place.write_text(place_text(Path("/srv/hub")), "utf-8")
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(tmp_path / unit)]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSURE_MAX, said
