"""Commands by pages and by the API: who may, who may not, two people, nothing changed by a wrong form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hub.accounts.service import form_token as token_of
from hub.commands import formrules
from hub.site import SESSION_COOKIE
from tests.integration.authenticators import set_up
from tests.integration.release_scene import DOCKING, FILES, Docked
from tests.integration.site_data import Hub
from tests.integration.web_peer import form_token, signed_in

HOLD = {"station": "dock-1", "camera": "DSJ-000317", "reason": "case 2026-17"}


UUID = "0195f000-0000-7000-8000-000000000007"
DISPOSITION = {"station": "dock-1", "docking": DOCKING, "basis": "retention over", "sure": "1"}


@pytest.fixture
def docked(tmp_path: Path) -> Iterator[Hub]:
    """A hub with one offload."""
    made = Hub(tmp_path)
    Docked(made)
    yield made
    made.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    made.station("dock-1")
    yield made
    made.close()


def post(browser: TestClient, path: str, **fields: str) -> int:
    token = form_token(browser.get("/password").text)
    return browser.post(path, data={"form_token": token, **fields}).status_code


def rows(browser: TestClient) -> list[dict[str, object]]:
    answer = browser.get("/api/v1/commands")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["rows"]
    return found


def test_hold_lift_and_approval_by_pages_in_both_languages(hub: Hub) -> None:
    records, leader = signed_in(hub, "records", "records_custodian"), signed_in(hub, "leader", "approving_leader")
    assert "尚未下达命令" in records.get("/commands").text
    assert post(records, "/commands/hold", **HOLD) == 303
    page = records.get("/commands").text
    assert "等待采集站上线" in page
    found = re.search(r'href="(/commands\?station=dock-1&amp;form=lift&amp;hold_id=([0-9a-f-]{36}))#lift"', page)
    assert found
    assert f'value="{found[2]}"' in records.get(unescape(found[1])).text
    form = {"station": "dock-1", "hold_id": found[2], "reason": "closed"}
    assert post(records, "/commands/lift", **form) == 422, "it is asked for on purpose only"
    assert post(records, "/commands/lift", **form, sure="1") == 303
    waiting = leader.get("/commands").text.partition('id="waiting"')[2].partition("</section>")[0]
    assert "DSJ-000317" in waiting, "who decides sees what would be kept no longer"
    assert "case 2026-17" in waiting
    [lift, hold] = rows(records)
    assert (lift["state"], lift["may_approve"], lift["may_withdraw"]) == ("requested", False, True)
    assert hold["state"] == "waiting"
    approve = f"/commands/{lift['id']}/approve"
    assert post(records, approve, code="123456") == 403
    english = leader.get("/commands?lang=en").text
    assert "Waits for a second person" in english
    assert (approve in english, "Set up your second factor" in english) == (False, True)
    assert post(leader, approve, code="123456") == 422
    phone = set_up(hub.db, leader)
    assert approve in leader.get("/commands").text
    assert post(leader, approve, code="000000") == 422
    code = phone.code()
    assert post(leader, approve, code=code) == 303
    assert post(leader, approve, code=phone.code()) == 409
    assert [row["state"] for row in rows(leader)] == ["waiting", "waiting"]
    assert [row["approved_by"] for row in rows(leader)] == ["leader", None]


@pytest.mark.parametrize(
    ("path", "fields", "why"),
    [
        ("hold", {"station": "dock-1", "reason": "of nothing"}, formrules.NAMES_NOTHING),
        ("hold", {"station": "dock-1", "camera": "c"}, formrules.BAD_TEXT),
        ("hold", {"station": "dock-9", "camera": "c", "reason": "r"}, formrules.NO_STATION),
        ("hold", {"station": "dock-1", "file_sha256": "12", "reason": "r"}, formrules.BAD_SHA256),
        ("lift", {"station": "dock-1", "hold_id": "x", "reason": "r", "sure": "1"}, formrules.BAD_HOLD),
        ("lift", {"station": "dock-1", "hold_id": UUID, "reason": "r"}, formrules.NOT_SURE),
        ("disposition", DISPOSITION | {"docking": "none"}, formrules.NO_OFFLOAD),
        ("disposition", DISPOSITION | {"files": "0" * 64}, formrules.BAD_FILES),
        ("disposition", DISPOSITION | {"files": "zz"}, formrules.BAD_SHA256),
        ("disposition", DISPOSITION | {"sure": ""}, formrules.NOT_SURE),
    ],
)
def test_a_wrong_form_says_why_keeps_what_was_entered_and_changes_nothing(
    docked: Hub, path: str, fields: dict[str, str], why: str
) -> None:
    browser = signed_in(docked, "records", "records_custodian")
    token = form_token(browser.get("/password").text)
    answer = browser.post(f"/commands/{path}?lang=en", data={"form_token": token, **fields})
    assert answer.status_code == 422
    assert why in unescape(answer.text)
    assert f'id="{path}" open' in answer.text
    for name, value in fields.items():
        assert name in ("station", "sure", "files") or not value or f'value="{value}"' in answer.text
    assert rows(browser) == []


def test_a_disposition_names_all_files_of_an_offload_or_some(docked: Hub) -> None:
    records = signed_in(docked, "records", "records_custodian")
    assert post(records, "/commands/disposition", **DISPOSITION) == 303
    files = json.loads(str(rows(records)[0]["body"]))["file_sha256s"]
    assert len(files) == FILES
    assert post(records, "/commands/disposition", **DISPOSITION, files=f"{files[2].upper()}\n{files[0]}\n") == 303
    assert json.loads(str(rows(records)[0]["body"]))["file_sha256s"] == [files[2], files[0]]
    assert [row["state"] for row in rows(records)] == ["requested"] * 2


def test_an_officer_and_a_policy(hub: Hub) -> None:
    office = signed_in(hub, "office", "equipment_office")
    officer = {"station": "dock-1", "number": "A-1", "name": "王伟"}
    assert post(office, "/commands/officer", **officer, pin="12") == 422
    assert post(office, "/commands/officer", **officer, pin="271828") == 303
    assert post(office, "/commands/policy", station="dock-1", charge="95", minutes="240", duty="480") == 303
    assert post(office, "/commands/policy", station="dock-1", charge="0", minutes="240", duty="480") == 422
    assert [row["kind"] for row in rows(office)] == ["policy.v1", "roster.v1"]
    page = office.get("/commands").text
    assert "A-1 王伟" in page
    assert "scrypt" not in page
    assert "271828" not in page + str(rows(office))


MAY_SEE = {"custodian", "section_head", "equipment_office", "approving_leader", "records_custodian", "auditor"}
MAY_HOLD = MAY_SEE - {"equipment_office"}
FORM_ROLES = {
    "hold": MAY_HOLD,
    "lift": {"section_head", "records_custodian"},
    "disposition": {"records_custodian"},
    "officer": {"custodian", "equipment_office"},
    "policy": {"equipment_office", "section_head"},
}


@pytest.mark.parametrize("role", sorted(MAY_SEE | {"administrator", "officer"}))
def test_roles(hub: Hub, role: str) -> None:
    browser = signed_in(hub, "person", role)
    sees = role in MAY_SEE | {"administrator"}
    assert browser.get("/commands").status_code == (200 if sees else 403)
    assert browser.get("/api/v1/commands").status_code == (200 if sees else 403)
    page = browser.get("/commands").text
    assert {form: f'action="/commands/{form}"' in page for form in FORM_ROLES} == {
        form: role in roles for form, roles in FORM_ROLES.items()
    }
    for form, roles in FORM_ROLES.items():
        assert (post(browser, f"/commands/{form}") == 403) == (role not in roles), form
    assert post(browser, "/commands/hold", **HOLD) == (303 if role in MAY_HOLD else 403)


def test_the_api_needs_the_sessions_token(hub: Hub) -> None:
    records, leader = signed_in(hub, "records", "records_custodian"), signed_in(hub, "leader", "approving_leader")
    lift = {"hold_id": "0195f000-0000-7000-8000-000000000007", "reason": "closed"}
    order = {"station": "dock-1", "kind": "hold_lifted.v1", "body": lift}
    assert records.post("/api/v1/commands", json=order).status_code == 403
    theirs = {name: {"x-form-token": token_of(b.cookies[SESSION_COOKIE])} for name, b in
              (("records", records), ("leader", leader))}  # fmt: skip
    made = records.post("/api/v1/commands", json=order, headers=theirs["records"])
    assert (made.status_code, made.json()["state"]) == (201, "requested")
    path = f"/api/v1/commands/{made.json()['id']}"
    assert (
        records.post(f"{path}/approve", json={"code": "1"}, headers=theirs["records"]).json()["code"]
        == "second_person_needed"
    )
    approve = partial(leader.post, f"{path}/approve", headers=theirs["leader"])
    assert approve(json={"code": "123456"}).json()["code"] == "second_factor_needed"
    phone = set_up(hub.db, leader)
    assert approve(json={"code": "123456"}).json()["code"] == "code_not_taken"
    assert approve().status_code == 422
    assert approve(json={"code": phone.code()}).json()["state"] == "waiting"
    assert leader.post(f"{path}/withdraw", headers=theirs["leader"]).json()["code"] == "not_open_any_more"
    for wrong in ({**order, "kind": "format.v1"}, {**order, "body": {}}, {**order, "station": "x"}, {"kind": 7}):
        assert records.post("/api/v1/commands", json=wrong, headers=theirs["records"]).status_code in (404, 422)
    grant = {"grant_id": lift["hold_id"], "docking": "d", "file_sha256": "0" * 64, "holder": "records", "purpose": "x",
             "valid_seconds": 60, "until": "2030-01-01T00:00:00+00:00"}  # fmt: skip
    for kind, body in (("grant.v1", grant), ("grant_revoked.v1", lift)):  # they follow from a use of footage
        alone = records.post("/api/v1/commands", json={**order, "kind": kind, "body": body}, headers=theirs["records"])
        assert alone.status_code == 422
    assert len(rows(records)) == 1
    assert records.get("/api/v1/commands/nothing").status_code == 404
