"""A bay's lights as the kernel's LED class shows them: agent, sandbox, udev rule and kernel, from plug to take-out."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

import pytest

from tests.vm import cameras
from tests.vm.bay_station import STATE, BayStation, bay_station
from tests.vm.chips import Chips
from tests.vm.lab import Lab
from tests.vm.lights import Lights, Shown
from tests.vm.test_charge import BATTERY, CHARGE, CURRENT, INITIALISED, STATUS, VOLTAGE

pytestmark = pytest.mark.slow_vm

COLOURS = ("red", "green", "blue")
DARK = {colour: Shown("none", 0, (0, 0)) for colour in COLOURS}
SITE = """
name = "lit"
evidence = "tried"
time_zone = "UTC"
bitrate_kbit = 100
[title]
zh = "测试机"
en = "test camera"
[recognise]
usb = ["46f4:0001"]
[files]
footage = ["*.MP4"]
"""


class Bench:
    """A dock whose bay 1 has lights and a kernel battery; bay 2 has lights alone."""

    station: BayStation

    def prepare(self, lab: Lab) -> Mapping[int, str]:
        """The settings of the bays."""
        self.lights = Lights(lab, [name(bay, colour) for bay in (1, 2) for colour in COLOURS])
        self._chips = Chips(lab, [BATTERY])
        self.battery(5)
        self._chips.attach(BATTERY, "sbs-battery")
        lab.run(f"mkdir -p {STATE}/profiles && cat > {STATE}/profiles/lit.toml", stdin=SITE.encode())
        leds = {bay: f"leds = [{', '.join(repr(name(bay, colour)) for colour in COLOURS)}]" for bay in (1, 2)}
        return {1: f'{leds[1]}\nsupply = "sbs-{self._chips.name(BATTERY)}"', 2: leds[2]}

    def battery(self, percent: int) -> None:
        """What the camera's battery says."""
        self._chips.set(BATTERY, {CHARGE: percent, CURRENT: 500, VOLTAGE: 7400, STATUS: INITIALISED})

    def now(self, bay: int) -> dict[str, Shown]:
        """What the bay's lights show."""
        return dict(zip(COLOURS, self.lights.now([name(bay, colour) for colour in COLOURS]), strict=True))

    def until_lit(self, bay: int, seconds: float = 180, **lit: Shown) -> None:
        """Until the bay's lights are these and no others."""
        deadline = time.monotonic() + seconds
        while (now := self.now(bay)) != DARK | lit:
            assert time.monotonic() < deadline, now
            time.sleep(0.1)


def name(bay: int, colour: str) -> str:
    return f"bay{bay}:{colour}:status"


def blinking(shown: Shown, on: int, off: int) -> bool:
    return (shown.trigger, shown.blink) == ("timer", (on, off))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench()
    with bay_station(tmp_path_factory.mktemp("lights"), made.prepare) as made.station:
        yield made


def test_a_bays_lights_from_empty_over_copying_and_charging_to_ready_and_back(bench: Bench, tmp_path: Path) -> None:
    station = bench.station
    bench.until_lit(1)
    files = {f"DCIM/L{n}.MP4": random.Random(n).randbytes(4 << 20) for n in range(4)}
    card = cameras.make_card(tmp_path / "a.img", files, table="none", free_mib=200)
    mark = station.screen.mark()
    plugged = station.lab.plug(card.image, 1, serial="LIT00001", wait=False)
    station.lab.throttle(plugged, bytes_per_second=256 << 10)
    station.screen.until("1", lambda bay: bay["state"] == "copying", since=mark)
    until_blinking(bench, 1, ("blue",), 500, 500)
    station.lab.throttle(plugged, bytes_per_second=0)
    station.screen.until("1", lambda bay: bay["state"] == "safe" and bay["verdict"], since=mark)
    until_blinking(bench, 1, ("red", "green"), 1000, 1000)  # amber: only its charge is missing
    bench.battery(100)
    bench.until_lit(1, green=Shown("none", 255, (0, 0)))
    assert station.screen.now("1")["verdict"]["level"] != "not_ready"  # type: ignore[index]
    station.lab.unplug(plugged)
    bench.until_lit(1)
    told = bench.lights.changes(name(1, "blue"))  # what hardware would have shown, not what sysfs says of it
    assert {brightness for _, brightness in told} == {0, 255}
    halves = [later - at for (at, one), (later, other) in itertools.pairwise(told) if one != other]
    assert 0.3 < median(halves) < 1
    assert told[-1][1] == 0


def test_what_cannot_be_read_is_red_and_what_is_no_camera_is_not_green(bench: Bench, tmp_path: Path) -> None:
    station = bench.station
    noise = tmp_path / "noise.img"
    noise.write_bytes(random.Random(1).randbytes(1 << 20))
    mark = station.screen.mark()
    plugged = station.lab.plug(noise, 2, serial="NOISE001", wait=False)
    station.screen.until("2", lambda bay: bay["state"] == "failed", since=mark)
    until_blinking(bench, 2, ("red",), 200, 200)
    station.lab.unplug(plugged)
    bench.until_lit(2)
    mark = station.screen.mark()
    keyboard = station.lab.plug_keyboard(slot=2)
    station.screen.until("2", lambda bay: bay["state"] == "refused", since=mark)
    until_blinking(bench, 2, ("red", "green"), 200, 1800)
    station.lab.unplug(keyboard)
    bench.until_lit(2)


def test_no_light_says_anything_once_the_agent_has_stopped(bench: Bench, tmp_path: Path) -> None:
    card = cameras.make_card(tmp_path / "b.img", {"DCIM/B.MP4": b"b" * 90_000}, table="none", free_mib=200)
    bench.station.lab.plug(card.image, 1, serial="LIT00002", wait=False)
    bench.until_lit(1, green=Shown("none", 255, (0, 0)))
    bench.station.lab.run("systemctl stop custodock-agent", timeout=120)
    bench.until_lit(1)


def until_blinking(bench: Bench, bay: int, lit: tuple[str, ...], on: int, off: int) -> None:
    """Until exactly these lights of the bay blink so; brightness itself goes up and down."""
    deadline = time.monotonic() + 180
    while True:
        now = bench.now(bay)
        dark = all(now[colour] == DARK[colour] for colour in COLOURS if colour not in lit)
        if dark and all(blinking(now[colour], on, off) for colour in lit):
            return
        assert time.monotonic() < deadline, now
        time.sleep(0.1)
