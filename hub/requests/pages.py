"""Using footage by people: asking, deciding, ending, and what became of a copy. A bundle itself is made on the hub's
computer (``dock-hub export --approved``), where the vaults and the disc are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from custody.hubevents import CopyEnd, Use
from hub.access import Action, Actor, Role, may_ever, roles_for
from hub.accounts import codes
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.bundles.selection import find_recordings
from hub.errors import Invalid, NotFound
from hub.language import mark
from hub.problems import Problem
from hub.recordings.asked import AskedFilter
from hub.recordings.filters import RecordingFilter
from hub.recordings.queries import RecordingRow, load_row
from hub.requests import approving, policy, service
from hub.requests.details import Details, load_details
from hub.requests.policy import COPY_ENDS, DAY_SECONDS, DAYS, DEFAULT_DAYS, USES, Wanted
from hub.requests.queries import UseRow, load_requests
from hub.sections import seen_recordings
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_USES))]
Asker = Annotated[Actor, Depends(allowed(Action.REQUEST_VIEW))]
CHECKED = [Depends(checked_form)]
FIELDS = ("use", "recordings", "holder", "recipient", "case_number", "reason", "days")
SHOWN = 20  # recordings that the form lists
MAX_CHOSEN = 2000  # by one form, which carries their numbers
NOTHING = mark("Nothing was asked for: %(why)s")
BAD_NUMBERS = mark("Nothing was asked for: a number is no recording's. It stands in the address of its page.")


class TooManyChosen(Problem):
    """A list too long for one form."""

    code = "too_many_recordings"
    http_status = 422
    title = mark("Too many recordings for one request")
    advice = mark(
        "A form takes at most 2,000. Limit the list, or ask on the hub's computer: dock-hub export --request."
    )


@dataclass(frozen=True, slots=True)
class RequestsView:
    """The list. `mine`: what waits for this reader's decision."""

    mine: tuple[UseRow, ...]
    waiting: tuple[UseRow, ...]
    decided: tuple[UseRow, ...]
    may_ask: bool


@dataclass(frozen=True, slots=True)
class AskView:
    """The form. `chosen`: the first of the recordings that it names; `uses`: what this reader may ask for."""

    chosen: tuple[RecordingRow, ...]
    chosen_in_all: int
    uses: tuple[Use, ...]
    days: tuple[int, ...]
    given: Mapping[str, str]
    fault: str | None


@dataclass(frozen=True, slots=True)
class RequestView:
    """One request. `deciders`: whose role may approve it."""

    details: Details
    has_second_factor: bool
    deciders: tuple[Role, ...]
    copy_ends: tuple[CopyEnd, ...]
    fault: str | None

    @property
    def command(self) -> str:
        """What an operator runs to make the bundle."""
        return f"dock-hub export --dir DIR --approved {self.details.row.id} --footage VAULT --to TARGET"


@router.get("/requests")
def show_requests(request: Request, actor: Reader) -> Response:
    rows = load_requests(site_of(request).db, actor, now_utc())
    view = RequestsView(
        mine=tuple(row for row in rows if row.may_decide),
        waiting=tuple(row for row in rows if row.state == "waiting" and not row.may_decide),
        decided=tuple(row for row in rows if row.state != "waiting"),
        may_ask=may_ever(actor, Action.REQUEST_VIEW),
    )
    return render(request, "requests.html", view)


@router.get("/requests/new")
def show_form(
    request: Request,
    actor: Asker,
    asked: AskedFilter,
    recordings: Annotated[list[str], Query()] = [],  # noqa: B006
) -> Response:
    """For recordings by their numbers, or for all of a list that is limited."""
    numbers = " ".join(recordings)
    if not numbers and asked != RecordingFilter():
        found = find_recordings(site_of(request).db, asked, actor, MAX_CHOSEN + 1)
        if len(found) > MAX_CHOSEN:
            raise TooManyChosen
        numbers = " ".join(map(str, found))
    return _form(request, actor, {"recordings": numbers})


@router.post("/requests", dependencies=CHECKED)
def request_use(
    request: Request,
    actor: Asker,
    use: Annotated[str, Form()] = "",
    recordings: Annotated[str, Form()] = "",
    holder: Annotated[str, Form()] = "",
    recipient: Annotated[str, Form()] = "",
    case_number: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    days: Annotated[str, Form()] = "",
) -> Response:
    entered = (use, recordings, holder, recipient, case_number, reason, days)
    given = {name: text.strip() for name, text in zip(FIELDS, entered, strict=True)}
    words = words_of(request)
    numbers = _numbers(given["recordings"])
    if numbers is None or len(numbers) > MAX_CHOSEN:
        return _form(request, actor, given, words.say(BAD_NUMBERS))
    try:
        made = service.request_use(site_of(request).db, keys_of(request), actor, _wanted(given, numbers), now_utc())
    except NotFound:
        return _form(request, actor, given, words.say(BAD_NUMBERS))
    except Invalid as wrong:
        return _form(request, actor, given, words.say(NOTHING, why=words.say(str(wrong))))
    return RedirectResponse(f"/requests/{made}", 303)


@router.get("/requests/{request_id}")
def show_request(request: Request, actor: Reader, request_id: str) -> Response:
    return _page(request, actor, request_id)


@router.post("/requests/{request_id}/approve", dependencies=CHECKED)
def approve(request: Request, actor: Reader, request_id: str, code: Annotated[str, Form()] = "") -> Response:
    try:
        approving.approve_use(site_of(request).db, keys_of(request), actor, request_id, code, now_utc())
    except CODE_PROBLEMS as problem:
        return _page(request, actor, request_id, code_fault(request, problem), code_status(problem))
    except Invalid as wrong:
        return _page(request, actor, request_id, words_of(request).say(str(wrong)))
    return RedirectResponse(f"/requests/{request_id}", 303)


@router.post("/requests/{request_id}/refuse", dependencies=CHECKED)
def refuse(request: Request, actor: Reader, request_id: str, reason: Annotated[str, Form()] = "") -> Response:
    try:
        service.refuse_use(site_of(request).db, keys_of(request), actor, request_id, reason.strip(), now_utc())
    except Invalid as wrong:
        return _page(request, actor, request_id, words_of(request).say(str(wrong)))
    return RedirectResponse(f"/requests/{request_id}", 303)


@router.post("/requests/{request_id}/withdraw", dependencies=CHECKED)
def withdraw(request: Request, actor: Reader, request_id: str) -> Response:
    service.withdraw_use(site_of(request).db, keys_of(request), actor, request_id, now_utc())
    return RedirectResponse(f"/requests/{request_id}", 303)


@router.post("/requests/{request_id}/revoke", dependencies=CHECKED)
def revoke(request: Request, actor: Reader, request_id: str, reason: Annotated[str, Form()] = "") -> Response:
    try:
        service.revoke_use(site_of(request).db, keys_of(request), actor, request_id, reason.strip(), now_utc())
    except Invalid as wrong:
        return _page(request, actor, request_id, words_of(request).say(str(wrong)))
    return RedirectResponse(f"/requests/{request_id}", 303)


@router.post("/requests/{request_id}/copy", dependencies=CHECKED)
def note_copy(
    request: Request,
    actor: Reader,
    request_id: str,
    how: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
) -> Response:
    db, keys = site_of(request).db, keys_of(request)
    try:
        service.note_copy(db, keys, actor, request_id, cast(CopyEnd, how), note.strip(), now_utc())
    except Invalid as wrong:
        return _page(request, actor, request_id, words_of(request).say(str(wrong)))
    return RedirectResponse(f"/requests/{request_id}", 303)


def _numbers(text: str) -> list[int] | None:
    """Log indexes, rising, out of what was entered; None for something that is none."""
    found = [word for word in re.split(r"[\s,，、;；]+", text) if word]
    if not all(word.isascii() and word.isdigit() and len(word) < 16 for word in found):
        return None
    return sorted({int(word) for word in found})


def _wanted(given: Mapping[str, str], numbers: list[int]) -> Wanted:
    """What the form asks for; whether it can be asked for is `policy.fault_of`'s to say."""
    views, days = given["use"] == "view", given["days"]
    return Wanted(
        use=cast(Use, given["use"]),
        recordings=tuple(numbers),
        selection=f"{len(numbers)} recordings named",
        holder=given["holder"] or None if views else None,
        recipient="" if views else given["recipient"],
        case_number=given["case_number"],
        reason=given["reason"],
        valid_seconds=int(days) * DAY_SECONDS if days.isascii() and days.isdigit() and len(days) < 4 else 0,
    )


def _form(request: Request, actor: Actor, given: Mapping[str, str], fault: str | None = None) -> Response:
    defaults = {"use": "view", "holder": actor.name, "days": str(DEFAULT_DAYS)}
    numbers = (_numbers(given["recordings"]) or [])[:MAX_CHOSEN]
    with site_of(request).db.read() as connection:
        seen = sorted(seen_recordings(connection, actor, numbers))
        rows = [load_row(connection, index) for index in seen[:SHOWN]]
    view = AskView(
        chosen=tuple(row for row in rows if row is not None),
        chosen_in_all=len(seen),
        uses=tuple(use for use in USES if may_ever(actor, policy.action_of(use))),
        days=DAYS,
        given=dict.fromkeys(FIELDS, "") | defaults | dict(given),
        fault=fault,
    )
    return render(request, "request_new.html", view, 422 if fault else 200)


def _page(request: Request, actor: Actor, request_id: str, fault: str | None = None, status: int = 422) -> Response:
    with site_of(request).db.read() as connection:
        details = load_details(connection, actor, request_id, now_utc())
        mine = codes.has_second_factor(connection, actor.name)
    view = RequestView(details, mine, roles_for(Action.APPROVE_USE), COPY_ENDS, fault)
    return render(request, "request.html", view, status if fault else 200)
