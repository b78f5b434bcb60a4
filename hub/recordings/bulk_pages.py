"""What is done with several recordings at once: state what they are about, take that back, hold them; saved filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from custody.commandbody import Hold
from custody.event import Sha256Hex
from hub.access import Action, Actor, may_ever
from hub.accounts.gate import allowed, checked_form
from hub.commands.formrules import BAD_TEXT as BAD_REASON
from hub.commands.service import request_command
from hub.errors import Invalid
from hub.identifiers import new_id
from hub.problems import NotFound
from hub.recordings import saved
from hub.recordings.asked import OrderedFilter
from hub.recordings.labelling import KINDS, NONE_CHOSEN, label_recordings, parse_labels, undo_labelling
from hub.recordings.pages import LogIndex, Reader
from hub.recordings.queries import RecordingRow, load_some
from hub.recordings.standing import MARKS
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
CHECKED = [Depends(checked_form)]
Numbers = Annotated[list[int], Query(alias="n", max_length=200)]
Chosen = Annotated[list[int], Form(alias="n", max_length=200)]


@dataclass(frozen=True, slots=True)
class ChosenView:
    """The recordings that were chosen, and what can be done with them."""

    rows: tuple[RecordingRow, ...]
    fault: str | None
    may_label: bool
    may_mark: bool
    may_hold: bool
    may_ask: bool
    kinds: tuple[str, ...] = KINDS
    marks: tuple[str, ...] = MARKS[1:]

    @property
    def numbers(self) -> str:
        """As the form of requests takes them."""
        return " ".join(str(row.log_index) for row in self.rows)


@router.get("/recordings/chosen")
def show_chosen(request: Request, actor: Reader, n: Numbers = []) -> Response:  # noqa: B006 (FastAPI copies it)
    return chosen_page(request, actor, n)


@router.post("/recordings/labels", dependencies=CHECKED)
def label(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.LABEL_RECORDINGS))],
    n: Chosen = [],  # noqa: B006
    kind: Annotated[str, Form()] = "",
    parties: Annotated[str, Form()] = "",
    place: Annotated[str, Form()] = "",
    matter: Annotated[str, Form()] = "",
    case_number: Annotated[str, Form()] = "",
) -> Response:
    site = site_of(request)
    try:
        labels = parse_labels(kind, parties, place, matter, case_number)
        at = label_recordings(site.db, keys_of(request), actor, n, labels, now_utc())
    except Invalid as fault:
        return chosen_page(request, actor, n, str(fault))
    return RedirectResponse(f"/recordings?done={at}", 303)


@router.post("/recordings/labels/{log_index}/undo", dependencies=CHECKED)
def undo(
    request: Request, actor: Annotated[Actor, Depends(allowed(Action.LABEL_RECORDINGS))], log_index: LogIndex
) -> Response:
    undo_labelling(site_of(request).db, keys_of(request), actor, log_index, now_utc())
    return RedirectResponse("/recordings?all=1", 303)


@router.post("/recordings/holds", dependencies=CHECKED)
def hold(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.ORDER_HOLD))],
    n: Chosen = [],  # noqa: B006
    reason: Annotated[str, Form()] = "",
) -> Response:
    """One hold for each file: each is lifted by itself later. Those placed before a fault stay; a hold only keeps."""
    rows = load_some(site_of(request).db, actor, n)
    if len(rows) < len(set(n)) or any(row.masked for row in rows):
        raise NotFound
    if not rows or not 1 <= len(reason.strip()) <= 200 or not reason.isprintable():
        return chosen_page(request, actor, n, BAD_REASON if rows else NONE_CHOSEN)
    for row in rows:
        file = Sha256Hex(row.sha256)
        hold_id = new_id(now_utc())
        body = Hold(hold_id=hold_id, camera=row.camera, docking=row.docking, file_sha256=file, reason=reason.strip())
        request_command(site_of(request).db, keys_of(request), actor, row.station, body)
    return RedirectResponse("/recordings?state=held", 303)


@router.post("/recordings/filters", dependencies=CHECKED)
def save_filter(
    request: Request,
    actor: Reader,
    asked: OrderedFilter,
    name: Annotated[str, Form()] = "",
    is_default: Annotated[str, Form()] = "",
) -> Response:
    db = site_of(request).db
    saved.save_filter(db, actor, name, asked, is_default=bool(is_default))
    kept = next(one for one in saved.load_filters(db, actor) if one.name == name.strip())
    return RedirectResponse(f"/recordings?{kept.query or 'all=1'}", 303)


@router.post("/recordings/filters/remove", dependencies=CHECKED)
def remove_filter(request: Request, actor: Reader, name: Annotated[str, Form()] = "") -> Response:
    saved.remove_filter(site_of(request).db, actor, name)
    return RedirectResponse("/recordings?all=1", 303)


def chosen_page(request: Request, actor: Actor, numbers: list[int], fault: str | None = None) -> Response:
    """The chosen recordings with the forms; those that the reader may not see are not among them."""
    rows = load_some(site_of(request).db, actor, numbers)
    if fault is None and not rows:
        fault = NONE_CHOSEN
    asks = site_of(request).keys is not None
    view = ChosenView(
        rows,
        None if fault is None else words_of(request).say(fault),
        asks and may_ever(actor, Action.LABEL_RECORDINGS),
        asks and may_ever(actor, Action.MARK_RECORDINGS),
        asks and may_ever(actor, Action.ORDER_HOLD),
        asks and may_ever(actor, Action.REQUEST_VIEW),
    )
    return render(request, "recordings_chosen.html", view, 422 if fault else 200)
