"""Enrolment of stations: one administrator enters a key line, another the code that the dock shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from hub.access import BUREAU, Action, Actor, may
from hub.accounts import codes
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.accounts.people import ChangeRefused
from hub.site import keys_of, render, site_of, words_of
from hub.stations import enrolment
from hub.stations.enrolment import StationRequest
from hub.stations.queries import list_stations
from hub.times import now_utc

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(allowed(Action.SEE_ENROLMENT))]
Enroller = Annotated[Actor, Depends(allowed(Action.ENROL_STATION))]
Approver = Annotated[Actor, Depends(allowed(Action.APPROVE_ENROLMENT))]


@dataclass(frozen=True, slots=True)
class EnrolledStation:
    """One that is enrolled, with its key line."""

    id: str
    key: str
    enrolled_at: datetime
    frozen: bool
    revoked: bool


@dataclass(frozen=True, slots=True)
class WaitingEnrolment:
    """A request that waits. `code` only for whoever asked: the other one has to get it from the dock."""

    request: StationRequest
    own: bool
    code: str | None


@dataclass(frozen=True, slots=True)
class EnrolmentPage:
    """Stations, requests, and the hub's key lines to carry to a dock, by the option of `dock-agent enrol`."""

    stations: list[EnrolledStation]
    waiting: list[WaitingEnrolment]
    decided: list[StationRequest]
    hub_lines: tuple[tuple[str, str], ...]
    may_enrol: bool
    has_second_factor: bool
    key_line: str
    fault: str | None
    done: StationRequest | None


@router.get("/enrolment")
def show_enrolment(request: Request, actor: Reader) -> Response:
    return _page(request, actor)


@router.post("/stations/requests", dependencies=[Depends(checked_form)])
def ask(request: Request, actor: Enroller, key_line: Annotated[str, Form()] = "") -> Response:
    try:
        enrolment.ask_enrolment(site_of(request).db, keys_of(request), actor, key_line, now_utc())
    except ChangeRefused as refused:
        fault = words_of(request).say(refused.message)
        return _page(request, actor, key_line=key_line, fault=fault, status=422)
    return RedirectResponse("/enrolment#waiting", 303)


@router.post("/stations/requests/{request_id}/approve", dependencies=[Depends(checked_form)])
def approve(
    request: Request,
    actor: Approver,
    request_id: str,
    dock_code: Annotated[str, Form()] = "",
    code: Annotated[str, Form()] = "",
) -> Response:
    db, words = site_of(request).db, words_of(request)
    try:
        done = enrolment.approve_enrolment(db, keys_of(request), actor, request_id, dock_code, code, now_utc())
    except ChangeRefused as refused:
        return _page(request, actor, fault=words.say(refused.message), status=422)
    except CODE_PROBLEMS as problem:
        return _page(request, actor, fault=code_fault(request, problem), status=code_status(problem))
    return _page(request, actor, done=done)


@router.post("/stations/requests/{request_id}/refuse", dependencies=[Depends(checked_form)])
def refuse(request: Request, actor: Enroller, request_id: str) -> Response:
    try:
        enrolment.refuse_enrolment(site_of(request).db, keys_of(request), actor, request_id, now_utc())
    except ChangeRefused as refused:
        return _page(request, actor, fault=words_of(request).say(refused.message), status=422)
    return RedirectResponse("/enrolment#decided", 303)


def _page(
    request: Request,
    actor: Actor,
    *,
    key_line: str = "",
    fault: str | None = None,
    done: StationRequest | None = None,
    status: int = 200,
) -> Response:
    site = site_of(request)
    with site.db.read() as connection:
        mine = codes.has_second_factor(connection, actor.name)
    lines = site.key_lines
    stations = [
        EnrolledStation(
            one.id,
            one.key,
            datetime.fromisoformat(one.enrolled_at),
            one.frozen_at is not None,
            one.revoked_at is not None,
        )
        for one in list_stations(site.db)
    ]
    view = EnrolmentPage(
        stations,
        [_waiting(request, actor, one) for one in enrolment.list_requests(site.db, waiting=True)],
        enrolment.list_requests(site.db, waiting=False),
        tuple((f"--hub-{name}-key", lines[role]) for name, role in enrolment.PINNED),
        may(actor, Action.ENROL_STATION, BUREAU),
        mine,
        key_line,
        fault,
        done,
    )
    return render(request, "enrolment.html", view, status)


def _waiting(request: Request, actor: Actor, one: StationRequest) -> WaitingEnrolment:
    own = one.requested_by == actor.name
    return WaitingEnrolment(one, own, enrolment.code_of(one.key_line, site_of(request).key_lines) if own else None)
