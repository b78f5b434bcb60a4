"""Rows of people, written again when a lost part of the log comes back; what must follow: `hub/accounts/derived.py`.

No log holds passwords and secrets. An account whose password was set after the backup has none that fits; a second
factor that was set up after it asks for codes that no authenticator gives, until two people have removed it.
"""

from __future__ import annotations

from typing import assert_never

import pyotp
from sqlalchemy import Connection, delete, insert, update

from custody.hubevents import (
    AccountChangeDecided,
    AccountChangeRequested,
    AccountCreated,
    IdentityLinked,
    IdentityUnlinked,
    IdentityUsed,
    SecondFactorSet,
    SectionDecided,
    SectionRequested,
    SignedIn,
    TokenAdded,
    TokenRevoked,
)
from hub.accounts.derived import PeopleEvent
from hub.accounts.placing import place
from hub.tables import account, account_identity, account_request, api_token, second_factor, section_request, session
from hub.times import to_text

NO_PASSWORD = "!"  # noqa: S105 - no hash: nothing fits it


def write_people_rows(tx: Connection, event: PeopleEvent, received_at: str) -> None:
    """Write what the hub wrote when it stated `event`."""
    match event:
        case AccountCreated(account=name, role=role):
            row = {"name": name, "role": role, "created_at": received_at}
            tx.execute(insert(account).values(**row, password_hash=NO_PASSWORD, must_change_password=True))
        case AccountChangeRequested():
            names = ("account", "change", "role", "reason", "requested_by")
            asked = {name: getattr(event, name) for name in names}
            tx.execute(insert(account_request).values(id=event.request_id, requested_at=received_at, **asked))
        case AccountChangeDecided():
            decided = {"decided_by": event.decided_by, "decided_at": received_at, "approved": event.approved}
            tx.execute(update(account_request).where(account_request.c.id == event.request_id).values(**decided))
            if event.approved:
                _take_effect(tx, event, received_at)
        case SectionRequested() | SectionDecided():
            _write_section_rows(tx, event, received_at)
        case SecondFactorSet(account=name):
            confirmed = update(second_factor).where(second_factor.c.account == name)
            if tx.execute(confirmed.values(confirmed_at=received_at)).rowcount == 0:
                made = {"account": name, "secret": pyotp.random_base32(), "confirmed_at": received_at}
                tx.execute(insert(second_factor).values(**made, last_step=0))
        case TokenAdded():
            made = {"id": event.token_id, "created_at": received_at, "expires_at": to_text(event.expires_at)}
            facts = {"account": event.account, "purpose": event.purpose, "token_sha256": event.token_sha256}
            tx.execute(insert(api_token).values(**made, **facts))
        case TokenRevoked():
            tx.execute(update(api_token).where(api_token.c.id == event.token_id).values(revoked_at=received_at))
        case IdentityLinked() | IdentityUnlinked():
            _write_identity(tx, event, received_at)
        case SignedIn() | IdentityUsed():
            pass  # a session is no fact that lasts
        case _:
            assert_never(event)


def _write_identity(tx: Connection, event: IdentityLinked | IdentityUnlinked, received_at: str) -> None:
    if isinstance(event, IdentityUnlinked):
        tx.execute(delete(account_identity).where(account_identity.c.account == event.account))
        return
    facts = {"account": event.account, "issuer": event.issuer, "subject_sha256": event.subject_sha256}
    tx.execute(insert(account_identity).values(**facts, linked_at=received_at))


def _write_section_rows(tx: Connection, event: SectionRequested | SectionDecided, received_at: str) -> None:
    if isinstance(event, SectionRequested):
        placed = ("account", "station", "section", "officer", "reason", "requested_by")
        asked = {name: getattr(event, name) for name in placed}
        tx.execute(insert(section_request).values(id=event.request_id, requested_at=received_at, **asked))
        return
    decided = {"decided_by": event.decided_by, "decided_at": received_at, "approved": event.approved}
    tx.execute(update(section_request).where(section_request.c.id == event.request_id).values(**decided))
    if event.approved:
        place(tx, event.account, event.station, event.section, event.officer)


def _take_effect(tx: Connection, event: AccountChangeDecided, received_at: str) -> None:
    row = update(account).where(account.c.name == event.account)
    match event.change:
        case "role":
            tx.execute(row.values(role=event.role))
        case "disable" | "enable":
            tx.execute(row.values(disabled_at=received_at if event.change == "disable" else None))
            tx.execute(delete(session).where(session.c.account == event.account))
        case "second_factor_reset":
            tx.execute(delete(second_factor).where(second_factor.c.account == event.account))
        case "password_reset":  # the one before must not fit any more, the new one nobody kept
            tx.execute(row.values(password_hash=NO_PASSWORD, must_change_password=True))
            tx.execute(delete(account_identity).where(account_identity.c.account == event.account))
            tx.execute(delete(session).where(session.c.account == event.account))
        case "create":
            pass  # `account.created.v1` follows
        case _:
            assert_never(event.change)
