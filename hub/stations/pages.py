"""How stations are: all of them, the worst first, and one of them with what went wrong lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from hub.access import BUREAU, Action, Actor, may, may_ever
from hub.accounts.gate import allowed
from hub.commands.queries import CommandRow, load_commands
from hub.site import render, site_of
from hub.stations.health import ORDERS, Order, StationHealth, StationPage, load_healths, load_station_page
from hub.times import now_utc

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_STATIONS))]
SHOWN_COMMANDS = 5


@dataclass(frozen=True, slots=True)
class StationsView:
    """The list. `troubled`: how many of them have something urgent."""

    at: datetime
    stations: tuple[StationHealth, ...]
    troubled: int
    order: Order
    orders: tuple[Order, ...]
    sees_enrolment: bool


@dataclass(frozen=True, slots=True)
class StationView:
    """One station. `commands`: the last ones; None where the reader sees none."""

    at: datetime
    page: StationPage
    commands: tuple[CommandRow, ...] | None
    may_order: bool
    may_freeze: bool


@router.get("/stations")
def list_stations(request: Request, actor: Reader, sort: Order = "worst") -> Response:
    now = now_utc()
    with site_of(request).db.read() as connection:
        found = load_healths(connection, actor, sort, now)
    troubled = sum(any(concern.urgent for concern in one.concerns) for one in found)
    sees_enrolment = may(actor, Action.SEE_ENROLMENT, BUREAU)
    return render(request, "stations.html", StationsView(now, found, troubled, sort, ORDERS, sees_enrolment))


@router.get("/stations/{station_id}")
def show_station(request: Request, actor: Reader, station_id: str) -> Response:
    now, db = now_utc(), site_of(request).db
    with db.read() as connection:
        page = load_station_page(connection, actor, station_id, now)
    sees = may_ever(actor, Action.SEE_COMMANDS)
    commands = load_commands(db, actor, station_id, limit=SHOWN_COMMANDS).rows if sees else None
    orders = (Action.ORDER_HOLD, Action.ORDER_POLICY, Action.ORDER_ROSTER, Action.REQUEST_RELEASE)
    may_order = any(may_ever(actor, action) for action in orders)
    may_freeze = may(actor, Action.FREEZE_STATION, BUREAU)
    return render(request, "station.html", StationView(now, page, commands, may_order, may_freeze))
