"""Sections of people and stations: asked for by one administrator, decided by another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from hub.access import BUREAU, Action, Actor, may
from hub.accounts import codes, placing
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.accounts.people import ChangeRefused
from hub.accounts.placing import Place, PlaceRequest
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(allowed(Action.SEE_PEOPLE))]
Changer = Annotated[Actor, Depends(allowed(Action.CHANGE_PEOPLE))]
Approver = Annotated[Actor, Depends(allowed(Action.APPROVE_PEOPLE))]
CHECKED = [Depends(checked_form)]
EMPTY = Place("", "", "", "")


@dataclass(frozen=True, slots=True)
class SectionsView:
    """Who and what belongs where, and requests. `asked`: what the form is filled in with."""

    places: tuple[Place, ...]
    waiting: tuple[PlaceRequest, ...]
    decided: tuple[PlaceRequest, ...]
    reader: str
    may_change: bool
    has_second_factor: bool
    asked: Place
    reason: str
    fault: str | None

    @property
    def sections(self) -> tuple[str, ...]:
        """Every name in use."""
        return tuple(sorted({place.section for place in self.places} - {""}))


@router.get("/sections")
def show_sections(request: Request, actor: Reader) -> Response:
    return _page(request, actor)


@router.post("/sections/requests", dependencies=CHECKED)
def ask(
    request: Request,
    actor: Changer,
    account: Annotated[str, Form()] = "",
    station: Annotated[str, Form()] = "",
    section: Annotated[str, Form()] = "",
    officer: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    place = Place(account.strip(), station.strip(), section.strip(), officer.strip())
    try:
        placing.ask(site_of(request).db, keys_of(request), actor, place, reason, now_utc())
    except ChangeRefused as refused:
        return _page(request, actor, place, reason, words_of(request).say(refused.message), 422)
    return RedirectResponse("/sections#waiting", 303)


@router.post("/sections/requests/{request_id}/approve", dependencies=CHECKED)
def approve(request: Request, actor: Approver, request_id: str, code: Annotated[str, Form()] = "") -> Response:
    words = words_of(request)
    try:
        placing.approve(site_of(request).db, keys_of(request), actor, request_id, code, now_utc())
    except ChangeRefused as refused:
        return _page(request, actor, fault=words.say(refused.message), status=422)
    except CODE_PROBLEMS as problem:
        return _page(request, actor, fault=code_fault(request, problem), status=code_status(problem))
    return RedirectResponse("/sections#decided", 303)


@router.post("/sections/requests/{request_id}/refuse", dependencies=CHECKED)
def refuse(request: Request, actor: Changer, request_id: str) -> Response:
    try:
        placing.refuse(site_of(request).db, keys_of(request), actor, request_id, now_utc())
    except ChangeRefused as refused:
        return _page(request, actor, fault=words_of(request).say(refused.message), status=422)
    return RedirectResponse("/sections#decided", 303)


def _page(
    request: Request,
    actor: Actor,
    asked: Place = EMPTY,
    reason: str = "",
    fault: str | None = None,
    status: int = 200,
) -> Response:
    db = site_of(request).db
    with db.read() as connection:
        mine = codes.has_second_factor(connection, actor.name)
    view = SectionsView(
        placing.list_places(db), placing.list_requests(db, waiting=True), placing.list_requests(db, waiting=False),
        actor.name, may(actor, Action.CHANGE_PEOPLE, BUREAU), mine, asked, reason, fault,
    )  # fmt: skip
    return render(request, "sections.html", view, status)
