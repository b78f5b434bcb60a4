"""Orders of exports that two people stand for, as every export needs one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from hub.access import Actor, Role
from hub.accounts.service import create_account
from hub.bundles.work import Order
from hub.db import Database
from hub.keys import HubKeys
from hub.requests.approving import approve_use
from hub.requests.digest import recordings_sha256
from hub.requests.policy import DAY_SECONDS, Wanted
from hub.requests.queries import load_requests
from hub.requests.service import request_use
from hub.tables import account, second_factor, use_request
from hub.times import now_utc
from tests.integration.authenticators import Authenticator, with_factor

RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)


def approved(db: Database, keys: HubKeys, order: Order) -> Order:
    """`order`, asked for by `records` and approved by `leader`: once, until that approval is used."""
    with db.read() as connection:
        wanted = recordings_sha256(order.recordings)
        c = use_request.c
        same = (c.recordings_sha256 == wanted, c.selection == order.selection, c.recipient == order.recipient,
                c.reason == order.reason)  # fmt: skip
        found = set(connection.execute(select(c.id).where(*same)).scalars())
    for row in load_requests(db, LEADER, now_utc()):
        if row.state == "approved" and row.id in found:
            return replace(order, request_id=row.id)
    phone = phone_of_leader(db, keys)
    request_id = asked(db, keys, order)
    approve_use(db, keys, LEADER, request_id, phone.code(), now_utc())
    return replace(order, request_id=request_id)


def copy_of(order: Order, **changes: Any) -> Wanted:
    """The request for a copy that `order` carries out."""
    facts: dict[str, Any] = {
        "use": "copy", "recordings": order.recordings, "selection": order.selection, "holder": None,
        "recipient": order.recipient, "case_number": "17", "reason": order.reason, "valid_seconds": 7 * DAY_SECONDS,
    }  # fmt: skip
    return Wanted(**facts | changes)


def asked(db: Database, keys: HubKeys, order: Order) -> str:
    """The id of the request of `order`."""
    return request_use(db, keys, RECORDS, copy_of(order), now_utc())


def phone_of_leader(db: Database, keys: HubKeys) -> Authenticator:
    """The leader's authenticator; account and second factor are made where there are none."""
    with db.read() as connection:
        known = connection.execute(select(account.c.name).where(account.c.name == LEADER.name)).first()
        secret = select(second_factor.c.secret).where(second_factor.c.account == LEADER.name)
        found = connection.execute(secret).scalar_one_or_none()
    if found is not None:
        return Authenticator(db, found)
    if known is None:
        create_account(db, keys, LEADER.name, LEADER.role)
    return with_factor(db, keys, LEADER.name)
