"""Every route for every role about every kind of thing. A new route without a row here makes the test fail."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.testclient import TestClient

from hub.access import Action, Role
from hub.commands import forms
from hub.identifiers import new_id
from hub.times import now_utc
from tests.integration.bureau import ABSENT, CARRIED, STATIONS, THEIRS, Bureau, Person
from tests.integration.test_web_access import all_routes
from tests.integration.web_peer import form_token

Things = Callable[[Bureau, Person], dict[str, str]]  # names, and whose each is


def recordings(bureau: Bureau, _: Person) -> dict[str, str]:
    return bureau.recordings()


def entries(bureau: Bureau, _: Person) -> dict[str, str]:
    return bureau.entries()


def stations(_: Bureau, __: Person) -> dict[str, str]:
    return STATIONS


def opened(bureau: Bureau, _: Person) -> dict[str, str]:
    return bureau.opened()


def dockings(bureau: Bureau, _: Person) -> dict[str, str]:
    return bureau.dockings()


def requests(bureau: Bureau, person: Person) -> dict[str, str]:
    return bureau.requests(person)


def commands(bureau: Bureau, person: Person) -> dict[str, str]:
    return bureau.commands(person)


def alerts(bureau: Bureau, _: Person) -> dict[str, str]:
    return bureau.alerts()


def nothing(_: Bureau, __: Person) -> dict[str, str]:
    return {new_id(now_utc()): ABSENT}


@dataclass(frozen=True, slots=True)
class Row:
    """What a route answers. `see` None: whoever is signed in. `do`: what else it takes, for a thing that they see."""

    see: Action | None
    things: Things | None = None  # None: it is about the bureau as a whole
    do: Action | None = None
    ok: int = 200
    gone: int = 404
    send: dict[str, Any] = field(default_factory=dict)  # {} in a value becomes the thing's name
    second: bool = False  # who asked may not
    asker: bool = False  # who asked may, whatever their role
    alone: bool = False  # nobody but who asked may


HOLD = {"station": "{}", "camera": "CAM-OURS", "reason": "case 7"}
LIFT = {"station": "{}", "hold_id": "019c5a10-0000-7000-8000-000000000001", "reason": "case 7 is closed", "sure": "1"}
POLICY = {"station": "{}", "charge": "80", "minutes": "60", "duty": "600"}
OFFICER = {"station": "{}", "number": "1001", "name": "王芳", "pin": "2468"}
ORDER = {"station": "{}", "kind": "hold.v1", "body": {"hold_id": LIFT["hold_id"], "camera": "C", "docking": None,
                                                       "file_sha256": None, "reason": "case 7"}}  # fmt: skip
DISPOSITION = {"station": "{}", "docking": "none", "files": "", "basis": "three years", "sure": "1"}
OFFLOAD = {"station": "{station}", "docking": "{docking}", "reason": "full"}
VIEW = {"use": "view", "recordings": "{}", "holder": "p-auditor", "reason": "case 7", "days": "3"}
REASON = {"reason": "case 7"}
CODE = {"code": "{code}"}
OPEN = {  # to everybody, and what they answer to a request with nothing in it
    ("GET", "/sign-in"): 200, ("POST", "/sign-in"): 403, ("GET", "/healthz"): 200, ("GET", "/readyz"): 200,
    ("POST", "/api/v1/envelopes"): 422, ("GET", "/log/checkpoint"): 200, ("GET", "/log/checkpoint/witnessed"): 404,
    ("POST", "/log/cosignatures"): 422, ("GET", "/verify"): 200, ("GET", "/log/tile/{rest:path}"): 200,
}  # fmt: skip
MATRIX: dict[tuple[str, str], Row] = {
    ("POST", "/sign-out"): Row(None, ok=303),
    ("GET", "/password"): Row(None),
    ("POST", "/password"): Row(None, ok=422),
    ("GET", "/code"): Row(None, ok=303),
    ("POST", "/code"): Row(None, ok=303),
    ("GET", "/second-factor"): Row(None),
    ("POST", "/second-factor"): Row(None, ok=422),
    ("GET", "/api/v1/openapi.json"): Row(None),
    ("GET", "/tokens"): Row(None),
    ("POST", "/tokens"): Row(None, send={"purpose": "a monitor", "days": "3"}),
    ("POST", "/tokens/{token_id}/revoke"): Row(None, ok=404),
    ("GET", "/"): Row(Action.SEE_STATIONS),
    ("GET", "/overview/live"): Row(Action.SEE_STATIONS),
    ("GET", "/overview/events"): Row(Action.SEE_STATIONS, send={"seconds": "0"}),
    ("GET", "/stations"): Row(Action.SEE_STATIONS),
    ("GET", "/stations/{station_id}"): Row(Action.SEE_STATIONS, stations),
    ("GET", "/restore"): Row(Action.SEE_STATIONS),
    ("GET", "/api/v1/stations"): Row(Action.SEE_STATIONS),
    ("GET", "/api/v1/dockings"): Row(Action.SEE_DOCKINGS),
    ("GET", "/metrics"): Row(Action.SEE_FIGURES),
    ("GET", "/recordings"): Row(Action.SEE_RECORDINGS),
    ("GET", "/api/v1/recordings"): Row(Action.SEE_RECORDINGS),
    ("GET", "/recordings/{log_index}"): Row(Action.SEE_RECORDINGS, recordings),
    ("GET", "/recordings/{log_index}/sha256sums"): Row(Action.SEE_RECORDINGS, recordings),
    ("GET", "/recordings/{log_index}/custody"): Row(Action.SEE_RECORDINGS, recordings),
    ("GET", "/recordings/{log_index}/custody.pdf"): Row(Action.SEE_RECORDINGS, recordings),
    ("GET", "/api/v1/recordings/{log_index}"): Row(Action.SEE_RECORDINGS, recordings),
    # nobody here holds a grant: who could hold one is told so, whoever's the recording is not sees nothing
    ("GET", "/recordings/{log_index}/viewing"): Row(Action.VIEW_FOOTAGE, recordings, ok=403),
    ("POST", "/recordings/{log_index}/viewing"): Row(Action.VIEW_FOOTAGE, recordings, ok=403),
    ("GET", "/viewing/{viewing_id}"): Row(Action.VIEW_FOOTAGE, nothing),
    ("GET", "/viewing/{viewing_id}/state"): Row(Action.VIEW_FOOTAGE, nothing),
    ("GET", "/viewing/{viewing_id}/footage"): Row(Action.VIEW_FOOTAGE, nothing),
    ("HEAD", "/viewing/{viewing_id}/footage"): Row(Action.VIEW_FOOTAGE, nothing),
    ("POST", "/viewing/{viewing_id}/end"): Row(Action.VIEW_FOOTAGE, nothing),
    ("GET", "/log/entries/{index}"): Row(Action.SEE_ENTRY, entries),
    ("GET", "/log/entries/{index}/envelope"): Row(Action.SEE_ENTRY, entries),
    ("GET", "/log/entries/{index}/opening"): Row(Action.SEE_ENTRY, opened),
    ("GET", "/log/entries/{index}/proof"): Row(Action.SEE_ENTRY, entries),
    ("GET", "/api/v1/log/entries/{index}/envelope"): Row(Action.SEE_ENTRY, entries),
    ("GET", "/log"): Row(Action.SEE_LOG),
    ("GET", "/log/entry"): Row(Action.SEE_LOG, ok=303, send={"index": "1"}),
    ("GET", "/log/root-sheet"): Row(Action.SEE_LOG),
    ("GET", "/log/checkpoints/{size}"): Row(Action.SEE_LOG),
    ("GET", "/log/timestamps/{size}"): Row(Action.SEE_LOG, ok=404),
    ("GET", "/log/tile/entries/{rest:path}"): Row(Action.SEE_LOG),
    ("GET", "/api/v1/log/checkpoint"): Row(Action.SEE_LOG),
    ("GET", "/api/v1/log/entries"): Row(Action.SEE_LOG),
    ("POST", "/log/export"): Row(Action.SEE_LOG, send={"format": "csv"}),
    ("GET", "/people"): Row(Action.SEE_PEOPLE),
    ("POST", "/people/requests"): Row(Action.CHANGE_PEOPLE, ok=422),
    ("POST", "/people/requests/{request_id}/approve"): Row(Action.APPROVE_PEOPLE, nothing),
    ("POST", "/people/requests/{request_id}/refuse"): Row(Action.CHANGE_PEOPLE, nothing),
    ("GET", "/sections"): Row(Action.SEE_PEOPLE),
    ("POST", "/sections/requests"): Row(Action.CHANGE_PEOPLE, ok=422),
    ("POST", "/sections/requests/{request_id}/approve"): Row(Action.APPROVE_PEOPLE, nothing),
    ("POST", "/sections/requests/{request_id}/refuse"): Row(Action.CHANGE_PEOPLE, nothing),
    ("GET", "/enrolment"): Row(Action.SEE_ENROLMENT),
    ("POST", "/stations/requests"): Row(Action.ENROL_STATION, ok=422),
    ("POST", "/stations/requests/{request_id}/approve"): Row(Action.APPROVE_ENROLMENT, nothing),
    ("POST", "/stations/requests/{request_id}/refuse"): Row(Action.ENROL_STATION, nothing),
    ("GET", "/removals"): Row(Action.SEE_REMOVALS),
    ("POST", "/removals/stations"): Row(Action.REQUEST_KEYS, ok=422),
    ("POST", "/removals/witnesses"): Row(Action.REQUEST_KEYS, ok=422),
    ("POST", "/removals/details"): Row(Action.REQUEST_OPENING_REMOVAL, ok=422),
    ("POST", "/removals/{kind}/{request_id}/approve"): Row(Action.SEE_REMOVALS, ok=404),  # there is no such kind
    ("GET", "/alerts"): Row(Action.SEE_ALERTS),
    ("GET", "/alerts/{alert_id}"): Row(Action.SEE_ALERTS, alerts),
    ("POST", "/alerts/{alert_id}/acknowledge"): Row(Action.SEE_ALERTS, alerts, Action.HANDLE_ALERTS, 303),
    ("POST", "/alerts/{alert_id}/assign"): Row(
        Action.SEE_ALERTS, alerts, Action.HANDLE_ALERTS, 303, send={"to": "p-approving_leader"}
    ),
    ("POST", "/alerts/{alert_id}/resolve"): Row(
        Action.SEE_ALERTS, alerts, Action.HANDLE_ALERTS, 303, send={"note": "docked again"}
    ),
    ("GET", "/commands"): Row(Action.SEE_COMMANDS),
    ("GET", "/api/v1/commands"): Row(Action.SEE_COMMANDS),
    ("GET", "/api/v1/commands/{command_id}"): Row(Action.SEE_COMMANDS, commands),
    ("POST", "/api/v1/commands"): Row(Action.SEE_COMMANDS, stations, Action.ORDER_HOLD, 201, 404, ORDER),
    ("POST", "/commands/{command_id}/approve"): Row(
        Action.SEE_COMMANDS, commands, Action.APPROVE_LIFT, 303, send=CODE, second=True
    ),
    ("POST", "/api/v1/commands/{command_id}/approve"): Row(
        Action.SEE_COMMANDS, commands, Action.APPROVE_LIFT, send=CODE, second=True
    ),
    ("POST", "/commands/{command_id}/withdraw"): Row(
        Action.SEE_COMMANDS, commands, Action.APPROVE_LIFT, 303, asker=True
    ),
    ("POST", "/api/v1/commands/{command_id}/withdraw"): Row(
        Action.SEE_COMMANDS, commands, Action.APPROVE_LIFT, asker=True
    ),
    ("GET", "/commands/release"): Row(Action.SEE_COMMANDS, dockings, send=OFFLOAD),
    ("POST", "/commands/release"): Row(Action.REQUEST_RELEASE, dockings, ok=422, send=OFFLOAD),
    # these are no releases
    ("GET", "/commands/release/{command_id}"): Row(Action.SEE_COMMANDS, commands, ok=404),
    ("POST", "/commands/release/{command_id}/approve"): Row(Action.SEE_COMMANDS, commands, ok=404),
    ("POST", "/commands/release/{command_id}/withdraw"): Row(Action.SEE_COMMANDS, commands, ok=404),
    ("GET", "/requests"): Row(Action.SEE_USES),
    ("GET", "/requests/new"): Row(Action.REQUEST_VIEW),
    ("POST", "/requests"): Row(Action.REQUEST_VIEW, recordings, ok=303, gone=422, send=VIEW),
    ("GET", "/requests/{request_id}"): Row(Action.SEE_USES, requests),
    ("POST", "/requests/{request_id}/approve"): Row(
        Action.SEE_USES, requests, Action.APPROVE_USE, 303, send=CODE, second=True
    ),
    ("POST", "/requests/{request_id}/refuse"): Row(
        Action.SEE_USES, requests, Action.APPROVE_USE, 303, send=REASON, second=True
    ),
    ("POST", "/requests/{request_id}/withdraw"): Row(Action.SEE_USES, requests, ok=303, alone=True),
    # none of these stands: whose office it is learns that, whoever asked too
    ("POST", "/requests/{request_id}/revoke"): Row(
        Action.SEE_USES, requests, Action.REVOKE_USE, 409, send=REASON, asker=True
    ),
    ("POST", "/requests/{request_id}/copy"): Row(
        Action.SEE_USES, requests, Action.REQUEST_COPY, 409, send={"how": "returned"}
    ),
    ("GET", "/requests/register"): Row(Action.SEE_USES),
    ("GET", "/requests/register.csv"): Row(Action.SEE_USES),
    ("GET", "/requests/register.pdf"): Row(Action.SEE_USES),
}
FORMS = {
    "/commands/hold": Row(Action.ORDER_HOLD, stations, ok=303, gone=422, send=HOLD),
    "/commands/lift": Row(Action.REQUEST_LIFT, stations, ok=303, gone=422, send=LIFT),
    "/commands/policy": Row(Action.ORDER_POLICY, stations, ok=303, gone=422, send=POLICY),
    "/commands/officer": Row(Action.ORDER_ROSTER, stations, ok=303, gone=422, send=OFFICER),
    "/commands/disposition": Row(Action.REQUEST_DISPOSITION, stations, ok=422, gone=422, send=DISPOSITION),
}


@pytest.fixture(scope="module")
def bureau(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bureau]:
    made = Bureau(tmp_path_factory.mktemp("bureau"))
    yield made
    made.hub.close()


def expected(person: Person, row: Row, whose: str) -> int:
    if row.see is None:
        return row.ok
    if not person.reaches(row.see):
        return 403
    asked = whose == "oo"
    if row.things and not (asked or person.may(row.see, whose)):
        return row.gone
    if (row.asker or row.alone) and asked:
        return row.ok
    if row.alone:
        return 403
    if (row.second and asked) or (row.do and not person.may(row.do, whose)):
        return 403
    return row.ok


def filled(value: Any, name: str, code: Callable[[], str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(one, name, code) for key, one in value.items()}
    if value == "{code}":
        return code()
    place = name.partition("/")
    return {"{}": name, "{station}": place[0], "{docking}": place[2]}.get(value, value)


def ask(bureau: Bureau, browser: TestClient, method: str, path: str, row: Row, name: str, token: str) -> Any:
    address = path.replace("{rest:path}", "000.p/1")
    address = re.sub(r"\{\w+\}", name, address)
    sent = filled(row.send, name, bureau.code)
    if method in ("GET", "HEAD"):
        return browser.request(method, address, params=sent)
    if path.startswith("/api/"):
        return browser.post(address, json=sent, headers={"x-form-token": token})
    return browser.post(address, data={"form_token": token} | sent)


def token_of(browser: TestClient) -> str:
    page = browser.get("/password")
    return form_token(page.text if page.status_code == 200 else browser.get("/sign-in").text)


def test_every_route_has_a_row(bureau: Bureau) -> None:
    assert set(all_routes(bureau.hub)) == set(MATRIX) | set(OPEN) | {("POST", "/commands/{form}")}
    assert {path.rpartition("/")[2] for path in FORMS} == set(forms.FORMS)


@pytest.mark.parametrize("role", list(Role))
def test_every_cell(bureau: Bureau, role: Role) -> None:
    person, wrong, cells = bureau.person(role), [], 0
    token = token_of(person.browser)
    rows = MATRIX | {("POST", path): row for path, row in FORMS.items()}
    # commands last: their own at another section's station stands on their page of it
    last = [key for key, row in rows.items() if row.things is commands]
    for method, path in (*sorted(set(rows) - set(last)), *last):
        row = rows[method, path]
        if path == "/sign-out":
            continue  # would end what follows
        gone: set[str] = set()
        for name, whose in (row.things(bureau, person) if row.things else {"1": "aa"}).items():
            answer = ask(bureau, person.browser, method, path, row, name, token)
            cells, want = cells + 1, expected(person, row, whose)
            if answer.status_code != want:
                wrong.append((method, path, whose, answer.status_code, want))
            hidden = row.see and person.reaches(row.see) and whose != "oo" and not person.may(row.see, whose)
            if row.things and hidden:  # another section's and what nobody has: not to be told apart
                gone.add(without(answer.text, name))
        if len(gone) > 1:
            wrong.append((method, path, "told apart", len(gone), 1))
    assert wrong == []
    assert cells > 60


def without(text: str, name: str) -> str:
    """An answer without the thing's name and the time."""
    text = text.replace(f'value="{name}"', "")  # a form gives back what was entered
    for part in name.split("/"):
        text = text.replace(part, "") if len(part) > 5 else text
    return re.sub(r"dock-[bc]", "dock", re.sub(r"北京时间[^<]*", "", text))


def test_whoever_is_not_wholly_signed_in_gets_nothing(bureau: Bureau) -> None:
    own = {"/password", "/code", "/sign-out", "/api/v1/openapi.json"}  # theirs as soon as there is a session
    for person in (bureau.nobody(), bureau.newcomer()):
        token = token_of(person.browser)
        for (method, path), row in MATRIX.items():
            if person.name and path in own:
                continue
            for name in row.things(bureau, bureau.people[0]) if row.things else ["1"]:
                answer = ask(bureau, person.browser, method, path, row, name, token)
                assert answer.status_code in (303, 401, 403), (person.name, method, path)
                if answer.status_code == 303:
                    assert answer.headers["location"].startswith(("/sign-in", "/password"))


def test_what_is_open_to_everybody(bureau: Bureau) -> None:
    nobody = bureau.nobody().browser
    for (method, path), status in OPEN.items():
        answer = nobody.request(method, path.replace("{rest:path}", "0/000.p/1"))
        assert answer.status_code == status, path
        assert not any(word in answer.text for word in (*CARRIED, "dock-a", "dock-b"))


LISTS = ("/", "/overview/live", "/api/v1/dockings", "/recordings", "/api/v1/recordings", "/recordings?q=DCIM",
         "/api/v1/recordings?q=CAM&from=2020-01-01", "/api/v1/recordings?label=any")  # fmt: skip


@pytest.mark.parametrize("role", list(Role))
def test_no_list_count_or_choice_names_what_is_not_theirs(bureau: Bureau, role: Role) -> None:
    person = bureau.person(role)
    shown = {camera for camera, (_, _, whose) in CARRIED.items() if person.may(Action.SEE_DOCKINGS, whose)}
    for path in LISTS:
        answer = person.browser.get(path)
        if answer.status_code == 403:
            assert not person.reaches(Action.SEE_RECORDINGS)
            continue
        hidden = set(CARRIED) - shown
        assert not [camera for camera in hidden if camera in answer.text], path
        if "label" not in path:
            assert all(camera in answer.text for camera in shown), path
    names = {name for name, whose in STATIONS.items() if person.may(Action.SEE_STATIONS, whose)}
    for path in ("/", "/stations", "/api/v1/stations"):
        answer = person.browser.get(path)
        assert {name for name in STATIONS if f"version of {name}" in answer.text} == names
        assert {name for name in STATIONS if f"now in {name}" in answer.text} == (
            names if path != "/stations" else set()
        )
    page = person.browser.get("/").text
    assert re.findall(r"<dd>([\d,]+)", page)[1] == str(len(shown))  # recordings
    assert f"来自 {len(shown)} 台记录仪" in page


@pytest.mark.parametrize("role", list(Role))
def test_a_filter_finds_nothing_of_what_is_not_theirs(bureau: Bureau, role: Role) -> None:
    person = bureau.person(role)
    for camera, (name, _, whose) in CARRIED.items():
        for asked in ({"camera": camera}, {"q": camera}, {"docking": f"docking-{camera}"},
                      {"station": name, "q": camera}, {"camera": camera, "from": "2020-01-01"}):  # fmt: skip
            answer = person.browser.get("/api/v1/recordings", params=asked)
            if not person.reaches(Action.SEE_RECORDINGS):
                assert answer.status_code == 403
                continue
            found = {row["camera"] for row in answer.json()["rows"]}
            assert found == ({camera} if person.may(Action.SEE_RECORDINGS, whose) else set()), asked
    commands = bureau.commands(person)
    answer = person.browser.get("/api/v1/commands?limit=200")
    if person.reaches(Action.SEE_COMMANDS):
        found = {row["id"] for row in answer.json()["rows"]}
        for name, whose in commands.items():
            assert (name in found) == (whose == "oo" or person.may(Action.SEE_COMMANDS, whose))
    if person.reaches(Action.ORDER_HOLD):  # a form with a choice of stations
        page = person.browser.get("/commands").text
        assert ('value="dock-b"' in page) == person.may(Action.SEE_COMMANDS, THEIRS)


@pytest.mark.parametrize("role", list(Role))
def test_pages_of_a_list_hold_each_recording_once(bureau: Bureau, role: Role) -> None:
    person, found, cursor = bureau.person(role), [], ""
    while person.reaches(Action.SEE_RECORDINGS):
        page = person.browser.get("/api/v1/recordings", params={"limit": 1, "cursor": cursor}).json()
        found += [str(row["log_index"]) for row in page["rows"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    held = bureau.recordings().items()
    theirs = {index for index, whose in held if person.may(Action.SEE_RECORDINGS, whose)}
    assert sorted(found) == sorted(theirs)
