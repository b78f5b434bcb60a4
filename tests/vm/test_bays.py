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
from tests.vm.usb_disk import UsbDisk

EIGHT = range(1, 9)


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


def test_pulled_at_random_offsets_and_put_back_it_is_whole_in_the_end(station: BayStation, tmp_path: Path) -> None:
    """CUSTODOCK_SLOW_VM=1: fifty times. A card that came through is followed by the next."""
    times = 50 if os.environ.get("CUSTODOCK_SLOW_VM") else 3
    chance, pulls, cards = random.Random(times), 0, 0
    while pulls < times:
        cards += 1
        files = {f"DCIM/PULL{cards}{n:04}.MP4": random.Random(1000 * cards + n).randbytes(2 << 20) for n in range(4)}
        files[f"DCIM/PULL{cards}LONG.MP4"] = random.Random(1000 * cards - 1).randbytes(20 << 20)
        card = cameras.make_card(tmp_path / f"{cards}.img", files, table="none")
        disk, mark = UsbDisk(card.image, serial=f"PULLED{cards:02}"), station.screen.mark()
        reach = 32 << 20  # of the next pull; little by little less is left to be read
        for _ in range(min(6, times - pulls)):
            if not pulled_at(station, disk, 1 + pulls % 9, chance.randrange(reach)):
                break
            pulls, reach = pulls + 1, reach * 3 // 4
            assert_no_half_file(station, card, pulls)
        disk.stay()
        plugged = station.lab.plug_soft(disk, slot=9)
        station.screen.until("9", lambda bay: bay["state"] == "safe", since=mark)
        station.lab.unplug(plugged)
        station.screen.until_now("9", lambda bay: bay["state"] == "empty")
        assert sealed_once(station, card)
        whole = sum(map(len, files.values()))
        print(f"card {cards}: {pulls} pulls so far, {disk.read_bytes / whole:.2f} times its footage read")
        disk.close()
    half = f"{station.vault}/PULL{cards}LONG.MP4"
    station.lab.run(f"head -c 1000000 /dev/urandom > {half}")
    with pytest.raises(AssertionError):  # the control
        assert_no_half_file(station, card, 0)
    station.lab.run(f"rm {half}")


def pulled_at(station: BayStation, disk: UsbDisk, slot: int, offset_bytes: int) -> bool:
    """Plug it in and let it leave after so many bytes; False when all was safe before."""
    disk.stay()
    disk.leave_after(offset_bytes)
    mark = station.screen.mark()
    plugged = station.lab.plug_soft(disk, slot)
    bay = str(slot)
    deadline = time.monotonic() + 180
    while not disk.left and not station.screen.saw(bay, lambda bay: bay["state"] == "safe", since=mark):
        assert time.monotonic() < deadline, station.screen.now(bay)
        time.sleep(0.05)
    station.lab.unplug(plugged)
    station.screen.until_now(bay, lambda bay: bay["state"] in ("empty", "storm"))
    return disk.left


def assert_no_half_file(station: BayStation, card: Card, number: int) -> None:
    """Whatever has a final name is whole."""
    copied = truth_on(station.lab, station.vault, "PULL")
    names = {Path(path).name: digest for path, digest in card.truth.items()}
    ours = {path: digest for path, digest in copied.items() if Path(path).name in names}
    assert all(names[Path(path).name] == digest for path, digest in ours.items()), number


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


BUS_BYTES_PER_SECOND = 4 << 20  # below what the emulated processors can hash


@pytest.mark.slow_vm
def test_eight_cameras_at_once_have_the_bus_for_themselves(station: BayStation, tmp_path: Path) -> None:
    """Their throughput beside what the same bus gives to `cat`, first alone, then beside a ninth that hangs."""
    sets = [eight_cards(tmp_path, number) for number in (1, 2)]
    cat = cat_bytes_per_second(station, sets[0])
    alone = docked_bytes_per_second(station, sets[0], "A")
    hanging = UsbDisk(sets[0][0].image, serial="NINTH001")
    hanging.bytes_per_second = 1 << 20
    mark = station.screen.mark()
    station.lab.plug_soft(hanging, slot=9)
    station.screen.until("9", lambda bay: bay["state"] == "copying", since=mark)
    hanging.hangs = True
    beside = docked_bytes_per_second(station, sets[1], "B")
    assert hanging.read_bytes < 32 << 20
    assert station.screen.now("9")["state"] in ("copying", "failed")  # type: ignore[index]
    hanging.hangs = False
    mib = 1 << 20
    print(
        f"eight at once: cat {cat / mib:.2f} MiB/s, docked {alone / mib:.2f} ({alone / cat:.2f}), "
        f"beside a hanging ninth {beside / mib:.2f} ({beside / cat:.2f})"
    )
    assert alone >= 0.9 * cat
    assert beside >= 0.9 * cat


def eight_cards(folder: Path, number: int) -> list[Card]:
    """With 32 MiB each, unlike those of any other number."""
    return [
        cameras.make_card(
            folder / f"{number}-{slot}.img",
            {f"DCIM/E{number}{n:05}.MP4": random.Random(number * 10_000 + slot * 100 + n).randbytes(8 << 20)
             for n in range(4)},
            table="none",
        )
        for slot in EIGHT
    ]  # fmt: skip


def cat_bytes_per_second(station: BayStation, cards: list[Card]) -> float:
    """All eight at once, nothing of ours beside them."""
    lab, count = station.lab, 32 << 20
    lab.run("systemctl stop custodock-agent", timeout=120)
    lab.limit_bus(BUS_BYTES_PER_SECOND)
    plugged = [
        lab.plug(card.image, slot, serial=f"CAT{slot:03}", on_bus=True) for slot, card in zip(EIGHT, cards, strict=True)
    ]
    reads = " & ".join(f"head -c {count} {one.disk} > /dev/null" for one in plugged)
    lab.run("sleep 2; echo 3 > /proc/sys/vm/drop_caches")
    began = time.monotonic()
    lab.run(f"({reads} & wait)", timeout=600)
    seconds = time.monotonic() - began
    lab.unplug_all()
    lab.run("systemctl start custodock-agent", timeout=120)
    return len(EIGHT) * count / seconds


def docked_bytes_per_second(station: BayStation, cards: list[Card], mark_of_set: str) -> float:
    """From the first bay that copies to the last that is safe, by the dock's own clock."""
    screen, lab = station.screen, station.lab
    lab.limit_bus(BUS_BYTES_PER_SECOND)
    lab.run("echo 3 > /proc/sys/vm/drop_caches")
    mark = screen.mark()
    plugged = [lab.plug(card.image, slot, serial=f"EIGHT{mark_of_set}{slot:02}", wait=False, on_bus=True)
               for slot, card in zip(EIGHT, cards, strict=True)]  # fmt: skip
    safe = [
        screen.until(str(slot), lambda bay: bay["state"] == "safe", since=mark, seconds=900)["at"] for slot in EIGHT
    ]
    copying = [screen.until(str(slot), lambda bay: bay["state"] == "copying", since=mark)["at"] for slot in EIGHT]
    for one in plugged:
        lab.unplug(one)
    assert all(sealed_once(station, card) for card in cards)
    seconds = (datetime.fromisoformat(max(safe)) - datetime.fromisoformat(min(copying))).total_seconds()
    return len(EIGHT) * (32 << 20) / seconds
