"""Commands as JSON: the same queries and services as the pages.

A program signs in as a person does; what changes something carries the header ``X-Form-Token``, the token that the
session's forms carry, so that no other site's page can make a browser send it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request

from hub.access import Action, Actor
from hub.accounts import codes
from hub.accounts.gate import allowed, checked_header
from hub.commands import approving, service
from hub.commands.queries import MAX_PAGE_ROWS, PAGE_ROWS, CommandPage, CommandRow, load_command, load_commands
from hub.problems import CodeNotTaken, SecondFactorNeeded
from hub.site import keys_of, site_of

router = APIRouter(prefix="/api/v1/commands", tags=["commands"])
Reader = Annotated[Actor, Depends(allowed(Action.SEE_COMMANDS))]
CHECKED = [Depends(checked_header)]


@dataclass(frozen=True, slots=True)
class Order:
    """What a station is asked to do: `body` as custody/spec/commands.md tells for its kind."""

    station: str
    kind: str
    body: dict[str, Any]


@router.get("")
def list_commands(
    request: Request,
    actor: Reader,
    station: str = "",
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS)] = PAGE_ROWS,
) -> CommandPage:
    """Commands, newest first."""
    return load_commands(site_of(request).db, actor, station, cursor, limit)


@router.get("/{command_id}")
def show_command(request: Request, actor: Reader, command_id: str) -> CommandRow:
    """One command."""
    return load_command(site_of(request).db, actor, command_id)


@router.post("", status_code=201, dependencies=CHECKED)
def request_command(request: Request, actor: Reader, order: Annotated[Order, Body()]) -> CommandRow:
    """Ask for a command; a kind for one person is issued at once."""
    db = site_of(request).db
    made = service.make_body(order.kind, order.body)
    return load_command(db, actor, service.request_command(db, keys_of(request), actor, order.station, made))


@router.post("/{command_id}/approve", dependencies=CHECKED)
def approve_command(
    request: Request, actor: Reader, command_id: str, code: Annotated[str, Body(embed=True)]
) -> CommandRow:
    """Be the second person, with a code of your authenticator; the command is issued."""
    db = site_of(request).db
    try:
        approving.approve_command(db, keys_of(request), actor, command_id, code)
    except codes.WrongCode:
        raise CodeNotTaken from None
    except codes.NoSecondFactor:
        raise SecondFactorNeeded from None
    return load_command(db, actor, command_id)


@router.post("/{command_id}/withdraw", dependencies=CHECKED)
def withdraw_command(request: Request, actor: Reader, command_id: str) -> CommandRow:
    """End a request that nobody has approved."""
    db = site_of(request).db
    service.withdraw_command(db, keys_of(request), actor, command_id)
    return load_command(db, actor, command_id)
