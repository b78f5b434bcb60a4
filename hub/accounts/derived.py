"""What the tables of people must hold, derived from the log: for ``dock-hub log check``. Pure.

Not derived, because the log does not hold them: passwords, secrets of second factors, sessions, failed sign-ins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

from sqlalchemy import Table

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
from hub.db import Row
from hub.tables import account, account_identity, account_request, api_token, second_factor, section_request
from hub.times import to_text

PeopleEvent = (
    AccountCreated
    | AccountChangeRequested
    | AccountChangeDecided
    | SectionRequested
    | SectionDecided
    | SecondFactorSet
    | SignedIn
    | TokenAdded
    | TokenRevoked
    | IdentityLinked
    | IdentityUnlinked
    | IdentityUsed
)
ACCOUNT = ("name", "role", "created_at", "disabled_at", "section", "officer")
REQUEST = tuple(account_request.c.keys())
TOKEN = tuple(api_token.c.keys())
SECTION_REQUEST = tuple(section_request.c.keys())
IDENTITY = tuple(account_identity.c.keys())
FACTOR = ("account", "confirmed_at")


class PeopleCheck:
    """Feed it the hub's events about people, in the order of the log."""

    def __init__(self) -> None:
        """Nobody is there yet. `stations`: the section of each that people gave one."""
        self.stations: dict[str, str] = {}
        self._accounts: dict[str, dict[str, Any]] = {}
        self._requests: dict[str, dict[str, Any]] = {}
        self._sections: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, dict[str, Any]] = {}
        self._factors: dict[str, str] = {}
        self._identities: dict[str, dict[str, Any]] = {}

    def event(self, event: PeopleEvent, received_at: str) -> None:
        """One event; `received_at` as its entry says, which is when it took effect."""
        match event:
            case AccountCreated(account=name, role=role):
                row = {"name": name, "role": role, "created_at": received_at, "disabled_at": None}
                self._accounts[name] = row | {"section": "", "officer": ""}
            case AccountChangeRequested():
                self._requests[event.request_id] = {
                    "id": event.request_id, "account": event.account, "change": event.change, "role": event.role,
                    "reason": event.reason, "requested_by": event.requested_by, "requested_at": received_at,
                    "decided_by": None, "decided_at": None, "approved": None,
                }  # fmt: skip
            case AccountChangeDecided():
                decided = {"decided_by": event.decided_by, "decided_at": received_at, "approved": event.approved}
                self._requests.get(event.request_id, {}).update(decided)
                if event.approved:
                    self._take_effect(event, received_at)
            case SectionRequested():
                names = ("account", "station", "section", "officer", "reason", "requested_by")
                self._sections[event.request_id] = {name: getattr(event, name) for name in names} | {
                    "id": event.request_id, "requested_at": received_at,
                }  # fmt: skip
            case SectionDecided():
                decided = {"decided_by": event.decided_by, "decided_at": received_at, "approved": event.approved}
                self._sections.get(event.request_id, {}).update(decided)
                if event.approved:
                    self._place(event)
            case SecondFactorSet(account=name):
                self._factors[name] = received_at
            case TokenAdded() | TokenRevoked():
                self._token(event, received_at)
            case IdentityLinked() | IdentityUnlinked():
                self._identity(event, received_at)
            case SignedIn() | IdentityUsed():
                pass  # a session is no fact that lasts
            case _:
                assert_never(event)

    def _place(self, event: SectionDecided) -> None:
        if event.station is not None:
            self.stations[event.station] = event.section
        if event.account is not None:
            self._accounts.get(event.account, {}).update({"section": event.section, "officer": event.officer})

    def _identity(self, event: IdentityLinked | IdentityUnlinked, received_at: str) -> None:
        if isinstance(event, IdentityUnlinked):
            self._identities.pop(event.account, None)
            return
        facts = {"account": event.account, "issuer": event.issuer, "subject_sha256": event.subject_sha256}
        self._identities[event.account] = facts | {"linked_at": received_at}

    def _token(self, event: TokenAdded | TokenRevoked, received_at: str) -> None:
        if isinstance(event, TokenRevoked):
            self._tokens.get(event.token_id, {})["revoked_at"] = received_at
            return
        self._tokens[event.token_id] = {
            "id": event.token_id, "account": event.account, "purpose": event.purpose,
            "token_sha256": event.token_sha256, "created_at": received_at, "expires_at": to_text(event.expires_at),
        }  # fmt: skip

    def _take_effect(self, event: AccountChangeDecided, received_at: str) -> None:
        row = self._accounts.get(event.account, {})
        if event.change == "role":
            row["role"] = event.role
        elif event.change in ("disable", "enable"):
            row["disabled_at"] = received_at if event.change == "disable" else None
        elif event.change == "second_factor_reset":
            self._factors.pop(event.account, None)
        elif event.change == "password_reset":
            self._identities.pop(event.account, None)

    def derived(self) -> Iterator[tuple[Table, tuple[str, ...], dict[str, Row]]]:
        """Each table, the columns that the log decides, and its rows by key."""
        yield account, ACCOUNT, {key: _row(row, ACCOUNT) for key, row in self._accounts.items()}
        yield account_request, REQUEST, {key: _row(row, REQUEST) for key, row in self._requests.items()}
        asked = {key: _row(row, SECTION_REQUEST) for key, row in self._sections.items()}
        yield section_request, SECTION_REQUEST, asked
        yield api_token, TOKEN, {key: _row(row, TOKEN) for key, row in self._tokens.items()}
        yield account_identity, IDENTITY, {key: _row(row, IDENTITY) for key, row in self._identities.items()}
        yield second_factor, FACTOR, {name: (name, at) for name, at in self._factors.items()}


def _row(row: dict[str, Any], names: tuple[str, ...]) -> Row:
    return tuple(row.get(name) for name in names)
