"""Eight cameras at once: their throughput beside what the bus gives to `cat`."""

from __future__ import annotations

import random
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.vm import cameras
from tests.vm.bay_station import BayStation
from tests.vm.cameras import Card
from tests.vm.usb_disk import UsbDisk

EIGHT = range(1, 9)
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
    assert all(station.sealed_once(card) for card in cards)
    seconds = (datetime.fromisoformat(max(safe)) - datetime.fromisoformat(min(copying))).total_seconds()
    return len(EIGHT) * (32 << 20) / seconds
