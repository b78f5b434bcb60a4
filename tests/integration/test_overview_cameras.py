"""Where cameras are by what stations stated, what waits for whom, and what one station's page tells whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from custody.commandbody import HoldLifted
from custody.stationevents import (
    CameraChecked,
    CameraCheckedOutV2,
    CameraDocked,
    CameraLeftV2,
    CameraOverdueV2,
    CameraReturnedV2,
    Charge,
)
from hub.access import Actor, Role
from hub.commands.service import request_command
from hub.identifiers import new_id
from hub.overview.cameras import CameraBook, load_cameras
from hub.overview.queries import load_facts
from hub.sections import EVERYTHING, Scope
from hub.stations.now import load_stations
from hub.tables import station
from hub.times import now_utc
from tests.integration.site_data import Hub, Story
from tests.integration.web_peer import signed_in


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.close()


def told(story: Story, camera: str, word: str) -> bytes:
    """What a station states: docked, ready, not_ready, out:HOURS (till due), left:OFFLOAD, returned, overdue."""
    word, _, more = word.partition(":")
    common: dict[str, Any] = {"camera_id": camera, "bay": "1"}
    if word == "docked":
        device = {"usb_id": "1:2", "usb_serial": "", "volume_ids": (), "profile": "generic", "disputed": False}
        return story.seal(CameraDocked, **common, **device)
    if word in ("ready", "attention", "not_ready"):
        charge = Charge(percent=90, state="full", origin="reported", method="ptp", read_at=story.at)
        return story.seal(
            CameraChecked, **common, verdict=word, reasons=(), charge=charge, free_bytes=1, total_bytes=1,
            free_minutes=1, clock_error_seconds=0, unsafe_files=0, policy_from="2026-01-01",
        )  # fmt: skip
    due_at = now_utc() + timedelta(hours=float(more or -1)) if word in ("out", "overdue") else None
    if word == "out":
        duty = {"verdict": "ready", "reasons": (), "notice": "", "due_at": due_at}
        return story.stated(CameraCheckedOutV2, **common, officer="7", **duty)
    if word == "left":
        return story.stated(CameraLeftV2, **common, officer="7", offload=more or "safe", verdict="ready")
    if word == "overdue":
        return story.stated(CameraOverdueV2, camera_id=camera, officer="7", due_at=due_at)
    return story.stated(CameraReturnedV2, **common, officer="7", was_out=True)


@pytest.mark.parametrize(
    ("story", "standing", "early"),
    [
        ("docked", "unjudged", False),
        ("docked ready", "ready", False),
        ("docked not_ready", "not_ready", False),
        ("docked attention", "remarks", False),
        ("docked ready out:9", "ready", False),
        ("docked ready out:9 left", "out", False),
        ("docked out:-1 left", "overdue", False),  # its station may be away and say nothing
        ("docked out:9 left overdue", "overdue", False),
        ("docked out:-1 left overdue docked returned", "unjudged", False),
        ("docked out:-1 left docked returned left", "out", False),  # an older check-out is of another duty
        ("docked left:copying", "out", True),
        ("docked out:-1 left:incomplete overdue", "overdue", True),
        ("docked left:copying docked ready", "ready", False),
    ],
)
def test_where_a_camera_is(hub: Hub, story: str, standing: str, *, early: bool) -> None:
    dock = hub.station("dock-a")
    size, book = {"files": 1, "size_bytes": 1}, CameraBook()
    hub.take("dock-a", dock.dock("d", "C", "1", **size))
    for word in story.split():
        hub.take("dock-a", told(dock, "C", word))
        with hub.db.read() as connection:
            book.read(connection)  # what it holds must not outlive the next word
    with hub.db.read() as connection:
        found = load_cameras(connection, book, EVERYTHING, EVERYTHING, now_utc())
        assert found.counts == {standing: 1}
        assert found.left_unsaved_in_all == early
        assert [one.id for one in found.overdue] == (["C"] if standing == "overdue" else [])
        elsewhere = load_cameras(connection, book, EVERYTHING, Scope(frozenset({"dock-b"})), now_utc())
        assert (elsewhere.counts, elsewhere.overdue, elsewhere.left_unsaved) == ({standing: 1}, (), ())
        nothing = load_cameras(connection, book, Scope(frozenset()), Scope(frozenset()), now_utc())
        assert (nothing.counts, nothing.left_unsaved_in_all) == ({}, 0)


def tasks(hub: Hub, name: str, role: Role, section: str = "") -> dict[str, int]:
    with hub.db.read() as connection:
        actor = Actor(name, role, must_change_password=False, section=section)
        stations = load_stations(connection, EVERYTHING, now_utc())
        return {one.code: one.count for one in load_facts(connection, actor, stations, CameraBook(), now_utc()).tasks}


def test_what_waits_for_whom(hub: Hub) -> None:
    assert tasks(hub, "a", Role.ADMINISTRATOR) == {"enrol_first": 1, "second_factor": 1}
    assert tasks(hub, "o", Role.OFFICER) == {}
    dock = hub.station("dock-a")
    with hub.db.begin() as tx:
        tx.execute(update(station).values(section="A"))
    size = {"files": 1, "size_bytes": 1}
    words = ("docked", "out:-1", "left:copying")
    hub.take("dock-a", dock.dock("d", "C", "1", **size), *(told(dock, "C", word) for word in words))
    hub.say("dock-a", online=False)
    head = Actor("head", Role.SECTION_HEAD, must_change_password=False, section="A")
    body = HoldLifted(hold_id=new_id(now_utc()), reason="closed")
    request_command(hub.db, hub.keys, head, "dock-a", body)
    late = {"overdue": 1, "left_unsaved": 1}
    assert tasks(hub, "c", Role.CUSTODIAN, "A") == {**late, "stations": 1}
    assert tasks(hub, "c", Role.CUSTODIAN, "B") == {}, "another section's"
    assert tasks(hub, "e", Role.EQUIPMENT_OFFICE) == {**late, "stations": 1}
    assert tasks(hub, "a", Role.ADMINISTRATOR) == {"stations": 1, "second_factor": 1}
    assert tasks(hub, "l", Role.APPROVING_LEADER) == {"commands": 1, "second_factor": 1}
    assert tasks(hub, "head", Role.APPROVING_LEADER) == {"second_factor": 1}, "whoever asked never decides"
    assert tasks(hub, "s", Role.AUDITOR) == {"second_factor": 1}
    assert tasks(hub, "o", Role.OFFICER, "A") == {}


def test_one_station_tells_what_went_wrong_and_officers_nothing_of_others(hub: Hub) -> None:
    dock = hub.station("dock-a")
    at = (now_utc() - timedelta(hours=2)).replace(tzinfo=None)
    torn = dock.dock("d", "CAM-X", "1", 1, 1), dock.file("CAM-X", "1", "DCIM/torn.MP4", at, gap_count=2, gap_bytes=4096)
    hub.take("dock-a", *torn, dock.close("CAM-X", "1", 1, 1, "read_fault"), told(dock, "CAM-X", "left:incomplete"))
    hub.take("dock-a", b"no envelope")
    hub.say("dock-a", online=True)
    page = signed_in(hub).get("/stations/dock-a").text
    for text in ("导出不完整", "存储卡部分无法读取", "torn.MP4", "录像有无法读取的部分 × 2", "消息未被接收", "CAM-X"):
        assert text in page, text
    officer = signed_in(hub, "li", "officer").get("/stations/dock-a").text
    assert "消息未被接收" in officer
    assert "torn.MP4" not in officer
    assert "CAM-X" not in officer
    equipment = signed_in(hub, "yu", "equipment_office").get("/stations/dock-a").text
    assert "CAM-X" in equipment
    assert "torn.MP4" not in equipment, "whose recordings exist is not their business"
