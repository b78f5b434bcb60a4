"""Where a person is signed in, and signing out from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from hub.access import Actor
from hub.accounts import policy, sessions
from hub.accounts.code_pages import wholly_signed_in
from hub.accounts.gate import checked_form, session_token
from hub.accounts.pages import signed_out
from hub.accounts.sessions import Session
from hub.site import render, site_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Person = Annotated[Actor, Depends(wholly_signed_in)]
CHECKED = [Depends(checked_form)]


@dataclass(frozen=True, slots=True)
class SessionsView:
    """The sessions of the reader, and how long one lasts."""

    sessions: list[Session]
    idle_seconds: float
    longest_seconds: float


@router.get("/sessions")
def show_sessions(request: Request, actor: Person) -> Response:
    found = sessions.list_sessions(site_of(request).db, actor, session_token(request), now_utc())
    view = SessionsView(found, policy.SESSION_IDLE.total_seconds(), policy.SESSION_LONGEST.total_seconds())
    return render(request, "sessions.html", view)


@router.post("/sessions/{session_id}/end", dependencies=CHECKED)
def end_session(request: Request, actor: Person, session_id: str) -> Response:
    sessions.end_session(site_of(request).db, actor, session_id)
    return RedirectResponse("/sessions", 303)


@router.post("/sessions/end-all", dependencies=CHECKED)
def end_all_sessions(request: Request, actor: Person) -> Response:
    sessions.end_all_sessions(site_of(request).db, actor)
    return signed_out(request)
