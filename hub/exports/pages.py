"""Exports of footage: asking for one, deciding on it, and what became of it. The bundle itself is made on the hub's
computer (``dock-hub export --approved``), where the vaults and the disc are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from hub.access import Action, Actor, Role, may_ever, roles_for
from hub.accounts import codes
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.bundles.selection import find_recordings
from hub.bundles.work import MAX_TEXT
from hub.errors import Invalid, NotFound
from hub.exports import service
from hub.exports.queries import ExportRow, load_exports
from hub.language import mark
from hub.problems import BadQuery
from hub.recordings.filters import parse_filter
from hub.recordings.queries import Choices, load_choices
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_EXPORTS))]
CHECKED = [Depends(checked_form)]
FIELDS = ("recordings", "day_from", "day_to", "camera", "station", "recipient", "reason")
SHOWN = 20  # recordings of a request that are linked

NAMES_NOTHING = mark("Nothing was asked for: name recordings by their numbers, or a span of days; one of them.")
BAD_NUMBERS = mark("Nothing was asked for: a number is no recording's. It stands in the address of its page.")
BAD_DAYS = mark("Nothing was asked for: two days are needed, the earlier one first.")
NO_TEXT = mark("Nothing was asked for: recipient and reason are needed, each one line of at most 500 characters.")
NONE_FITS = mark("Nothing was asked for: no recording fits.")


class _Wrong(Exception):
    """The form cannot be taken; the argument is a marked message."""


@dataclass(frozen=True, slots=True)
class ExportsView:
    """The page. `given`: what the form holds."""

    waiting: tuple[ExportRow, ...]
    decided: tuple[ExportRow, ...]
    may_request: bool
    has_second_factor: bool
    deciders: tuple[Role, ...]
    choices: Choices
    given: Mapping[str, str]
    fault: str | None
    shown: int = SHOWN

    def command(self, one: ExportRow) -> str:
        """What an operator runs to make the bundle."""
        return f"dock-hub export --dir DIR --approved {one.id} --footage VAULT --to TARGET"


@router.get("/exports")
def show_exports(request: Request, actor: Reader, recordings: str = "") -> Response:
    return _page(request, actor, {"recordings": recordings[:MAX_TEXT]})


@router.post("/exports", dependencies=CHECKED)
def request_export(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.REQUEST_EXPORT))],
    recordings: Annotated[str, Form()] = "",
    day_from: Annotated[str, Form()] = "",
    day_to: Annotated[str, Form()] = "",
    camera: Annotated[str, Form()] = "",
    station: Annotated[str, Form()] = "",
    recipient: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    entered = (recordings, day_from, day_to, camera, station, recipient, reason)
    given = {name: text.strip() for name, text in zip(FIELDS, entered, strict=True)}
    try:
        wanted, selection = _selected(request, actor, given)
        texts = {"selection": selection, "recipient": given["recipient"], "reason": given["reason"]}
        service.request_export(site_of(request).db, keys_of(request), actor, wanted, texts, now_utc())
    except _Wrong as wrong:
        return _page(request, actor, given, words_of(request).say(str(wrong)))
    except NotFound:
        return _page(request, actor, given, words_of(request).say(BAD_NUMBERS))
    except Invalid:
        return _page(request, actor, given, words_of(request).say(NO_TEXT))
    return RedirectResponse("/exports", 303)


@router.post("/exports/{request_id}/approve", dependencies=CHECKED)
def approve(request: Request, actor: Reader, request_id: str, code: Annotated[str, Form()] = "") -> Response:
    try:
        service.approve_export(site_of(request).db, keys_of(request), actor, request_id, code, now_utc())
    except CODE_PROBLEMS as problem:
        return _page(request, actor, {}, code_fault(request, problem), code_status(problem))
    return RedirectResponse("/exports", 303)


@router.post("/exports/{request_id}/refuse", dependencies=CHECKED)
def refuse(request: Request, actor: Reader, request_id: str) -> Response:
    service.refuse_export(site_of(request).db, keys_of(request), actor, request_id, now_utc())
    return RedirectResponse("/exports", 303)


def _selected(request: Request, actor: Actor, given: Mapping[str, str]) -> tuple[list[int], str]:
    """Log indexes of the recordings that the form names, and how it did. Raises _Wrong."""
    days = given["day_from"], given["day_to"]
    if bool(given["recordings"]) == any(days):
        raise _Wrong(NAMES_NOTHING)
    if given["recordings"]:
        words = re.split(r"[\s,，、;；]+", given["recordings"])
        if not all(word.isascii() and word.isdigit() and len(word) < 16 for word in words):
            raise _Wrong(BAD_NUMBERS)
        numbers = sorted({int(word) for word in words})
        return numbers, f"{len(numbers)} recordings named"
    if not all(days):
        raise _Wrong(BAD_DAYS)
    try:
        limits = parse_filter(given["camera"], given["station"], "", *days, "", "")
    except BadQuery:
        raise _Wrong(BAD_DAYS) from None
    found = find_recordings(site_of(request).db, limits, actor)
    if not found:
        raise _Wrong(NONE_FITS)
    named = [f"{word} {given[word]}" for word in ("camera", "station") if given[word]]
    return found, ", ".join([f"recorded {days[0]} to {days[1]}", *named])


def _page(
    request: Request, actor: Actor, given: Mapping[str, str], fault: str | None = None, status: int = 422
) -> Response:
    db = site_of(request).db
    rows = load_exports(db, actor, now_utc())
    with db.read() as connection:
        mine = codes.has_second_factor(connection, actor.name)
    view = ExportsView(
        waiting=tuple(row for row in rows if row.state == "waiting"),
        decided=tuple(row for row in rows if row.state != "waiting"),
        may_request=may_ever(actor, Action.REQUEST_EXPORT),
        has_second_factor=mine,
        deciders=roles_for(Action.APPROVE_EXPORT),
        choices=load_choices(db, actor),
        given=dict.fromkeys(FIELDS, "") | dict(given),
        fault=fault,
    )
    return render(request, "exports.html", view, status if fault else 200)
