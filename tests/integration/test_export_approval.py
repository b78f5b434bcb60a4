"""No footage leaves without two people: every way to be without an approval, and the page where it is given."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from starlette.testclient import TestClient

from hub.accounts import codes
from hub.bundles.selection import exports_in_log
from hub.bundles.service import export_bundle
from hub.bundles.work import Order
from hub.errors import Conflict, LogUntrusted, NotFound
from hub.exports.service import approve_export, approved_order, check_approved, refuse_export
from hub.logcheck import check_log
from hub.problems import NotOpenAnyMore, SecondPersonNeeded
from hub.tables import export_request
from hub.times import now_utc
from tests.integration.approved_exports import LEADER, RECORDS, approved, asked, phone_of_leader
from tests.integration.authenticators import set_up
from tests.integration.release_scene import Docked
from tests.integration.site_data import Hub
from tests.integration.test_commands import OFFICE
from tests.integration.test_export import Scene, scene
from tests.integration.web_peer import form_token, signed_in

__all__ = ["scene"]


def refused(scene: Scene, order: Order, name: str = "bundle") -> str:
    """Why an export of `order` does not begin; nothing is stated or left behind."""
    before = len(scene.hub.types())
    with pytest.raises(Conflict) as found:
        export_bundle(scene.hub.db, scene.hub.keys, order, [scene.vault], scene.tmp / name)
    assert len(scene.hub.types()) == before
    assert not (scene.tmp / name).exists()
    return str(found.value)


def test_the_statement_and_the_register_name_the_request_and_both_people(scene: Scene) -> None:
    order = approved(scene.hub.db, scene.hub.keys, scene.order())
    export_bundle(scene.hub.db, scene.hub.keys, order, [scene.vault], scene.tmp / "bundle")
    with scene.hub.db.read() as connection:
        [(_, stated)] = exports_in_log(connection)
        check_log(connection, scene.hub.keys, 480)
    assert (stated.request_id, stated.requested_by, stated.approved_by) == (order.request_id, "records", "leader")
    [row] = csv.DictReader((scene.tmp / "bundle/register.csv").read_text("utf-8-sig").splitlines())
    assert (row["申请 request"], row["申请人 asked for by"], row["批准人 approved by"]) == (
        order.request_id, "records", "leader",
    )  # fmt: skip
    assert scene.hub.types()[-4:] == [
        "export.requested.v1", "export.decided.v1", "bundle.exported.v1", "bundle.finished.v1",
    ]  # fmt: skip


def test_without_an_approval_of_exactly_this_nothing_is_exported(scene: Scene) -> None:
    db, keys = scene.hub.db, scene.hub.keys
    assert "not approved" in refused(scene, scene.order())
    waiting = asked(db, keys, scene.order())
    assert "not approved" in refused(scene, replace(scene.order(), request_id=waiting))
    refuse_export(db, keys, RECORDS, waiting, now_utc())
    assert "refused or withdrawn" in refused(scene, replace(scene.order(), request_id=waiting))
    good = approved(db, keys, scene.order())
    for other in (
        replace(good, recordings=good.recordings[:1]), replace(good, recipient="another"), replace(good, reason="x"),
        replace(good, selection="x"),
    ):  # fmt: skip
        assert "not what was approved" in refused(scene, other, name=f"b{id(other)}")
    with db.read() as connection, pytest.raises(Conflict, match="expired"):
        check_approved(connection, good, "", now_utc() + timedelta(days=7))
    export_bundle(db, keys, good, [scene.vault], scene.tmp / "bundle")  # the control
    assert "used already" in refused(scene, good, name="second")


def test_who_asks_never_approves_and_a_decision_is_one(scene: Scene) -> None:
    db, keys = scene.hub.db, scene.hub.keys
    request_id, phone = asked(db, keys, scene.order()), phone_of_leader(db, keys)
    for actor, error in ((RECORDS, SecondPersonNeeded), (OFFICE, NotFound), (replace(LEADER, name="x"), None)):
        with pytest.raises(error or codes.NoSecondFactor):
            approve_export(db, keys, actor, request_id, phone.code(), now_utc())
    with pytest.raises(codes.WrongCode):
        approve_export(db, keys, LEADER, request_id, "000000", now_utc())
    with pytest.raises(NotFound):
        refuse_export(db, keys, OFFICE, request_id, now_utc())
    approve_export(db, keys, LEADER, request_id, phone.code(), now_utc())
    for again in (
        lambda: approve_export(db, keys, LEADER, request_id, phone.code(), now_utc()),
        lambda: refuse_export(db, keys, RECORDS, request_id, now_utc()),
    ):
        with pytest.raises(NotOpenAnyMore):
            again()
    with db.read() as connection, pytest.raises(NotFound):
        approved_order(connection, "none", "root")
    with pytest.raises(IntegrityError), db.begin() as tx:
        tx.execute(update(export_request).values(decided_by="records"))


@pytest.mark.parametrize(
    "changed", [{"approved": False}, {"decided_by": "other"}, {"recipient": "other"}, {"recordings": "[1]"}, None]
)
def test_a_changed_row_is_found(scene: Scene, changed: dict[str, object] | None) -> None:
    approved(scene.hub.db, scene.hub.keys, scene.order())
    with scene.hub.db.read() as connection:
        check_log(connection, scene.hub.keys, 480)  # the control
    with scene.hub.db.begin() as tx:
        tx.execute(export_request.delete() if changed is None else update(export_request).values(**changed))
    with pytest.raises(LogUntrusted) as found, scene.hub.db.read() as connection:
        check_log(connection, scene.hub.keys, 480)
    assert found.value.fault == "export_altered"


# --- by pages ---


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    Docked(made)
    yield made
    made.close()


ASK = {"recordings": "3、5", "recipient": "区法院", "reason": "案件 17 调取"}


def post(browser: TestClient, path: str, **fields: str) -> int:
    token = form_token(browser.get("/password").text)
    return browser.post(path, data={"form_token": token, **fields}).status_code


def test_asked_for_and_approved_by_pages(hub: Hub) -> None:
    records, leader = signed_in(hub, "records", "records_custodian"), signed_in(hub, "leader", "approving_leader")
    assert "/exports?recordings=3" in records.get("/recordings/3").text
    assert 'value="3"' in records.get("/exports?recordings=3").text
    assert post(records, "/exports", **ASK) == 303
    page = unescape(leader.get("/exports").text)
    assert "2 个录像" in page
    assert "案件 17 调取" in page
    assert 'href="/recordings/5"' in page
    with hub.db.read() as connection:
        request_id = connection.execute(select(export_request.c.id)).scalar_one()
    approve = f"/exports/{request_id}/approve"
    assert approve not in page, "a second factor is set up first"
    phone = set_up(hub.db, leader)
    assert approve in leader.get("/exports").text
    assert approve not in records.get("/exports").text
    assert post(leader, approve, code="000000") == 422
    assert post(records, approve, code="123456") == 403
    assert post(leader, approve, code=phone.code()) == 303
    assert f"dock-hub export --dir DIR --approved {request_id}" in records.get("/exports").text
    assert post(leader, f"/exports/{request_id}/refuse") == 409
    assert re.search("案件 17 调取", unescape(leader.get("/log?type=export.requested.v1").text))


@pytest.mark.parametrize(
    "wrong",
    [
        {"recordings": ""}, {"recordings": "3", "day_from": "2026-01-01"}, {"recordings": "0"}, {"recordings": "x"},
        {"recordings": "", "day_from": "2026-01-01"}, {"reason": " "}, {"recipient": "x" * 501},
        {"recordings": "", "day_from": "1999-01-01", "day_to": "1999-01-02"},
        {"recordings": "", "day_from": "2026-01-02", "day_to": "2026-01-01"},
    ],
)  # fmt: skip
def test_a_wrong_form_says_why_and_asks_for_nothing(hub: Hub, wrong: dict[str, str]) -> None:
    records = signed_in(hub, "records", "records_custodian")
    token = form_token(records.get("/password").text)
    answer = records.post("/exports", data={"form_token": token, **(ASK | wrong)})
    assert answer.status_code == 422
    assert "申请未提交" in answer.text
    with hub.db.read() as connection:
        assert connection.execute(select(export_request.c.id)).first() is None


@pytest.mark.parametrize(
    ("role", "sees", "asks"),
    [
        ("officer", 403, 403), ("equipment_office", 403, 403), ("auditor", 200, 403), ("administrator", 200, 403),
        ("approving_leader", 200, 403), ("custodian", 200, 303), ("section_head", 200, 303),
        ("records_custodian", 200, 303),
    ],
)  # fmt: skip
def test_roles(hub: Hub, role: str, sees: int, asks: int) -> None:
    browser = signed_in(hub, "person", role)
    assert browser.get("/exports").status_code == sees
    assert post(browser, "/exports", **ASK) == asks
