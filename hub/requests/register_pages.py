"""The register of uses (Art. 17): a page to look through, a CSV, and a PDF to print and sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from custody.hubevents import Use
from hub.access import Action, Actor
from hub.accounts.gate import allowed
from hub.audit.typeset import typeset
from hub.requests.document import MAX_PRINTED, register_document
from hub.requests.policy import USES
from hub.requests.queries import UseRow
from hub.requests.register import (
    MAX_ROWS,
    PAGE_ROWS,
    RegisterFilter,
    parse_filter,
    read_register,
    recordings_text,
    register_csv,
)
from hub.site import attachment, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_USES))]


def _asked(
    day_from: Annotated[str, Query(alias="from")] = "",
    day_to: Annotated[str, Query(alias="to")] = "",
    person: str = "",
    recording: str = "",
    case: str = "",
    use: str = "",
) -> RegisterFilter:
    return parse_filter(day_from=day_from, day_to=day_to, person=person, recording=recording, case=case, use=use)


AskedRegister = Annotated[RegisterFilter, Depends(_asked)]


@dataclass(frozen=True, slots=True)
class RegisterView:
    """The page. `rows`: requests, each with which recordings it is about, as text."""

    rows: tuple[tuple[UseRow, str], ...]
    asked: RegisterFilter
    uses: tuple[Use, ...]
    kept: str  # the filter as it stands in an address
    first_page: bool
    next_href: str | None
    newest_href: str


@router.get("/requests/register")
def show_register(request: Request, actor: Reader, asked: AskedRegister, cursor: str = "") -> Response:
    words = words_of(request)
    with site_of(request).db.read() as connection:
        rows = read_register(connection, actor, asked, now_utc(), cursor, PAGE_ROWS + 1)
        shown = tuple((row, recordings_text(connection, row, words)) for row in rows[:PAGE_ROWS])
    following = [*asked.parameters, ("cursor", shown[-1][0].id)] if len(rows) > PAGE_ROWS else []
    view = RegisterView(
        rows=shown,
        asked=asked,
        uses=USES,
        kept=urlencode(asked.parameters),
        first_page=not cursor,
        next_href="?" + urlencode(following) if following else None,
        newest_href="?" + urlencode(asked.parameters),
    )
    return render(request, "register.html", view)


@router.get("/requests/register.csv")
def download_csv(request: Request, actor: Reader, asked: AskedRegister) -> Response:
    with site_of(request).db.read() as connection:
        rows = read_register(connection, actor, asked, now_utc(), rows=MAX_ROWS)
        made = register_csv(connection, rows, words_of(request))
    return attachment(made, "register.csv", "text/csv; charset=utf-8")


@router.get("/requests/register.pdf")
def download_pdf(request: Request, actor: Reader, asked: AskedRegister) -> Response:
    words = words_of(request)
    with site_of(request).db.read() as connection:
        rows = read_register(connection, actor, asked, now_utc(), rows=MAX_PRINTED + 1)
        data = register_document(connection, rows, asked, words)
    return attachment(typeset("register", data), "register.pdf", "application/pdf")
