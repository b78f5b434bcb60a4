"""Nobody gets past the gate: every route, sign-in, sessions, forms, roles, blocked attempts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select, update
from starlette.routing import Mount

from hub.accounts import policy, service
from hub.errors import Conflict, Invalid
from hub.tables import account, log_entry, session, sign_in_failure
from hub.times import now_utc, to_text
from tests.integration.site_data import Hub
from tests.integration.web_peer import PASSWORD, change_password, client, form_token, sign_in, signed_in

OPEN = {
    ("GET", "/first"),  # while nobody has an account
    ("POST", "/first"),
    ("GET", "/sign-in/provider"),
    ("GET", "/sign-in/provider/back"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/api/v1/envelopes"),
    ("GET", "/log/checkpoint"),
    ("GET", "/log/checkpoint/witnessed"),
    ("POST", "/log/cosignatures"),  # a cosignature proves itself
    ("GET", "/verify"),
    ("GET", "/log/tile/{rest:path}"),  # hashes; entries are not among them
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.close()


def all_routes(hub: Hub) -> list[tuple[str, str]]:
    found, pending = [], list(hub.app.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, APIRoute):
            found += [(method, route.path) for method in route.methods]
        elif isinstance(route, Mount):
            assert route.path == "/static"
        else:  # an included router
            pending += list(route.original_router.routes)  # type: ignore[attr-defined]
    return sorted(found)


def test_every_route_needs_a_signed_in_person(hub: Hub) -> None:
    routes = all_routes(hub)
    assert set(routes) >= OPEN
    assert len(routes) > 20
    anonymous = client(hub.app)
    for method, path in routes:
        if (method, path) in OPEN:
            continue
        answer = anonymous.request(method, path.replace("{log_index}", "0").replace("{index}", "0"))
        if method == "POST":
            assert answer.status_code == 403, path  # no form token, so it never comes to the question who it is
        elif path.startswith(("/api/", "/log/tile/")):
            assert answer.status_code == 401, path
            assert answer.json()["code"] == "not_signed_in"
        else:
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/sign-in")


def test_posts_with_a_form_token_but_no_session_are_refused(hub: Hub) -> None:
    hub.account()
    anonymous = client(hub.app)
    token = form_token(anonymous.get("/sign-in").text)
    for path in ("/sign-out", "/password"):
        answer = anonymous.post(path, data={"form_token": token})
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_first_sign_in_demands_an_own_password(hub: Hub) -> None:
    first, browser = hub.account("王伟"), client(hub.app)
    assert sign_in(browser, "王伟", first) == 303
    assert browser.get("/").headers["location"] == "/password"
    assert browser.get("/api/v1/stations").json()["code"] == "password_change_due"
    assert change_password(browser, first, "short") == 422
    assert change_password(browser, "wrong one", PASSWORD) == 422
    assert change_password(browser, first) == 303
    assert browser.get("/").status_code == 200
    assert sign_in(client(hub.app), "王伟", first) == 401
    assert sign_in(client(hub.app), "王伟", PASSWORD) == 303


def test_changing_the_password_ends_other_sessions(hub: Hub) -> None:
    browser, other = signed_in(hub), client(hub.app)
    assert sign_in(other, "admin", PASSWORD) == 303
    assert change_password(browser, PASSWORD, "another good sentence") == 303
    assert browser.get("/").status_code == 200
    assert other.get("/").headers["location"] == "/sign-in"


def test_sessions_end_by_idling_by_age_and_by_signing_out(hub: Hub) -> None:
    for column, age in (("last_seen_at", policy.SESSION_IDLE), ("created_at", policy.SESSION_LONGEST)):
        browser = client(hub.app)
        if column == "last_seen_at":
            browser = signed_in(hub)
        else:
            sign_in(browser, "admin", PASSWORD)
        with hub.db.begin() as tx:
            tx.execute(update(session).values({column: to_text(now_utc() - age)}))
        assert browser.get("/recordings?q=a").headers["location"] == "/sign-in?goes_to=%2Frecordings%3Fq%3Da"
    browser = client(hub.app)
    sign_in(browser, "admin", PASSWORD)
    cookie = browser.cookies["custodock_session"]
    token = form_token(browser.get("/").text)
    assert browser.post("/sign-out", data={"form_token": token}).headers["location"] == "/sign-in"
    browser.cookies.set("custodock_session", cookie)
    assert browser.get("/").status_code == 303


def test_use_renews_a_session_and_polling_does_not(hub: Hub) -> None:
    browser = signed_in(hub)
    earlier = to_text(now_utc() - timedelta(minutes=20))

    def last_seen(headers: dict[str, str]) -> str:
        with hub.db.begin() as tx:
            tx.execute(update(session).values(created_at=earlier, last_seen_at=earlier))
        assert browser.get("/overview/live", headers=headers).status_code == 200
        with hub.db.read() as connection:
            return str(connection.execute(select(session.c.last_seen_at)).scalar_one())

    assert last_seen({"hx-request": "true"}) == earlier
    assert last_seen({}) > earlier
    gone = client(hub.app).get("/overview/live", headers={"hx-request": "true"})
    assert (gone.status_code, gone.headers["hx-redirect"]) == (401, "/sign-in")


def test_cookies_are_out_of_reach(hub: Hub) -> None:
    first, browser = hub.account(), client(hub.app)
    page = browser.get("/sign-in")
    form = {"form_token": form_token(page.text), "name": "admin", "password": first}
    cookie = browser.post("/sign-in", data=form).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    secure = client(hub.app)
    secure.base_url = "https://testserver"
    page = secure.get("/sign-in")
    assert "Secure" in page.headers["set-cookie"]
    with hub.db.read() as connection:
        stored = connection.execute(select(session.c.token_sha256)).scalars().all()
    assert all(value not in cookie for value in stored)


def test_forms_of_other_sites_change_nothing(hub: Hub) -> None:
    browser = signed_in(hub)
    assert browser.post("/sign-out").status_code == 403
    assert browser.post("/sign-out", data={"form_token": "0" * 64}).status_code == 403
    stranger = form_token(client(hub.app).get("/sign-in").text)
    assert browser.post("/sign-out", data={"form_token": stranger}).status_code == 403
    assert client(hub.app).post("/sign-in", data={"name": "admin", "password": PASSWORD}).status_code == 403
    assert browser.get("/").status_code == 200


def hold_block(hub: Hub, subject: str, begun_after: datetime) -> None:
    """`subject` is blocked for 15 s; make it an hour, for on a busy machine those are over before the next attempt."""
    with hub.db.begin() as tx:
        row = select(sign_in_failure.c.blocked_until).where(sign_in_failure.c.subject.startswith(subject))
        assert tx.execute(row).scalar_one() >= to_text(begun_after + policy.block_after(1, 1))
        later = to_text(now_utc() + timedelta(hours=1))
        tx.execute(
            update(sign_in_failure).where(sign_in_failure.c.subject.startswith(subject)).values(blocked_until=later)
        )


def test_failed_attempts_block_the_name_whether_it_exists_or_not(hub: Hub) -> None:
    signed_in(hub)
    for name in ("nobody", "admin"):  # the one that is asked again comes last: it is blocked for 15 s
        browser = client(hub.app)
        for number in range(policy.FREE_FAILURES_PER_NAME):
            begun_after = now_utc()
            assert sign_in(browser, name, f"guess {number}") == 401
        hold_block(hub, f"name:{name}", begun_after)
        assert sign_in(browser, name, "one more guess") == 429
    browser = client(hub.app)
    assert sign_in(browser, "admin", PASSWORD) == 429
    with hub.db.begin() as tx:
        tx.execute(update(sign_in_failure).values(blocked_until=to_text(now_utc())))
    assert sign_in(browser, "admin", PASSWORD) == 303


def test_failed_attempts_at_many_names_block_the_address(hub: Hub) -> None:
    hub.account()
    browser = client(hub.app)
    for number in range(policy.FREE_FAILURES_PER_ADDRESS):
        begun_after = now_utc()
        assert sign_in(browser, f"name{number}", "guess") == 401
    hold_block(hub, "address:", begun_after)
    assert sign_in(browser, "another name", "guess") == 429


@pytest.mark.parametrize(
    ("role", "sees"),
    [("officer", {"/recordings"}), ("equipment_office", {"/commands"}), ("auditor", {"/log", "/people"})],
)
def test_the_way_leads_where_the_role_may_go(hub: Hub, role: str, sees: set[str]) -> None:
    page = signed_in(hub, "p", role).get("/").text
    assert all(f'href="{path}"' in page for path in sees)
    assert ('href="/log"' in page) == ("/log" in sees)
    assert ('href="/recordings"' in page) == (role != "equipment_office")


def test_disabled_accounts_are_out_at_once(hub: Hub) -> None:
    browser = signed_in(hub)
    with hub.db.begin() as tx:
        tx.execute(update(account).values(disabled_at=to_text(now_utc())))
    assert browser.get("/").status_code == 303
    assert sign_in(client(hub.app), "admin", PASSWORD) == 401


def test_accounts_are_events_of_the_log(hub: Hub) -> None:
    hub.account("li")
    with pytest.raises(Conflict):
        hub.account("li")
    for name, role in (("a b", "auditor"), ("wang", "king")):
        with pytest.raises(Invalid):
            service.create_account(hub.db, hub.keys, name, role)
    with hub.db.read() as connection:
        kinds = connection.execute(select(log_entry.c.event_type)).scalars().all()
        hashed = connection.execute(select(account.c.password_hash)).scalar_one()
    assert kinds == ["account.created.v1"]
    assert hashed.startswith("$argon2id$")


def test_figures_are_for_this_machine_or_the_signed_in(hub: Hub) -> None:
    assert client(hub.app).get("/metrics").status_code == 303
    assert signed_in(hub).get("/metrics").status_code == 200
    local = client(hub.app)
    local._transport.client = ("127.0.0.1", 1)  # type: ignore[attr-defined]  # where the connection comes from
    assert "custodock_log_entries" in local.get("/metrics").text
    assert local.get("/metrics", headers={"x-forwarded-for": "192.0.2.1"}).status_code == 303
