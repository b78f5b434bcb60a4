"""Orders of exports that two people stand for, as every export needs one."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select

from hub.access import Actor, Role
from hub.accounts.service import create_account
from hub.bundles.work import Order
from hub.db import Database
from hub.exports.queries import load_exports
from hub.exports.service import approve_export, request_export
from hub.keys import HubKeys
from hub.tables import account, second_factor
from hub.times import now_utc
from tests.integration.authenticators import Authenticator, with_factor

RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)


def approved(db: Database, keys: HubKeys, order: Order) -> Order:
    """`order`, asked for by `records` and approved by `leader`: once, until that approval is used."""
    for row in load_exports(db, LEADER, now_utc()):
        named = (row.recordings, row.selection, row.recipient, row.reason)
        if row.state == "approved" and named == (order.recordings, order.selection, order.recipient, order.reason):
            return replace(order, request_id=row.id)
    phone = phone_of_leader(db, keys)
    request_id = asked(db, keys, order)
    approve_export(db, keys, LEADER, request_id, phone.code(), now_utc())
    return replace(order, request_id=request_id)


def asked(db: Database, keys: HubKeys, order: Order) -> str:
    """The id of the request of `order`."""
    texts = {"selection": order.selection, "recipient": order.recipient, "reason": order.reason}
    return request_export(db, keys, RECORDS, order.recordings, texts, now_utc())


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
