"""`deploy/install hub` before a real systemd: its user and files, its sandbox, its watchdog, its nightly check."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.vm.dock import booted_dock, install_hub
from tests.vm.lab import Lab

UNIT, CHECK = "custodock-hub", "custodock-log-check"
DIRECTORY = "/var/lib/custodock-hub"
AS_USER = f"runuser -u {UNIT} --"
EXPOSURE_MAX = 2.0
ASK = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/{}', timeout=60).status)"


@pytest.fixture(scope="module")
def hub() -> Iterator[Lab]:
    """A machine that is nothing but a hub. What it says about the next steps names where things lie."""
    with Lab(booted_dock()) as lab:
        assert DIRECTORY in install_hub(lab)
        yield lab


def shown(hub: Lab, unit: str, *names: str) -> dict[str, str]:
    lines = hub.run(f"systemctl show {unit} --property={','.join(names)}").out.splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_it_serves_as_its_own_user_once_the_installer_is_done(hub: Lab) -> None:
    facts = shown(hub, UNIT, "ActiveState", "SubState", "Type", "NRestarts", "WatchdogUSec", "UnitFileState", "MainPID")
    pid = facts.pop("MainPID")
    assert facts == {
        "ActiveState": "active", "SubState": "running", "Type": "notify", "NRestarts": "0", "WatchdogUSec": "1min",
        "UnitFileState": "enabled",
    }  # fmt: skip
    assert [hub.run(f'python3 -c "{ASK.format(path)}"').out for path in ("healthz", "readyz")] == ["200\n", "200\n"]
    status = hub.run(f"cat /proc/{pid}/status").out
    user = hub.run(f"id -u {UNIT}").out.strip()
    assert re.search(rf"(?m)^Uid:\s+{user}\s+{user}\s+{user}\s+{user}$", status)
    assert re.search(r"(?m)^CapBnd:\s+0+$", status)
    assert re.search(r"(?m)^NoNewPrivs:\s+1$", status)


def test_its_files_are_its_own_and_its_program_is_not(hub: Lab) -> None:
    assert hub.run(f"find /opt/custodock -user {UNIT} -o -perm /022 ! -type l").out == ""
    assert hub.run(f"stat -c '%U:%G %a' {DIRECTORY}").out == f"{UNIT}:{UNIT} 750\n"
    held = hub.run(f"find {DIRECTORY} -mindepth 1 -printf '%P %u %m\\n'").out.splitlines()
    modes = dict(line.split(f" {UNIT} ") for line in held)
    keys = {name: mode for name, mode in modes.items() if name.startswith("keys")}
    assert modes.pop("hub.toml") == "640"
    assert (keys.pop("keys"), modes["hub.db"]) == ("700", "600")
    assert set(keys.values()) == {"600"}
    assert all(mode in ("600", "700") for mode in modes.values()), modes


@pytest.mark.parametrize("unit", [UNIT, CHECK])
def test_systemd_rates_its_exposure_low(hub: Lab, unit: str) -> None:
    line = hub.run(f"systemd-analyze security {unit} --no-pager | tail -n 1").out
    found = re.search(rf"exposure level for {unit}.service: ([\d.]+)", line)
    assert found, line
    assert float(found[1]) <= EXPOSURE_MAX, line


def test_the_nightly_check_of_the_log_is_due_and_finds_it_sound(hub: Lab) -> None:
    timer = shown(hub, f"{CHECK}.timer", "ActiveState", "UnitFileState", "NextElapseUSecRealtime")
    assert timer.pop("NextElapseUSecRealtime")
    assert timer == {"ActiveState": "active", "UnitFileState": "enabled"}
    hub.run(f"systemctl start {CHECK}", timeout=300)
    assert shown(hub, CHECK, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    said = hub.run(f"journalctl -u {CHECK} --no-pager -o cat").out
    [report] = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert report["size"] == report["envelopes_checked"], report


@pytest.mark.slow_vm
def test_killed_or_stuck_it_is_started_anew(hub: Lab) -> None:
    drop_in = f"/run/systemd/system/{UNIT}.service.d"
    short = "[Service]\nWatchdogSec=10\nTimeoutAbortSec=3\nRestartSec=0\n"
    hub.run(f"mkdir -p {drop_in} && cat > {drop_in}/short.conf && systemctl daemon-reload", stdin=short.encode())
    first = shown(hub, UNIT, "MainPID")["MainPID"]
    hub.run(f"kill -KILL {first}")
    second = until_restarted(hub, "1")
    hub.run(f"kill -STOP {second}")
    assert until_restarted(hub, "2") not in (first, second)
    assert "Watchdog timeout" in hub.run(f"journalctl -u {UNIT} --no-pager").out
    assert hub.run(f'python3 -c "{ASK.format("healthz")}"').out == "200\n"


def until_restarted(hub: Lab, times: str) -> str:
    """Wait until it serves after so many restarts; its process."""
    deadline = time.monotonic() + 300
    while (now := shown(hub, UNIT, "MainPID", "ActiveState", "NRestarts")) != {
        **now, "ActiveState": "active", "NRestarts": times,
    }:  # fmt: skip
        assert time.monotonic() < deadline, now
        time.sleep(0.5)
    return now["MainPID"]
