"""Accounts and the identities that the bureau's provider vouches for. Each function is one transaction.

An identity is connected by its person, wholly signed in, and found again by the SHA-256 of issuer and subject. It
stands for the password and for nothing else: no account is made by it, no role given, and where the account has a
second factor the session waits for its code as ever.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from custody.event import Sha256Hex
from custody.hubevents import IdentityLinked, IdentityUnlinked, IdentityUsed, SignedIn
from hub import log
from hub.access import Actor
from hub.accounts.service import SECOND_FACTOR, Visit, start_session
from hub.db import Database
from hub.errors import Conflict, NotFound
from hub.keys import HubKeys
from hub.readonly import why_read_only
from hub.tables import account, account_identity
from hub.times import to_text


class UnknownIdentity(Exception):
    """No open account is connected with it."""


def identity_digest(issuer: str, subject: str) -> Sha256Hex:
    """What row and log know an identity by: SHA-256 of the issuer, a line feed and the subject."""
    return Sha256Hex(hashlib.sha256(f"{issuer}\n{subject}".encode(errors="surrogatepass")).hexdigest())


def linked_at(db: Database, actor: Actor) -> datetime | None:
    """Since when `actor` is connected with an identity; None: with none."""
    with db.read() as connection:
        mine = select(account_identity.c.linked_at).where(account_identity.c.account == actor.name)
        found = connection.execute(mine).scalar_one_or_none()
    return None if found is None else datetime.fromisoformat(found)


def link(db: Database, keys: HubKeys, actor: Actor, issuer: str, subject: str, now: datetime) -> None:
    """Connect `actor`'s account with an identity. Raises Conflict where either has another one already."""
    row = {"account": actor.name, "issuer": issuer, "subject_sha256": identity_digest(issuer, subject)}
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        taken = (account_identity.c.account == actor.name) | (
            account_identity.c.subject_sha256 == row["subject_sha256"]
        )
        if tx.execute(select(account_identity.c.account).where(taken)).first():
            raise Conflict("the account or the identity is connected already")
        tx.execute(insert(account_identity).values(**row, linked_at=to_text(now)))
        entries.record(IdentityLinked, **row)


def unlink(db: Database, keys: HubKeys, actor: Actor, now: datetime) -> None:
    """The account signs in by password alone again. Raises NotFound where there is nothing to undo."""
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if not forget_identity(tx, actor.name):
            raise NotFound("the account is connected with no identity")
        entries.record(IdentityUnlinked, account=actor.name)


def forget_identity(tx: Connection, name: str) -> bool:
    """Take an account's identity away, and whether it had one; the caller states why."""
    return bool(tx.execute(delete(account_identity).where(account_identity.c.account == name)).rowcount)


def sign_in_by_identity(db: Database, keys: HubKeys, issuer: str, subject: str, visit: Visit, now: datetime) -> str:
    """Start a session of the account that is connected with the identity, and return its token.

    Raises UnknownIdentity. While the log is being refilled, people may look all the same.
    """
    digest = identity_digest(issuer, subject)
    found = select(account.c.name).join(account_identity, account_identity.c.account == account.c.name)
    with db.begin() as tx:
        name = tx.execute(
            found.where(account_identity.c.subject_sha256 == digest, account.c.disabled_at.is_(None))
        ).scalar_one_or_none()
        if name is None:
            raise UnknownIdentity
        code_due = tx.execute(SECOND_FACTOR, {"name": name}).first() is not None
        if why_read_only(tx) is None:
            with log.appending(tx, keys, now) as entries:
                entries.record(IdentityUsed, account=name, issuer=issuer)
                if not code_due:  # else the code's page says so
                    entries.record(SignedIn, account=name, second_factor=False)
        return start_session(tx, name, visit, now, code_due=code_due)
