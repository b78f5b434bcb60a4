"""Set the second factor up, and enter its code after the password."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import segno
from fastapi import APIRouter, Depends, Form, Request
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from hub.access import Actor
from hub.accounts import codes
from hub.accounts.gate import checked_form, session_token, signed_in
from hub.accounts.pages import BLOCKED, local_path
from hub.language import mark
from hub.problems import CodeDue, PasswordChangeDue, TooManyAttempts
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)

WRONG_CODE = mark("This code is not right, too old, or was used already. Wait for the next one.")
NEEDS_SECOND_FACTOR = mark("Decisions need a code of your authenticator. Set up your second factor first.")
CODE_PROBLEMS = (codes.WrongCode, codes.NoSecondFactor, TooManyAttempts)  # what a page for decisions answers itself


@dataclass(frozen=True, slots=True)
class CodeView:
    """The form for the code; `fault` is already in the reader's language."""

    goes_to: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class EnrolmentView:
    """What to scan or type; `secret` None: a second factor is set up already."""

    secret: str | None
    picture: Markup | None
    fault: str | None


@router.get("/code")
def show_code(request: Request, actor: Annotated[Actor, Depends(signed_in)], goes_to: str = "/") -> Response:
    if not actor.code_due:
        return RedirectResponse(local_path(goes_to), 303)
    return render(request, "code.html", CodeView(local_path(goes_to), None))


@router.post("/code", dependencies=[Depends(checked_form)])
def enter_code(
    request: Request,
    actor: Annotated[Actor, Depends(signed_in)],
    code: Annotated[str, Form()] = "",
    goes_to: Annotated[str, Form()] = "/",
) -> Response:
    token, db = session_token(request), site_of(request).db
    if not actor.code_due:
        return RedirectResponse(local_path(goes_to), 303)
    try:
        codes.enter_code(db, keys_of(request), actor.name, code, token, now_utc())
    except (codes.WrongCode, TooManyAttempts) as problem:
        view = CodeView(local_path(goes_to), code_fault(request, problem))
        return render(request, "code.html", view, 429 if isinstance(problem, TooManyAttempts) else 401)
    return RedirectResponse(local_path(goes_to), 303)


def wholly_signed_in(actor: Annotated[Actor, Depends(signed_in)]) -> Actor:
    """A dependency: the signed-in person, whatever their role. Raises PasswordChangeDue, CodeDue."""
    if actor.must_change_password:
        raise PasswordChangeDue
    if actor.code_due:
        raise CodeDue
    return actor


@router.get("/second-factor")
def show_enrolment(request: Request, actor: Annotated[Actor, Depends(wholly_signed_in)]) -> Response:
    return render(request, "second_factor.html", _enrolment(request, actor, None))


@router.post("/second-factor", dependencies=[Depends(checked_form)])
def confirm_enrolment(
    request: Request, actor: Annotated[Actor, Depends(wholly_signed_in)], code: Annotated[str, Form()] = ""
) -> Response:
    token, db = session_token(request), site_of(request).db
    try:
        codes.confirm_enrolment(db, keys_of(request), actor.name, code, token, now_utc())
    except (codes.WrongCode, TooManyAttempts) as problem:
        view = _enrolment(request, actor, code_fault(request, problem))
        return render(request, "second_factor.html", view, code_status(problem))
    return RedirectResponse("/second-factor", 303)


def code_fault(request: Request, problem: Exception) -> str:
    """What to tell the person about a code that was not taken."""
    words = words_of(request)
    if isinstance(problem, TooManyAttempts):
        return words.say(BLOCKED, wait=words.duration(problem.retry_after_seconds))
    return words.say(NEEDS_SECOND_FACTOR if isinstance(problem, codes.NoSecondFactor) else WRONG_CODE)


def code_status(problem: Exception) -> int:
    """The HTTP status of a decision whose code was not taken."""
    return 429 if isinstance(problem, TooManyAttempts) else 422


def _enrolment(request: Request, actor: Actor, fault: str | None) -> EnrolmentView:
    found = codes.begin_enrolment(site_of(request).db, actor.name)
    if found is None:
        return EnrolmentView(None, None, None)
    # drawn into the page: the secret must not travel in an address of its own
    drawn = segno.make(found.uri, error="m").svg_inline(scale=5, border=3, dark="#000", light="#fff", omitsize=True)
    picture = Markup(drawn)  # noqa: S704 - only paths of our own making
    return EnrolmentView(" ".join(found.secret[i : i + 4] for i in range(0, len(found.secret), 4)), picture, fault)
