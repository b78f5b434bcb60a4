"""Sections: two people place somebody, the tables refuse one alone, the log derives it; and a list holds exactly what
each thing by itself allows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from custody.stationevents import CameraDocked, CameraLeft, CameraLeftV2, CameraReturned, CameraReturnedV2
from hub.access import Action, Actor, Role, may, may_ever
from hub.errors import LogUntrusted
from hub.logcheck import check_log
from hub.openings.service import Choice, approve_removal, request_removal
from hub.overview.queries import load_dockings
from hub.recordings.queries import RecordingFilter, load_recordings
from hub.sections import docking_subject, scope_of
from hub.tables import account, docking, section_request, station
from hub.times import now_utc
from tests.integration.site_data import Hub, Story
from tests.integration.test_people import post, set_up, two_administrators
from tests.integration.web_peer import signed_in


@pytest.fixture
def hub(tmp_path: Path, database_url: str) -> Iterator[Hub]:
    made = Hub(tmp_path, database_url)
    yield made
    made.close()


def place_of(hub: Hub, name: str) -> tuple[str, str]:
    query = select(account.c.section, account.c.officer).where(account.c.name == name)
    with hub.db.read() as connection:
        row = connection.execute(query).one()
    return row.section, row.officer


def request_about(hub: Hub, name: str) -> str:
    """The address of the newest request about an account or a station."""
    c = section_request.c
    query = select(c.id).where((c.account == name) | (c.station == name)).order_by(c.id.desc()).limit(1)
    with hub.db.read() as connection:
        return f"/sections/requests/{connection.execute(query).scalar_one()}"


def is_sound(hub: Hub) -> bool:
    with hub.db.read() as connection:
        try:
            check_log(connection, hub.keys, 480)
        except LogUntrusted:
            return False
    return True


def test_one_asks_another_approves_and_the_log_derives_it(hub: Hub) -> None:
    first, second, phone = two_administrators(hub)
    own_phone = set_up(hub.db, first)
    hub.account("li", "officer")
    hub.account("wang", "officer")
    hub.station("dock-a")

    def ask(**form: str) -> Any:
        return post(first, "/sections/requests", reason="新设科室", **form)

    for wrong in ({"section": "科 室"}, {"section": "A", "station": "dock-a"}, {"section": ""}, {"section": "A/b"}):
        assert ask(account="li", **wrong).status_code == 422, wrong
    assert ask(station="dock-a", section="A", officer="1001").status_code == 422  # a station has no number
    assert ask(station="dock-z", section="A").status_code == 422
    assert ask(account="li", section="校外监管科", officer="1001").status_code == 303
    assert ask(account="li", section="B").status_code == 422  # one waits
    approve = request_about(hub, "li") + "/approve"
    assert post(first, approve, code=own_phone.code()).status_code == 422  # asked for it
    assert post(second, approve, code="000000").status_code == 422
    assert place_of(hub, "li") == ("", "")
    assert post(second, approve, code=phone.code()).status_code == 303
    assert place_of(hub, "li") == ("校外监管科", "1001")
    assert post(second, approve, code=phone.code()).status_code == 422  # decided
    assert ask(account="wang", section="B", officer="1001").status_code == 422  # li's number
    assert ask(station="dock-a", section="B").status_code == 303
    assert post(first, request_about(hub, "dock-a") + "/refuse").status_code == 303  # withdrawn
    assert "校外监管科" in second.get("/sections").text
    assert is_sound(hub)
    for forged in (
        update(account).where(account.c.name == "li").values(section="B"),
        update(account).where(account.c.name == "wang").values(officer="1002"),
        update(station).values(section="A"),
        update(section_request).where(section_request.c.account == "li").values(section="B"),
        delete(section_request),
    ):
        with hub.db.writer.connect() as tx:
            tx.begin()
            tx.execute(forged)
            with pytest.raises(LogUntrusted):
                check_log(tx, hub.keys, 480)
            tx.rollback()


def test_nobody_decides_about_themselves(hub: Hub) -> None:
    first, second, phone = two_administrators(hub)
    assert post(first, "/sections/requests", account="second", section="A", reason="x").status_code == 303
    assert post(second, request_about(hub, "second") + "/approve", code=phone.code()).status_code == 422
    assert place_of(hub, "second") == ("", "")
    auditor = signed_in(hub, "shen", "auditor")
    assert auditor.get("/sections").status_code == 200
    assert "/sections/requests" not in auditor.get("/sections").text


def test_the_database_itself_refuses(hub: Hub) -> None:
    row = {"id": "r", "section": "A", "officer": "", "reason": "x", "requested_by": "a", "requested_at": "t"}
    decided = {"decided_at": "t", "approved": True}
    for one in (
        {"account": "li", "decided_by": "a"},
        {"account": "li", "decided_by": "li"},
        {"account": "li", "decided_by": None},
        {"account": "li", "station": "dock-a", "decided_by": "b"},
        {"decided_by": "b"},
        {"station": "dock-a", "officer": "1001", "decided_by": "b"},
    ):
        with pytest.raises(IntegrityError), hub.db.begin() as tx:
            tx.execute(insert(section_request).values(**row | decided | one))
    hub.account("li")
    hub.account("wang")
    with pytest.raises(IntegrityError), hub.db.begin() as tx:
        tx.execute(update(account).values(officer="1001"))


# --- who carried a camera; lists and single things ---


def told(story: Story, camera: str, word: str, who: str, *, committed: bool = True) -> bytes:
    """What a station states of a camera: ``left``, ``docked`` or ``returned``, with the number behind a commitment."""
    common = {"camera_id": camera, "bay": "1"}
    if word == "docked":
        device = {"usb_id": "1:2", "usb_serial": "", "volume_ids": (), "profile": "generic", "disputed": False}
        return story.seal(CameraDocked, **common, **device)
    if word == "left":
        facts = {**common, "offload": "safe", "verdict": "ready", "officer": who or None}
        return story.stated(CameraLeftV2, **facts) if committed else story.seal(CameraLeft, **facts)
    facts = {**common, "officer": who, "was_out": True}
    return story.stated(CameraReturnedV2, **facts) if committed else story.seal(CameraReturned, **facts)


def offload(story: Story, camera: str, name: str) -> list[bytes]:
    at = (now_utc() - timedelta(hours=2)).replace(tzinfo=None)
    return [story.dock(name, camera, "1", 1, 1 << 20), story.file(camera, "1", f"DCIM/{name}.MP4", at)]


STORIES = {  # what was stated before the offload, and who carried the camera as far as that tells
    "left:7 docked returned:7": "7",
    "left:7 docked": "7",  # back at a station that does not know of the check-out
    "left:7": "7",
    "returned:7": "7",
    "": None,
    "docked": None,
    "left: docked": None,  # nobody had checked it out
    "left:7 docked returned:7 left: docked": None,
    "left:7 docked returned:7 docked": None,  # it was away, and nobody stated it
    "left:7 docked docked": None,
    "left:7 docked returned:7 left:8 docked returned:8": "8",
}


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("story", STORIES)
def test_who_carried_a_camera(hub: Hub, story: str, *, committed: bool) -> None:
    dock = hub.station("dock-a")
    sent = [told(dock, "C", *step.partition(":")[::2], committed=committed) for step in story.split()]
    sent += [told(dock, "D", "left", "9"), *offload(dock, "C", "d")]  # another camera tells nothing
    hub.take("dock-a", *sent, told(dock, "C", "left", "9"))  # nor does what came later
    with hub.db.read() as connection:
        assert docking_subject(connection, "dock-a", "d").officer == STORIES[story]


def test_a_number_that_people_removed_tells_nothing_any_more(hub: Hub) -> None:
    dock = hub.station("dock-a")
    hub.take("dock-a", told(dock, "C", "left", "1001"), told(dock, "C", "docked", ""), *offload(dock, "C", "d"))
    officer = Actor("li", Role.OFFICER, must_change_password=False, officer="1001")
    assert [row.docking for row in load_recordings(hub.db, officer, RecordingFilter()).rows] == ["d"]
    records = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
    removal, _ = request_removal(hub.db, hub.keys, records, Choice("officer", value="1001"), "retention_over")
    approve_removal(hub.db, hub.keys, Actor("leader", Role.APPROVING_LEADER, must_change_password=False), removal)
    assert load_recordings(hub.db, officer, RecordingFilter()).rows == ()


@pytest.mark.parametrize("seed", range(4))
def test_a_list_holds_what_each_thing_by_itself_allows(hub: Hub, seed: int) -> None:
    chance, docks = random.Random(seed), [hub.station(f"dock-{n}") for n in "abc"]
    numbers, sections = ["1001", "1002", "2001", ""], ["", "A", "B"]
    with hub.db.begin() as tx:
        for number in numbers[:3]:
            row = {"name": f"carries-{number}", "role": "officer", "password_hash": "!", "created_at": "t"}
            place = {"officer": number, "section": chance.choice(sections)}
            tx.execute(insert(account).values(**row, **place, must_change_password=True))
        for dock in docks:
            tx.execute(update(station).where(station.c.id == dock.name).values(section=chance.choice(sections)))
    for one in range(40):
        dock, camera = chance.choice(docks), f"C{chance.randrange(4)}"
        words = chance.choices(("left", "docked", "returned"), k=chance.randrange(4))
        plain = chance.random() < 0.2  # of before numbers were committed to
        sent = [told(dock, camera, word, chance.choice(numbers[:3]), committed=not plain) for word in words]
        hub.take(dock.name, *sent, *offload(dock, camera, f"docking-{one}"))
    with hub.db.read() as connection:
        held = connection.execute(select(docking.c.station, docking.c.id)).all()
        subjects = {row.id: docking_subject(connection, row.station, row.id) for row in held}
        assert len(subjects) == 40
        for role in Role:
            for section, number in ((section, number) for section in sections for number in numbers):
                actor = Actor("p", role, must_change_password=False, section=section, officer=number)
                scope = scope_of(connection, actor, Action.SEE_DOCKINGS)
                listed = {row.id for row in load_dockings(connection, scope, 100)}
                assert listed == {name for name, whose in subjects.items() if may(actor, Action.SEE_DOCKINGS, whose)}
                if not may_ever(actor, Action.SEE_RECORDINGS):
                    continue
                page = load_recordings(hub.db, actor, RecordingFilter(), None, 100)
                wanted = {name for name, whose in subjects.items() if may(actor, Action.SEE_RECORDINGS, whose)}
                assert {row.docking for row in page.rows} == wanted
