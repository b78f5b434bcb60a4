"""A card in a slot of the installed dock: protected at once, and copied bit for bit by the agent's own user."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from tests.ptp.camera import SoftCamera
from tests.ptp.usb import UsbCamera
from tests.vm.cameras import FileSystem, Table, truth_on
from tests.vm.conftest import CardBox
from tests.vm.dock import CHECKOUT, WHEELS
from tests.vm.lab import Lab
from tests.vm.slots import Plugged

AS_USER = "runuser -u custodock --"
AGENT = "/opt/custodock/current/bin/dock-agent"
KINDS = [("vfat", "mbr"), ("exfat", "gpt"), ("ext4", "none")]
MORE = [("vfat", "none"), ("exfat", "none"), ("ext4", "mbr")]


def devices(plugged: Plugged, table: Table) -> list[str]:
    return [plugged.disk] if table == "none" else [plugged.disk, f"{plugged.disk}-part1"]


def digest(image: Path) -> str:
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize(
    ("file_system", "table"), [*KINDS, *(pytest.param(*kind, marks=pytest.mark.slow_vm) for kind in MORE)]
)
def test_a_card_is_protected_and_copied_whole(dock: Lab, cards: CardBox, file_system: FileSystem, table: Table) -> None:
    """FAT goes through the unit as installed, the other kinds by the hand of the agent's user."""
    card = cards.card(file_system, table)
    before = digest(card.image)
    plugged = dock.plug(card.image, slot=3)
    for device in devices(plugged, table):
        assert_protected(dock, device)
    vault = f"/var/lib/custodock/test-{file_system}-{table}"
    command = f"{AGENT} offload {plugged.disk} --vault {vault} --camera CAM1"
    if file_system == "vfat":
        run_in_sandbox(dock, command)
    else:
        assert json.loads(dock.run(f"{AS_USER} {command} --json", timeout=300).out)["complete"]
    folder = docking(dock, vault)
    copied = truth_on(dock, folder)
    assert copied.pop("SHA256SUMS")
    assert copied == card.truth
    dock.run(f"cd {folder} && sha256sum --quiet --check SHA256SUMS")
    assert clips_understood(dock, folder) == 4, "the media parser does not work"
    assert dock.run(f"findmnt --source $(readlink -f {plugged.disk})", check=False).out == ""
    dock.unplug(plugged)
    assert digest(card.image) == before, "the card was written to"


def assert_protected(dock: Lab, device: str) -> None:
    """Read-only to the kernel, readable by the agent's group, and not for desktops."""
    assert dock.run(f"blockdev --getro {device}").out.strip() == "1"
    assert dock.run(f"stat -L -c '%U:%G %a' {device}").out.strip() == "root:custodock 440"
    assert "UDISKS_IGNORE=1" in dock.run(f"udevadm info --query=property {device}").out.splitlines()
    written = dock.run(f"dd if=/dev/zero of={device} bs=512 count=1 conv=notrunc", check=False)
    assert written.code != 0, "root wrote to a card"


def run_in_sandbox(dock: Lab, command: str) -> None:
    """The unit as installed, its command alone exchanged: devices, vault, worker and media parser must work in it."""
    make_sandboxed(dock, command)
    started = dock.run("systemctl start by-unit.service", check=False, timeout=300)
    assert started.code == 0, dock.run("journalctl -u by-unit --no-pager").out


def make_sandboxed(dock: Lab, command: str) -> None:
    """by-unit.service, which runs `command` once."""
    unit = "/run/systemd/system/by-unit.service"
    dock.run(
        f"sed -e 's|^ExecStart=.*|ExecStart={command}|' -e 's/^Type=.*/Type=oneshot/' -e '/^Restart/d' "
        f"-e '/^Watchdog/d' /etc/systemd/system/custodock-agent.service > {unit} && systemctl daemon-reload"
    )


def docking(dock: Lab, vault: str) -> str:
    """The folder of the only docking in a vault."""
    [folder] = dock.run(f"ls -d {vault}/CAM1/*/*/*/*").out.split()
    return folder


def clips_understood(dock: Lab, folder: str) -> int:
    """The seals that say what the media parser found: whole clips, one more that was cut off and is none."""
    entries = map(json.loads, dock.run(f"cat {folder}/.custody/manifest.jsonl").out.splitlines())
    seals = [base64.b64decode(entry["envelope"]["payload"]).decode() for entry in entries if "envelope" in entry]
    return sum('"container":"MPEG-4"' in seal and '"duration_ms":2000' in seal for seal in seals)


PROBE = """
import json, os, pyudev, sys
monitor = pyudev.Monitor.from_netlink(pyudev.Context())
monitor.filter_by("block", "disk")
monitor.filter_by("usb", "usb_device")
monitor.start()
open("/var/lib/custodock/listening", "w").close()
disk = monitor.poll(100)
while disk is not None and (disk.subsystem != "block" or disk.action != "add"):
    disk = monitor.poll(100)

def outcome(path, flags):
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return error.strerror
    return "opened"

camera = next(d.device_node for d in pyudev.Context().list_devices(subsystem="usb") if d.get("ID_VENDOR_ID") == "2672")
print(json.dumps({
    "path": disk.get("ID_PATH"),
    "read": outcome(disk.device_node, os.O_RDONLY),
    "write": outcome(disk.device_node, os.O_RDWR),
    "system disk": outcome("/dev/vda", os.O_RDONLY),
    "camera": outcome(camera, os.O_RDWR),
    "etc": outcome("/etc/x", os.O_CREAT),
}), file=open("/var/lib/custodock/heard", "w"))
"""


def test_the_sandbox_hears_udev_and_opens_only_cards_and_cameras(dock: Lab, cards: CardBox) -> None:
    """What the agent will need for hot-plug, by its own Python and libraries in its own unit."""
    dock.plug_soft(UsbCamera(SoftCamera()), slot=1)
    dock.run("for i in $(seq 100); do grep -q 2672 /sys/bus/usb/devices/*/idVendor && exit; sleep .1; done; exit 1")
    dock.run("cat > /usr/local/lib/probe.py; rm -f /var/lib/custodock/{listening,heard}", stdin=PROBE.encode())
    make_sandboxed(dock, "/opt/custodock/current/bin/python /usr/local/lib/probe.py")
    dock.run("chmod o+r /dev/vda")  # so that only the unit's device list stands in the way
    dock.run("systemctl start --no-block by-unit.service")
    dock.run("for i in $(seq 600); do [ -e /var/lib/custodock/listening ] && exit; sleep .1; done; exit 1")
    card = dock.plug(cards.card("ext4", "none").image, slot=4)
    dock.run(
        "for i in $(seq 600); do [ -s /var/lib/custodock/heard ] && exit; sleep .1; done; journalctl -u by-unit; exit 1"
    )
    dock.run("chmod o-r /dev/vda")
    assert json.loads(dock.run("cat /var/lib/custodock/heard").out) == {
        "path": card.path,
        "read": "opened",
        "write": "Permission denied",
        "system disk": "Operation not permitted",
        "camera": "opened",
        "etc": "Read-only file system",
    }


def test_the_stations_own_disk_stays_writable(dock: Lab, cards: CardBox) -> None:
    """A USB disk named to the installer is no card; another one with the same serial is."""
    mine, other = cards.card("vfat", "mbr").image, cards.card("exfat", "gpt").image
    plugged = dock.plug(mine, slot=6, serial="OWN")
    rules = "/etc/udev/rules.d/90-custodock-own.rules"
    install = f"{CHECKOUT}/deploy/install agent --wheels {WHEELS} --own-disk $(readlink -f {plugged.disk})"
    dock.run(f"cp {rules} /run/own.saved && {install}")
    try:
        dock.unplug(plugged)
        plugged = dock.plug(mine, slot=2, serial="OWN")
        for device in devices(plugged, "mbr"):
            assert dock.run(f"blockdev --getro {device}").out.strip() == "0"
            assert dock.run(f"stat -L -c %G {device}").out.strip() == "disk"
        assert_protected(dock, dock.plug(other, slot=3, serial="OWN").disk)
    finally:
        dock.run(f"cp /run/own.saved {rules} && udevadm control --reload")
