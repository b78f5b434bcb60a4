"""A card in a slot of the installed dock: protected at once, and copied bit for bit by the agent's own user."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from tests.vm.cameras import Card, FileSystem, Table, truth_on
from tests.vm.conftest import CardBox
from tests.vm.lab import Lab, Plugged

AS_USER = "runuser -u custodock --"
AGENT = "/opt/custodock/current/bin/dock-agent"
MORE = [("vfat", "none"), ("exfat", "none"), ("ext4", "mbr")]
KINDS = [
    ("vfat", "mbr"), ("exfat", "gpt"), ("ext4", "none"),
    *(pytest.param(*kind, marks=pytest.mark.slow_vm) for kind in MORE),
]  # fmt: skip


def devices(plugged: Plugged, table: Table) -> list[str]:
    return [plugged.disk] if table == "none" else [plugged.disk, f"{plugged.disk}-part1"]


def digest(image: Path) -> str:
    with image.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize(("file_system", "table"), KINDS)
def test_a_card_is_protected_and_copied_whole(dock: Lab, cards: CardBox, file_system: FileSystem, table: Table) -> None:
    card = cards.card(file_system, table)
    before = digest(card.image)
    plugged = dock.plug(card.image, slot=3)
    for device in devices(plugged, table):
        assert dock.run(f"blockdev --getro {device}").out.strip() == "1"
        assert dock.run(f"stat -L -c '%U:%G %a' {device}").out.strip() == "root:custodock 440"
        assert "UDISKS_IGNORE=1" in dock.run(f"udevadm info --query=property {device}").out.splitlines()
        written = dock.run(f"dd if=/dev/zero of={device} bs=512 count=1 conv=notrunc", check=False)
        assert written.code != 0, "root wrote to a card"
    vault = f"/var/lib/custodock/by-hand-{file_system}-{table}"
    command = f"{AS_USER} {AGENT} offload {plugged.disk} --vault {vault} --camera CAM1 --json"
    outcome = json.loads(dock.run(command, timeout=300).out)
    assert outcome["complete"], outcome
    assert_copied(dock, vault, "CAM1", card)
    assert dock.run(f"findmnt --source $(readlink -f {plugged.disk})", check=False).out == ""
    dock.unplug(plugged)
    assert digest(card.image) == before, "the card was written to"


def assert_copied(dock: Lab, vault: str, camera: str, card: Card) -> None:
    """The vault holds exactly what the card held, and sha256sum agrees with what was written beside it."""
    [folder] = dock.run(f"ls -d {vault}/{camera}/*/*/*/*").out.split()
    copied = truth_on(dock, folder)
    assert copied.pop("SHA256SUMS")
    assert copied == card.truth
    dock.run(f"cd {folder} && sha256sum --quiet --check SHA256SUMS")


def test_the_units_sandbox_is_wide_enough_for_a_whole_offload(dock: Lab, cards: CardBox) -> None:
    """The unit as installed, its command alone exchanged: devices, vault, worker and media parser all work in it."""
    card = cards.card("vfat", "mbr")
    plugged = dock.plug(card.image, slot=5)
    vault = "/var/lib/custodock/by-unit"
    command = f"{AGENT} offload {plugged.disk} --vault {vault} --camera CAM2"
    unit = "/run/systemd/system/by-unit.service"
    dock.run(
        f"sed -e 's|^ExecStart=.*|ExecStart={command}|' -e 's/^Type=.*/Type=oneshot/' -e '/^Restart/d' "
        f"-e '/^Watchdog/d' /etc/systemd/system/custodock-agent.service > {unit} && systemctl daemon-reload"
    )
    started = dock.run("systemctl start by-unit.service", check=False, timeout=300)
    assert started.code == 0, dock.run("journalctl -u by-unit --no-pager").out
    assert_copied(dock, vault, "CAM2", card)
    lines = dock.run(f"cat {vault}/CAM2/*/*/*/*/.custody/manifest.jsonl").out.splitlines()
    envelopes = [entry["envelope"] for entry in map(json.loads, lines) if "envelope" in entry]
    seals = [base64.b64decode(envelope["payload"]).decode() for envelope in envelopes]
    clips = [seal for seal in seals if '"container":"MPEG-4"' in seal]
    assert len(clips) >= 5, "the media parser does not work in the sandbox"


def test_a_station_disk_stays_writable(dock: Lab, cards: CardBox) -> None:
    """A USB disk that the installer has listed as the station's own is no card."""
    rules = "/etc/udev/rules.d/90-custodock-own.rules"
    own = 'SUBSYSTEM=="block", ENV{ID_SERIAL_SHORT}=="OWNDISK", ENV{CUSTODOCK_OWN}="1"\n'
    dock.run(f"cp {rules} /run/own.saved && cat >> {rules} && udevadm control --reload", stdin=own.encode())
    try:
        plugged = dock.plug(cards.card("ext4", "none").image, slot=6, serial="OWNDISK")
        assert dock.run(f"blockdev --getro {plugged.disk}").out.strip() == "0"
        assert dock.run(f"stat -L -c '%G' {plugged.disk}").out.strip() == "disk"
    finally:
        dock.run(f"cp /run/own.saved {rules} && udevadm control --reload")
