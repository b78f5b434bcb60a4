"""Tokens with which a person's programs read the API: what the person may see, and nothing is changed by them.

A token is 256 random bits, shown once; the hub keeps its SHA-256, in a row and in the event that made it. It ends by
itself, with a word of its person, or with the account. Each function is one transaction.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, insert, select, update

from custody.hubevents import TokenAdded, TokenRevoked
from hub import log
from hub.access import Actor, Role
from hub.accounts.service import new_cookie
from hub.db import Database
from hub.errors import Invalid, NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.problems import NotSignedIn
from hub.tables import account, api_token
from hub.times import to_text

LONGEST_DAYS = 366
MOST = 20  # good ones of one person
MAX_PURPOSE_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Token:
    """One token that is still good."""

    id: str
    purpose: str
    created_at: datetime
    expires_at: datetime


def add_token(db: Database, keys: HubKeys, actor: Actor, purpose: str, days: int, now: datetime) -> str:
    """Make a token for `actor`, say so in the log, and return it. Raises Invalid."""
    purpose = purpose.strip()
    if not 0 < len(purpose) <= MAX_PURPOSE_CHARACTERS or not purpose.isprintable():
        raise Invalid(f"a purpose is 1 to {MAX_PURPOSE_CHARACTERS} printable characters")
    if not 1 <= days <= LONGEST_DAYS:
        raise Invalid(f"a token is good for 1 to {LONGEST_DAYS} days")
    token, expires_at = new_cookie(), now + timedelta(days=days)
    facts = {"account": actor.name, "purpose": purpose, "token_sha256": _digest(token)}
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        good = select(func.count()).select_from(api_token).where(_good(now), api_token.c.account == actor.name)
        if tx.execute(good).scalar_one() >= MOST:
            raise Invalid(f"a person has at most {MOST} tokens")
        row = {"id": new_id(now), "created_at": to_text(now), "expires_at": to_text(expires_at)} | facts
        tx.execute(insert(api_token).values(**row))
        entries.record(TokenAdded, token_id=row["id"], expires_at=expires_at, **facts)
    return token


def revoke_token(db: Database, keys: HubKeys, actor: Actor, token_id: str, now: datetime) -> None:
    """End one of `actor`'s tokens, and say so in the log. Raises NotFound unless it is theirs and good."""
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        mine = _good(now), api_token.c.id == token_id, api_token.c.account == actor.name
        if tx.execute(update(api_token).where(*mine).values(revoked_at=to_text(now))).rowcount != 1:
            raise NotFound("there is no such token")
        entries.record(TokenRevoked, token_id=token_id, account=actor.name)


def list_tokens(db: Database, actor: Actor, now: datetime) -> tuple[Token, ...]:
    """The good ones of `actor`, oldest first."""
    query = select(api_token).where(_good(now), api_token.c.account == actor.name).order_by(api_token.c.id)
    with db.read() as connection:
        return tuple(
            Token(row.id, row.purpose, *(datetime.fromisoformat(at) for at in (row.created_at, row.expires_at)))
            for row in connection.execute(query)
        )


def actor_of_token(db: Database, token: str, now: datetime) -> Actor:
    """Whose token this is, as they stand now. Raises NotSignedIn."""
    query = select(account).join(api_token, api_token.c.account == account.c.name)
    with db.read() as connection:
        row = connection.execute(
            query.where(_good(now), api_token.c.token_sha256 == _digest(token), account.c.disabled_at.is_(None))
        ).one_or_none()
    if row is None:
        raise NotSignedIn
    return Actor(row.name, Role(row.role), row.must_change_password, section=row.section, officer=row.officer)


def _good(now: datetime) -> ColumnElement[bool]:
    return api_token.c.revoked_at.is_(None) & (api_token.c.expires_at > to_text(now))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()
