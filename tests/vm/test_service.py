"""The installed service before a real systemd: its user, its sandbox, its watchdog, its commands."""

import json
import re
import shutil
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.vm.conftest import CardBox
from tests.vm.dock import CHECKOUT, WHEELS, put_checkout
from tests.vm.image import ROOT
from tests.vm.lab import Lab

UNIT, SMART = "custodock-agent", "custodock-smart"
PYTHON = "/opt/custodock/current/bin/python"
LED = "/sys/class/leds/input0::capslock"  # the virtual dock has no other
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


@pytest.mark.parametrize("unit", [UNIT, SMART])
def test_systemd_rates_its_exposure_low(dock: Lab, unit: str) -> None:
    line = dock.run(f"systemd-analyze security {unit} --no-pager | tail -n 1").out
    found = re.search(rf"exposure level for {unit}.service: ([\d.]+)", line)
    assert found, line
    assert float(found[1]) <= EXPOSURE_MAX, line


def test_lights_and_nothing_else_of_the_kernel_are_its_to_set(dock: Lab) -> None:
    pid = shown(dock, "MainPID")["MainPID"]
    inside = f"nsenter --target {pid} --mount -- {AS_USER}"  # its user, in its own view of the file system

    def show(parts: str, blink: str) -> list[str]:
        imports = "from pathlib import Path; from agent.leds import _set"
        dock.run(f'{inside} {PYTHON} -c "{imports}; _set(Path({LED!r}), frozenset({parts}), {blink})"')
        read = "cat brightness delay_on delay_off; grep -o '\\[.*\\]' trigger"
        return dock.run(f"cd {LED} && {read}", check=False).out.split()

    assert show("['red']", "(300, 700)")[-3:] == ["300", "700", "[timer]"]
    assert show("['red']", "(200, 1800)")[-3:] == ["200", "1800", "[timer]"]  # its files are new each time
    assert show("['red']", "None") == ["1", "[none]"]
    assert show("[]", "None") == ["0", "[none]"]
    writable = "find /sys -type f -writable ! -path '*/leds/*' ! -path '*::*' 2>/dev/null | head"
    assert dock.run(f'{inside} sh -c "{writable}"').out == ""


@pytest.mark.skipif(shutil.which("smartctl") is None, reason="needs smartmontools; deploy/check installs it")
def test_what_the_vaults_disk_says_reaches_the_agent_without_a_right_of_its_own(dock: Lab) -> None:
    dock.run(
        "cat > /usr/sbin/smartctl && chmod 755 /usr/sbin/smartctl",
        stdin=Path(str(shutil.which("smartctl"))).read_bytes(),
    )
    try:
        assert "active" in dock.run(f"systemctl is-active {SMART}.timer").out
        dock.run(f"systemctl start {SMART}", timeout=200)
        report = "/run/custodock-smart/report.json"
        assert dock.run(f"stat -c '%U:%G %a' {report}").out.split() == ["root:custodock", "640"]
        read = (
            "from agent.smart_report import *; from agent.smart import read_smart; "
            "print([read_smart(n, a).signs for n, a in read_report(REPORT, now()).items()])"
        )
        said = dock.run(f'{AS_USER} {PYTHON} -c "{read}"').out
        assert said.startswith("[('unasked: /dev/vdb: "), said  # a virtual disk knows no SMART, and smartctl says so
    finally:
        dock.run("rm /usr/sbin/smartctl")


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


def test_the_readmes_steps_make_a_dock_that_works(own_dock: Lab, cards: CardBox) -> None:
    commands, settings = readme_steps()
    install, bays, officer, restart = commands
    assert install == "deploy/install agent"
    own_dock.run(f"{CHECKOUT}/deploy/install agent --wheels {WHEELS}", timeout=300)
    card = cards.card("vfat", "mbr")
    own_dock.plug(card.image, slot=3)
    [line] = own_dock.run(f"{bays} --once").out.splitlines()
    port, *said = line.split("  ")
    assert said[:2] == ["未设置 / not set up", "storage"]
    own_dock.run(f"cat >> {DIRECTORY}/agent.toml", stdin=settings.replace("0000:01:00.0-usb2-1.2", port).encode())
    assert "1001: 完成 / done" in own_dock.run(officer, stdin=b"2468\n").out
    own_dock.run(restart)
    bay = until_judged(own_dock)
    assert bay["title"][0] == "可以取下"
    shown_officers = f"{AS_USER} dock-agent officer --dir {DIRECTORY} --json"
    assert [one["name"] for one in json.loads(own_dock.run(shown_officers).out)] == ["张伟"]
    cameras = json.loads(own_dock.run(f"{AS_USER} dock-agent camera --dir {DIRECTORY} --json").out)
    assert [one["camera"] for one in cameras] == [bay["camera"]]


def until_judged(dock: Lab) -> dict[str, Any]:
    """The first bay as the dock's screen shows it, once its camera is copied and judged."""
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8766/state').read().decode())"
    deadline = time.monotonic() + 200
    while True:
        said = dock.run(f'python3 -c "{ask}"', check=False)  # the screen comes a moment after the agent
        bay: dict[str, Any] = json.loads(said.out)["bays"][0] if said.code == 0 else {"state": said.err}
        if bay["state"] == "safe" and bay["verdict"]:
            return bay
        assert time.monotonic() < deadline, bay
        time.sleep(1)


def readme_steps() -> tuple[list[str], str]:
    """The commands of the README's section on a station, without sudo, and its settings."""
    text = (ROOT / "README.md").read_text("utf-8").partition("## A docking station")[2].partition("![")[0]
    blocks = [part for part in text.split("\n\n") if part.startswith("    ")]
    commands = [line.partition("  #")[0].strip() for line in blocks[0].splitlines() if "sudoedit" not in line]
    plain = [c.removeprefix("sudo ").replace("-u custodock", AS_USER) for c in commands]
    return plain, textwrap.dedent(blocks[1]) + "\n"


def test_removing_leaves_the_footage(own_dock: Lab) -> None:
    own_dock.run(f"{CHECKOUT}/deploy/install agent --wheels {WHEELS} --recorder FFFF:0001", timeout=300)
    allowed = own_dock.run(f"systemctl show {UNIT} --property=DeviceAllow").out
    assert "char-166 rw" in allowed
    assert 'ATTR{idVendor}=="ffff"' in own_dock.run("cat /etc/udev/rules.d/91-custodock-recorders.rules").out
    clip = f"{DIRECTORY}/vault/CAM1/clip.mp4"
    own_dock.run(f"{AS_USER} mkdir {DIRECTORY}/vault/CAM1 && {AS_USER} dd if=/dev/urandom of={clip} bs=1M count=1")
    files = f"sha256sum {clip} {DIRECTORY}/station.key {DIRECTORY}/agent.toml && stat -c '%U %a %n' {clip}"
    before = own_dock.run(files).out
    said = own_dock.run(f"{CHECKOUT}/deploy/install agent --uninstall").out
    assert DIRECTORY in said
    left = own_dock.run(
        "ls -d /opt/custodock /usr/local/bin/* /etc/systemd/system/custodock* /run/custodock-smart /etc/udev/rules.d/* "
        "/etc/*/custodock*",
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
