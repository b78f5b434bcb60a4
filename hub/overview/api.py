"""Stations and dockings as JSON: the same queries as the pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from hub.access import Action, Actor
from hub.accounts.gate import allowed
from hub.overview.queries import MAX_DOCKINGS, DockingRow, load_dockings
from hub.sections import scope_of
from hub.site import site_of
from hub.stations.now import StationNow, load_stations
from hub.times import now_utc

router = APIRouter(prefix="/api/v1", tags=["stations"])


@dataclass(frozen=True, slots=True)
class StationList:
    """Every enrolled station that the reader may see."""

    rows: tuple[StationNow, ...]


@dataclass(frozen=True, slots=True)
class DockingPage:
    """One page of dockings, newest first; `next_cursor` is None on the last one."""

    rows: tuple[DockingRow, ...]
    next_cursor: int | None


@router.get("/stations")
def list_stations(request: Request, actor: Annotated[Actor, Depends(allowed(Action.SEE_STATIONS))]) -> StationList:
    """Stations and bays as they last described themselves."""
    with site_of(request).db.read() as connection:
        return StationList(load_stations(connection, scope_of(connection, actor, Action.SEE_STATIONS), now_utc()))


@router.get("/dockings")
def list_dockings(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.SEE_DOCKINGS))],
    cursor: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_DOCKINGS)] = 50,
) -> DockingPage:
    """Offloads with the counts of their signed closing events."""
    with site_of(request).db.read() as connection:
        scope = scope_of(connection, actor, Action.SEE_DOCKINGS)
        found = load_dockings(connection, scope, limit + 1, before=cursor)
    return DockingPage(found[:limit], found[limit - 1].log_index if len(found) > limit else None)
