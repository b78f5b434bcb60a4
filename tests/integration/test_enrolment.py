"""Two people enrol a station and compare the code of the dock's keys; the log states who, and `log check` agrees."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.testclient import TestClient

from custody.checkpoint import SigningKey
from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.hubevents import StationEnrolledV2
from hub.errors import LogUntrusted
from hub.logcheck import check_log
from hub.stations.enrolment import code_of, list_requests
from hub.tables import log_entry, station, station_request
from tests.bench.stations import SigningStation
from tests.integration.site_data import Hub
from tests.integration.test_people import Authenticator, post, two_administrators, types
from tests.integration.web_peer import client, signed_in


@pytest.fixture
def hub(tmp_path: Path, database_url: str) -> Iterator[Hub]:
    made = Hub(tmp_path, database_url)
    yield made
    made.close()


@pytest.fixture
def people(hub: Hub) -> tuple[TestClient, TestClient, Authenticator]:
    return two_administrators(hub)


KEY = SigningStation("dock-9").key
THIEFS = SigningKey.from_seed("dock-9", bytes(32))


def ask(browser: TestClient, key: SigningKey) -> None:
    assert post(browser, "/stations/requests", key_line=f" {key.verify_key.line}\n").status_code == 303


def path_of(hub: Hub, what: str = "approve") -> str:
    (request,) = list_requests(hub.db, waiting=True)
    return f"/stations/requests/{request.id}/{what}"


def code(hub: Hub, key: SigningKey) -> str:
    return code_of(key.verify_key.line, hub.keys.lines)


def check(hub: Hub) -> None:
    with hub.db.read() as connection:
        check_log(connection, hub.keys, 480)


def enrolled(hub: Hub) -> list[str]:
    with hub.db.read() as connection:
        return list(connection.execute(select(station.c.id)).scalars())


def test_one_asks_another_enters_the_docks_code_and_the_log_says_who(
    hub: Hub, people: tuple[TestClient, TestClient, Authenticator]
) -> None:
    first, second, phone = people
    dock = SigningStation("dock-9")
    dock_code = code(hub, dock.key)
    ask(first, dock.key)
    assert dock_code in first.get("/enrolment").text
    assert dock_code not in second.get("/enrolment").text, "the other one gets it from the dock"
    assert post(first, path_of(hub), dock_code=dock_code, code="123456").status_code == 422
    hub.take("dock-9", dock.started())
    assert enrolled(hub) == []
    done = post(second, path_of(hub), dock_code=dock_code.replace(" ", "-"), code=phone.code())
    assert done.status_code == 200, done.text
    assert enrolled(hub) == ["dock-9"]
    assert types(hub)[-1] == "station.enrolled.v2"
    with hub.db.read() as connection:
        raw = connection.execute(select(log_entry.c.envelope).order_by(log_entry.c.idx.desc()).limit(1)).scalar_one()
    envelope = parse_envelope(bytes(raw))
    event = decode_event(envelope.payload_type, envelope.payload)
    assert isinstance(event, StationEnrolledV2)
    assert (event.requested_by, event.approved_by) == ("admin", "second")
    assert event.key_line == dock.key.verify_key.line
    check(hub)


def test_a_key_that_was_exchanged_on_the_way_is_not_enrolled(
    hub: Hub, people: tuple[TestClient, TestClient, Authenticator]
) -> None:
    first, second, phone = people
    ask(first, THIEFS)
    before = types(hub)
    answer = post(second, path_of(hub), dock_code=code(hub, KEY), code=phone.code())
    assert answer.status_code == 422
    assert "调换" in answer.text
    assert post(second, path_of(hub), dock_code="", code=phone.code()).status_code == 422
    assert post(second, path_of(hub), dock_code=code(hub, THIEFS), code="000000").status_code == 422
    assert types(hub) == before
    assert enrolled(hub) == []
    assert post(second, path_of(hub, "refuse")).status_code == 303
    ask(first, KEY)
    assert post(second, path_of(hub), dock_code=code(hub, KEY), code=phone.code()).status_code == 200
    assert types(hub)[-3:] == [
        "station.enrolment_refused.v1", "station.enrolment_requested.v1", "station.enrolled.v2",
    ]  # fmt: skip
    check(hub)


def test_a_request_is_decided_once_and_one_name_waits_once(
    hub: Hub, people: tuple[TestClient, TestClient, Authenticator]
) -> None:
    first, second, phone = people
    ask(first, KEY)
    assert post(first, "/stations/requests", key_line=THIEFS.verify_key.line).status_code == 422
    approve = path_of(hub)
    assert post(first, path_of(hub, "refuse")).status_code == 303
    assert post(second, approve, dock_code=code(hub, KEY), code=phone.code()).status_code == 422
    assert enrolled(hub) == []
    hub.station("dock-9")
    assert post(first, "/stations/requests", key_line=KEY.verify_key.line).status_code == 422
    for line in ("", "x", "dock-9+00000000+AAAA", hub.keys.lines["log"]):
        assert post(first, "/stations/requests", key_line=line).status_code == 422, line
    check(hub)


def test_the_command_line_is_named_as_such(hub: Hub) -> None:
    hub.station("dock-1")
    page = signed_in(hub).get("/log").text
    assert "由一人在命令行登记" in page
    check(hub)


def test_who_may_see_and_do_what(hub: Hub, people: tuple[TestClient, TestClient, Authenticator]) -> None:
    first, _, _ = people
    ask(first, KEY)
    paths = ["/stations/requests", path_of(hub), path_of(hub, "refuse")]
    anonymous = client(hub.app)
    assert anonymous.get("/enrolment").status_code == 303
    auditor, officer = signed_in(hub, "wang", "auditor"), signed_in(hub, "zhao", "officer")
    page = auditor.get("/enrolment")
    assert page.status_code == 200
    assert '<form method="post" action="/stations' not in page.text
    assert officer.get("/enrolment").status_code == 403
    for path in paths:
        assert post(auditor, path).status_code == 403
        assert anonymous.post(path).status_code == 403
    assert len(list_requests(hub.db, waiting=True)) == 1


def test_the_database_refuses_one_person_and_the_check_finds_what_does_not_follow(
    hub: Hub, people: tuple[TestClient, TestClient, Authenticator]
) -> None:
    first, _, _ = people
    ask(first, KEY)
    with pytest.raises(IntegrityError), hub.db.begin() as tx:
        tx.execute(update(station_request).values(decided_by="admin", decided_at="2026", approved=True))
    check(hub)
    with hub.db.begin() as tx:
        tx.execute(update(station_request).values(key_line=THIEFS.verify_key.line))
    with pytest.raises(LogUntrusted) as caught:
        check(hub)
    assert caught.value.fault == "station_altered"
    with hub.db.begin() as tx:
        tx.execute(delete(station_request))
        tx.execute(
            insert(station_request).values(
                id="x", station="dock-9", key_line="x", requested_by="admin", requested_at="2026"
            )
        )
    with pytest.raises(LogUntrusted):
        check(hub)


def test_the_dock_shows_the_code_that_the_hub_expects(hub: Hub, tmp_path: Path) -> None:
    lines = hub.keys.lines

    def enrol(*more: str) -> str:
        command = [
            sys.executable, "-m", "agent.app", "enrol", "--dir", str(tmp_path / "station"), "--station", "dock-9",
            "--hub-receipt-key", lines["receipts"], "--hub-log-key", lines["log"],
            "--hub-command-key", lines["commands"], "--mqtt", "mqtt://127.0.0.1:1883", *more,
        ]  # fmt: skip
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    said = json.loads(enrol("--json"))
    assert said["code"] == code_of(said["key"], lines)
    shown = re.search(r"^ {4}(\d{4}(?: \d{4}){5})$", enrol(), re.MULTILINE)
    assert shown
    assert shown[1] == said["code"]
