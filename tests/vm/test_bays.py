"""Cameras plugged into the installed dock for real: seen, recognised, copied whole, receipted, shown."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.ptp.camera import SoftCamera, generated
from tests.ptp.usb import UsbCamera
from tests.vm import cameras
from tests.vm.bay_station import BayStation
from tests.vm.cameras import FileSystem, Table, truth_on
from tests.vm.conftest import CardBox

EIGHT = range(1, 9)


def folders(station: BayStation, camera: str) -> list[str]:
    """The dockings of a camera in the vault, oldest first."""
    return station.lab.run(f"ls -d {station.vault}/{camera}/*/*/*/*").out.split()


@pytest.mark.parametrize(
    ("file_system", "table"),
    [("vfat", "mbr"), ("exfat", "gpt"), pytest.param("ext4", "none", marks=pytest.mark.slow_vm),
     pytest.param("vfat", "none", marks=pytest.mark.slow_vm), pytest.param("ext4", "mbr", marks=pytest.mark.slow_vm)],
)  # fmt: skip
def test_a_card_plugged_in_is_copied_whole_and_receipted(
    station: BayStation, cards: CardBox, file_system: FileSystem, table: Table
) -> None:
    card, screen = cards.card(file_system, table), station.screen
    mark = screen.mark()
    plugged = station.lab.plug(card.image, slot=3, serial=f"{file_system}{table}1", wait=False)
    screen.until("3", lambda bay: bay["state"] == "copying", since=mark)
    safe = screen.until("3", lambda bay: bay["state"] == "safe" and bay["verdict"], since=mark)
    assert safe["title"][0] == "可以取下"
    assert safe["verdict"]["level"] == "not_ready"  # it tells nothing of its charge
    copied = truth_on(station.lab, folders(station, safe["camera"])[-1])
    assert copied.pop("SHA256SUMS")
    assert copied == card.truth
    station.until_receipted()
    station.lab.unplug(plugged)
    screen.until("3", lambda bay: bay["state"] == "empty", since=screen.mark())
    assert station.events("camera.left.v2")[-1]["offload"] == "safe"


def test_two_luns_are_one_camera(station: BayStation, tmp_path: Path) -> None:
    one = cameras.make_card(tmp_path / "a.img", {"DCIM/A.MP4": cameras.clip(1, cameras.START)})
    two = cameras.make_card(tmp_path / "b.img", {"DCIM/B.MP4": cameras.clip(2, cameras.START)}, table="none")
    mark = station.screen.mark()
    station.lab.plug_luns([one.image, two.image], slot=4, serial="TWOLUNS1")
    safe = station.screen.until("4", lambda bay: bay["state"] == "safe" and bay["verdict"], since=mark)
    seals = [event for event in station.events("segment.sealed.v1") if event["camera_id"] == safe["camera"]]
    assert {seal["sha256"] for seal in seals} == {*one.truth.values(), *two.truth.values()}


def test_a_keyboard_is_refused_and_a_camera_after_it_is_not(station: BayStation, cards: CardBox) -> None:
    mark = station.screen.mark()
    keyboard = station.lab.plug_keyboard(slot=5)
    refused = station.screen.until("5", lambda bay: bay["state"] == "refused", since=mark)
    assert refused["remark"][0] == "这是键盘或鼠标类设备"
    assert station.events("device.refused.v1")[-1]["reason"] == "keyboard"
    station.lab.unplug(keyboard)
    station.lab.plug(cards.card("vfat", "mbr").image, slot=5, serial="AFTERKBD", wait=False)
    station.screen.until("5", lambda bay: bay["state"] == "safe", since=station.screen.mark())


def test_a_ptp_camera_is_copied_and_its_battery_decides(station: BayStation) -> None:
    camera = SoftCamera(serial="PTP00083", battery=83, clock=None)
    folder = camera.folder("DCIM")
    handle = camera.add("GX010001.MP4", folder, size=700_001)
    mark = station.screen.mark()
    station.lab.plug_soft(UsbCamera(camera), slot=6)
    safe = station.screen.until("6", lambda bay: bay["state"] == "safe" and bay["verdict"], since=mark)
    assert safe["charge"]["percent"] == 83
    seal = next(one for one in station.events("segment.sealed.v1") if one["camera_id"] == safe["camera"])
    assert seal["sha256"] == hashlib.sha256(generated(0, 700_001, salt=handle)).hexdigest()
    checked = station.events("camera.checked.v1")[-1]
    assert (checked["charge"]["method"], checked["charge"]["origin"]) == ("ptp", "reported")
    assert "charge_low" not in checked["reasons"]
    camera.battery = 15  # asked again every minute
    low = station.screen.until("6", lambda bay: bay["charge"] and bay["charge"]["percent"] == 15, since=mark)
    assert low["verdict"]["level"] == "not_ready"
    assert "charge_low" in station.events("camera.checked.v1")[-1]["reasons"]
