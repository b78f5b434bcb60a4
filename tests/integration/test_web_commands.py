"""Commands by pages and by the API: who may, who may not, two people, nothing changed by a wrong form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hub.accounts.service import form_token as token_of
from hub.site import SESSION_COOKIE
from tests.integration.authenticators import set_up
from tests.integration.site_data import Hub
from tests.integration.web_peer import form_token, signed_in

HOLD = {"station": "dock-1", "camera": "DSJ-000317", "reason": "case 2026-17"}


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
    found = re.search(r"lift=([0-9a-f-]{36})#lift", page)
    assert found
    assert found[1] in records.get(f"/commands?station=dock-1&lift={found[1]}").text
    assert post(records, "/commands/lift", station="dock-1", hold_id=found[1], reason="closed") == 303
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
    ("path", "fields"),
    [
        ("hold", {"station": "dock-1", "reason": "of nothing"}),
        ("hold", {"station": "dock-9", "camera": "c", "reason": "r"}),
        ("hold", {"station": "dock-1", "file_sha256": "12", "reason": "r"}),
        ("lift", {"station": "dock-1", "hold_id": "x", "reason": "r"}),
    ],
)
def test_a_wrong_form_says_why_and_changes_nothing(hub: Hub, path: str, fields: dict[str, str]) -> None:
    browser = signed_in(hub, "records", "records_custodian")
    assert post(browser, f"/commands/{path}", **fields) == 422
    assert rows(browser) == []


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


@pytest.mark.parametrize("role", sorted(MAY_SEE | {"administrator", "officer"}))
def test_roles(hub: Hub, role: str) -> None:
    browser = signed_in(hub, "person", role)
    sees = role in MAY_SEE | {"administrator"}
    assert browser.get("/commands").status_code == (200 if sees else 403)
    assert browser.get("/api/v1/commands").status_code == (200 if sees else 403)
    assert ('action="/commands/hold"' in browser.get("/commands").text) == (role in MAY_HOLD)
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
    assert len(rows(records)) == 1
    assert records.get("/api/v1/commands/nothing").status_code == 404
