"""A camera's stay in a bay, from plugging to leaving, on real cards: what is shown, what is stated, what is safe."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from agent.duty import left_unseen
from agent.errors import AgentError
from agent.kiosk.words import bay_view
from agent.readiness import Level
from agent.recognise import accept
from agent.store import Store
from custody.cli import main as custody
from custody.stationevents import (
    CameraChecked,
    CameraCheckedOutV2,
    CameraDocked,
    CameraLeftV2,
    CameraReturnedV2,
    DeviceRefused,
    DockingClosed,
    SegmentSealed,
)
from tests.integration.bay_scene import device, scene
from tests.integration.cards import blank, fat_card, patch

FILES = {"DCIM/100MEDIA/VID00001.MP4": 3 << 20, "DCIM/100MEDIA/VID00002.MP4": 700, "DCIM/100MEDIA/说明.TXT": 20}


def card(path: Path, files: dict[str, int] = FILES, seed: int = 1, volume_id: str = "1234ABCD") -> Path:
    """A FAT card of noise."""
    noise = random.Random(seed)
    made = fat_card(path, {name: noise.randbytes(size) for name, size in files.items()})
    raw = bytes.fromhex(volume_id)[::-1]
    patch(made, 67, raw)  # BS_VolID of FAT32
    patch(made, 6 * 512 + 67, raw)  # its second copy
    return made


async def test_a_camera_is_docked_judged_handed_out_and_comes_back(tmp_path: Path) -> None:
    image = card(tmp_path / "a.img")
    async with scene(tmp_path / "dock") as dock:
        await dock.add_officer()
        dock.plug(device(1, image))
        state = await dock.until_judged()
        assert (state.state, state.removable) == ("safe", True)
        assert {"recognising", "listing", "copying", "safe"} <= {s.state for s in dock.seen}
        assert state.verdict is not None
        assert state.verdict.level is Level.NOT_READY  # this camera tells nothing of its charge: never ready
        (docked,) = await dock.events(CameraDocked)
        (checked,) = await dock.events(CameraChecked)
        assert (docked.profile, docked.volume_ids, docked.disputed) == ("dcim", ("1234-ABCD",), False)
        assert checked.reasons[0] == "charge_unknown"
        assert abs((date.fromisoformat(checked.policy_from) - checked.at.date()).days) <= 1  # first judged by it today
        assert (checked.unsafe_files, checked.charge.origin) == (0, "unknown")
        assert 0 < checked.free_bytes < checked.total_bytes <= 64 << 20

        with pytest.raises(AgentError, match="not ready"):
            await dock.desk.check_out("1", "1001", "2468", confirmed=False)
        await dock.desk.check_out("1", "1001", "2468", confirmed=True)
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        (left,) = await dock.events(CameraLeftV2)
        assert (left.offload, left.verdict) == ("safe", "not_ready")
        assert await dock.named(CameraLeftV2) == ["1001"]

        dock.plug(device(2, image))  # back in another bay
        await dock.until_judged("2")
        (returned,) = await dock.events(CameraReturnedV2)
        assert (returned.bay, returned.was_out) == ("2", True)
        assert await dock.named(CameraReturnedV2) == ["1001"]
        closed = await dock.events(DockingClosed)
        assert [(c.complete, c.counts.copied, c.counts.already_saved) for c in closed] == [(True, 3, 0), (True, 0, 3)]
        assert len(await dock.events(CameraCheckedOutV2)) == 1
    assert custody(["verify", str(tmp_path / "dock/vault")]) == 0


async def test_two_luns_are_one_camera(tmp_path: Path) -> None:
    one = card(tmp_path / "a.img", volume_id="00000001")
    two = card(tmp_path / "b.img", {"DCIM/100MEDIA/VID00001.MP4": 900}, seed=2, volume_id="00000002")
    async with scene(tmp_path / "dock") as dock:
        plugged = device(1, one)
        dock.plug(plugged)
        await asyncio.sleep(0.1)  # LUNs show one after the other
        dock.plug(replace(plugged, disks=(*plugged.disks, *device(1, two).disks)))
        await dock.until_judged()
        seals = await dock.events(SegmentSealed)
        assert len(seals) == 4
        assert len({seal.camera_id for seal in seals}) == 1
        assert len(await dock.events(CameraDocked)) == 1


async def test_what_is_no_camera_is_refused_and_stated_and_never_read(tmp_path: Path) -> None:
    image = card(tmp_path / "a.img")
    os.utime(image, ns=(0, 0))
    async with scene(tmp_path / "dock") as dock:
        for interfaces, reason in (
            (("030101",), "keyboard"),
            (("080650", "030101"), "keyboard"),  # a disk that also types
            (("020600",), "network"),
            (("ff0000",), "unknown_device"),
        ):
            dock.plug(device(1, image, interfaces=interfaces))
            state = await dock.until(lambda s: s.state == "refused")
            assert (state.reason, state.removable) == (reason, False)
            dock.plug()
            await dock.until(lambda s: s.state == "empty")
        refused = await dock.events(DeviceRefused)
        assert [one.reason for one in refused] == ["keyboard", "keyboard", "network", "unknown_device"]
        assert await dock.events(CameraDocked) == []
    assert image.stat().st_atime_ns == 0


async def test_a_storm_of_two_hundred_replugs_is_stated_once_and_then_the_camera_is_docked(tmp_path: Path) -> None:
    image = card(tmp_path / "a.img")
    async with scene(tmp_path / "dock") as dock:
        other = device(2, image)
        for _ in range(200):
            dock.plug(device(1, image), other)
            await asyncio.sleep(0)
            dock.plug(other)
            await asyncio.sleep(0)
        dock.plug(device(1, image), other)
        await dock.until(lambda s: s.state == "storm")
        await dock.until_judged("2")  # another bay works on
        assert (await dock.until_judged()).state == "safe"
        storms = [one for one in await dock.events(DeviceRefused) if one.reason == "replug_storm"]
        assert len(storms) == 1
        assert len(await dock.events(CameraDocked)) <= 9  # not one for each of 200


async def test_two_cameras_with_one_serial_are_both_copied_and_disputed_until_people_decide(tmp_path: Path) -> None:
    names = ("20260001_000123_20260801080000_{:04d}.MP4",)
    files = {f"DCIM/{names[0].format(n)}": 800 for n in range(3)}
    one, two = card(tmp_path / "a.img", files, 1, "00000001"), card(tmp_path / "b.img", files, 2, "00000002")
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, one), device(2, two))
        states = [await dock.until_judged("1"), await dock.until_judged("2")]
        assert len(await dock.events(SegmentSealed)) == 6
        assert sorted(state.disputed for state in states) == [False, True]
        doubtful = next(state for state in states if state.disputed)
        assert doubtful.verdict is not None
        assert "camera_disputed" in [str(reason.code) for reason in doubtful.verdict.reasons]

        def decide(store: Store) -> None:
            with store.begin():
                assert accept(store, str(doubtful.camera))

        await dock.opened.dock.store.call(decide)
    assert custody(["verify", str(tmp_path / "dock/vault")]) == 0


@pytest.mark.parametrize(("year", "code"), [(1980, "clock_unset"), (2090, "clock_ahead")])
async def test_a_clock_that_is_lost_or_ahead_is_seen_by_the_newest_file(tmp_path: Path, year: int, code: str) -> None:
    image = card(tmp_path / "a.img")
    at = image.read_bytes().index(b"VID00001MP4")
    patch(image, at + 24, ((year - 1980) << 9 | 1 << 5 | 1).to_bytes(2, "little"))  # DIR_WrtDate
    if year == 1980:
        for name in (b"VID00002MP4", b"TXT "):
            where = image.read_bytes().find(name)
            entry = where if name != b"TXT " else where - 8
            patch(image, entry + 24, (1 << 5 | 1).to_bytes(2, "little"))
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, image))
        state = await dock.until_judged()
        assert state.verdict is not None
        assert code in [str(reason.code) for reason in state.verdict.reasons]
        assert state.state == "safe"  # whatever its clock says, its footage is saved


async def test_a_card_of_noise_an_empty_one_and_none_at_all(tmp_path: Path) -> None:
    noise = tmp_path / "noise.img"
    noise.write_bytes(random.Random(3).randbytes(1 << 20))
    empty = fat_card(tmp_path / "empty.img", {})
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, noise))
        state = await dock.until(lambda s: s.state == "failed")
        assert (state.reason, state.removable) == ("not_a_file_system", False)
        dock.plug(device(1, empty))
        state = await dock.until(lambda s: s.state == "safe" and s.verdict is not None)
        assert (state.state, state.reason) == ("safe", "source_empty")
        dock.plug(device(1, blank(tmp_path / "nothing.img", 0)))
        reader = device(1, tmp_path / "nothing.img")
        dock.plug(reader)
        await dock.until(lambda s: s.state in ("recognising", "no_card"))
        dock.plug(replace(reader, disks=device(1, card(tmp_path / "a.img")).disks))  # the card is put into the reader
        await dock.until(lambda s: s.state == "safe" and s.verdict is not None)


async def test_a_camera_pulled_while_copying_is_said_so_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    files = {f"DCIM/VID{n:05}.MP4": 4 << 20 for n in range(12)}
    image = card(tmp_path / "a.img", files)
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, image))
        await dock.until(lambda s: s.state == "copying")
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        (left,) = await dock.events(CameraLeftV2)
        assert (left.offload, left.verdict) == ("copying", "unchecked")
        (closed,) = await dock.events(DockingClosed)
        assert (closed.complete, closed.reason) == (False, "source_gone")
        dock.plug(device(1, image))
        assert (await dock.until_judged()).state == "safe"
        assert len({seal.path for seal in await dock.events(SegmentSealed)}) == 12
        assert len(await dock.events(SegmentSealed)) == 12
    assert custody(["verify", str(tmp_path / "dock/vault")]) == 0


async def test_stopping_the_agent_states_no_departure(tmp_path: Path) -> None:
    image = card(tmp_path / "a.img")
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, image))
        await dock.until_judged()
    async with scene(tmp_path / "dock") as dock:
        assert await dock.events(CameraLeftV2) == []
        assert datetime.now(UTC) > (await dock.events(CameraDocked))[0].at


async def test_a_checked_out_camera_that_still_lies_in_its_bay_shows_its_officer_after_a_restart(
    tmp_path: Path,
) -> None:
    image = card(tmp_path / "a.img")
    plugged = device(1, image)
    async with scene(tmp_path / "dock") as dock:
        await dock.add_officer()
        dock.plug(plugged)
        await dock.until_judged()
        await dock.desk.check_out("1", "1001", "2468", confirmed=True)
    async with scene(tmp_path / "dock") as dock:
        dock.plug(plugged)
        view = bay_view(await dock.until_judged())
        assert (view["officer"], view["can_take_back"], view["can_check_out"]) == ("1001", True, False)
        assert {s.officer for s in dock.seen if s.camera} == {"1001"}
        assert await dock.desk.take_back("1", "1001", "2468")
        state = await dock.until(lambda s: s.officer is None)
        assert bay_view(state)["can_check_out"]
        (back,) = await dock.events(CameraReturnedV2)
        assert back.was_out is False
        assert await dock.named(CameraReturnedV2) == ["1001"]
        await dock.desk.check_out("1", "1001", "2468", confirmed=True)


async def test_a_camera_that_was_taken_while_the_agent_was_down_has_left_and_comes_back(tmp_path: Path) -> None:
    image = card(tmp_path / "a.img")
    async with scene(tmp_path / "dock") as dock:
        await dock.add_officer()
        dock.plug(device(1, image))
        camera = (await dock.until_judged()).camera
        await dock.desk.check_out("1", "1001", "2468", confirmed=True)
    async with scene(tmp_path / "dock") as dock:
        await dock.until(lambda s: s.state == "empty", "2")
        store, station = dock.opened.dock.store, dock.opened.station
        assert dock.board.cameras() == frozenset()
        assert await store.call(left_unseen, station, frozenset(), datetime.now(UTC)) == [camera]
        (left,) = await dock.events(CameraLeftV2)
        assert (left.camera_id, left.bay, left.offload, left.verdict) == (camera, "1", "safe", "not_ready")
        assert await dock.named(CameraLeftV2) == ["1001"]
        dock.plug(device(2, image))
        assert (await dock.until_judged("2")).officer is None
        (returned,) = await dock.events(CameraReturnedV2)
        assert returned.was_out
        assert await dock.named(CameraReturnedV2) == ["1001"]
