"""Commands to stations: what was ordered, what became of it, what waits for a second person, and forms to order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from custody.pin import hash_pin
from custody.releasebody import Release
from hub.access import Action, Actor, Role, may, roles_for
from hub.accounts import codes
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.commands import approving, service
from hub.commands.policy import RULES
from hub.commands.queries import CommandRow, load_commands, load_station_ids, load_waiting
from hub.errors import Invalid, NotFound
from hub.identifiers import new_id
from hub.language import mark
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_COMMANDS))]
CHECKED = [Depends(checked_form)]
WRONG = mark("Nothing was ordered: %(why)s")
PIN_WRONG = mark("Nothing was ordered: a PIN is 4 to 12 digits.")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command with its body as pairs of field and value; `holds`: id of the hold that it placed and may be lifted."""

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
    """The page. `forms`: the kinds that this person may ask for; `lift`: hold that the form is filled in for."""

    waiting: tuple[Waiting, ...]
    has_second_factor: bool
    rows: tuple[Shown, ...]
    stations: tuple[str, ...]
    station: str
    forms: frozenset[str]
    lift: str
    fault: str | None
    first_page: bool
    next_href: str | None
    newest_href: str


@router.get("/commands")
def show_commands(
    request: Request, actor: Reader, station: str = "", cursor: str | None = None, lift: str = ""
) -> Response:
    return _page(request, actor, station, cursor, lift)


@router.post("/commands/hold", dependencies=CHECKED)
def order_hold(
    request: Request,
    actor: Reader,
    station: Annotated[str, Form()] = "",
    camera: Annotated[str, Form()] = "",
    docking: Annotated[str, Form()] = "",
    file_sha256: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    named = {"camera": camera.strip(), "docking": docking.strip(), "file_sha256": file_sha256.strip().lower()}
    facts = {name: text or None for name, text in named.items()}
    return _order(request, actor, station, "hold.v1", facts | {"hold_id": new_id(now_utc()), "reason": reason.strip()})


@router.post("/commands/lift", dependencies=CHECKED)
def request_lift(
    request: Request,
    actor: Reader,
    station: Annotated[str, Form()] = "",
    hold_id: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    return _order(request, actor, station, "hold_lifted.v1", {"hold_id": hold_id.strip(), "reason": reason.strip()})


@router.post("/commands/policy", dependencies=CHECKED)
def order_policy(
    request: Request,
    actor: Reader,
    station: Annotated[str, Form()] = "",
    charge: Annotated[int, Form()] = 0,
    minutes: Annotated[int, Form()] = 0,
    duty: Annotated[int, Form()] = 0,
) -> Response:
    facts = {"minimum_charge_percent": charge, "minimum_minutes": minutes, "duty_minutes": duty}
    return _order(request, actor, station, "policy.v1", facts)


@router.post("/commands/officer", dependencies=CHECKED)
def order_officer(
    request: Request,
    actor: Reader,
    station: Annotated[str, Form()] = "",
    number: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    pin: Annotated[str, Form()] = "",
    disabled: Annotated[str, Form()] = "",
) -> Response:
    if pin and not (pin.isascii() and pin.isdigit() and 4 <= len(pin) <= 12):
        return _page(request, actor, station, fault=words_of(request).say(PIN_WRONG))
    officer = {"number": number.strip(), "name": name.strip(), "disabled": bool(disabled)}
    officer["pin_hash"] = hash_pin(pin) if pin else None
    return _order(request, actor, station, "roster.v1", {"officers": [officer]})


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


def _order(request: Request, actor: Actor, station: str, kind: str, facts: dict[str, Any]) -> Response:
    try:
        body = service.make_body(kind, facts)
        service.request_command(site_of(request).db, keys_of(request), actor, station, body)
    except (Invalid, NotFound) as error:
        return _page(request, actor, station, fault=words_of(request).say(WRONG, why=str(error)))
    return RedirectResponse("/commands", 303)


def _page(
    request: Request,
    actor: Actor,
    station: str = "",
    cursor: str | None = None,
    lift: str = "",
    fault: str | None = None,
    status: int = 422,
) -> Response:
    db = site_of(request).db
    page = load_commands(db, actor, station, cursor)
    with db.read() as connection:
        mine = codes.has_second_factor(connection, actor.name)
    kept = [("station", station)] if station else []
    following = "?" + urlencode([*kept, ("cursor", page.next_cursor)]) if page.next_cursor else None
    view = CommandsView(
        waiting=tuple(_waiting(row, actor) for row in load_waiting(db, actor)),
        has_second_factor=mine,
        rows=tuple(_shown(row) for row in page.rows),
        stations=load_station_ids(db),
        station=station,
        forms=frozenset(kind for kind, rule in RULES.items() if may(actor, rule.request)),
        lift=lift,
        fault=fault,
        first_page=cursor is None,
        next_href=following,
        newest_href="?" + urlencode(kept),
    )
    return render(request, "commands.html", view, status if fault else 200)


def _waiting(row: CommandRow, actor: Actor) -> Waiting:
    rule = RULES.get(row.kind)
    deciders = roles_for(rule.approve) if rule and rule.approve else ()
    return Waiting(_shown(row), row.requested_by == actor.name, deciders)


def _shown(row: CommandRow) -> Shown:
    body: dict[str, Any] = json.loads(row.body) if row.body else {}
    facts: list[tuple[str, str]] = []
    if row.kind == Release.KIND and body:  # of its proofs nobody reads anything here
        files = sum(one["last"] - one["first"] + 1 for one in body["entries"])
        body = {
            "camera": body["camera_id"],
            "docking": body["docking_id"],
            "files": files,
            "reason": body.get("reason"),
        }
    for name, value in body.items():
        if name == "officers":  # never a PIN's hash
            facts += [("officer", f"{one['number']} {one['name']}") for one in value]
        elif isinstance(value, list):
            facts.append((name, str(len(value))))
        elif value is not None:
            facts.append((name, str(value)))
    placed = row.kind == "hold.v1" and row.state not in ("withdrawn", "refused", "lost")
    return Shown(row, tuple(facts), str(body.get("hold_id", "")) if placed else "")
