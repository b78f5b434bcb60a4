"""A recorder that needs commands before it is a disk, in a bay: simulated at the far end of a pseudo-terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.drivers.table import CommandName
from agent.errors import DriverFailed
from agent.kiosk.words import bay_view
from agent.profiles.loading import load_profiles
from agent.profiles.recognition import DeviceFacts, may_drive
from agent.unlocking import driver_profile
from agent.usbports import Attached
from custody.stationevents import CameraChecked, CameraDocked, CameraUnlocked, DeviceRefused, SegmentSealed
from tests.integration.bay_scene import device, scene
from tests.integration.recorders import ASCII, HEAD, PtyRecorder, Recorder
from tests.integration.test_usbbay import card

USB_ID = "ffff:0001"
SERIAL_LINE = ("020201", "0a0000")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A station whose site has a profile with a driver."""
    return with_driver(tmp_path / "dock", ASCII)


def with_driver(home: Path, driver: str) -> Path:
    (home / "profiles").mkdir(parents=True, exist_ok=True)
    (home / "profiles/simulated.toml").write_text(HEAD + driver, "utf-8")
    return home


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[Any]:
    """Makes recorders: what the bay sees of one, in a tree as sysfs has it."""
    made: list[PtyRecorder] = []

    def plug(recorder: Recorder, usb_id: str = USB_ID) -> Attached:
        far = PtyRecorder(recorder)
        made.append(far)
        folder = tmp_path / f"sys{len(made)}/1-1"
        line = folder / "1-1:1.0/tty/ttyACM0"
        line.mkdir(parents=True)
        (line / "uevent").write_text(f"MAJOR=166\nMINOR=0\nDEVNAME={far.path.relative_to('/dev')}\n")
        for name, value in zip(("idVendor", "idProduct"), usb_id.split(":"), strict=True):
            (folder / name).write_text(value + "\n")
        return device(1, usb_id=USB_ID, interfaces=SERIAL_LINE, serial="", sys_path=str(folder))

    yield plug
    for far in made:
        far.close()


async def until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_it_is_asked_set_switched_and_then_docked_under_its_own_serial(
    home: Path, tmp_path: Path, plugged: Any
) -> None:
    recorder = Recorder()
    image = card(tmp_path / "a.img")
    async with scene(home) as dock:
        dock.plug(plugged(recorder))
        await until(lambda: recorder.is_disk)
        assert {s.state for s in dock.seen if s.bay == "1"} <= {"empty", "recognising"}
        dock.plug()  # it leaves the bus by itself …
        await dock.until(lambda s: s.state == "empty")
        dock.plug(device(1, image, usb_id=USB_ID, serial="", sys_path=str(tmp_path)))  # … and is back as a disk
        state = await dock.until_judged()
        assert (state.state, state.camera) == ("safe", "1234567")
        assert bay_view(state)["charge"]["percent"] == 63
        (checked,) = await dock.events(CameraChecked)
        assert (checked.charge.percent, checked.charge.origin, checked.charge.method) == (63, "reported", "driver")
        assert "charge_low" in checked.reasons
        assert len(await dock.events(SegmentSealed)) == 3
        assert await dock.events(DeviceRefused) == []
        assert "张伟" not in str(await dock.events())  # the record's names of people stay with the recorder
        [unlocked] = await dock.events(CameraUnlocked)
        assert (unlocked.bay, unlocked.serial, unlocked.profile, unlocked.faults) == ("1", "1234567", "simulated", 0)
        assert unlocked.clock_was == datetime(2000, 1, 1, tzinfo=timezone(timedelta(hours=8)))
        years = unlocked.at - unlocked.clock_was
        assert abs(unlocked.clock_error_seconds - years.total_seconds()) < 60
        assert unlocked.clock_set
        assert unlocked.clock_left_seconds <= 2
        assert not any(reason.startswith("clock_") for reason in checked.reasons)  # the clock that was read back counts
    assert recorder.heard[-3:] == [CommandName.SYNC_TIME, CommandName.READ_TIME, CommandName.SWITCH_TO_DISK]


async def test_another_camera_in_the_same_bay_later_does_not_inherit_the_serial(
    home: Path, tmp_path: Path, plugged: Any
) -> None:
    recorder = Recorder()
    image = card(tmp_path / "a.img")
    async with scene(home) as dock:
        dock.plug(plugged(recorder))
        await until(lambda: recorder.is_disk)
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        dock.plug(device(1, image))  # another model
        assert (await dock.until_judged()).camera != "1234567"


async def test_a_refused_switch_says_so_in_both_languages_and_other_bays_work_on(
    home: Path, tmp_path: Path, plugged: Any
) -> None:
    recorder = Recorder(refuses={CommandName.SWITCH_TO_DISK})
    other = device(2, card(tmp_path / "b.img"))
    async with scene(home) as dock:
        locked = plugged(recorder)
        dock.plug(locked, other)
        view = bay_view(await dock.until(lambda s: s.state == "failed"))
        assert view["remark"] == [
            "记录仪未执行解锁命令，请管理人员检查其配置",
            "The recorder did not carry out the unlock commands; have its profile checked",
        ]
        assert "重新插接" in view["todo"][0]
        assert "Plug it in again" in view["todo"][1]
        await dock.until_judged("2")
        assert recorder.heard.count(CommandName.INIT) == 1  # not again and again
        dock.plug(other)
        await dock.until(lambda s: s.state == "empty")
        assert {docked.bay for docked in await dock.events(CameraDocked)} == {"2"}


async def test_one_that_never_answers_stalls_nobody_and_its_process_ends_with_it(tmp_path: Path, plugged: Any) -> None:
    home = with_driver(tmp_path / "dock", ASCII.replace("timeout_seconds = 1", "timeout_seconds = 60"))
    recorder = Recorder(faults={CommandName.IDENTIFY: None})
    other = device(2, card(tmp_path / "b.img"))
    async with scene(home) as dock:
        dock.plug(plugged(recorder), other)
        await until(lambda: CommandName.IDENTIFY in recorder.heard)
        await dock.until_judged("2")
        assert len(drivers()) == 1
        dock.plug(other)
        await dock.until(lambda s: s.state == "empty", seconds=10)
        await until(lambda: not drivers())


def drivers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [one for one in children if one.status() != "zombie" and "agent.drivers.process" in one.cmdline()]


async def test_a_device_that_was_swapped_meanwhile_gets_no_command(home: Path, plugged: Any) -> None:
    recorder = Recorder()
    async with scene(home) as dock:
        dock.plug(plugged(recorder, usb_id="1234:5678"))  # sysfs knows better than what udev told
        await dock.until(lambda s: s.state == "failed")
        assert recorder.heard == []


async def test_one_that_is_a_disk_already_gets_no_command(home: Path, tmp_path: Path, plugged: Any) -> None:
    recorder = Recorder()
    locked = plugged(recorder)
    async with scene(home) as dock:
        dock.plug(device(1, card(tmp_path / "a.img"), usb_id=USB_ID, sys_path=locked.sys_path))
        await dock.until_judged()
        assert recorder.heard == []


async def test_a_reader_whose_card_is_slow_to_show_gets_no_command(home: Path, tmp_path: Path, plugged: Any) -> None:
    recorder = Recorder()
    slow = device(1, usb_id=USB_ID, sys_path=plugged(recorder).sys_path)
    image = card(tmp_path / "a.img")
    async with scene(home) as dock:
        dock.plug(slow)
        await dock.until(lambda s: s.state == "recognising")
        await asyncio.sleep(0.5)
        fields = {name: getattr(slow, name) for name in Attached.__dataclass_fields__}
        dock.plug(Attached(**fields | {"disks": device(1, image).disks}))
        await dock.until_judged()
        assert recorder.heard == []


async def test_one_that_takes_the_switch_and_comes_back_locked_is_not_driven_for_ever(home: Path, plugged: Any) -> None:
    recorder = Recorder()
    async with scene(home) as dock:
        dock.plug(plugged(recorder))
        await until(lambda: recorder.is_disk)
        await asyncio.sleep(0.5)
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        again = Recorder()
        dock.plug(plugged(again))
        assert (await dock.until(lambda s: s.state == "failed")).reason == DriverFailed.code
        assert again.heard == []


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({"interfaces": SERIAL_LINE}, True),
        ({"interfaces": ("ff0000",)}, True),
        ({"interfaces": ("080650",)}, True),  # a disk without a medium
        ({"interfaces": ()}, False),
        ({"interfaces": ("ff0000", "030101")}, False),  # it types
        ({"interfaces": ("020600", "0a0000")}, False),  # it is a network
        ({"interfaces": ("e00103",)}, False),
        ({"interfaces": ("060101",)}, False),
        ({"interfaces": SERIAL_LINE, "usb_id": "ffff:0002"}, False),
    ],
)
def test_who_gets_a_driver(home: Path, facts: dict[str, Any], wanted: bool) -> None:
    profiles = load_profiles(home / "profiles")
    found = driver_profile(profiles, device(1, **{"usb_id": USB_ID} | facts))
    assert (found is not None) is wanted
    assert found is None or may_drive(found, DeviceFacts("ffff", "0001"))
