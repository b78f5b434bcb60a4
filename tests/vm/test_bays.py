"""Cameras plugged into the installed dock for real: seen, recognised, copied whole, receipted, shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.vm import cameras
from tests.vm.bay_station import BayStation, bay_station
from tests.vm.cameras import FileSystem, Table, truth_on
from tests.vm.conftest import CardBox

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
