"""What people have recorded of a camera, and what cannot be seen of it, in a stay's verdict and name."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from agent import duty
from agent.baystate import BayState
from agent.officers import Officer
from agent.recognise import readmit, set_aside
from agent.store import Store
from custody.stationevents import CameraChecked, CameraDocked, CameraReturnedV2, SegmentSealed
from tests.integration.bay_scene import Scene, device, scene
from tests.integration.cards import fat_card
from tests.integration.test_usbbay import card

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)


def codes(state: BayState) -> set[str]:
    assert state.verdict is not None
    return {str(reason.code) for reason in state.verdict.reasons}


async def out(dock: Scene, camera: str, bay: str) -> None:
    """It was checked out at this bay."""
    officer = Officer("1001", "张伟", disabled=False)
    await dock.opened.dock.store.call(
        duty.check_out, dock.opened.station, officer, camera, bay, "ready", (), datetime.now(UTC)
    )


async def test_a_camera_that_was_moved_while_the_agent_did_not_run_has_an_open_loan(tmp_path: Path) -> None:
    image = card(tmp_path / "a.img")
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, image))
        camera = str((await dock.until_judged()).camera)
        await out(dock, camera, "1")
        assert "loan_open" not in codes(await dock.until_judged())  # the officer is about to take it
    async with scene(tmp_path / "dock") as dock:
        await dock.add_officer()
        dock.plug(device(2, image))
        state = await dock.until_judged("2")
        assert (state.camera, state.officer) == (camera, "1001")
        assert "loan_open" in codes(state)
        assert "loan_open" in (await dock.events(CameraChecked))[-1].reasons
        assert await dock.desk.take_back("2", "1001", "2468")
        dock.plug()
        await dock.until(lambda s: s.state == "empty", "2")
        dock.plug(device(2, image))
        assert "loan_open" not in codes(await dock.until_judged("2"))


async def test_a_disputed_camera_does_not_end_the_duty_of_the_one_whose_name_it_bears(tmp_path: Path) -> None:
    true, other = card(tmp_path / "a.img"), card(tmp_path / "b.img", seed=2)
    async with scene(tmp_path / "dock") as dock:
        await dock.add_officer()
        dock.plug(device(1, true))
        camera = str((await dock.until_judged()).camera)
        await out(dock, camera, "1")
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        dock.plug(device(1, other, usb_id="1b3f:9999"))
        state = await dock.until_judged()
        assert (state.camera, state.disputed, state.officer) == (camera, True, "1001")
        assert {"loan_open", "camera_disputed"} <= codes(state)
        assert await dock.events(CameraReturnedV2) == []
        assert await dock.desk.take_back("1", "1001", "2468")  # the officer says that the duty is over
        (returned,) = await dock.events(CameraReturnedV2)
        assert returned.was_out
        assert await dock.named(CameraReturnedV2) == ["1001"]


async def test_a_camera_that_people_set_aside_is_copied_and_not_for_duty(tmp_path: Path) -> None:
    image = card(tmp_path / "a.img")
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, image))
        camera = str((await dock.until_judged()).camera)

        def change(store: Store, *, aside: bool) -> None:
            with store.begin():
                assert set_aside(store, camera, "镜头破损", NOW) if aside else readmit(store, camera)

        await dock.opened.dock.store.call(lambda store: change(store, aside=True))
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        dock.plug(device(1, image))
        state = await dock.until_judged()
        assert state.state == "safe"
        assert "device_refused" in codes(state)
        await dock.opened.dock.store.call(lambda store: change(store, aside=False))
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        dock.plug(device(1, image))
        assert "device_refused" not in codes(await dock.until_judged())


async def test_a_profile_can_ask_for_more_than_the_bureau_and_never_for_less(tmp_path: Path) -> None:
    image = fat_card(tmp_path / "a.img", {"DCIM/A.MP4": b"footage"}, size_mib=128)
    folder = tmp_path / "dock/profiles"
    folder.mkdir(parents=True)
    body = (
        'name = "site"\nevidence = "tried"\ntime_zone = "station"\nbitrate_kbit = 160\n[title]\nzh = "样"\nen = "s"\n'
    )
    body += '[recognise]\nusb = ["1b3f:8301"]\n[files]\nfootage = ["*.MP4"]\n'
    (folder / "site.toml").write_text(body, "utf-8")
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, image))
        state = await dock.until_judged()
        assert state.verdict is not None
        assert state.verdict.hours_left is not None
        hours = state.verdict.hours_left
        assert hours < 2
        assert any("2 小时" in reason.zh for reason in state.verdict.reasons)
    for asked, counts in ((1, "2 小时"), (7.5, "7.5 小时")):
        (folder / "site.toml").write_text(f"{body}[readiness]\nminimum_free_hours = {asked}\n", "utf-8")
        async with scene(tmp_path / "dock") as dock:
            dock.plug(device(1, image))
            state = await dock.until_judged()
            assert state.verdict is not None
            assert any(counts in reason.zh for reason in state.verdict.reasons if str(reason.code) == "space_low")


async def test_a_card_that_cannot_be_looked_at_for_a_moment_is_looked_at_again_before_the_camera_is_named(
    tmp_path: Path,
) -> None:
    image = card(tmp_path / "a.img")
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, image))
        camera = (await dock.until_judged()).camera
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        plugged, away = device(1, image), image.rename(tmp_path / "away.img")
        dock.board.changed.append(lambda s: _back(away, image) if s.state == "recognising" else None)
        dock.plug(plugged)
        state = await dock.until_judged()
        assert (state.camera, state.disputed) == (camera, False)


async def test_a_camera_whose_card_cannot_be_looked_at_keeps_its_name_or_is_disputed(tmp_path: Path) -> None:
    image = card(tmp_path / "a.img")
    away = tmp_path / "away.img"
    async with scene(tmp_path / "dock") as dock:
        dock.plug(device(1, image))
        camera = (await dock.until_judged()).camera
        dock.board.changed.append(
            lambda s: _back(away, image) if s.camera else None
        )  # once it is named, it is readable
        for facts, name, disputed in (({}, camera, False), ({"serial": "unheard-of"}, None, True)):
            dock.plug()
            await dock.until(lambda s: s.state == "empty")
            plugged = replace(device(1, image), **facts)
            image.rename(away)
            dock.plug(plugged)
            state = await dock.until_judged()
            assert (state.state, state.disputed) == ("safe", disputed)
            assert name is None or state.camera == name
        assert [docked.disputed for docked in await dock.events(CameraDocked)] == [False, False, True]
        assert len(await dock.events(SegmentSealed)) == 6  # nothing is lost for want of a name


def _back(away: Path, image: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        away.rename(image)
