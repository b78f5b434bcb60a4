"""Sign in, sign out, change the password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from hub.access import Actor
from hub.accounts import service
from hub.accounts.firstrun import is_open
from hub.accounts.gate import checked_form, session_token, signed_in
from hub.accounts.service import Visit
from hub.language import mark
from hub.problems import CodeDue, TooManyAttempts
from hub.site import FORM_COOKIE, SESSION_COOKIE, drop_cookie, keys_of, render, set_cookie, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
open_router = APIRouter(include_in_schema=False)

WRONG = mark("The name or the password is not right.")
WRONG_OLD = mark("The present password is not right.")
BLOCKED = mark("Too many failed attempts. Try again in %(wait)s.")


@dataclass(frozen=True, slots=True)
class SignInView:
    """The sign-in form; `fault` is already in the reader's language."""

    name: str
    goes_to: str
    fault: str | None
    provider: str  # "": none is set


@dataclass(frozen=True, slots=True)
class PasswordView:
    """The form for a new password; `due` when it is the account's first."""

    due: bool
    fault: str | None


@open_router.get("/sign-in")
def show_sign_in(request: Request, goes_to: str = "/") -> Response:
    with site_of(request).db.read() as connection:
        if is_open(connection):  # nobody could sign in
            return RedirectResponse("/first", 303)
    return _sign_in_page(request, "", goes_to)


@open_router.post("/sign-in", dependencies=[Depends(checked_form)])
def sign_in(
    request: Request,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    goes_to: Annotated[str, Form()] = "/",
) -> Response:
    site, words, visit = site_of(request), words_of(request), visit_of(request)
    try:
        token = service.sign_in(site.db, keys_of(request), name, password, visit.address, now_utc(), visit.browser)
    except service.WrongPassword:
        return _sign_in_page(request, name, goes_to, words.say(WRONG), 401)
    except TooManyAttempts as problem:
        fault = words.say(BLOCKED, wait=words.duration(problem.retry_after_seconds))
        return _sign_in_page(request, name, goes_to, fault, 429)
    response = RedirectResponse(local_path(goes_to), 303)
    set_cookie(request, response, SESSION_COOKIE, token)
    drop_cookie(request, response, FORM_COOKIE)
    return response


@router.post("/sign-out", dependencies=[Depends(checked_form), Depends(signed_in)])
def sign_out(request: Request) -> Response:
    service.sign_out(site_of(request).db, session_token(request))
    return signed_out(request)


@router.get("/password")
def show_password(request: Request, actor: Annotated[Actor, Depends(signed_in)]) -> Response:
    if actor.code_due:
        raise CodeDue
    return render(request, "password.html", PasswordView(actor.must_change_password, None))


@router.post("/password", dependencies=[Depends(checked_form)])
def change_password(
    request: Request,
    actor: Annotated[Actor, Depends(signed_in)],
    old: Annotated[str, Form()] = "",
    new: Annotated[str, Form()] = "",
    repeated: Annotated[str, Form()] = "",
) -> Response:
    site, words = site_of(request), words_of(request)
    if actor.code_due:  # who has only the password must not change it
        raise CodeDue
    try:
        token = service.change_password(
            site.db, keys_of(request), actor, old, new, repeated, visit_of(request), now_utc()
        )
    except service.PasswordRefused as refused:
        fault = words.say(refused.message)
    except service.WrongPassword:
        fault = words.say(WRONG_OLD)
    except TooManyAttempts as problem:
        fault = words.say(BLOCKED, wait=words.duration(problem.retry_after_seconds))
    else:
        response = RedirectResponse("/", 303)
        set_cookie(request, response, SESSION_COOKIE, token)
        return response
    return render(request, "password.html", PasswordView(actor.must_change_password, fault), 422)


def _sign_in_page(request: Request, name: str, goes_to: str, fault: str | None = None, status: int = 200) -> Response:
    provider = site_of(request).provider
    view = SignInView(name, local_path(goes_to), fault, provider.name if provider else "")
    return render(request, "sign_in.html", view, status)


def sign_in_href(path_and_query: str) -> str:
    """The sign-in page that leads back to a path."""
    return "/sign-in" if path_and_query == "/" else f"/sign-in?goes_to={quote(path_and_query, safe='')}"


def code_href(path_and_query: str) -> str:
    """The page for the authenticator's code that leads back to a path."""
    return "/code" if path_and_query == "/" else f"/code?goes_to={quote(path_and_query, safe='')}"


def local_path(target: str) -> str:
    """`target` when it is a path on this site, else the overview: a link must not lead people elsewhere."""
    if not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isprintable():
        return "/"
    return target


def visit_of(request: Request) -> Visit:
    """Whence a session begins. Behind a proxy that `trusted_proxies` names, the server has put its client here."""
    address = request.client.host if request.client else "unknown"
    return Visit(address, request.headers.get("user-agent", ""))


def signed_out(request: Request) -> Response:
    """The way back to the door, with nothing of the session left in the browser."""
    response = RedirectResponse("/sign-in", 303)
    drop_cookie(request, response, SESSION_COOKIE)
    return response
