"""What does not happen every day: two cameras of one serial, clocks lost or ahead, the dock's own too, a storm."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.ptp.camera import SoftCamera
from tests.ptp.usb import UsbCamera
from tests.vm import cameras
from tests.vm.bay_station import BayStation
from tests.vm.usb_disk import UsbDisk

pytestmark = pytest.mark.slow_vm

STORM = 200
PLUGGED_SECONDS = 0.7  # the emulated kernel takes half of it to know what came


def test_two_cameras_of_one_serial_are_both_copied_and_marked(station: BayStation, tmp_path: Path) -> None:
    made = [
        cameras.make_card(tmp_path / f"{n}.img", {f"DCIM/{n}.MP4": cameras.clip(n, cameras.START)}, table="none")
        for n in (1, 2)
    ]
    mark = station.screen.mark()
    for slot, card in enumerate(made, 1):
        station.lab.plug(card.image, slot, serial="CLONED01", wait=False)
    seen = [
        station.screen.until(bay, lambda bay: bay["state"] == "safe" and bay["verdict"], since=mark)
        for bay in ("1", "2")
    ]
    sealed = {one["sha256"] for one in station.events("segment.sealed.v1")}
    assert {digest for card in made for digest in card.truth.values()} <= sealed
    docked = [one for one in station.events("camera.docked.v1") if one["usb_serial"] == "CLONED01"]
    assert [one["disputed"] for one in docked] == [False, True]  # the second contradicts the first
    assert len({one["camera_id"] for one in docked}) == 2
    marked = [one for one in seen if one["bay"] == docked[1]["bay"]]
    assert marked[0]["verdict"]["level"] == "not_ready"
    [checked] = [one for one in station.events("camera.checked.v1") if one["camera_id"] == docked[1]["camera_id"]]
    assert "camera_disputed" in checked["reasons"]


@pytest.mark.parametrize(
    ("clock", "reason"), [("19700101T000012", "clock_unset"), ("20380119T031407", "clock_ahead")]
)  # fmt: skip
def test_a_camera_whose_clock_is_lost_or_ahead_is_copied_and_not_ready(
    station: BayStation, clock: str, reason: str
) -> None:
    camera = SoftCamera(serial=f"CLOCK{clock[:4]}", battery=100, clock=clock)
    camera.add("GX010001.MP4", camera.folder("DCIM"), size=100_000, modified=clock, created=clock)
    mark = station.screen.mark()
    station.lab.plug_soft(UsbCamera(camera), slot=3)
    safe = station.screen.until("3", lambda bay: bay["state"] == "safe" and bay["verdict"], since=mark)
    assert safe["verdict"]["level"] == "not_ready"
    checked = [one for one in station.events("camera.checked.v1") if one["camera_id"] == safe["camera"]]
    assert reason in checked[-1]["reasons"]
    [seal] = [one for one in station.events("segment.sealed.v1") if one["camera_id"] == safe["camera"]]
    assert seal["modified_at"].startswith(clock[:4])


@pytest.mark.parametrize("date", ["1970-01-02 00:00", "2040-01-01 00:00"])
def test_a_dock_whose_own_clock_is_wrong_copies_and_says_so(station: BayStation, tmp_path: Path, date: str) -> None:
    card = cameras.make_card(tmp_path / "a.img", {"DCIM/A.MP4": f"{date}\n".encode() * 90_000}, table="none")
    station.until_receipted()
    station.lab.run(f"date -u --set='{date}'")
    try:
        mark = station.screen.mark()
        plugged = station.lab.plug(card.image, slot=4, serial=f"DATE{date[:4]}", wait=False)
        station.screen.until("4", lambda bay: bay["state"] == "safe" and bay["verdict"], since=mark)
        station.until_receipted()
        station.lab.unplug(plugged)
    finally:
        station.lab.run(f"date --set=@{time.time():.2f}")
    [seal] = [one for one in station.events("segment.sealed.v1") if one["sha256"] in card.truth.values()]
    assert seal["at"].startswith(date[:4])
    assert seal["clock"] == "unsynchronised"
    assert station.lab.run(f"sha256sum < '{station.vault}/{seal['vault_path']}'").out.split()[0] == seal["sha256"]


def test_a_storm_of_replugs_is_stated_sparely_and_then_docked(station: BayStation, tmp_path: Path) -> None:
    card = cameras.make_card(tmp_path / "a.img", {"DCIM/S.MP4": cameras.clip(9, cameras.START)}, table="none")
    disk = UsbDisk(card.image, serial="STORM001")
    before = len(station.events("device.refused.v1"))
    for _ in range(STORM):
        disk.stay()
        plugged = station.lab.plug_soft(disk, slot=5)
        time.sleep(PLUGGED_SECONDS)
        station.lab.unplug(plugged)
    disk.stay()
    mark = station.screen.mark()
    station.lab.plug_soft(disk, slot=5)
    station.screen.until("5", lambda bay: bay["state"] == "safe", since=mark)
    refused = station.events("device.refused.v1")[before:]
    assert {one["reason"] for one in refused} == {"replug_storm"}
    print(f"{STORM} replugs: {len(refused)} statements")
    assert len(refused) <= STORM // 40  # one, or some where the emulated dock saw nothing for ten seconds
    station.until_receipted()
