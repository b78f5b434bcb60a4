"""A browser's cookies and forms without a browser."""

from __future__ import annotations

import re
from functools import cache

from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlalchemy import update
from starlette.testclient import TestClient

from custody.hubevents import AccountCreated, SignedIn
from hub import log
from hub.access import Role
from hub.accounts.service import FirstPassword, Visit, add_account, start_session
from hub.db import Database
from hub.keys import HubKeys
from hub.site import SESSION_COOKIE
from hub.tables import account
from hub.times import now_utc
from tests.integration.site_data import Hub

PASSWORD = "correct horse battery"


def client(app: FastAPI) -> TestClient:
    return TestClient(app, follow_redirects=False, raise_server_exceptions=False, client=("192.0.2.7", 50000))


def form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]


def sign_in(browser: TestClient, name: str, password: str, goes_to: str = "/") -> int:
    page = browser.get("/sign-in").text
    form = {"form_token": form_token(page), "name": name, "password": password, "goes_to": goes_to}
    return browser.post("/sign-in", data=form).status_code


def change_password(browser: TestClient, old: str, new: str = PASSWORD) -> int:
    token = form_token(browser.get("/password").text)
    form = {"form_token": token, "old": old, "new": new, "repeated": new}
    return browser.post("/password", data=form).status_code


def add_person(db: Database, keys: HubKeys, name: str, role: str, signed_in: int = 0) -> None:
    """An account whose person chose PASSWORD, and its entries in the log, with so many of a sign-in.

    Rows and entries are those of the pages; the password is hashed once for all. By the pages each person of each test
    would cost four times a tenth of a second, minutes in all: `test_web_access.py` goes that way.
    """
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        add_account(tx, name, Role(role), FirstPassword(PASSWORD, _hashed()), now)
        tx.execute(update(account).where(account.c.name == name).values(must_change_password=False))
        entries.record(AccountCreated, account=name, role=role)
        for _ in range(signed_in):
            entries.record(SignedIn, account=name, second_factor=False)


def signed_in(hub: Hub, name: str = "admin", role: str = "administrator") -> TestClient:
    """A browser whose person has an account and has chosen a password."""
    add_person(hub.db, hub.keys, name, role, 2)  # with the first password, and to change it
    browser = client(hub.app)
    with hub.db.begin() as tx:
        token = start_session(tx, name, Visit("192.0.2.7"), now_utc(), code_due=False)
    browser.cookies.set(SESSION_COOKIE, token)
    return browser


@cache
def _hashed() -> str:
    return PasswordHasher().hash(PASSWORD)
