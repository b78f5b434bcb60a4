"""Sign in through the bureau's provider, and connect an account with it."""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from hub.access import Actor
from hub.accounts import identities
from hub.accounts.code_pages import wholly_signed_in
from hub.accounts.gate import checked_form, signed_in
from hub.accounts.pages import SignInView, local_path, visit_of
from hub.accounts.provider import BACK_PATH, Flow, NotVouched, Provider, ProviderFailed
from hub.errors import Conflict
from hub.language import mark
from hub.problems import NotFound
from hub.site import FORM_COOKIE, SESSION_COOKIE, cookie_of, drop_cookie, keys_of, render, set_cookie, site_of, words_of
from hub.times import now_utc

log = logging.getLogger(__name__)
open_router = APIRouter(include_in_schema=False)
router = APIRouter(include_in_schema=False)
Person = Annotated[Actor, Depends(wholly_signed_in)]

FLOW_COOKIE = "custodock_provider"
FLOW_SECONDS = 600
AWAY = mark("%(provider)s does not answer as it should. Nothing was changed. Sign in with your password, or try later.")
NOT_VOUCHED = mark("%(provider)s did not confirm who you are, or it took too long. Nothing was changed. Begin again.")
UNKNOWN = mark(
    "No account here is connected with you at %(provider)s. Sign in with your password once, then connect it in the "
    "menu of your name."
)
TAKEN = mark("Your account, or your identity at %(provider)s, is connected already. Nothing was changed.")


@dataclass(frozen=True, slots=True)
class IdentityView:
    """How the reader's account is connected. `leave_href`: where to confirm it, when they asked to connect."""

    provider: str
    linked_at: datetime | None
    leave_href: str | None
    fault: str | None


@open_router.get("/sign-in/provider")
def begin_sign_in(request: Request, goes_to: str = "/") -> Response:
    provider, flow = _provider(request), Flow.begin()
    try:
        response = RedirectResponse(provider.sign_in_href(flow), 303)
    except ProviderFailed as failed:
        return _refuse(request, AWAY, 502, failed)
    _keep(request, response, flow, "sign-in", local_path(goes_to))
    return response


@open_router.get(BACK_PATH)
def come_back(request: Request) -> Response:
    provider = _provider(request)
    flow, purpose, goes_to = _kept(request)
    if flow is None:
        return _refuse(request, NOT_VOUCHED, 401, NotVouched("no cookie"))
    actor = wholly_signed_in(signed_in(request)) if purpose == "link" else None
    try:
        subject = provider.subject(flow, dict(request.query_params))
        response = _connect(request, provider, actor, subject) if actor else _enter(request, provider, subject, goes_to)
    except ProviderFailed as failed:
        response = _refuse(request, AWAY, 502, failed)
    except NotVouched as refused:
        response = _refuse(request, NOT_VOUCHED, 401, refused)
    drop_cookie(request, response, FLOW_COOKIE)  # good once
    return response


@router.get("/identity")
def show_identity(request: Request, actor: Person) -> Response:
    return _page(request, actor)


@router.post("/identity", dependencies=[Depends(checked_form)])
def begin_link(request: Request, actor: Person) -> Response:
    """A link, not a redirect: our policy lets no form lead to another site."""
    provider, flow = _provider(request), Flow.begin()
    try:
        href = provider.sign_in_href(flow)
    except ProviderFailed as failed:
        return _refuse(request, AWAY, 502, failed)
    response = _page(request, actor, leave_href=href)
    _keep(request, response, flow, "link", "/identity")
    return response


@router.post("/identity/unlink", dependencies=[Depends(checked_form)])
def unlink(request: Request, actor: Person) -> Response:
    _provider(request)
    identities.unlink(site_of(request).db, keys_of(request), actor, now_utc())
    return RedirectResponse("/identity", 303)


def _enter(request: Request, provider: Provider, subject: str, goes_to: str) -> Response:
    try:
        token = identities.sign_in_by_identity(
            site_of(request).db, keys_of(request), provider.issuer, subject, visit_of(request), now_utc()
        )
    except identities.UnknownIdentity as unknown:
        return _refuse(request, UNKNOWN, 401, unknown)
    response = RedirectResponse(goes_to, 303)
    set_cookie(request, response, SESSION_COOKIE, token)
    drop_cookie(request, response, FORM_COOKIE)
    return response


def _connect(request: Request, provider: Provider, actor: Actor, subject: str) -> Response:
    try:
        identities.link(site_of(request).db, keys_of(request), actor, provider.issuer, subject, now_utc())
    except Conflict:
        return _page(request, actor, fault=words_of(request).say(TAKEN, provider=provider.name))
    return RedirectResponse("/identity", 303)


def _provider(request: Request) -> Provider:
    provider = site_of(request).provider
    if provider is None:
        raise NotFound("no provider is set")
    return provider


def _keep(request: Request, response: Response, flow: Flow, purpose: Literal["sign-in", "link"], goes_to: str) -> None:
    place = base64.urlsafe_b64encode(goes_to.encode()).decode()
    set_cookie(request, response, FLOW_COOKIE, f"{flow.secret}.{purpose}.{place}", FLOW_SECONDS)


def _kept(request: Request) -> tuple[Flow | None, str, str]:
    parts = (cookie_of(request, FLOW_COOKIE) or "").split(".")
    if len(parts) != 3:
        return None, "", "/"
    try:
        goes_to = base64.urlsafe_b64decode(parts[2]).decode()
    except (binascii.Error, ValueError):
        goes_to = "/"
    return Flow(parts[0]), parts[1], local_path(goes_to)


def _refuse(request: Request, message: str, status: int, why: Exception) -> Response:
    log.warning("provider_refused kind=%s why=%r", type(why).__name__, str(why))
    site = site_of(request)
    name = site.provider.name if site.provider else ""
    fault = words_of(request).say(message, provider=name)
    return render(request, "sign_in.html", SignInView("", "/", fault, name), status)


def _page(request: Request, actor: Actor, *, leave_href: str | None = None, fault: str | None = None) -> Response:
    provider = _provider(request)
    view = IdentityView(provider.name, identities.linked_at(site_of(request).db, actor), leave_href, fault)
    return render(request, "identity.html", view, 409 if fault else 200)
