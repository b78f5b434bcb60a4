"""A new hub: one page, one code, one administrator, then closed for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from hub.accounts import firstrun
from hub.accounts.service import Visit
from hub.app import main
from hub.keys import create_keys, load_keys
from hub.problems import FirstRunClosed
from hub.settings import load_settings
from hub.tables import account, log_entry
from hub.times import now_utc
from tests.integration.site_data import Hub
from tests.integration.web_peer import PASSWORD, client, form_token, sign_in


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.close()


def fill(browser: TestClient, code: str, name: str = "王伟", password: str = PASSWORD, again: str = "") -> int:
    token = form_token(browser.get("/first").text)
    form = {"form_token": token, "code": code, "name": name, "new": password, "repeated": again or password}
    return browser.post("/first", data=form).status_code


def kinds(hub: Hub) -> list[str]:
    with hub.db.read() as connection:
        return list(connection.execute(select(log_entry.c.event_type).order_by(log_entry.c.idx)).scalars())


def test_a_new_hub_leads_everybody_to_one_page_and_closes_it_for_ever(hub: Hub) -> None:
    browser, code = client(hub.app), firstrun.first_code(hub.keys)
    assert browser.get("/").headers["location"] == "/sign-in"
    assert browser.get("/sign-in").headers["location"] == "/first"
    page = browser.get("/first")
    assert (page.status_code, 'lang="zh-CN"' in page.text, "第一个管理员" in page.text) == (200, True, True)
    assert f'value="{code}"' in browser.get(f"/first?code={code}").text  # the address that the command prints
    assert fill(browser, code.upper().replace("-", " ")) == 303  # as people type it
    assert browser.get("/people").status_code == 200  # signed in, with a password of their own
    assert "您是唯一的管理员" in browser.get("/people").text
    assert kinds(hub) == ["account.created.v1", "account.signed_in.v1"]
    stranger = client(hub.app)
    assert stranger.get("/first").status_code == 404
    token = form_token(stranger.get("/sign-in").text)
    form = {"form_token": token, "code": code, "name": "b", "new": PASSWORD, "repeated": PASSWORD}
    answer = stranger.post("/first", data=form)
    assert (answer.status_code, "<code>first_run_closed</code>" in answer.text) == (409, True)
    assert sign_in(stranger, "王伟", PASSWORD) == 303


@pytest.mark.parametrize(
    ("code", "name", "password", "again", "status"),
    [
        ("", "a", PASSWORD, "", 401),
        ("aaaa-aaaa-aaaa-aaaa", "a", PASSWORD, "", 401),
        ("good", "a b", PASSWORD, "", 422),
        ("good", "", PASSWORD, "", 422),
        ("good", "a", "fourteen chars", "", 422),
        ("good", "a", PASSWORD, "something else entirely", 422),
        ("good", "a", "password2026password", "", 422),
    ],
)
def test_what_does_not_fit_makes_nobody(hub: Hub, code: str, name: str, password: str, again: str, status: int) -> None:
    browser = client(hub.app)
    assert fill(browser, firstrun.first_code(hub.keys) if code == "good" else code, name, password, again) == status
    assert kinds(hub) == []
    assert browser.get("/sign-in").headers["location"] == "/first"


def test_the_form_of_another_site_makes_nobody(hub: Hub) -> None:
    form = {"code": firstrun.first_code(hub.keys), "name": "a", "new": PASSWORD, "repeated": PASSWORD}
    assert client(hub.app).post("/first", data=form).status_code == 403
    assert kinds(hub) == []


def test_of_two_browsers_one_wins(hub: Hub) -> None:
    code, together = firstrun.first_code(hub.keys), threading.Barrier(2)
    won: list[str] = []
    late: list[str] = []

    def try_it(name: str) -> None:
        together.wait()
        try:
            firstrun.create_first(hub.db, hub.keys, code, name, (PASSWORD, PASSWORD), Visit("here"), now_utc())
            won.append(name)
        except FirstRunClosed:
            late.append(name)

    threads = [threading.Thread(target=try_it, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(late)) == (1, 1)
    with hub.db.read() as connection:
        assert connection.execute(select(account.c.name)).scalars().all() == won
    assert kinds(hub) == ["account.created.v1", "account.signed_in.v1"]


def test_an_account_of_the_command_line_closes_it_too(hub: Hub) -> None:
    browser, first = client(hub.app), hub.account()
    assert browser.get("/first").status_code == 404
    assert browser.get("/sign-in").status_code == 200
    assert sign_in(browser, "admin", first) == 303


def test_the_code_is_the_keys_and_changes_with_them(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "a", "test")
    code = firstrun.first_code(keys)
    assert code == firstrun.first_code(load_keys(tmp_path / "a", "test"))
    assert code != firstrun.first_code(create_keys(tmp_path / "b", "test"))
    assert len(firstrun.plain(code)) == firstrun.CODE_CHARACTERS


def test_the_command_gives_the_code_until_somebody_has_an_account(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "hub"
    main(["init", "--dir", str(directory)])
    capsys.readouterr()
    main(["user", "first", "--dir", str(directory)])
    code = firstrun.first_code(load_keys(directory / "keys", load_settings(directory).hub_id))
    assert capsys.readouterr().out == f"page: http://127.0.0.1:8080/first?code={code}\ncode: {code}\n"
    main(["user", "add", "admin", "--admin", "--dir", str(directory)])
    with pytest.raises(SystemExit) as ended:
        main(["user", "first", "--dir", str(directory)])
    assert ended.value.code == 1
    assert code not in capsys.readouterr().out
