"""Alerts: the list, one alert with what was done about it, and doing something about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from hub.access import Action, Actor, Role, may
from hub.accounts.gate import allowed, checked_form
from hub.alerts import policy, service
from hub.alerts.kinds import Severity
from hub.alerts.queries import AlertRow, Step, load_alert, load_open, load_resolved, load_steps
from hub.audit.saying import say_event
from hub.errors import Conflict, Invalid
from hub.language import mark
from hub.problems import BadQuery
from hub.sections import entry_subject
from hub.site import keys_of, render, site_of, words_of

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_ALERTS))]
CHECKED = [Depends(checked_form)]
NOT_DONE = mark("Nothing was changed: %(why)s")
NOTE_WRONG = mark("a note is up to 200 characters in one line, and resolving needs one.")
NOBODY_SUCH = mark("this account could do nothing about it.")
ENDS_BY_ITSELF = mark("this alert ends by itself, once what it is about is well again.")


@dataclass(frozen=True, slots=True)
class AlertsView:
    """The list. `show`: open or resolved; `hidden`: open ones that the filters leave out."""

    rows: tuple[AlertRow, ...]
    show: str
    severity: str
    station: str
    stations: tuple[str, ...]
    severities: tuple[Severity, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert. `steps`: with their sentences; `goes_to`: the offices that have it now, `next_to`: who gets it next.

    `note`: as it was entered, where something was wrong.
    """

    row: AlertRow
    steps: tuple[tuple[Step, str], ...]
    goes_to: tuple[Role, ...]
    next_to: tuple[Role, ...]
    opens_cause: bool
    may_handle: bool
    may_end: bool
    assignable: tuple[str, ...]
    note: str
    fault: str | None


@router.get("/alerts")
def list_alerts(request: Request, actor: Reader, show: str = "open", severity: str = "", station: str = "") -> Response:
    if show not in ("open", "mine", "resolved") or severity not in ("", *Severity):
        raise BadQuery
    with site_of(request).db.read() as connection:
        found = load_resolved(connection, actor) if show == "resolved" else load_open(connection, actor)
    rows = tuple(
        row
        for row in found
        if (show != "mine" or row.mine) and severity in ("", row.severity.value) and station in ("", row.about.station)
    )
    stations = tuple(sorted({row.about.station for row in found if row.about.station}))
    view = AlertsView(rows, show, severity, station, stations, tuple(Severity), len(found) - len(rows))
    return render(request, "alerts.html", view)


@router.get("/alerts/{alert_id}")
def show_alert(request: Request, actor: Reader, alert_id: str) -> Response:
    return _page(request, actor, alert_id)


@router.post("/alerts/{alert_id}/acknowledge", dependencies=CHECKED)
def acknowledge(request: Request, actor: Reader, alert_id: str, note: Annotated[str, Form()] = "") -> Response:
    note = note.strip()
    try:
        service.acknowledge(site_of(request).db, keys_of(request), actor, alert_id, note)
    except Invalid:
        return _page(request, actor, alert_id, note, NOTE_WRONG)
    return RedirectResponse(f"/alerts/{alert_id}", 303)


@router.post("/alerts/{alert_id}/assign", dependencies=CHECKED)
def assign(
    request: Request,
    actor: Reader,
    alert_id: str,
    to: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
) -> Response:
    note = note.strip()
    try:
        service.assign(site_of(request).db, keys_of(request), actor, alert_id, to, note)
    except Invalid:
        return _page(request, actor, alert_id, note, NOBODY_SUCH if len(note) <= service.MAX_NOTE else NOTE_WRONG)
    return RedirectResponse(f"/alerts/{alert_id}", 303)


@router.post("/alerts/{alert_id}/resolve", dependencies=CHECKED)
def resolve(request: Request, actor: Reader, alert_id: str, note: Annotated[str, Form()] = "") -> Response:
    note = note.strip()
    try:
        service.resolve(site_of(request).db, keys_of(request), actor, alert_id, note)
    except Conflict:
        return _page(request, actor, alert_id, note, ENDS_BY_ITSELF)
    except Invalid:
        return _page(request, actor, alert_id, note, NOTE_WRONG)
    return RedirectResponse(f"/alerts/{alert_id}", 303)


def _page(request: Request, actor: Actor, alert_id: str, note: str = "", fault: str | None = None) -> Response:
    words = words_of(request)
    with site_of(request).db.read() as connection:
        row = load_alert(connection, actor, alert_id)
        open_ = row.resolved_at is None
        handles = open_ and may(actor, Action.HANDLE_ALERTS, row.whose)
        reached = policy.reached(row.kind, row.level)
        waits = open_ and row.acknowledged_at is None
        following = policy.reached(row.kind, row.level + 1) - reached if waits else frozenset()
        cause = row.cause
        view = AlertView(
            row=row,
            steps=tuple((step, say_event(words, step.event)) for step in load_steps(connection, alert_id)),
            goes_to=tuple(role for role in Role if role in reached),
            next_to=tuple(role for role in Role if role in following),
            opens_cause=cause is not None and may(actor, Action.SEE_ENTRY, entry_subject(connection, cause)),
            may_handle=handles,
            may_end=policy.may_end(row.kind),
            assignable=service.assignable(connection, row.whose) if handles else (),
            note=note[: service.MAX_NOTE],
            fault=None if fault is None else words.say(NOT_DONE, why=words.say(fault)),
        )
    return render(request, "alert.html", view, 422 if fault else 200)
