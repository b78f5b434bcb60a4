"""Authenticators: of people who set one up by the pages, and of accounts made without them."""

from __future__ import annotations

import re

import pyotp
from sqlalchemy import update
from starlette.testclient import TestClient

from hub.accounts import codes
from hub.db import Database
from hub.keys import HubKeys
from hub.tables import second_factor
from hub.times import now_utc
from tests.integration.web_peer import add_person, form_token


class Authenticator:
    """A person's phone."""

    def __init__(self, db: Database, secret: str) -> None:
        self._db, self._totp = db, pyotp.TOTP(secret)

    def code(self) -> str:
        """The present code; half a minute lies between two of them for the hub, but not for whoever waits here."""
        with self._db.begin() as tx:
            tx.execute(update(second_factor).values(last_step=0))
        return self._totp.now()


def set_up(db: Database, browser: TestClient) -> Authenticator:
    """Whoever is signed in sets their second factor up, after one wrong code."""
    page = browser.get("/second-factor").text
    secret = re.search(r'class="secret">([A-Z2-7 ]+)<', page)
    assert secret
    assert "<svg" in page
    phone = Authenticator(db, secret[1].replace(" ", ""))
    wrong = browser.post("/second-factor", data={"form_token": form_token(page), "code": "000000"})
    assert wrong.status_code == 422
    done = browser.post("/second-factor", data={"form_token": form_token(page), "code": phone.code()})
    assert done.status_code == 303
    return phone


def new_person(db: Database, keys: HubKeys, name: str, role: str) -> Authenticator:
    """An account with a second factor, for tests that act without a browser."""
    add_person(db, keys, name, role)
    return with_factor(db, keys, name)


def with_factor(db: Database, keys: HubKeys, name: str) -> Authenticator:
    """The second factor of an account that has none yet."""
    found = codes.begin_enrolment(db, name)
    assert found
    phone = Authenticator(db, found.secret)
    codes.confirm_enrolment(db, keys, name, phone.code(), "no session", now_utc())
    return phone
