"""Clearing a camera by authority: which offloads could be released, what would go and what stays, asking, deciding, and
what the station answered. Nothing here clears anything: a release goes out as a command, and its station decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from hub.access import Action, Actor, Role, may, may_ever, roles_for
from hub.accounts import codes
from hub.accounts.code_pages import CODE_PROBLEMS, code_fault, code_status
from hub.accounts.gate import allowed, checked_form
from hub.commands import approving, service
from hub.commands.releases import compose_release
from hub.errors import Conflict, Invalid
from hub.language import mark
from hub.releases.policy import ADVICE, ranges_without
from hub.releases.queries import Candidate, Clearing, Outcome, load_candidates, load_clearing, load_outcome
from hub.sections import docking_subject, hides_files
from hub.site import keys_of, render, site_of, words_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_COMMANDS))]
CHECKED = [Depends(checked_form)]
SHOWN_FILES = 200
NO_REASON = mark("Nothing was asked for: give a reason of 1 to 200 characters.")
NOT_SURE = mark("Nothing was asked for: confirm that these files may leave the camera.")
NOT_NOW = mark("Nothing was asked for: this cannot be released now. See below why.")
UNDER_WAY = mark("Nothing was asked for: a release of this offload is under way already.")


@dataclass(frozen=True, slots=True)
class CandidatesView:
    """The newest offload of every camera."""

    candidates: tuple[Candidate, ...]
    may_request: bool

    def href(self, one: Candidate) -> str:
        """Where its files are."""
        return _href(one.known.station, one.known.docking)


@dataclass(frozen=True, slots=True)
class ClearingView:
    """One offload. `names`: this reader may see which recordings exist."""

    found: Clearing
    names: bool
    may_request: bool
    reason: str
    fault: str | None

    shown: int = SHOWN_FILES

    @property
    def advice(self) -> dict[str, str]:
        """What to do about each rule, to be translated."""
        return ADVICE

    @property
    def bytes_to_clear(self) -> int:
        """Of the files that this docking saved."""
        return sum(file.size_bytes for file in self.found.clear)

    @property
    def to_clear(self) -> int:
        """Files of the card that the release would name."""
        return self.found.known.listed - len(self.found.kept)


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """One release that was asked for. `listed`: files that it names, None when its content was lost."""

    outcome: Outcome
    listed: int | None
    clearing_href: str | None
    own: bool
    deciders: tuple[Role, ...]
    has_second_factor: bool
    fault: str | None

    @property
    def certificate(self) -> str:
        """Name of the certificate in the docking's folder of the vault."""
        return f".custody/release-{(self.outcome.row.command_sha256 or '')[:16]}.jsonl"


@router.get("/commands/release")
def list_candidates(request: Request, actor: Reader, station: str = "", docking: str = "") -> Response:
    if docking:
        return _clearing(request, actor, station, docking)
    found = load_candidates(site_of(request).db, actor, now_utc())
    return render(request, "releases.html", CandidatesView(found, may_ever(actor, Action.REQUEST_RELEASE)))


@router.post("/commands/release", dependencies=CHECKED)
def request_release(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.REQUEST_RELEASE))],
    station: Annotated[str, Form()] = "",
    docking: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    sure: Annotated[str, Form()] = "",
) -> Response:
    db, reason = site_of(request).db, reason.strip()
    found = load_clearing(db, actor, station, docking, now_utc())
    fault = NO_REASON if not 0 < len(reason) <= 200 or not reason.isprintable() else NOT_NOW if found.why_not else None
    fault = fault or (UNDER_WAY if found.under_way else None) or (None if sure else NOT_SURE)
    if fault is None:
        try:
            with db.read() as connection:
                ranges = ranges_without(found.known.listed, found.kept)
                body = compose_release(connection, station, docking, ranges, reason)
            command_id = service.request_command(db, keys_of(request), actor, station, body)
            return RedirectResponse(f"/commands/release/{command_id}", 303)
        except (Conflict, Invalid):  # things have changed since it was looked at
            fault = NOT_NOW
    return _clearing(request, actor, station, docking, reason, words_of(request).say(fault))


@router.get("/commands/release/{command_id}")
def show_release(request: Request, actor: Reader, command_id: str) -> Response:
    return _release(request, actor, command_id)


@router.post("/commands/release/{command_id}/approve", dependencies=CHECKED)
def approve_release(request: Request, actor: Reader, command_id: str, code: Annotated[str, Form()] = "") -> Response:
    db = site_of(request).db
    load_outcome(db, actor, command_id)
    try:
        approving.approve_command(db, keys_of(request), actor, command_id, code)
    except CODE_PROBLEMS as problem:
        return _release(request, actor, command_id, code_fault(request, problem), code_status(problem))
    return RedirectResponse(f"/commands/release/{command_id}", 303)


@router.post("/commands/release/{command_id}/withdraw", dependencies=CHECKED)
def withdraw_release(request: Request, actor: Reader, command_id: str) -> Response:
    db = site_of(request).db
    load_outcome(db, actor, command_id)
    service.withdraw_command(db, keys_of(request), actor, command_id)
    return RedirectResponse(f"/commands/release/{command_id}", 303)


def _clearing(
    request: Request, actor: Actor, station: str, docking: str, reason: str = "", fault: str | None = None
) -> Response:
    db = site_of(request).db
    found = load_clearing(db, actor, station, docking, now_utc())
    with db.read() as connection:
        names = may(actor, Action.SEE_RECORDINGS, docking_subject(connection, station, docking))
        names = names and not hides_files(connection, actor.name, station, docking)
    ask = may_ever(actor, Action.REQUEST_RELEASE)
    return render(request, "clearing.html", ClearingView(found, names, ask, reason, fault), 422 if fault else 200)


def _release(request: Request, actor: Actor, command_id: str, fault: str | None = None, status: int = 200) -> Response:
    db = site_of(request).db
    outcome = load_outcome(db, actor, command_id)
    with db.read() as connection:
        mine = codes.has_second_factor(connection, actor.name)
    entries = outcome.body.get("entries")
    view = ReleaseView(
        outcome=outcome,
        listed=sum(one["last"] - one["first"] + 1 for one in entries) if entries else None,
        clearing_href=_href(outcome.row.station, outcome.body["docking_id"]) if outcome.body else None,
        own=outcome.row.requested_by == actor.name,
        deciders=roles_for(Action.APPROVE_RELEASE),
        has_second_factor=mine,
        fault=fault,
    )
    return render(request, "release.html", view, status)


def _href(station: str, docking: str) -> str:
    return "/commands/release?" + urlencode({"station": station, "docking": docking})
