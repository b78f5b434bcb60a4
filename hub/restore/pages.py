"""How a restore stands, as a page: for everybody who is signed in, because nothing works as usual meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from hub.access import Action
from hub.accounts.gate import allowed
from hub.restore.status import StationStatus, Status
from hub.site import render, site_of
from hub.times import from_text

router = APIRouter(include_in_schema=False, dependencies=[Depends(allowed(Action.SEE_STATIONS))])
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
def show_restore(request: Request) -> Response:
    """What is missing, who was asked, what to do."""
    read = site_of(request).restore_status
    return render(request, "restore.html", RestoreView(read() if read is not None else _OPEN))
