"""A person's tokens: made, shown once, ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from hub.access import Actor
from hub.accounts import tokens
from hub.accounts.code_pages import wholly_signed_in
from hub.accounts.gate import checked_form
from hub.accounts.tokens import Token
from hub.errors import Invalid
from hub.language import mark
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Person = Annotated[Actor, Depends(wholly_signed_in)]
CHECKED = [Depends(checked_form)]
WRONG = mark("A token needs a purpose of at most 100 characters and 1 to 366 days; nobody has more than 20.")


@dataclass(frozen=True, slots=True)
class TokensView:
    """The good ones. `made`: the one just made, shown this once."""

    tokens: tuple[Token, ...]
    made: str | None
    fault: str | None


@router.get("/tokens")
def show_tokens(request: Request, actor: Person) -> Response:
    return _page(request, actor)


@router.post("/tokens", dependencies=CHECKED)
def add_token(
    request: Request, actor: Person, purpose: Annotated[str, Form()] = "", days: Annotated[int, Form()] = 0
) -> Response:
    try:
        made = tokens.add_token(site_of(request).db, keys_of(request), actor, purpose, days, now_utc())
    except Invalid:
        return _page(request, actor, fault=words_of(request).say(WRONG))
    return _page(request, actor, made)


@router.post("/tokens/{token_id}/revoke", dependencies=CHECKED)
def revoke_token(request: Request, actor: Person, token_id: str) -> Response:
    tokens.revoke_token(site_of(request).db, keys_of(request), actor, token_id, now_utc())
    return RedirectResponse("/tokens", 303)


def _page(request: Request, actor: Actor, made: str | None = None, fault: str | None = None) -> Response:
    found = tokens.list_tokens(site_of(request).db, actor, now_utc())
    return render(request, "tokens.html", TokensView(found, made, fault), 422 if fault else 200)
