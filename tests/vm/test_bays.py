"""Cameras plugged into the installed dock for real: seen, recognised, copied whole, receipted, shown."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.ptp.camera import SoftCamera, generated
from tests.ptp.usb import UsbCamera
from tests.vm import cameras
from tests.vm.bay_station import BayStation, bay_station
from tests.vm.cameras import Card, FileSystem, Table, truth_on
from tests.vm.conftest import CardBox
from tests.vm.lab import SLOTS
from tests.vm.usb_disk import UsbDisk

FIRST_SIGHT_SECONDS = 3.0


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BayStation]:
    with bay_station(tmp_path_factory.mktemp("station")) as made:
        yield made


@pytest.fixture(autouse=True)
def empty_slots(station: BayStation) -> Iterator[None]:
    yield
    station.lab.unplug_all()


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
    copying = screen.until("3", lambda bay: bay["state"] == "copying", since=mark)
    safe = screen.until("3", lambda bay: bay["state"] == "safe" and bay["verdict"], since=mark)
    assert safe["title"][0] == "可以取下"
    assert safe["verdict"]["level"] == "not_ready"  # it tells nothing of its charge
    copied = truth_on(station.lab, folders(station, safe["camera"])[-1])
    assert copied.pop("SHA256SUMS")
    assert copied == card.truth
    station.until_receipted()
    first_sight = (datetime.fromisoformat(copying["at"]) - attached_at(station)).total_seconds()
    print(f"kernel's event to copying on the screen: {first_sight:.2f} s")
    station.lab.unplug(plugged)
    screen.until("3", lambda bay: bay["state"] == "empty", since=screen.mark())
    assert station.events("camera.left.v1")[-1]["offload"] == "safe"


def attached_at(station: BayStation) -> datetime:
    """When the kernel said that the last disk was there, by the dock's clock."""
    line = station.lab.run(
        "journalctl -k -o short-unix --no-pager | grep 'Attached SCSI removable disk' | tail -n 1"
    ).out
    return datetime.fromtimestamp(float(line.split()[0]), UTC)


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


def test_pulled_at_random_moments_and_put_back_it_is_whole_in_the_end(station: BayStation, tmp_path: Path) -> None:
    """CUSTODOCK_SLOW_VM=1: fifty times."""
    times = 50 if os.environ.get("CUSTODOCK_SLOW_VM") else 3
    chance = random.Random(times)
    files = {f"DCIM/VID{n:05}.MP4": random.Random(n).randbytes(3 << 20) for n in range(8)}
    card = cameras.make_card(tmp_path / "a.img", files, table="none")
    for number in range(times):
        mark = station.screen.mark()
        plugged = station.lab.plug(card.image, slot=7, serial="PULLED01", wait=False)
        station.lab.throttle(plugged, bytes_per_second=6 << 20)
        station.screen.until("7", lambda bay: bay["state"] in ("listing", "copying", "safe"), since=mark)
        time.sleep(chance.uniform(0, 5))
        station.lab.unplug(plugged)
        station.screen.until("7", lambda bay: bay["state"] == "empty", since=station.screen.mark() - 1)
        assert_no_half_file(station, card, number)
    mark = station.screen.mark()
    station.lab.plug(card.image, slot=7, serial="PULLED01", wait=False)
    station.screen.until("7", lambda bay: bay["state"] == "safe", since=mark)
    assert sealed_once(station, card)


def assert_no_half_file(station: BayStation, card: Card, number: int) -> None:
    """Whatever has a final name is whole."""
    copied = truth_on(station.lab, station.vault)
    clips = {path: digest for path, digest in copied.items() if path.endswith(".MP4") and "/VID" in path}
    assert set(clips.values()) <= set(card.truth.values()), number


@pytest.mark.slow_vm
def test_a_card_that_hangs_holds_up_neither_others_nor_the_screen_nor_the_end(
    station: BayStation, cards: CardBox, tmp_path: Path
) -> None:
    files = {f"DCIM/VID{n:05}.MP4": random.Random(100 + n).randbytes(4 << 20) for n in range(8)}
    card = cameras.make_card(tmp_path / "hangs.img", files, table="none")
    hanging, screen = UsbDisk(card.image, serial="HANGS001"), station.screen
    hanging.bytes_per_second = 4 << 20
    mark = screen.mark()
    plugged = station.lab.plug_soft(hanging, slot=1)
    screen.until("1", lambda bay: bay["state"] == "copying", since=mark)
    hanging.hangs = True
    station.lab.plug(cards.card("vfat", "mbr").image, slot=2, serial="BESIDE01", wait=False)
    screen.until("2", lambda bay: bay["state"] == "safe", since=mark)
    said = screen.until("1", lambda bay: bay["state"] == "copying" and bay["remark"], since=mark)
    assert "没有响应" in said["remark"][0]
    began = time.monotonic()
    station.lab.run("systemctl restart custodock-agent", timeout=150)
    print(f"restart beside a hanging card: {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 30
    mark = screen.mark()
    hanging.hangs = False
    station.lab.unplug(plugged)
    screen.until("1", lambda bay: bay["state"] == "empty", since=mark)
    station.lab.plug(card.image, slot=1, serial="HANGS001", wait=False)
    screen.until("1", lambda bay: bay["state"] == "safe", since=mark)
    assert sealed_once(station, card)


def sealed_once(station: BayStation, card: Card) -> bool:
    """Whether every file of the card has exactly one seal."""
    seals = [one["sha256"] for one in station.events("segment.sealed.v1") if one["sha256"] in card.truth.values()]
    return sorted(seals) == sorted(card.truth.values())


@pytest.mark.slow_vm
def test_a_bad_sector_in_a_directory_is_never_called_complete(station: BayStation, tmp_path: Path) -> None:
    files = {f"DCIM/100MEDIA/VID{n:05}.MP4": random.Random(200 + n).randbytes(50_000) for n in range(20)}
    files["OTHER/KEPT.MP4"] = random.Random(300).randbytes(50_000)
    card = cameras.make_card(tmp_path / "a.img", files, table="none")
    directory = card.image.read_bytes().index(b"VID00000MP4") // 512  # the first sector of 100MEDIA
    closed = docked_with_bad_sectors(station, card, [directory], "BADDIR01")
    assert (closed["complete"], closed["reason"]) == (False, "unreadable_parts")
    manifest = station.lab.run(f"cat {station.vault}/*/*/*/*/{closed['docking_id']}/.custody/manifest.jsonl").out
    found = [entry for entry in map(json.loads, manifest.splitlines()) if "offset_bytes" in entry]
    print(f"bad sector {directory} of the card: {found}")
    assert any(one["offset_bytes"] == directory * 512 and one["length_bytes"] == 512 for one in found)
    sealed = {one["path"] for one in station.events("segment.sealed.v1")}
    assert "OTHER/KEPT.MP4" in sealed


@pytest.mark.slow_vm
def test_a_bad_sector_in_a_file_is_a_recorded_gap(station: BayStation, tmp_path: Path) -> None:
    files = {f"DCIM/VID{n:05}.MP4": random.Random(400 + n).randbytes(3 << 20) for n in range(3)}
    card = cameras.make_card(tmp_path / "a.img", files, table="none")
    broken = files["DCIM/VID00001.MP4"]
    at = 2 << 20  # within the file; its clusters lie one after the other
    sector = card.image.read_bytes().index(broken[at : at + 512]) // 512
    closed = docked_with_bad_sectors(station, card, [sector], "BADFILE1")
    assert (closed["complete"], closed["reason"]) == (False, "gaps")
    seals = {
        one["path"]: one for one in station.events("segment.sealed.v1") if one["docking_id"] == closed["docking_id"]
    }
    whole = {path for path, seal in seals.items() if seal["sha256"] == card.truth[path]}
    assert whole == {"DCIM/VID00000.MP4", "DCIM/VID00002.MP4"}
    [gap] = seals["DCIM/VID00001.MP4"]["gaps"]
    print(f"bad sector at byte {at} of the file: gap {gap}")


def docked_with_bad_sectors(station: BayStation, card: Card, sectors: Sequence[int], serial: str) -> dict[str, Any]:
    """How the docking of this card ended on screen and in the chain."""
    mark = station.screen.mark()
    disk = UsbDisk(card.image, serial=serial)
    disk.bad = sectors
    station.lab.plug_soft(disk, slot=8)
    state = station.screen.until("8", lambda bay: bay["state"] in ("attention", "failed", "safe"), since=mark)
    assert state["state"] == "attention"
    assert state["title"][0] == "需要处理"
    return station.events("docking.closed.v1")[-1]


@pytest.mark.slow_vm
def test_eight_cameras_at_once(station: BayStation, tmp_path: Path) -> None:
    """Their throughput beside what the bus gives to `cat` of the same eight cards at once."""
    made = [
        cameras.make_card(
            tmp_path / f"{slot}.img",
            {f"DCIM/VID{n:05}.MP4": random.Random(slot * 100 + n).randbytes(8 << 20) for n in range(4)},
            table="none",
        )
        for slot in SLOTS
    ]
    station.lab.run("systemctl stop custodock-agent", timeout=120)
    cards = list(zip(SLOTS, made, strict=True))
    plugged = [station.lab.plug(card.image, slot, serial=f"EIGHT{slot:03}") for slot, card in cards]
    cat = " & ".join(f"cat {one.disk} > /dev/null" for one in plugged)
    began = time.monotonic()
    station.lab.run(f"echo 3 > /proc/sys/vm/drop_caches; ({cat} & wait)", timeout=600)
    cat_seconds = time.monotonic() - began
    station.lab.unplug_all()
    station.lab.run("systemctl start custodock-agent; echo 3 > /proc/sys/vm/drop_caches", timeout=120)
    mark = station.screen.mark()
    for slot, card in cards:
        station.lab.plug(card.image, slot, serial=f"EIGHT{slot:03}", wait=False)
    began = time.monotonic()
    for slot in SLOTS:
        station.screen.until(str(slot), lambda bay: bay["state"] == "safe", since=mark, seconds=900)
    print(f"eight cards of 32 MiB: cat {cat_seconds:.1f} s, docked {time.monotonic() - began:.1f} s")
    sealed = {one["sha256"] for one in station.events("segment.sealed.v1")}
    assert {digest for card in made for digest in card.truth.values()} <= sealed
