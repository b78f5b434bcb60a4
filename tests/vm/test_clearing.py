"""custodock-clear as installed, on a USB card of the virtual dock: its sandbox, who may ask, and the read-only flag."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.card import open_source
from custody.checkpoint import parse_key_line
from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.stationevents import DockingClosed
from tests.integration.cards import digests
from tests.release_case import COMMAND_KEY, LOG_KEY, Command, Log, release_body, seal_release
from tests.vm.cameras import FileSystem, Table
from tests.vm.conftest import CardBox
from tests.vm.lab import Lab
from tests.vm.test_cards import AGENT, AS_USER, assert_protected, devices, docking

PYTHON = "/opt/custodock/current/bin/python"
# What `timedatectl` would say after NTP: the kernel's clock counts as synchronised for some hours.
SYNCHRONISE = """
import ctypes
class Timex(ctypes.Structure):
    _fields_ = [("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("frequency", ctypes.c_long),
                ("max_error", ctypes.c_long), ("estimated_error", ctypes.c_long), ("status", ctypes.c_int),
                ("rest", ctypes.c_byte * 512)]
timex = Timex(modes=0x10 | 0x04 | 0x08)
assert ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) == 0
"""
CLIENT = """
import json, sys
from pathlib import Path
from agent.clearclient import ClearClient, connect
from custody.release import ReleaseRefused
device, command, closed, manifest, copies = sys.argv[1:]
said = []
try:
    client = ClearClient(connect)
    said.append(client.open(device, Path(command).read_bytes(), Path(closed).read_bytes(), Path(manifest)))
    for entry, copy in json.loads(copies):
        client.delete(entry, copy.encode())
    said.append(client.finish())
except ReleaseRefused as error:
    said.append([error.rule, error.detail])
print(json.dumps(said))
"""


@pytest.mark.slow_vm
@pytest.mark.parametrize(("file_system", "table"), [("vfat", "mbr"), ("exfat", "gpt")])
def test_the_installed_program_clears_a_card_and_locks_it_again(
    dock: Lab, cards: CardBox, file_system: FileSystem, table: Table, tmp_path: Path
) -> None:
    card = cards.card(file_system, table)
    image = tmp_path / "card.img"
    image.write_bytes(card.image.read_bytes())  # this one is written to
    before = image.read_bytes()
    plugged = dock.plug(image, slot=3)
    vault = f"/var/lib/custodock/clear-{file_system}"
    offloaded = dock.run(f"{AS_USER} {AGENT} offload {plugged.disk} --vault {vault} --camera CAM1 --json", timeout=300)
    assert json.loads(offloaded.out)["complete"]
    folder = docking(dock, vault)
    dock.get(f"{folder}/.custody", tmp_path)
    custody = tmp_path / ".custody"
    station = parse_key_line((custody / "station.vkey").read_text()).name
    closed_raw = (custody / "completed.dsse.json").read_bytes()
    command, copies = authorisation(custody, station, closed_raw, vault)
    for name, content in (("command", command), ("closed", closed_raw)):
        dock.run(f"cat > /run/{name} && chmod 644 /run/{name}", stdin=content)
    dock.run("cat > /run/client.py && chmod 644 /run/client.py", stdin=CLIENT.encode())
    dock.run(f"date -s @{int(time.time())} && python3 -", stdin=SYNCHRONISE.encode())
    device = dock.run(f"readlink -f {plugged.disk}").out.strip()
    wanted = copies[1:]  # one stays
    ask = (
        f"{PYTHON} /run/client.py {device} /run/command /run/closed {folder}/.custody/manifest.jsonl "
        f"'{json.dumps(wanted)}'"
    )

    def asked(user: str) -> list[object]:
        said: list[object] = json.loads(dock.run(f"runuser -u {user} -- {ask}", timeout=300).out)
        return said

    assert asked("custodock")[0][0] == "clearing_unavailable"  # type: ignore[index]  # installed, and off
    switched_on = (
        f"custodock-clear pin --station {station} --command-key '{COMMAND_KEY.verify_key.line}' "
        f"--log-key '{LOG_KEY.verify_key.line}' && systemctl start custodock-clear.socket"
    )
    dock.run(switched_on)
    try:
        assert asked("root")[0][0] == "not_the_agent"  # type: ignore[index]
        assert asked("nobody")[0][0] == "clearing_unavailable"  # type: ignore[index]
        assert dock.run(f"sha256sum {device}").out.split()[0] == hashlib.sha256(before).hexdigest()
        said = asked("custodock")
        assert said == [len(copies), True], dock.run("journalctl -u 'custodock-clear@*' --no-pager | tail -30").out
        dock.run("for i in $(seq 100); do systemctl is-active -q 'custodock-clear@*' || exit 0; sleep .1; done; exit 1")
        for node in devices(plugged, table):
            assert_protected(dock, node)
        assert asked("custodock")[0][0] == "already_used"  # type: ignore[index]
    finally:
        dock.run("systemctl stop custodock-clear.socket; rm -rf /etc/custodock/clear.json /var/lib/custodock-clear")
    dock.unplug(plugged)
    source = open_source(image)
    kept = copies[0][1].removeprefix(f"{folder}/")
    assert digests(source) == {kept: card.truth[kept]}
    source.close()
    after = image.read_bytes()
    assert 0 < sum(after[at : at + 512] != before[at : at + 512] for at in range(0, len(after), 512)) < 60


def authorisation(custody: Path, station: str, closed_raw: bytes, vault: str) -> tuple[bytes, list[tuple[int, str]]]:
    """The hub's command for all of the docking, and (entry, vault copy) of its files; the first of them is to stay."""
    envelope = parse_envelope(closed_raw)
    closed = decode_event(envelope.payload_type, envelope.payload)
    assert isinstance(closed, DockingClosed)
    log, copies = Log(), list[tuple[int, str]]()
    for line in (custody / "manifest.jsonl").read_bytes().splitlines():
        body = json.loads(line)
        if "envelope" in body:
            statement = json.loads(base64.b64decode(body["envelope"]["payload"]))
            copies.append((body["entry"], f"{vault}/{statement['subject'][0]['name']}"))
            log.add(json.dumps(body["envelope"], separators=(",", ":")).encode())
    at = log.add(closed_raw)
    release = release_body(log, closed_raw, closed, [(1, len(copies))], at)
    now = datetime.now(UTC)
    command = seal_release(log, Command(station, release, now - timedelta(minutes=5)))
    return command, copies
