"""Cards that leave, hang or have bad sectors: nothing half gets a final name, nothing is called whole that is not."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.vm import cameras
from tests.vm.bay_station import BayStation
from tests.vm.cameras import Card, truth_on
from tests.vm.conftest import CardBox
from tests.vm.usb_disk import UsbDisk


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
        assert station.sealed_once(card)
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
    assert station.sealed_once(card)


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
