"""Commands to stations: what was ordered, what became of it, what waits for a second person, and forms to order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from custody.commandbody import Hold, HoldLifted
from custody.releasebody import Release
from hub.access import Action, Actor, Role, may_ever, roles_for
from hub.accounts import codes
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.commands import approving, policy, service
from hub.commands.forms import DEFAULTS, FORMS, FormWrong, read_form
from hub.commands.holds import HoldFacts, load_holds
from hub.commands.policy import RULES
from hub.commands.queries import CommandRow, load_commands, load_station_ids, load_waiting
from hub.errors import Invalid, NotFound
from hub.language import mark
from hub.problems import NotAllowed
from hub.problems import NotFound as PageNotFound
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_COMMANDS))]
CHECKED = [Depends(checked_form)]
WRONG = mark("Nothing was ordered: %(why)s")
MAX_GIVEN = 500  # characters of a field that an address fills in


@dataclass(frozen=True, slots=True)
class Shown:
    """A command with its body as pairs of field and value.

    `holds`: id of the hold that it made and that can be lifted; "" for none.
    """

    row: CommandRow
    facts: tuple[tuple[str, str], ...]
    holds: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for its second person. `own`: the reader's; `deciders`: whose role may approve it."""

    item: Shown
    own: bool
    deciders: tuple[Role, ...]


@dataclass(frozen=True, slots=True)
class CommandsView:
    """The page. `forms`: kinds that this person may ask for; `form`: the one that is open, filled in with `given`."""

    waiting: tuple[Waiting, ...]
    has_second_factor: bool
    rows: tuple[Shown, ...]
    stations: tuple[str, ...]
    station: str
    forms: frozenset[str]
    form: str
    given: Mapping[str, str]
    opens_entries: bool
    fault: str | None
    first_page: bool
    next_href: str | None
    newest_href: str


@router.get("/commands")
def show_commands(
    request: Request, actor: Reader, station: str = "", cursor: str | None = None, form: str = ""
) -> Response:
    """With `form` the named form is open and filled in with whatever else the address says."""
    names = FORMS[form][1] if form in FORMS else ()
    given = {name: request.query_params[name][:MAX_GIVEN] for name in names if name in request.query_params}
    return _page(request, actor, station, cursor, form, given)


async def entered_text(request: Request) -> dict[str, str]:
    """The text fields of the posted form."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


@router.post("/commands/{form}", dependencies=CHECKED)
def order(
    request: Request, actor: Reader, form: str, entered: Annotated[dict[str, str], Depends(entered_text)]
) -> Response:
    if form not in FORMS:
        raise PageNotFound
    kind, names = FORMS[form]
    if not may_ever(actor, policy.rule_of(kind).request):
        raise NotAllowed
    given = {name: entered.get(name, "").strip() for name in ("station", "sure", *names)}
    given |= {name: given[name].lower() for name in ("file_sha256", "files") if name in given}
    db = site_of(request).db
    try:
        with db.read() as connection:
            station, facts = read_form(connection, actor, form, given, now_utc())
        service.request_command(db, keys_of(request), actor, station, service.make_body(kind, facts))
    except FormWrong as wrong:
        fault = words_of(request).say(WRONG, why=words_of(request).say(wrong.message))
        return _page(request, actor, given["station"], form=form, given=given, fault=fault)
    except (Invalid, NotFound) as error:
        fault = words_of(request).say(WRONG, why=str(error))
        return _page(request, actor, given["station"], form=form, given=given, fault=fault)
    return RedirectResponse("/commands", 303)


@router.post("/commands/{command_id}/approve", dependencies=CHECKED)
def approve(request: Request, actor: Reader, command_id: str, code: Annotated[str, Form()] = "") -> Response:
    try:
        approving.approve_command(site_of(request).db, keys_of(request), actor, command_id, code)
    except CODE_PROBLEMS as problem:
        return _page(request, actor, fault=code_fault(request, problem), status=code_status(problem))
    return RedirectResponse("/commands", 303)


@router.post("/commands/{command_id}/withdraw", dependencies=CHECKED)
def withdraw(request: Request, actor: Reader, command_id: str) -> Response:
    service.withdraw_command(site_of(request).db, keys_of(request), actor, command_id)
    return RedirectResponse("/commands", 303)


def _page(
    request: Request,
    actor: Actor,
    station: str = "",
    cursor: str | None = None,
    form: str = "",
    given: Mapping[str, str] | None = None,
    fault: str | None = None,
    status: int = 422,
) -> Response:
    db = site_of(request).db
    page = load_commands(db, actor, station, cursor)
    asked = load_waiting(db, actor)
    with db.read() as connection:
        mine = codes.has_second_factor(connection, actor.name)
        stations = {row.station for row in asked if row.kind == HoldLifted.KIND}
        holds = {one.hold_id: one for name in sorted(stations) for one in load_holds(connection, name)}
    kept = [("station", station)] if station else []
    following = "?" + urlencode([*kept, ("cursor", page.next_cursor)]) if page.next_cursor else None
    view = CommandsView(
        waiting=tuple(_waiting(row, actor, holds) for row in asked),
        has_second_factor=mine,
        rows=tuple(_shown(row) for row in page.rows),
        stations=load_station_ids(db, actor),
        station=station,
        forms=frozenset(kind for kind, rule in RULES.items() if may_ever(actor, rule.request)),
        form=form,
        given=DEFAULTS | dict(given or {}) | {"pin": ""},
        opens_entries=may_ever(actor, Action.SEE_ENTRY),
        fault=fault,
        first_page=cursor is None,
        next_href=following,
        newest_href="?" + urlencode(kept),
    )
    return render(request, "commands.html", view, status if fault else 200)


def _waiting(row: CommandRow, actor: Actor, holds: Mapping[str, HoldFacts]) -> Waiting:
    rule = RULES.get(row.kind)
    deciders = roles_for(rule.approve) if rule and rule.approve else ()
    item, lifts = _shown(row), holds.get(dict(_shown(row).facts).get("hold_id", ""))
    if row.kind == HoldLifted.KIND and lifts is not None:  # who decides must see what would be kept no longer
        named = {"camera": lifts.camera, "docking": lifts.docking, "file_sha256": lifts.file_sha256}
        more = tuple((name, value) for name, value in named.items() if value)
        item = replace(item, facts=(*item.facts, *more, ("held_for", lifts.reason)))
    return Waiting(item, row.requested_by == actor.name, deciders)


def _shown(row: CommandRow) -> Shown:
    body: dict[str, Any] = json.loads(row.body) if row.body else {}
    stands = row.state not in ("withdrawn", "refused", "expired", "lost")
    holds = str(body.get("hold_id", "")) if row.kind == Hold.KIND and stands else ""
    facts = _facts(row.kind, body)
    if row.disposed is not None:
        facts = (*facts, ("disposed_files", str(row.disposed)), ("kept_files", str(row.kept)))
    return Shown(row, facts, holds)


def _facts(kind: str, body: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if kind == Release.KIND and body:  # of its proofs nobody reads anything here
        files = sum(one["last"] - one["first"] + 1 for one in body["entries"])
        body = {"camera": body["camera_id"], "docking": body["docking_id"], "files": files} | {
            "reason": body.get("reason")
        }
    facts: list[tuple[str, str]] = []
    for name, value in body.items():
        if name == "officers":  # never a PIN's hash
            facts += [("officer", f"{one['number']} {one['name']}") for one in value]
        elif isinstance(value, list):
            facts.append((name, str(len(value))))
        elif value is not None:
            facts.append((name, str(value)))
    return tuple(facts)
