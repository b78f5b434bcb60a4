"""Accounts are changed by two people; codes of an authenticator; the log states all of it and `log check` agrees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.testclient import TestClient

from custody.envelope import parse_envelope
from hub.access import Role
from hub.accounts import changes, people
from hub.accounts.changes import Asked
from hub.errors import LogUntrusted
from hub.logcheck import check_log
from hub.tables import account, account_request, log_entry, second_factor
from hub.times import now_utc, to_text
from tests.integration.authenticators import Authenticator, set_up
from tests.integration.site_data import Hub
from tests.integration.web_peer import PASSWORD, change_password, client, form_token, sign_in, signed_in


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.close()


@pytest.fixture
def each_hub(tmp_path: Path, database_url: str) -> Iterator[Hub]:
    """A hub on each engine, for what the engines may do differently."""
    made = Hub(tmp_path, database_url)
    yield made
    made.close()


def post(browser: TestClient, path: str, **form: str) -> Any:
    token = form_token(browser.get("/people").text)
    return browser.post(path, data={"form_token": token, **form})


def two_administrators(hub: Hub) -> tuple[TestClient, TestClient, Authenticator]:
    """The first names the second alone, once; the second has an authenticator."""
    first = signed_in(hub)
    made = post(first, "/people/requests", change="create", account="second", role="administrator", reason="start")
    assert made.status_code == 200
    password = re.search(r'class="secret">([a-z2-9-]+)<', made.text)
    assert password
    second = client(hub.app)
    assert sign_in(second, "second", password[1]) == 303
    assert change_password(second, password[1]) == 303
    return first, second, set_up(hub.db, second)


def waiting_id(hub: Hub) -> str:
    (request,) = people.list_requests(hub.db, waiting=True)
    return request.id


def types(hub: Hub) -> list[str]:
    with hub.db.read() as connection:
        return list(connection.execute(select(log_entry.c.event_type).order_by(log_entry.c.idx)).scalars())


def check(hub: Hub) -> None:
    with hub.db.read() as connection:
        check_log(connection, hub.keys, 480)


def test_a_new_account_needs_two_people_and_the_log_says_who(hub: Hub) -> None:
    first, second, phone = two_administrators(hub)
    asked = post(first, "/people/requests", change="create", account="li", role="auditor", reason="新任审计员")
    assert asked.status_code == 303
    path = f"/people/requests/{waiting_id(hub)}/approve"
    own = post(first, path, code="123456")
    assert own.status_code == 422
    assert "须由他人审批" in own.text
    assert post(second, path, code="000000").status_code == 422
    done = post(second, path, code=phone.code())
    assert done.status_code == 200
    password = re.search(r'class="secret">([a-z2-9-]+)<', done.text)
    assert password
    assert sign_in(client(hub.app), "li", password[1]) == 303
    assert password[1] not in second.get("/people").text, "the password is shown once"
    assert "新任审计员" in second.get("/people").text
    assert types(hub)[-4:] == [
        "account.change_requested.v1", "account.change_decided.v1", "account.created.v1", "account.signed_in.v1",
    ]  # fmt: skip
    with hub.db.read() as connection:
        raws = connection.execute(select(log_entry.c.envelope)).scalars().all()
    assert not any(password[1].encode() in parse_envelope(bytes(raw)).payload for raw in raws)
    check(hub)


def test_the_second_administrator_is_named_alone_only_once(hub: Hub) -> None:
    first, _, _ = two_administrators(hub)
    with hub.db.begin() as tx:  # as if the second had been given another role since
        tx.execute(update(account).where(account.c.name == "second").values(role="auditor"))
    again = post(first, "/people/requests", change="create", account="third", role="administrator", reason="again")
    assert again.status_code == 303
    assert [one.account for one in people.list_requests(hub.db, waiting=True)] == ["third"]


def test_every_change_holds_at_once_and_follows_from_the_log(each_hub: Hub) -> None:
    _, second, phone = two_administrators(each_hub)
    boss = people.Actor("admin", Role.ADMINISTRATOR, must_change_password=False)
    li = signed_in(each_hub, "li", "officer")
    for change, role in (("role", Role.CUSTODIAN), ("disable", None), ("enable", None), ("password_reset", None)):
        people.ask(each_hub.db, each_hub.keys, boss, Asked("li", change, role, "why"), now_utc())  # type: ignore[arg-type]
        assert post(second, f"/people/requests/{waiting_id(each_hub)}/approve", code=phone.code()).status_code == 200
        assert li.get("/").headers["location"].startswith("/sign-in"), f"{change} ends the sessions"
        known = sign_in(li, "li", PASSWORD)
        assert known == (401 if change in ("disable", "password_reset") else 303), change
    check(each_hub)


def test_refusing_and_withdrawing_change_nothing(hub: Hub) -> None:
    first, second, _ = two_administrators(hub)
    for browser in (first, second):
        assert post(first, "/people/requests", change="disable", account="second", reason="test").status_code == 303
        double = post(first, "/people/requests", change="disable", account="second", reason="test")
        assert (double.status_code, changes.OPEN_ALREADY in unescape(double.text)) == (422, False)
        request = waiting_id(hub)
        assert post(browser, f"/people/requests/{request}/refuse").status_code == 303
        assert post(browser, f"/people/requests/{request}/refuse").status_code == 422
    assert second.get("/").status_code == 200
    assert "已撤回" in first.get("/people").text
    check(hub)


def test_nobody_else_may_change_people(hub: Hub) -> None:
    auditor, officer = signed_in(hub, "shen", "auditor"), signed_in(hub, "li", "officer")
    assert auditor.get("/people").status_code == 200
    assert "提出申请" not in auditor.get("/people").text
    assert officer.get("/people").status_code == 403
    form = {"change": "disable", "account": "li", "reason": "x"}
    for browser in (auditor, officer):
        token = form_token(browser.get("/password").text)
        assert browser.post("/people/requests", data={"form_token": token, **form}).status_code == 403


def test_a_password_alone_is_not_enough_once_there_is_a_second_factor(hub: Hub) -> None:
    browser = signed_in(hub)
    phone = set_up(hub.db, browser)
    thief = client(hub.app)
    assert sign_in(thief, "admin", PASSWORD, goes_to="/recordings?q=a") == 303
    assert thief.get("/recordings?q=a").headers["location"] == "/code?goes_to=%2Frecordings%3Fq%3Da"
    assert thief.get("/api/v1/stations").json()["code"] == "code_due"
    assert thief.get("/password").headers["location"].startswith("/code")
    assert thief.get("/second-factor").headers["location"].startswith("/code")
    token = form_token(thief.get("/code").text)
    form = {"form_token": token, "old": PASSWORD, "new": "thief's sentence", "repeated": "thief's sentence"}
    assert thief.post("/password", data=form).status_code == 403
    for guess in range(5):
        assert thief.post("/code", data={"form_token": token, "code": f"{guess:06}"}).status_code == 401
    assert thief.post("/code", data={"form_token": token, "code": "000009"}).status_code == 429
    with hub.db.begin() as tx:  # the block is over
        tx.exec_driver_sql("DELETE FROM sign_in_failure")
    assert thief.post("/code", data={"form_token": token, "code": phone.code()}).status_code == 303
    assert thief.get("/recordings?q=a").status_code == 200
    assert types(hub)[-1] == "account.signed_in.v1"
    check(hub)


def test_a_code_serves_once(hub: Hub) -> None:
    browser = signed_in(hub)
    phone = set_up(hub.db, browser)
    code = phone.code()
    answers = []
    for _ in range(2):
        other = client(hub.app)
        sign_in(other, "admin", PASSWORD)
        token = form_token(other.get("/code").text)
        answers.append(other.post("/code", data={"form_token": token, "code": code}).status_code)
    assert answers == [303, 401]


def test_the_database_itself_refuses_one_person_deciding_alone(each_hub: Hub) -> None:
    row = {"id": "r", "account": "li", "change": "role", "role": "auditor", "reason": "x", "requested_at": "t"}
    decided = {"decided_at": "t", "approved": True}
    for one in ({"requested_by": "a", "decided_by": "a"}, {"requested_by": "a", "decided_by": "li"}):
        with pytest.raises(IntegrityError), each_hub.db.begin() as tx:
            tx.execute(insert(account_request).values(**row, **decided, **one))


@pytest.mark.parametrize(
    "forgery",
    [
        update(account).where(account.c.name == "li").values(role="administrator"),
        update(account).where(account.c.name == "li").values(disabled_at=None),
        update(account_request).values(reason="another"),
        update(account_request).values(decided_by="admin", approved=False),
        update(second_factor).values(confirmed_at=to_text(now_utc() - timedelta(days=1))),
        insert(second_factor).values(account="li", secret="A" * 32, confirmed_at="2026", last_step=0),
    ],
)
def test_what_somebody_writes_into_the_tables_of_people_is_found(hub: Hub, forgery: Any) -> None:
    _, second, phone = two_administrators(hub)
    signed_in(hub, "li", "officer")
    boss = people.Actor("admin", Role.ADMINISTRATOR, must_change_password=False)
    people.ask(hub.db, hub.keys, boss, Asked("li", "disable", None, "left"), now_utc())
    assert post(second, f"/people/requests/{waiting_id(hub)}/approve", code=phone.code()).status_code == 200
    check(hub)
    with hub.db.begin() as tx:
        tx.execute(forgery)
    with pytest.raises(LogUntrusted) as found:
        check(hub)
    assert found.value.fault == "account_altered"
