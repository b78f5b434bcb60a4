"""Tokens of people's programs: they read what the person may see, change nothing, and end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from hub.errors import LogUntrusted
from hub.logcheck import check_log
from hub.tables import account, api_token
from hub.times import now_utc, to_text
from tests.integration.site_data import Hub
from tests.integration.test_log_damage import fault
from tests.integration.web_peer import client, form_token, signed_in


@pytest.fixture
def hub(tmp_path: Path, database_url: str) -> Iterator[Hub]:
    made = Hub(tmp_path, database_url)
    yield made
    made.close()


def make(browser: TestClient, purpose: str = "大屏", days: str = "90") -> str:
    page = browser.get("/tokens").text
    answer = browser.post("/tokens", data={"form_token": form_token(page), "purpose": purpose, "days": days})
    found = re.search(r'class="secret">([\w-]{43})<', answer.text)
    assert found, answer.status_code
    assert found[1] not in browser.get("/tokens").text  # shown once
    return found[1]


def status(hub: Hub, token: str, path: str = "/api/v1/stations", method: str = "GET") -> int:
    return client(hub.app).request(method, path, headers={"authorization": f"Bearer {token}"}).status_code


def test_a_token_reads_what_its_person_may_see_and_nothing_else(hub: Hub) -> None:
    office, auditor = signed_in(hub, "office", "equipment_office"), signed_in(hub, "shen", "auditor")
    token, other = make(office), make(auditor)
    seen = {"/api/v1/stations": 200, "/api/v1/dockings": 200, "/metrics": 200, "/api/v1/recordings": 403,
            "/api/v1/log/entries": 403, "/": 303, "/commands": 303, "/tokens": 303, "/log": 303}  # fmt: skip
    assert {path: status(hub, token, path) for path in seen} == seen
    assert status(hub, other, "/api/v1/recordings") == status(hub, other, "/api/v1/log/entries") == 200
    assert status(hub, token, "/api/v1/commands", "POST") == 403
    assert status(hub, "x" * 43) == status(hub, "") == 401
    with hub.db.read() as connection:
        assert token not in str(connection.execute(select(api_token)).all())
        assert fault(check_log, connection, hub) is None


@pytest.mark.parametrize("end", ["revoked", "expired", "closed", "first_password"])
def test_a_token_ends(hub: Hub, end: str) -> None:
    browser = signed_in(hub, "shen", "auditor")
    token, stranger = make(browser), signed_in(hub, "li", "auditor")
    assert status(hub, token) == 200
    with hub.db.read() as connection:
        address = f"/tokens/{connection.execute(select(api_token.c.id)).scalar_one()}/revoke"
    assert stranger.post(address, data={"form_token": form_token(stranger.get("/tokens").text)}).status_code == 404
    assert status(hub, token) == 200
    past = to_text(now_utc() - timedelta(seconds=1))
    if end == "revoked":
        assert browser.post(address, data={"form_token": form_token(browser.get("/tokens").text)}).status_code == 303
    else:
        changes = {
            "expired": update(api_token).values(expires_at=past),
            "closed": update(account).where(account.c.name == "shen").values(disabled_at=past),
            "first_password": update(account).where(account.c.name == "shen").values(must_change_password=True),
        }
        with hub.db.begin() as tx:
            tx.execute(changes[end])
    assert status(hub, token) == (403 if end == "first_password" else 401)
    with hub.db.read() as connection:
        found = fault(check_log, connection, hub)
    assert isinstance(found, LogUntrusted) == (end in ("expired", "closed"))  # what nobody stated shows


@pytest.mark.parametrize(("purpose", "days"), [("", "9"), ("x" * 101, "9"), ("a\tb", "9"), ("x", "0"), ("x", "367")])
def test_what_is_no_token_is_not_made(hub: Hub, purpose: str, days: str) -> None:
    browser = signed_in(hub)
    form = {"form_token": form_token(browser.get("/tokens").text), "purpose": purpose, "days": days}
    assert browser.post("/tokens", data=form).status_code == 422
