"""The first page, and the part of it that renews itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from hub.access import Action, Actor
from hub.accounts.gate import allowed
from hub.overview.queries import load_overview
from hub.site import render, site_of
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_STATIONS))]


@router.get("/")
def show_overview(request: Request, actor: Reader) -> Response:
    return render(request, "overview.html", load_overview(site_of(request).db, actor, now_utc()))


@router.get("/overview/live")
def show_overview_live(request: Request, actor: Reader) -> Response:
    return render(request, "overview_live.html", load_overview(site_of(request).db, actor, now_utc()))
