"""Viewing footage by grant: before it, the player, its bytes, its state, its end. Only for the holder of the grant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request
from starlette.responses import RedirectResponse, Response

from hub.access import Action, Actor
from hub.accounts.gate import allowed, checked_form
from hub.site import keys_of, render, site_of
from hub.times import now_utc
from hub.viewing import book
from hub.viewing.book import Viewing, load_grant, load_viewing
from hub.viewing.grants import Footage, HeldGrant
from hub.viewing.line import fetch_chunks, find_place
from hub.viewing.policy import MEDIA_TYPE, RangeUnsatisfiable, Span, parse_range, plays_as_it_is, seconds_of
from hub.viewing.problems import ViewingEnded
from hub.viewing.stream import FootageResponse

router = APIRouter(include_in_schema=False)
Viewer = Annotated[Actor, Depends(allowed(Action.VIEW_FOOTAGE))]
LogIndex = Annotated[int, Path(ge=0, lt=1 << 62)]
CHECKED = [Depends(checked_form)]


@dataclass(frozen=True, slots=True)
class BeforeView:
    """What the holder sees before anything is viewed."""

    footage: Footage
    grant: HeldGrant
    plays: bool
    reachable: bool  # the station has said where


@dataclass(frozen=True, slots=True)
class PlayerView:
    """The player, or what became of the viewing."""

    viewing: Viewing
    over_at: datetime | None  # when the grant ends; None: it has

    @property
    def seconds(self) -> int | None:
        """Playing time of what was streamed so far."""
        footage = self.viewing.footage
        return seconds_of(self.viewing.chunks_streamed, footage.size_bytes, footage.duration_ms)


@router.get("/recordings/{log_index}/viewing")
def show_before(request: Request, actor: Viewer, log_index: LogIndex) -> Response:
    with site_of(request).db.read() as connection:
        footage, held = load_grant(connection, actor, log_index, now_utc())
        reachable = find_place(connection, footage.station) is not None
    plays = plays_as_it_is(footage.container, footage.video_codec)
    return render(request, "viewing_before.html", BeforeView(footage, held, plays, reachable))


@router.post("/recordings/{log_index}/viewing", dependencies=CHECKED)
def start(request: Request, actor: Viewer, log_index: LogIndex) -> Response:
    db = site_of(request).db
    viewing_id = book.start_viewing(db, keys_of(request), actor, log_index, now_utc())
    return RedirectResponse(f"/viewing/{viewing_id}", 303)


@router.get("/viewing/{viewing_id}")
def show_player(request: Request, actor: Viewer, viewing_id: str) -> Response:
    return render(request, "viewing.html", _view(request, actor, viewing_id))


@router.get("/viewing/{viewing_id}/state")
def show_state(request: Request, actor: Viewer, viewing_id: str) -> Response:
    return render(request, "viewing_state.html", _view(request, actor, viewing_id))


@router.post("/viewing/{viewing_id}/end", dependencies=CHECKED)
def end(request: Request, actor: Viewer, viewing_id: str) -> Response:
    site = site_of(request)
    with site.db.read() as connection:
        load_viewing(connection, actor, viewing_id)
    book.end_viewing(site.db, keys_of(request), viewing_id, "closed", now_utc())
    return RedirectResponse(f"/viewing/{viewing_id}", 303)


@router.api_route("/viewing/{viewing_id}/footage", methods=["GET", "HEAD"])
def stream(
    request: Request,
    actor: Viewer,
    viewing_id: str,
    range_: Annotated[str | None, Header(alias="range")] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """Bytes of the footage. Ranges as RFC 9110 section 14 has them, one at a time."""
    site, keys = site_of(request), keys_of(request)
    with site.db.read() as connection:
        one = load_viewing(connection, actor, viewing_id)
    if one.reason is not None:
        raise ViewingEnded
    size_bytes, tag = one.footage.size_bytes, f'"{one.footage.file_sha256}"'
    headers = {"content-type": MEDIA_TYPE, "accept-ranges": "bytes", "etag": tag, "content-disposition": "inline"}
    try:
        span = parse_range(range_ if if_range in (None, tag) else None, size_bytes)
    except RangeUnsatisfiable:
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{size_bytes}"})
    if request.method == "HEAD" or size_bytes == 0:
        return Response(headers=headers | {"content-length": str(size_bytes)})
    if span is not None:
        headers["content-range"] = f"bytes {span.first}-{span.last}/{size_bytes}"
    status, wanted = (206, span) if span else (200, Span(0, size_bytes - 1))
    return FootageResponse(
        site.db, keys, one, wanted, lambda first, last: fetch_chunks(site.db, keys, one, first, last), status, headers
    )


def _view(request: Request, actor: Actor, viewing_id: str) -> PlayerView:
    with site_of(request).db.read() as connection:
        one = load_viewing(connection, actor, viewing_id)
        held = book.held_grant(connection, one, now_utc()) if one.reason is None else None
    return PlayerView(one, held.over_at if held else None)
