"""The installed service before a real systemd: its user, its sandbox, its watchdog, its commands."""

import json
import re
import time

import pytest

from tests.vm.dock import CHECKOUT, WHEELS, put_checkout
from tests.vm.lab import Lab

UNIT = "custodock-agent"
DIRECTORY = "/var/lib/custodock"
AS_USER = "runuser -u custodock --"
EXPOSURE_MAX = 2.0
FIRST_CLOCK = """
import base64, json, sqlite3
rows = sqlite3.connect("file:/var/lib/custodock/station.db?mode=ro", uri=True).execute("SELECT envelope FROM outbox")
events = [json.loads(base64.b64decode(json.loads(row[0])["payload"])) for row in rows]
print(json.dumps([event["clock"] for event in events if event["type"] == "station.started.v1"]))
"""


def shown(dock: Lab, *names: str) -> dict[str, str]:
    lines = dock.run(f"systemctl show {UNIT} --property={','.join(names)}").out.splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_it_runs_as_its_own_user_and_said_that_it_is_ready(dock: Lab) -> None:
    facts = shown(dock, "ActiveState", "SubState", "Type", "MainPID", "NRestarts", "WatchdogUSec")
    pid = facts.pop("MainPID")
    assert facts == {
        "ActiveState": "active", "SubState": "running", "Type": "notify", "NRestarts": "0", "WatchdogUSec": "1min",
    }  # fmt: skip
    status = dock.run(f"cat /proc/{pid}/status").out
    user = dock.run("id -u custodock").out.strip()
    assert re.search(rf"(?m)^Uid:\s+{user}\s+{user}\s+{user}\s+{user}$", status)
    assert re.search(r"(?m)^CapBnd:\s+0+$", status)
    assert re.search(r"(?m)^NoNewPrivs:\s+1$", status)


def test_nothing_of_the_program_is_the_services_to_change(dock: Lab) -> None:
    assert dock.run("find /opt/custodock -user custodock -o -perm /022 ! -type l").out == ""
    facts = dock.run(f"stat -c '%U:%G %a %n' {DIRECTORY} {DIRECTORY}/vault {DIRECTORY}/agent.toml").out.splitlines()
    assert facts == [
        f"custodock:custodock 750 {DIRECTORY}",
        f"custodock:custodock 750 {DIRECTORY}/vault",
        f"root:custodock 640 {DIRECTORY}/agent.toml",
    ]


def test_systemd_rates_its_exposure_low(dock: Lab) -> None:
    line = dock.run(f"systemd-analyze security {UNIT} --no-pager | tail -n 1").out
    found = re.search(r"exposure level for custodock-agent.service: ([\d.]+)", line)
    assert found, line
    assert float(found[1]) <= EXPOSURE_MAX, line


def test_doctor_and_status_answer_its_user(dock: Lab) -> None:
    answered = dock.run(f"{AS_USER} dock-agent doctor --json --dir {DIRECTORY}", check=False)
    checks = {check["check"]: check["ok"] for check in json.loads(answered.out)}
    # nothing disciplines the clock of the virtual dock, and doctor says so
    wanted = {"settings": True, "key": True, "database": True, "vault": True, "clock": False, "broker": True}
    assert {name: checks.get(name) for name in wanted} == wanted, answered.out
    assert answered.code == 1
    status = json.loads(dock.run(f"{AS_USER} dock-agent status --json --dir {DIRECTORY}").out)
    assert (status["running"], status["enrolled"], status["outbox"]["unreceipted"]) == (True, False, 1)


def test_the_sandbox_lets_it_ask_whether_the_clock_is_disciplined(dock: Lab) -> None:
    assert json.loads(dock.run("python3 -", stdin=FIRST_CLOCK.encode()).out) == ["unsynchronised"]


def test_installing_again_changes_and_restarts_nothing(dock: Lab) -> None:
    before = shown(dock, "MainPID", "ActiveEnterTimestamp")
    dock.run(f"{CHECKOUT}/deploy/install agent --wheels {WHEELS}")
    assert shown(dock, "MainPID", "ActiveEnterTimestamp") == before


def test_a_vault_that_belongs_to_somebody_else_is_refused(dock: Lab) -> None:
    dock.run("mkdir -p /srv/other/dir && touch /srv/other/file")
    refused = dock.run(f"{CHECKOUT}/deploy/install agent --dir /srv/other --wheels {WHEELS}", check=False)
    assert refused.code == 1
    assert "belongs to another user" in refused.err
    assert dock.run("stat -c %U /srv/other /srv/other/file").out.split() == ["root", "root"]
    assert shown(dock, "ActiveState") == {"ActiveState": "active"}


def test_a_stuck_agent_is_started_anew(dock: Lab) -> None:
    drop_in = f"/run/systemd/system/{UNIT}.service.d"
    short = "[Service]\nWatchdogSec=10\nTimeoutAbortSec=3\nRestartSec=0\n"
    dock.run(f"mkdir -p {drop_in} && cat > {drop_in}/short.conf && systemctl daemon-reload", stdin=short.encode())
    try:
        dock.run(f"systemctl restart {UNIT}")
        stopped = shown(dock, "MainPID")["MainPID"]
        dock.run(f"kill -STOP {stopped}")
        deadline = time.monotonic() + 150
        while (now := shown(dock, "MainPID", "ActiveState", "NRestarts")) != {
            **now,
            "ActiveState": "active",
            "NRestarts": "1",
        }:
            assert time.monotonic() < deadline, now
            time.sleep(1)
        assert now["MainPID"] != stopped
        assert "Watchdog timeout" in dock.run(f"journalctl -u {UNIT} --no-pager").out
    finally:
        dock.run(f"rm {drop_in}/short.conf && systemctl daemon-reload && systemctl restart {UNIT}")


def test_removing_leaves_the_footage(own_dock: Lab) -> None:
    clip = f"{DIRECTORY}/vault/CAM1/clip.mp4"
    own_dock.run(f"{AS_USER} mkdir {DIRECTORY}/vault/CAM1 && {AS_USER} dd if=/dev/urandom of={clip} bs=1M count=1")
    files = f"sha256sum {clip} {DIRECTORY}/station.key {DIRECTORY}/agent.toml && stat -c '%U %a %n' {clip}"
    before = own_dock.run(files).out
    said = own_dock.run(f"{CHECKOUT}/deploy/install agent --uninstall").out
    assert DIRECTORY in said
    left = own_dock.run(
        f"ls -d /opt/custodock /usr/local/bin/* /etc/systemd/system/{UNIT}* /etc/udev/rules.d/* /etc/*/custodock*",
        check=False,
    ).out
    assert left == ""
    assert own_dock.run(files).out == before
    own_dock.run(f"test -s {DIRECTORY}/station.db && ! systemctl cat {UNIT}")


@pytest.mark.slow_vm
def test_a_whole_installation_on_bare_debian(bare_dock: Lab) -> None:
    """Without the environment that `installed_dock` brings along: pip, offline, hash by hash; then a real boot."""
    put_checkout(bare_dock)
    bare_dock.run(f"{CHECKOUT}/deploy/install agent --wheels {WHEELS}", timeout=900)
    assert shown(bare_dock, "ActiveState") == {"ActiveState": "active"}
    bare_dock.run("sync")
    bare_dock.power_cut()
    bare_dock.boot()
    bare_dock.run(f"for i in $(seq 120); do systemctl is-active {UNIT} && exit; sleep 1; done; exit 1", timeout=200)


@pytest.mark.slow_vm
def test_a_wheel_that_is_not_in_the_lock_stops_the_installation(bare_dock: Lab) -> None:
    put_checkout(bare_dock)
    bare_dock.run(f"for f in {WHEELS}/watchdog-*.whl; do printf x >> $f; done")
    refused = bare_dock.run(f"{CHECKOUT}/deploy/install agent --wheels {WHEELS}", check=False, timeout=900)
    assert refused.code == 1
    assert "DO NOT MATCH THE HASHES" in refused.err
    assert "watchdog==" in refused.err
    assert bare_dock.run("ls /opt/custodock").out == ""
