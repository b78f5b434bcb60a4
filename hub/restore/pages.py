"""How a restore stands, as a page: for everybody who is signed in, because nothing works as usual meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from hub.access import Action, Actor
from hub.accounts.gate import allowed
from hub.restore.status import StationStatus, Status
from hub.sections import scope_of
from hub.site import render, site_of
from hub.times import from_text

router = APIRouter(include_in_schema=False)
_OPEN = Status(None, 0, 0, None, (), (), (), None)


@dataclass(frozen=True, slots=True)
class RestoreView:
    """The page."""

    status: Status

    commands: ClassVar = (
        "dock-hub restore status --dir …",
        "dock-hub restore add --dir … --entries …",
        "dock-hub restore finish --dir … --without …",
    )

    def asked_at(self, one: StationStatus) -> datetime | None:
        """When this station was asked last."""
        return from_text(one.asked_at)


@router.get("/restore")
def show_restore(request: Request, actor: Annotated[Actor, Depends(allowed(Action.SEE_STATIONS))]) -> Response:
    """What is missing, who was asked, what to do; of stations, those that the reader may see."""
    site = site_of(request)
    status = site.restore_status() if site.restore_status is not None else _OPEN
    with site.db.read() as connection:
        scope = scope_of(connection, actor, Action.SEE_STATIONS)
    return render(request, "restore.html", RestoreView(limited_to(status, scope.stations)))


def limited_to(status: Status, stations: frozenset[str] | None) -> Status:
    """Without what names other stations; None: all may be named."""
    if stations is None:
        return status
    lacking = tuple(lack for lack in status.lacking if lack.source is None or lack.source in stations)
    asked = tuple(one for one in status.stations if one.station in stations)
    held_by = status.target_held_by if status.target_held_by in stations else None
    return replace(status, lacking=lacking, stations=asked, target_held_by=held_by, faults=())
