"""Revocations and removals: keys of stations and of witnesses that shall count no more, personal detail that shall go.

One asks, another approves with a code of their authenticator. What is done is in `hub.stations.revocation`,
`hub.witnesses.removal` and `hub.openings.service`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from custody.hubevents import RemovalReason
from hub.access import Action, Actor, Role, may_ever, roles_for
from hub.accounts import codes
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.db import Database
from hub.errors import DomainError
from hub.language import mark
from hub.openings import service as openings
from hub.problems import NotAllowed
from hub.problems import NotFound as PageNotFound
from hub.removals.queries import Removal, load_removals, station_names, witness_names
from hub.site import keys_of, render, site_of, words_of
from hub.stations import revocation
from hub.times import to_text
from hub.witnesses import removal as witnesses

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_REMOVALS))]
KeyAsker = Annotated[Actor, Depends(allowed(Action.REQUEST_KEYS))]
DetailAsker = Annotated[Actor, Depends(allowed(Action.REQUEST_OPENING_REMOVAL))]
CHECKED = [Depends(checked_form)]
Kind = Literal["stations", "witnesses", "details"]
ASK = {
    "stations": Action.REQUEST_KEYS, "witnesses": Action.REQUEST_KEYS, "details": Action.REQUEST_OPENING_REMOVAL,
}  # fmt: skip
APPROVE = {
    "stations": Action.APPROVE_KEYS, "witnesses": Action.APPROVE_KEYS, "details": Action.APPROVE_OPENING_REMOVAL,
}  # fmt: skip
Approve = Callable[[Database, Any, Actor, str, str], object]
DONE: dict[str, Approve] = {
    "stations": revocation.approve_revocation,
    "witnesses": witnesses.approve_removal,
    "details": openings.approve_removal,
}
NOT_DONE = mark("Nothing was changed: the request does not fit what is there now. Look at the list and ask again.")
BAD_ENTRY = mark("Nothing was asked for. Check what you entered: numbers and days are as the form shows them.")
NOT_SURE = mark("Nothing was asked for. Confirm at the end of the form that you mean it.")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits. `own`: the reader's; `may_approve`: the reader may be its second person."""

    removal: Removal
    own: bool
    may_approve: bool
    deciders: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class RemovalsView:
    """The page. `forms`: kinds that the reader may ask for; `open`: the one whose form is open."""

    waiting: tuple[Waiting, ...]
    done: tuple[Removal, ...]
    forms: frozenset[str]
    open: str
    stations: tuple[str, ...]
    witnesses: tuple[str, ...]
    reasons: tuple[str, ...]
    has_second_factor: bool
    fault: str | None


@router.get("/removals")
def show_removals(request: Request, actor: Reader) -> Response:
    return _page(request, actor)


@router.post("/removals/stations", dependencies=CHECKED)
def ask_station(
    request: Request,
    actor: KeyAsker,
    station: Annotated[str, Form()] = "",
    from_seq: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    sure: Annotated[str, Form()] = "",
) -> Response:
    db, keys = site_of(request).db, keys_of(request)

    def ask() -> None:
        start = int(from_seq) if from_seq.strip() else None
        revocation.request_revocation(db, keys, actor, station, reason.strip(), start)

    return _asked(request, actor, "stations", sure, ask)


@router.post("/removals/witnesses", dependencies=CHECKED)
def ask_witness(
    request: Request,
    actor: KeyAsker,
    witness: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    sure: Annotated[str, Form()] = "",
) -> Response:
    db, keys = site_of(request).db, keys_of(request)
    return _asked(
        request, actor, "witnesses", sure, lambda: witnesses.request_removal(db, keys, actor, witness, reason.strip())
    )


@router.post("/removals/details", dependencies=CHECKED)
def ask_detail(
    request: Request,
    actor: DetailAsker,
    officer: Annotated[str, Form()] = "",
    before: Annotated[str, Form()] = "",
    entries: Annotated[str, Form()] = "",
    why: Annotated[str, Form()] = "",
    sure: Annotated[str, Form()] = "",
) -> Response:
    db, keys = site_of(request).db, keys_of(request)

    def ask() -> None:
        if why not in get_args(RemovalReason):
            raise ValueError
        until = to_text(datetime.combine(date.fromisoformat(before), time(), UTC)) if before else None
        named = tuple(int(one) for one in entries.replace(",", " ").split()) or None
        choice = openings.Choice("officer", officer.strip() or None, until, named)
        openings.request_removal(db, keys, actor, choice, why)  # type: ignore[arg-type]  # checked above

    return _asked(request, actor, "details", sure, ask)


@router.post("/removals/{kind}/{request_id}/approve", dependencies=CHECKED)
def approve(request: Request, actor: Reader, kind: str, request_id: str, code: Annotated[str, Form()] = "") -> Response:
    if kind not in DONE:
        raise PageNotFound
    if not may_ever(actor, APPROVE[kind]):
        raise NotAllowed
    try:
        DONE[kind](site_of(request).db, keys_of(request), actor, request_id, code)
    except CODE_PROBLEMS as problem:
        return _page(request, actor, fault=code_fault(request, problem), status=code_status(problem))
    return RedirectResponse("/removals#done", 303)


def _asked(request: Request, actor: Actor, kind: Kind, sure: str, ask: Callable[[], object]) -> Response:
    words = words_of(request)
    if sure != "1":
        return _page(request, actor, kind, words.say(NOT_SURE), 422)
    try:
        ask()
    except ValueError:  # a number or day that is none
        return _page(request, actor, kind, words.say(BAD_ENTRY), 422)
    except DomainError:
        return _page(request, actor, kind, words.say(NOT_DONE), 422)
    return RedirectResponse("/removals#waiting", 303)


def _page(request: Request, actor: Actor, open_: str = "", fault: str | None = None, status: int = 200) -> Response:
    db = site_of(request).db
    forms = frozenset(kind for kind, action in ASK.items() if may_ever(actor, action))
    sees_all = may_ever(actor, Action.SEE_LOG)
    with db.read() as connection:
        found = [one for one in load_removals(connection) if sees_all or one.kind in forms]
        view = RemovalsView(
            tuple(_waiting(one, actor) for one in found if one.waits),
            tuple(one for one in found if one.approved_by is not None),
            forms,
            open_,
            station_names(connection),
            witness_names(connection),
            get_args(RemovalReason),
            codes.has_second_factor(connection, actor.name),
            fault,
        )
    return render(request, "removals.html", view, status)


def _waiting(one: Removal, actor: Actor) -> Waiting:
    own = one.requested_by == actor.name
    action = APPROVE[one.kind]
    return Waiting(one, own, not own and may_ever(actor, action), roles_for(action))
