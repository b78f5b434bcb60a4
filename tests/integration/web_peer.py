"""A browser's cookies and forms without a browser."""

from __future__ import annotations

import re

from fastapi import FastAPI
from starlette.testclient import TestClient

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


def signed_in(hub: Hub, name: str = "admin", role: str = "administrator") -> TestClient:
    """A browser whose person has an account and has chosen a password."""
    first = hub.account(name, role)
    browser = client(hub.app)
    assert sign_in(browser, name, first) == 303
    assert change_password(browser, first) == 303
    return browser
