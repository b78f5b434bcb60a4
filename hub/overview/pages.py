"""The first page, the part of it that a window asks for again, and the stream that keeps it as it is now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from hub.access import Action, Actor
from hub.accounts.gate import allowed
from hub.accounts.service import token_key
from hub.overview.live import LONGEST_SECONDS, EventStream, Live, Window
from hub.overview.parts import Parts, Picture
from hub.overview.queries import load_facts
from hub.sections import EVERYTHING
from hub.site import SESSION_COOKIE, language_of, render, site_of
from hub.stations.now import load_stations
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_STATIONS))]


@dataclass(frozen=True, slots=True)
class OverviewView:
    """The page. `name`: whom it greets."""

    picture: Picture
    name: str


@router.get("/")
def show_overview(request: Request, actor: Reader) -> Response:
    return _page(request, actor, "overview.html")


@router.get("/overview/live")
def show_overview_live(request: Request, actor: Reader) -> Response:
    return _page(request, actor, "overview_live.html")


@router.get("/overview/events")
async def stream_overview(
    request: Request,
    actor: Reader,
    stamp: Annotated[str, Query(max_length=80)] = "",
    seconds: Annotated[float, Query(ge=0, le=LONGEST_SECONDS)] = LONGEST_SECONDS,
) -> Response:
    """What changed since the page of `stamp`, and from then on for `seconds` (see `hub/overview/live.py`)."""
    session = token_key(request.cookies.get(SESSION_COOKIE, ""))
    window = Window((actor, language_of(request)), session, stamp)
    return EventStream(cast(Live, request.app.state.live), window, seconds)


def _page(request: Request, actor: Actor, template: str) -> Response:
    now, parts = now_utc(), cast(Parts, request.app.state.parts)
    with site_of(request).db.read() as connection:
        stations = load_stations(connection, EVERYTHING, now)
        facts = load_facts(connection, actor, stations, parts.cameras, now)
    language = language_of(request)
    picture = parts.picture(actor, language, parts.sight(stations, facts.stations, language), facts, now)
    return render(request, template, OverviewView(picture, actor.name))
