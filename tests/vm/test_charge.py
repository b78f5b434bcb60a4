"""Charge as the kernel's own drivers tell it, from chips whose registers the test sets, and as a PTP camera says it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.charge import ChargeState
from agent.kiosk.words import CHARGE_STATES
from tests.ptp.camera import SoftCamera
from tests.ptp.usb import UsbCamera
from tests.vm import cameras
from tests.vm.bay_station import Bay, BayStation, bay_station
from tests.vm.chips import Chips
from tests.vm.lab import Lab

pytestmark = pytest.mark.slow_vm

INA226, BATTERY = 0x40, 0x0B
# registers of the Smart Battery Data Specification 1.1: current (mA), voltage (mV), state of charge (%), status
CURRENT, VOLTAGE, CHARGE, STATUS = 0x0A, 0x09, 0x0D, 0x16
INITIALISED, FULL = 0x80, 0x20
# registers of the INA226, data sheet table 7-3; the driver sets the chip so that one step of current is 0.25 mA
BUS, MEASURED = 0x02, 0x04


class Bench:
    """A dock whose bay 1 has a kernel battery and bay 2 a current sensor."""

    station: BayStation
    chips: Chips

    def prepare(self, lab: Lab) -> Mapping[int, str]:
        """The settings of the bays."""
        self.chips = Chips(lab, [INA226, BATTERY])
        self.battery(5, milliamps=900)
        self.draw(0)
        self.chips.attach(BATTERY, "sbs-battery")
        self.chips.attach(INA226, "ina226")
        supply, sensor = f"sbs-{self.chips.name(BATTERY)}", self.chips.name(INA226)
        return {1: f'supply = "{supply}"', 2: f'sensor = "{sensor}"'}

    def battery(self, percent: int, *, milliamps: int) -> None:
        """What the camera's battery says."""
        status = INITIALISED | (FULL if percent == 100 else 0)
        self.chips.set(BATTERY, {CHARGE: percent, CURRENT: milliamps, VOLTAGE: 7400, STATUS: status})

    def draw(self, milliamps: int, *, millivolts: int = 5000) -> None:
        """What the camera takes from its bay."""
        words = {MEASURED: milliamps * 4, BUS: round(millivolts / 1.25)}
        self.chips.set(INA226, words, big_endian=True)

    def until_charge(self, bay: str, state: ChargeState, percent: int | None) -> None:
        """Until the screen shows this charge and a verdict with it."""

        def shows(one: Bay) -> bool:
            charge = one["charge"] or {"percent": None, "text": [""]}
            words = CHARGE_STATES[state][0]
            return bool(one["verdict"]) and charge["percent"] == percent and words in charge["text"][0]

        self.station.screen.until_now(bay, shows, seconds=240)

    def checked(self, bay: int) -> dict[str, Any]:
        """The newest verdict on what is in this bay."""
        return [event for event in self.station.events("camera.checked.v1") if event["bay"] == str(bay)][-1]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench()
    with bay_station(tmp_path_factory.mktemp("bench"), made.prepare) as made.station:
        yield made


def dock_card(bench: Bench, folder: Path, slot: int, serial: str) -> None:
    card = cameras.make_card(folder / "card.img", {"DCIM/A.MP4": cameras.clip(slot, cameras.START)}, table="none")
    bench.station.lab.plug(card.image, slot, serial=serial, wait=False)


def test_a_battery_of_the_kernel_from_5_percent_to_full(bench: Bench, tmp_path: Path) -> None:
    dock_card(bench, tmp_path, 1, "SBS00001")
    for percent, milliamps in ((5, 900), (42, 900), (79, 400), (80, 200), (100, 0)):
        bench.battery(percent, milliamps=milliamps)
        bench.until_charge("1", ChargeState.FULL if percent == 100 else ChargeState.CHARGING, percent)
        assert ("charge_low" in bench.checked(1)["reasons"]) == (percent < 80), percent
    charge = bench.checked(1)["charge"]  # of the verdict that changed last
    assert (charge["percent"], charge["origin"]) == (80, "reported")
    assert charge["method"].startswith("power_supply:sbs-")


def test_a_bays_current_sensor_from_charging_to_full(bench: Bench, tmp_path: Path) -> None:
    bench.draw(1200)
    dock_card(bench, tmp_path, 2, "INA00001")
    bench.until_charge("2", ChargeState.CHARGING, None)
    assert "charge_incomplete" in bench.checked(2)["reasons"]
    bench.draw(120)
    bench.until_charge("2", ChargeState.TAPERING, None)
    bench.until_charge("2", ChargeState.FULL, 100)  # after two minutes of it
    checked = bench.checked(2)
    assert (checked["charge"]["percent"], checked["charge"]["origin"]) == (100, "measured")
    assert checked["charge"]["method"].startswith("ina226:")
    assert not [reason for reason in checked["reasons"] if reason.startswith("charge")]
    bench.draw(900, millivolts=4100)
    bench.until_charge("2", ChargeState.FAULT, None)
    assert "charge_fault" in bench.checked(2)["reasons"]


def test_a_ptp_camera_from_5_percent_to_full(bench: Bench) -> None:
    camera = SoftCamera(serial="PTPCHARGE", battery=5, clock=None)
    camera.add("GX010001.MP4", camera.folder("DCIM"), size=100_000)
    screen = bench.station.screen
    bench.station.lab.plug_soft(UsbCamera(camera), slot=3)
    for percent in (5, 79, 80, 100):  # asked again every minute
        camera.battery = percent
        bay = screen.until_now("3", functools.partial(shows_percent, percent=percent), seconds=180)
        checked = bench.checked(3)
        assert ("charge_low" in checked["reasons"]) == (percent < 80), percent
        assert (checked["charge"]["method"], checked["charge"]["origin"]) == ("ptp", "reported")
        assert bay["state"] == "safe"


def shows_percent(bay: Bay, percent: int) -> bool:
    return bool(bay["verdict"] and bay["charge"]) and bay["charge"]["percent"] == percent


def test_a_camera_that_says_nothing_of_its_charge_stays_unknown(bench: Bench, tmp_path: Path) -> None:
    mark = bench.station.screen.mark()
    dock_card(bench, tmp_path, 4, "MUTE0001")
    bay = bench.station.screen.until("4", lambda bay: bay["state"] == "safe" and bay["verdict"], since=mark)
    assert (bay["charge"]["percent"], bay["charge"]["text"][0]) == (None, "电量未知")
    assert bay["verdict"]["level"] == "not_ready"
    assert "charge_unknown" in bench.checked(4)["reasons"]
