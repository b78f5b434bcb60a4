"""What stands around the sign-in: a person's sessions, cookies under HTTPS, headers, and a flood of passwords."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from hub.accounts import service
from hub.accounts.sessions import browser_name
from hub.errors import SettingsInvalid
from hub.settings import make_settings
from hub.tables import session
from tests.integration.site_data import Hub
from tests.integration.web_peer import PASSWORD, client, form_token, sign_in, signed_in

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
WECHAT = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/130 Mobile Safari/537.36 MicroMessenger/8.0"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    made = Hub(tmp_path_factory.mktemp("hub"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def li(hub: Hub) -> TestClient:
    return signed_in(hub, "li", "auditor")


def test_a_person_sees_and_ends_their_sessions_and_nobody_elses(hub: Hub, li: TestClient) -> None:
    phone, wu = client(hub.app), signed_in(hub, "wu", "auditor")
    phone.headers["user-agent"] = WECHAT + " <script>"
    assert sign_in(phone, "li", PASSWORD) == 303
    page = li.get("/sessions").text
    assert page.count('<article class="request">') == 2
    assert page.index("当前登录") < page.index("WeChat · Android")  # this one first
    with hub.db.read() as connection:
        ids = {
            name: connection.execute(select(session.c.id).where(session.c.account == name)).scalars().all()
            for name in ("li", "wu")
        }
        assert PASSWORD not in str(connection.execute(select(session)).all())
    token = form_token(page)
    assert li.post(f"/sessions/{ids['wu'][0]}/end", data={"form_token": token}).status_code == 404
    assert li.post(f"/sessions/{ids['li'][1]}/end").status_code == 403
    assert li.post(f"/sessions/{ids['li'][1]}/end", data={"form_token": token}).status_code == 303
    assert phone.get("/log").headers["location"].startswith("/sign-in")
    assert li.get("/log").status_code == 200
    assert wu.get("/log").status_code == 200


def test_signing_out_everywhere_is_here_too(hub: Hub) -> None:
    here, there = signed_in(hub, "zhao", "auditor"), client(hub.app)
    assert sign_in(there, "zhao", PASSWORD) == 303
    answer = here.post("/sessions/end-all", data={"form_token": form_token(here.get("/sessions").text)})
    assert answer.headers["location"] == "/sign-in"
    assert answer.headers["set-cookie"].startswith('custodock_session=""')
    for browser in (here, there):
        assert browser.get("/log").headers["location"].startswith("/sign-in")


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox · Linux"),
        (WECHAT, "WeChat · Android"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537 Chrome/141.0 Safari/537 Edg/141.0", "Edge · Windows"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "—"),
        ("x" * 500, "x" * 60),
    ],
)
def test_browsers_go_by_the_names_that_people_know(agent: str, name: str) -> None:
    assert browser_name(agent) == name


def test_a_session_that_was_planted_is_not_the_one_that_signs_in(hub: Hub, li: TestClient) -> None:
    thief, victim = li.cookies["custodock_session"], client(hub.app)
    page = victim.get("/sign-in").text
    victim.cookies.set("custodock_session", "planted")
    assert sign_in_with(victim, page) == 403  # the form was another browser's
    assert sign_in(victim, "li", PASSWORD) == 303
    assert set(victim.cookies.jar) != set()
    mine = [cookie.value for cookie in victim.cookies.jar if cookie.name == "custodock_session"]
    assert thief not in mine
    assert len(set(mine) - {"planted"}) == 1


def sign_in_with(browser: TestClient, page: str) -> int:
    form = {"form_token": form_token(page), "name": "li", "password": PASSWORD}
    return browser.post("/sign-in", data=form).status_code


def test_under_https_cookies_are_this_hosts_alone(hub: Hub, li: TestClient) -> None:
    browser = client(hub.app)
    browser.base_url = "https://testserver"
    page = browser.get("/sign-in")
    assert page.headers["strict-transport-security"] == "max-age=31536000"
    assert page.headers["set-cookie"].startswith("__Host-custodock_form=")
    answer = browser.post("/sign-in", data={"form_token": form_token(page.text), "name": "li", "password": PASSWORD})
    set_now = [line.partition("=")[0] for line in answer.headers.get_list("set-cookie")]
    assert set_now == ["__Host-custodock_session", "__Host-custodock_form"]
    for line in answer.headers.get_list("set-cookie"):
        assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in line.split(";")}
        assert "Domain" not in line
    assert browser.get("/log").status_code == 200
    neighbour = client(hub.app)  # a page of another name of this domain plants a cookie without the prefix
    neighbour.base_url = "https://testserver"
    neighbour.cookies.set("custodock_session", li.cookies["custodock_session"])
    assert neighbour.get("/log").status_code == 303
    assert "strict-transport-security" not in li.get("/log").headers


def test_a_flood_of_passwords_leaves_the_pages_their_threads(hub: Hub, li: TestClient) -> None:
    with ExitStack() as taken:
        for _ in range(10):
            assert service._WAITING.acquire(blocking=False)
            taken.callback(service._WAITING.release)
        browser = client(hub.app)
        form = {"form_token": form_token(browser.get("/sign-in").text), "name": "li", "password": PASSWORD}
        answer = browser.post("/sign-in", data=form)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert li.get("/log").status_code == 200
    assert sign_in(client(hub.app), "li", PASSWORD) == 303


@pytest.mark.parametrize("listed", ["", "127.0.0.1", "10.0.0.0/8, 2001:db8::/32"])
def test_proxies_are_addresses_and_networks(tmp_path: Path, listed: str) -> None:
    assert make_settings(tmp_path, {"hub_id": "x", "trusted_proxies": listed}).trusted_proxies == listed
    for bad in ("*", "proxy.example", "127.0.0.1 10.0.0.1"):
        with pytest.raises(SettingsInvalid, match="trusted_proxies"):
            make_settings(tmp_path, {"hub_id": "x", "trusted_proxies": bad})
