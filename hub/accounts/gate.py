"""The gate before every route: who is asking, may they, and does a form come from this session."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Form, Header, Request

from hub.access import Action, Actor, may_ever
from hub.accounts.service import form_token, resume_session
from hub.accounts.tokens import actor_of_token
from hub.problems import CodeDue, FormExpired, NotAllowed, NotSignedIn, PasswordChangeDue
from hub.site import FORM_COOKIE, SESSION_COOKIE, site_of
from hub.times import now_utc

POLL_HEADER = "hx-request"
STREAM_TYPE = "text/event-stream"
_FOR_TOKENS = ("/api/v1/", "/metrics")


def signed_in(request: Request) -> Actor:
    """The person of this request's session. Raises NotSignedIn.

    A page's own polling does not count as use: an unattended screen still signs itself out. A program reads the API and
    the figures with a person's token; whatever changes something takes a session.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and request.method == "GET" and request.url.path.startswith(_FOR_TOKENS):
        request.state.actor = actor_of_token(site_of(request).db, given.strip(), now_utc())
        return request.state.actor  # type: ignore[no-any-return]
    token = request.cookies.get(SESSION_COOKIE)
    if not token:
        raise NotSignedIn
    actor = resume_session(site_of(request).db, token, now_utc(), touch=not is_poll(request))
    request.state.actor = actor
    return actor


def is_poll(request: Request) -> bool:
    """Whether a page asks by itself, and no person."""
    return POLL_HEADER in request.headers or request.headers.get("accept") == STREAM_TYPE


def allowed(action: Action) -> Callable[[Actor], Actor]:
    """A dependency: the signed-in person, whose role does `action` at all; to what, the query or service asks.

    Raises NotSignedIn, PasswordChangeDue, CodeDue, NotAllowed.
    """

    def check(actor: Annotated[Actor, Depends(signed_in)]) -> Actor:
        if actor.must_change_password:
            raise PasswordChangeDue
        if actor.code_due:
            raise CodeDue
        if not may_ever(actor, action):
            raise NotAllowed
        return actor

    return check


def signed_in_or_local(request: Request) -> None:
    """Figures for a monitor on this machine, or for whoever may see the whole bureau's. Raises as `allowed` does.

    A proxy on this machine also connects from loopback, but says for whom.
    """
    peer = request.client.host if request.client else ""
    forwarded = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "via"))
    if peer not in ("127.0.0.1", "::1") or forwarded:
        allowed(Action.SEE_FIGURES)(signed_in(request))


def checked_form(request: Request, form_token_given: Annotated[str, Form(alias="form_token")] = "") -> None:
    """Raise FormExpired unless the form carries the token of this browser's session (or of its sign-in page)."""
    cookie = request.cookies.get(SESSION_COOKIE) or request.cookies.get(FORM_COOKIE)
    if not cookie or not hmac.compare_digest(form_token(cookie), form_token_given):
        raise FormExpired


def checked_header(request: Request, x_form_token: Annotated[str, Header()] = "") -> None:
    """As `checked_form`, for programs: the token stands in the header ``X-Form-Token``. Raises FormExpired."""
    checked_form(request, x_form_token)
