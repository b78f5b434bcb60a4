"""Marks of secrecy (Art. 18): how many there are, raising, lowering by two people, and who may know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from hub.access import Action, Actor, Role, may_ever, roles_for
from hub.accounts import codes
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.errors import Invalid
from hub.recordings import marking
from hub.recordings.bulk_pages import Chosen, chosen_page
from hub.recordings.marking import MarkRequest
from hub.recordings.pages import Reader
from hub.recordings.queries import Restricted, load_restricted
from hub.recordings.standing import MARKS
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
CHECKED = [Depends(checked_form)]
Number = Annotated[int, Form(ge=0, lt=1 << 62)]


@dataclass(frozen=True, slots=True)
class MarksView:
    """What is restricted, in numbers, and requests for a lower mark."""

    counted: tuple[Restricted, ...]
    waiting: tuple[MarkRequest, ...]
    decided: tuple[MarkRequest, ...]
    recording: int | None
    known_to: tuple[str, ...] | None  # of `recording`, where the reader may know it; None: they may not, or it is none
    may_let_know: bool
    may_ask: bool
    has_second_factor: bool
    deciders: tuple[Role, ...]
    fault: str | None
    marks: tuple[str, ...] = MARKS
    reasons: tuple[str, ...] = marking.REASONS


@router.get("/marks")
def show_marks(
    request: Request, actor: Reader, recording: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None
) -> Response:
    return _page(request, actor, recording)


@router.post("/marks", dependencies=CHECKED)
def raise_mark(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.MARK_RECORDINGS))],
    n: Chosen = [],  # noqa: B006 (FastAPI copies it)
    mark: Annotated[str, Form()] = "",
) -> Response:
    try:
        wanted = marking.raise_mark(site_of(request).db, keys_of(request), actor, n, mark, now_utc())
    except Invalid as fault:
        return chosen_page(request, actor, n, str(fault))
    return RedirectResponse(f"/recordings/{wanted[0]}" if len(wanted) == 1 else "/recordings?mark=restricted", 303)


@router.post("/marks/known", dependencies=CHECKED)
def change_knowing(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.CHANGE_KNOWING))],
    recording: Number,
    account: Annotated[str, Form()] = "",
    change: Annotated[str, Form()] = "",
) -> Response:
    site, may_know = site_of(request), change != "remove"
    try:
        marking.change_knowing(
            site.db, keys_of(request), actor, [recording], account.strip(), may_know=may_know, now=now_utc()
        )
    except Invalid as fault:
        return _page(request, actor, recording, words_of(request).say(str(fault)))
    return RedirectResponse(f"/marks?recording={recording}", 303)


@router.post("/marks/requests", dependencies=CHECKED)
def request_lower(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.REQUEST_LOWER_MARK))],
    recording: Number,
    mark: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    try:
        marking.request_lower(site_of(request).db, keys_of(request), actor, [recording], mark, reason, now_utc())
    except Invalid as fault:
        return _page(request, actor, recording, words_of(request).say(str(fault)))
    return RedirectResponse("/marks#waiting", 303)


@router.post("/marks/requests/{request_id}/approve", dependencies=CHECKED)
def approve(request: Request, actor: Reader, request_id: str, code: Annotated[str, Form()] = "") -> Response:
    try:
        marking.approve_lower(site_of(request).db, keys_of(request), actor, request_id, code, now_utc())
    except CODE_PROBLEMS as problem:
        return _page(request, actor, None, code_fault(request, problem), code_status(problem))
    return RedirectResponse("/marks#decided", 303)


@router.post("/marks/requests/{request_id}/refuse", dependencies=CHECKED)
def refuse(request: Request, actor: Reader, request_id: str) -> Response:
    marking.refuse_lower(site_of(request).db, keys_of(request), actor, request_id, now_utc())
    return RedirectResponse("/marks#decided", 303)


def _page(
    request: Request, actor: Actor, recording: int | None, fault: str | None = None, status: int = 422
) -> Response:
    db = site_of(request).db
    rows = marking.list_requests(db, actor)
    with db.read() as connection:
        mine = codes.has_second_factor(connection, actor.name)
    counted, known_to = load_restricted(db, actor, recording)
    asks = site_of(request).keys is not None
    view = MarksView(
        counted,
        tuple(row for row in rows if row.decided_at is None),
        tuple(row for row in rows if row.decided_at is not None),
        recording,
        known_to,
        asks and may_ever(actor, Action.CHANGE_KNOWING),
        asks and may_ever(actor, Action.REQUEST_LOWER_MARK),
        mine,
        roles_for(Action.APPROVE_LOWER_MARK),
        fault,
    )
    return render(request, "marks.html", view, status if fault else 200)
