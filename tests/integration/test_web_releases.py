"""Releases by pages: what is shown before anybody asks, who may, two people with a code, and the station's answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from hub.logcheck import check_log
from hub.tables import segment
from tests.integration.authenticators import set_up
from tests.integration.release_scene import CAMERA, DOCKING, FILES, Docked
from tests.integration.site_data import Hub
from tests.integration.test_web_commands import post, rows
from tests.integration.web_peer import signed_in

PAGE = "/commands/release?" + urlencode({"station": "dock-1", "docking": DOCKING})
ASK = {"station": "dock-1", "docking": DOCKING, "reason": "card is full", "sure": "1"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.close()


def text(browser: TestClient, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def asked_for(browser: TestClient) -> str:
    assert post(browser, "/commands/release", **ASK) == 303
    return str(rows(browser)[0]["id"])


def test_asked_approved_sent_and_what_the_station_stated(hub: Hub) -> None:
    docked = Docked(hub)
    docked.say(release=True, release_keep_days=0)
    keeper, head = signed_in(hub, "keeper", "custodian"), signed_in(hub, "head", "section_head")
    assert CAMERA in text(keeper, "/commands/release?lang=en")
    page = text(keeper, PAGE)
    assert "4 of 4 files on the card" in page
    assert "DSJ_0002.MP4" in page
    assert "will not act at once" not in page
    command = f"/commands/release/{asked_for(keeper)}"
    assert "card is full" in text(keeper, command)
    assert "A release is under way" in text(keeper, PAGE)
    assert post(keeper, "/commands/release", **ASK) == 422, "one at a time"
    phone = set_up(hub.db, head)
    assert "told to clear 4 files" in text(head, f"{command}?lang=en")
    assert post(keeper, f"{command}/approve", code="123456") == 403
    assert post(head, f"{command}/approve", code="000000") == 422
    assert post(head, f"{command}/approve", code=phone.code()) == 303
    header = docked.receive()
    body = json.loads(header.body)
    assert body["entries"] == [{"first": 1, "last": FILES}]
    assert body["reason"] == "card is full"
    assert "Waits until the camera lies in its bay" in text(head, command)
    docked.clear(header, FILES, 0, "complete")
    page = text(head, command)
    assert "4 cleared, 0 kept, 0 unknown" in page
    assert f"{'c' * 64}  .custody/release-{docked.previous[:16]}.jsonl" in page
    assert "4 cleared, 0 kept, 0 unknown" in text(keeper, PAGE)
    with hub.db.read() as connection:
        check_log(connection, hub.keys, 480)


def test_a_held_file_is_named_and_left_out(hub: Hub) -> None:
    docked = Docked(hub)
    keeper = signed_in(hub, "keeper", "custodian")
    with hub.db.read() as connection:
        digest = connection.execute(select(segment.c.sha256).where(segment.c.entry == 2)).scalar_one()
    assert post(keeper, "/commands/hold", station="dock-1", file_sha256=digest, reason="case 17") == 303
    page = text(keeper, PAGE + "&lang=en")
    assert "3 of 4 files on the card" in page
    assert "What stays: 1" in page
    assert "A hold is on this file" in page
    asked_for(keeper)
    head = signed_in(hub, "head", "section_head")
    assert post(head, f"/commands/release/{rows(head)[0]['id']}/approve", code=set_up(hub.db, head).code()) == 303
    docked.receive()  # the hold
    assert json.loads(docked.receive().body)["entries"] == [{"first": 1, "last": 1}, {"first": 3, "last": 4}]


@pytest.mark.parametrize(
    ("sentence", "closing", "cosigned", "spoil"),
    [
        ("Not everything of this offload was saved", {"reason": "source_gone", "failed": 1}, True, None),
        ("The station has not yet checked the hub's log so far", {}, False, None),
        ("The camera was taken out since it was saved", {}, True, "leave"),
        ("A hold is on this camera or offload", {}, True, "hold"),
    ],
)  # fmt: skip
def test_what_cannot_be_released_says_why_and_cannot_be_asked_for(
    hub: Hub,
    sentence: str,
    closing: dict[str, object],
    cosigned: bool,
    spoil: str | None,
) -> None:
    docked = Docked(hub, cosigned=cosigned, **closing)
    keeper = signed_in(hub, "keeper", "custodian")
    if spoil == "leave":
        docked.leave()
    elif spoil == "hold":
        assert post(keeper, "/commands/hold", station="dock-1", camera=CAMERA, reason="case 17") == 303
    assert sentence in text(keeper, "/commands/release?lang=en")
    page = text(keeper, PAGE)
    assert sentence in page
    assert 'name="sure"' not in page
    assert post(keeper, "/commands/release", **ASK) == 422
    assert not any(row["kind"] == "release.v1" for row in rows(keeper))


def test_switched_off_is_said_with_the_way_to_switch_it_on_and_what_the_station_waits_for(hub: Hub) -> None:
    docked = Docked(hub)
    keeper = signed_in(hub, "keeper", "custodian")
    assert "does not say whether clearing is switched on" in text(keeper, PAGE + "&lang=en")
    docked.say(release=False, release_keep_days=3)
    page = text(keeper, PAGE)
    assert "Clearing is switched off at this station" in page
    assert "release = true in agent.toml" in page
    assert post(keeper, "/commands/release", **ASK) == 422
    docked.say(release=True, release_keep_days=3)
    page = text(keeper, PAGE)
    assert "switched off" not in page
    assert "Footage stays on the camera for some days more" in page
    docked.say(release=True, release_keep_days="<b>")
    assert "will not act at once" not in text(keeper, PAGE)


def test_reason_and_confirmation_are_needed_and_a_withdrawn_release_is_not_sent(hub: Hub) -> None:
    Docked(hub)
    office = signed_in(hub, "office", "equipment_office")
    for lacking in ({"reason": " "}, {"sure": ""}, {"reason": "x" * 201}):
        assert post(office, "/commands/release", **ASK | lacking) == 422
    assert rows(office) == []
    page = text(office, PAGE)
    assert "DSJ_0002.MP4" not in page, "the equipment office may not see which recordings exist"
    command = f"/commands/release/{asked_for(office)}"
    assert post(office, f"{command}/withdraw") == 303
    assert "Withdrawn or refused by office" in text(office, f"{command}?lang=en")
    assert post(office, "/commands/release", **ASK) == 303, "and then it can be asked for again"


MAY_ASK = {"custodian", "equipment_office"}
SEES = {"custodian", "section_head", "equipment_office", "approving_leader", "records_custodian", "auditor",
        "administrator"}  # fmt: skip


@pytest.mark.parametrize("role", sorted(SEES | {"officer"}))
def test_roles(hub: Hub, role: str) -> None:
    Docked(hub)
    browser = signed_in(hub, "person", role)
    for path in ("/commands/release", PAGE):
        assert browser.get(path).status_code == (200 if role in SEES else 403)
    assert ('name="sure"' in browser.get(PAGE).text) == (role in MAY_ASK)
    assert post(browser, "/commands/release", **ASK) == (303 if role in MAY_ASK else 403)


def test_nobody_is_let_in_without_signing_in_and_odd_addresses_are_not_found(hub: Hub) -> None:
    Docked(hub)
    keeper = signed_in(hub, "keeper", "custodian")
    post(keeper, "/commands/hold", station="dock-1", camera=CAMERA, reason="case 17")
    hold = rows(keeper)[0]["id"]
    for path in (PAGE.replace("dock-1", "dock-9"), "/commands/release/nothing", f"/commands/release/{hold}"):
        assert keeper.get(path).status_code == 404
    assert post(keeper, f"/commands/release/{hold}/withdraw") == 404
    keeper.cookies.clear()
    assert re.match("/sign-in", keeper.get(PAGE).headers["location"])
