"""Run under `umockdev-wrapper` by test_devices.py: plays a script of plugging and prints every picture as JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable

from agent.devices import DeviceWatch
from agent.usbports import Attached
from tests.integration.usb_testbed import Testbed

Pictures = list[tuple[Attached, ...]]


async def until(pictures: Pictures, wanted: Callable[[tuple[Attached, ...]], bool]) -> tuple[Attached, ...]:
    async with asyncio.timeout(10):
        while not pictures or not wanted(pictures[-1]):  # noqa: ASYNC110 - the watch shows, nobody signals
            await asyncio.sleep(0.01)
    return pictures[-1]


async def main() -> None:
    bed = Testbed()
    bed.plug("1-1.2", disks=(("sda", 2048),))
    pictures: Pictures = []
    watch = asyncio.create_task(DeviceWatch(pictures.append).run())
    said = {"first": await until(pictures, lambda p: len(p) == 1 and bool(p[0].disks))}
    bed.plug("1-1.3", serial="CAM0001", interfaces=("080650", "060101"), disks=(("sdb", 4096), ("sdc", 0)))
    bed.plug("2-4", usb_id="046d:c31c", serial="", interfaces=("030101", "030000"))
    said["both"] = await until(pictures, lambda p: len(p) == 3 and len(p[1].disks) == 2)
    first_stay = pictures[-1][0].stay
    bed.unplug("1-1.2")
    said["left"] = await until(pictures, lambda p: len(p) == 2)
    for _ in range(200):
        bed.plug("1-1.2", disks=(("sda", 2048),))
        await asyncio.sleep(0.001)  # umockdev's queue holds ten events; the kernel's real one may overrun
        bed.unplug("1-1.2")
        await asyncio.sleep(0.001)
    bed.plug("1-1.2", serial="CAM\x1b[31m0009", disks=(("sda", 2048),))
    # Not just any three with a disk: the newest picture may still be one of the storm's own.
    said["after_storm"] = await until(pictures, lambda p: len(p) == 3 and "9" in p[0].serial and bool(p[0].disks))
    assert pictures[-1][0].stay != first_stay
    watch.cancel()
    print(json.dumps({name: [dataclasses.asdict(one) for one in found] for name, found in said.items()}))


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
