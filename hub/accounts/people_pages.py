"""Who may sign in, and changes of that: asked for by one administrator, decided by another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from hub.access import BUREAU, Action, Actor, Role, may
from hub.accounts import codes, people
from hub.accounts.changes import CHANGES, Asked
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.accounts.people import ChangeRefused, ChangeRequest, Done, Person
from hub.problems import BadQuery
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(allowed(Action.SEE_PEOPLE))]
Changer = Annotated[Actor, Depends(allowed(Action.CHANGE_PEOPLE))]
Approver = Annotated[Actor, Depends(allowed(Action.APPROVE_PEOPLE))]


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """A request that waits, and what the reader may do with it."""

    request: ChangeRequest
    own: bool
    about_me: bool


@dataclass(frozen=True, slots=True)
class PeopleView:
    """Accounts and requests. `done`: what just took effect, with the password that is shown this once.

    `alone`: the reader is the first administrator and has not named the second.
    """

    people: list[Person]
    waiting: list[WaitingRequest]
    decided: list[ChangeRequest]
    may_change: bool
    has_second_factor: bool
    roles: tuple[Role, ...]
    asked: Asked
    fault: str | None
    done: Done | None
    alone: bool


EMPTY = Asked("", "create", None, "")


@router.get("/people")
def show_people(request: Request, actor: Reader) -> Response:
    return _page(request, actor)


@router.post("/people/requests", dependencies=[Depends(checked_form)])
def ask(
    request: Request,
    actor: Changer,
    account: Annotated[str, Form()] = "",
    change: Annotated[str, Form()] = "create",
    role: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    if change not in CHANGES or role not in ("", *Role):
        raise BadQuery
    # a role goes with these two only: the form sends its field with every change
    wanted = Role(role) if role and change in ("create", "role") else None
    asked = Asked(account.strip(), change, wanted, reason)
    try:
        done = people.ask(site_of(request).db, keys_of(request), actor, asked, now_utc())
    except ChangeRefused as refused:
        return _page(request, actor, asked=asked, fault=words_of(request).say(refused.message), status=422)
    if done.password:
        return _page(request, actor, done=done)
    return RedirectResponse("/people#waiting", 303)


@router.post("/people/requests/{request_id}/approve", dependencies=[Depends(checked_form)])
def approve(request: Request, actor: Approver, request_id: str, code: Annotated[str, Form()] = "") -> Response:
    words = words_of(request)
    try:
        done = people.approve(site_of(request).db, keys_of(request), actor, request_id, code, now_utc())
    except ChangeRefused as refused:
        return _page(request, actor, fault=words.say(refused.message), status=422)
    except CODE_PROBLEMS as problem:
        return _page(request, actor, fault=code_fault(request, problem), status=code_status(problem))
    return _page(request, actor, done=done)


@router.post("/people/requests/{request_id}/refuse", dependencies=[Depends(checked_form)])
def refuse(request: Request, actor: Changer, request_id: str) -> Response:
    try:
        people.refuse(site_of(request).db, keys_of(request), actor, request_id, now_utc())
    except ChangeRefused as refused:
        return _page(request, actor, fault=words_of(request).say(refused.message), status=422)
    return RedirectResponse("/people#decided", 303)


def _page(
    request: Request,
    actor: Actor,
    *,
    asked: Asked = EMPTY,
    fault: str | None = None,
    done: Done | None = None,
    status: int = 200,
) -> Response:
    db = site_of(request).db
    waiting = [
        WaitingRequest(one, one.requested_by == actor.name, one.account == actor.name)
        for one in people.list_requests(db, waiting=True)
    ]
    with db.read() as connection:
        mine = codes.has_second_factor(connection, actor.name)
    decided = people.list_requests(db, waiting=False)
    can_change = may(actor, Action.CHANGE_PEOPLE, BUREAU)
    everybody = people.list_people(db)
    alone = can_change and sum(one.role is Role.ADMINISTRATOR for one in everybody) == 1
    view = PeopleView(everybody, waiting, decided, can_change, mine, tuple(Role), asked, fault, done, alone)
    return render(request, "people.html", view, status)
