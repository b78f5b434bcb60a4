"""`dock-agent offload ptp:usb:…` as its user runs it, down to the calls to usbfs, which umockdev answers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.ptpdata import Operation
from tests.integration.test_offload import footage, verify
from tests.ptp.camera import SoftCamera
from tests.ptp.usb import UsbCamera, UsbQuirks
from tests.ptp.usbfs import UsbfsBed

MIB = 1 << 20


@pytest.fixture
def camera() -> SoftCamera:
    return SoftCamera(storages={0x10001: "Internal", 0x20001: "SD"}, serial="C350132", battery=63)


@pytest.fixture
def bed(camera: SoftCamera) -> Iterator[UsbfsBed]:
    with UsbfsBed(UsbCamera(camera)) as bed:
        yield bed


def run(bed: UsbfsBed, *argv: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", *argv], env={**os.environ, **bed.environment}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def offload(bed: UsbfsBed, vault: Path) -> tuple[int, dict[str, Any]]:
    return run(bed, "agent.app", "offload", f"ptp:{bed.PORT}", "--vault", str(vault), "--camera", "C350132", "--json")


def manifest(vault: Path) -> list[dict[str, Any]]:
    (path,) = vault.glob("*/*/*/*/*/.custody/manifest.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_stores_arrive_sealed_and_a_second_docking_finds_them_saved(
    camera: SoftCamera, bed: UsbfsBed, tmp_path: Path
) -> None:
    folder = camera.folder("100MEDIA", camera.folder("DCIM", storage=0x20001), storage=0x20001)
    for name, size in (("执法_001.MP4", 5 * MIB + 3), ("EMPTY.MP4", 0), ("SHORT.MP4", 77)):
        camera.add(name, folder, storage=0x20001, size=size)
    camera.add("inside.log", size=1000)
    truth = {
        f"store_{thing.storage:08x}{'/DCIM/100MEDIA' if thing.parent else ''}/{thing.name}": thing.read(0, thing.size)
        for thing in camera.things.values()
        if isinstance(thing.name, str) and "." in thing.name
    }
    code, result = offload(bed, tmp_path / "vault")
    assert (code, result["complete"], result["copied"]) == (0, True, 4)
    assert footage(tmp_path / "vault") == truth
    header = manifest(tmp_path / "vault")[0]
    assert (header["source_kind"], header["labels"]) == ("ptp", ["Internal", "SD"])
    assert verify(tmp_path / "vault") == 0
    assert camera.asked[-1] == Operation.CLOSE_SESSION
    assert not bed.claimed
    code, result = offload(bed, tmp_path / "vault")
    assert (code, result["copied"], result["already_saved"]) == (0, 0, 4)


def test_a_phone_with_adb_beside_mtp(tmp_path: Path) -> None:
    camera = SoftCamera()
    camera.add("A.MP4", size=MIB)
    with UsbfsBed(UsbCamera(camera, UsbQuirks(vendor_class=True))) as bed:
        code, result = offload(bed, tmp_path / "vault")
    assert (code, result["copied"]) == (0, 1)


def test_a_stall_costs_its_page_and_is_in_seal_and_manifest(camera: SoftCamera, bed: UsbfsBed, tmp_path: Path) -> None:
    camera.stall_bad = True
    camera.add("BAD.MP4", size=2 * MIB, bad=[(MIB + 8192, 1)])
    camera.add("GOOD.MP4", size=2 * MIB)
    code, result = offload(bed, tmp_path / "vault")
    assert (code, result["reason"], result["copied"]) == (1, "gaps", 2)
    copied = footage(tmp_path / "vault")
    bad = bytearray(camera.things[0x11].read(0, 2 * MIB))
    bad[MIB + 8192 : MIB + 12288] = bytes(4096)
    assert copied == {
        "store_00010001/BAD.MP4": bytes(bad), "store_00010001/GOOD.MP4": camera.things[0x12].read(0, 2 * MIB),
    }  # fmt: skip


def test_what_a_listing_hides_keeps_the_docking_from_being_complete(
    camera: SoftCamera, bed: UsbfsBed, tmp_path: Path
) -> None:
    camera.unlistable = {camera.folder("100BAD")}
    camera.add("A.MP4", size=10, held=20)
    code, result = offload(bed, tmp_path / "vault")
    assert (code, result["reason"], result["copied"]) == (1, "unreadable_parts", 1)
    findings = {line["finding"] for line in manifest(tmp_path / "vault") if "finding" in line}
    assert findings == {"unreadable_directory", "unreadable_entry"}
    assert len(footage(tmp_path / "vault")["store_00010001/A.MP4"]) == 20


def test_pulled_out_and_put_back_it_goes_on_where_it_stopped(camera: SoftCamera, tmp_path: Path) -> None:
    camera.add("LONG.MP4", size=60 * MIB)
    camera.unplug_after = 50 * MIB
    with UsbfsBed(UsbCamera(camera)) as bed:
        code, result = offload(bed, tmp_path / "vault")
    assert (code, result["reason"]) == (3, "source_gone")
    assert not footage(tmp_path / "vault")
    camera.unplug_after, camera.sent = None, 0
    with UsbfsBed(UsbCamera(camera)) as bed:
        code, result = offload(bed, tmp_path / "vault")
    assert (code, result["copied"]) == (0, 1)
    assert camera.sent < 40 * MIB
    (copy,) = footage(tmp_path / "vault").values()
    assert hashlib.sha256(copy).digest() == hashlib.sha256(camera.things[0x11].read(0, 60 * MIB)).digest()


def test_a_pull_while_the_camera_is_silent(camera: SoftCamera, bed: UsbfsBed, tmp_path: Path) -> None:
    """The worker waits in the kernel for data; the camera leaves without another byte."""
    camera.add("LONG.MP4", size=400 * MIB)

    def pull() -> None:
        while camera.sent < 3 * MIB:
            time.sleep(0.01)
        camera.unplug_after = 0

    thread = threading.Thread(target=pull)
    thread.start()
    code, result = offload(bed, tmp_path / "vault")
    thread.join()
    assert (code, result["reason"]) == (3, "source_gone")


@pytest.mark.parametrize("port", ["usb:001,009", "usb:1", "ip:10.0.0.1"])
def test_no_such_port(bed: UsbfsBed, tmp_path: Path, port: str) -> None:
    code, result = run(
        bed, "agent.app", "offload", f"ptp:{port}", "--vault", str(tmp_path / "v"), "--camera", "C", "--json"
    )
    assert (code, result["error"]) in ((3, "source_unreadable"), (3, "source_gone"))
    assert result["zh"]
    assert result["en"]


def test_a_camera_that_answers_nothing_is_said_to_be_mute(tmp_path: Path) -> None:
    camera = SoftCamera(busy=10_000)
    with UsbfsBed(UsbCamera(camera)) as bed:
        code, result = offload(bed, tmp_path / "vault")
    assert (code, result["error"]) == (3, "source_unreadable")


def test_facts_in_a_process_of_their_own(camera: SoftCamera, bed: UsbfsBed) -> None:
    code, facts = run(bed, "agent.ptp_facts", bed.PORT)
    assert (code, facts) == (0, {
        "battery_percent": 63, "clock": "2026-03-02T09:15:30", "serial": "C350132", "model": "Softcam 1",
        "manufacturer": "Custodock", "version": "1.0",
    })  # fmt: skip
    camera.battery = None
    assert run(bed, "agent.ptp_facts", bed.PORT)[1]["battery_percent"] is None
    code, error = run(bed, "agent.ptp_facts", "usb:001,009")
    assert (code, error["error"]) == (3, "source_gone")
