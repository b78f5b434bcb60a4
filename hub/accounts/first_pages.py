"""The page of a hub that nobody has an account on yet; gone for ever once somebody has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from hub.accounts import firstrun, service
from hub.accounts.gate import checked_form
from hub.accounts.pages import visit_of
from hub.language import mark
from hub.problems import NotFound
from hub.site import FORM_COOKIE, SESSION_COOKIE, drop_cookie, keys_of, render, set_cookie, site_of, words_of
from hub.times import now_utc

open_router = APIRouter(include_in_schema=False)

WRONG_CODE = mark("This is not the code of this hub. Nothing was changed. Read it again where the hub runs.")


@dataclass(frozen=True, slots=True)
class FirstRunView:
    """The form; `fault` is already in the reader's language."""

    code: str
    name: str
    fault: str | None


@open_router.get("/first")
def show_first(request: Request, code: str = "") -> Response:
    with site_of(request).db.read() as connection:
        if not firstrun.is_open(connection):
            raise NotFound("this hub has its administrators")
    return render(request, "first.html", FirstRunView(code, "", None))


@open_router.post("/first", dependencies=[Depends(checked_form)])
def create_first(
    request: Request,
    code: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    new: Annotated[str, Form()] = "",
    repeated: Annotated[str, Form()] = "",
) -> Response:
    keys, words, name = keys_of(request), words_of(request), name.strip()
    try:
        token = firstrun.create_first(
            site_of(request).db, keys, code, name, (new, repeated), visit_of(request), now_utc()
        )
    except firstrun.WrongFirstCode:
        return render(request, "first.html", FirstRunView("", name, words.say(WRONG_CODE)), 401)
    except service.PasswordRefused as refused:
        return render(request, "first.html", FirstRunView(code, name, words.say(refused.message)), 422)
    response = RedirectResponse("/people", 303)
    set_cookie(request, response, SESSION_COOKIE, token)
    drop_cookie(request, response, FORM_COOKIE)
    return response
