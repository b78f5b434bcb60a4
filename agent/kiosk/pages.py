"""The screen's routes: the page, its live state (SSE), checking out and taking back.

Only this machine talks to it: it listens on loopback, and a page of another site in the same browser is kept out by
the Host header (names that were made to point here) and by a header of our own on everything that changes something
(which such a page could send only after a preflight that nobody answers).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from agent.board import Board
from agent.desk import Desk
from agent.duty import NOTICE
from agent.errors import AgentError
from agent.kiosk.words import bay_view

BEAT_SECONDS = 10.0  # a page that hears nothing for three of these says that it is out of date
FOLLOWERS_MAX = 16
STATIC = Path(__file__).parent / "static"
OUR_HEADER = "x-custodock"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
STATUS = {"pin_refused": 403, "pin_blocked": 429, "camera_not_at_hand": 409, "camera_already_out": 409,
          "camera_not_ready": 409}  # fmt: skip

Station = Callable[[], dict[str, Any]]


class Asked(BaseModel):
    """Who asks for the camera in which bay."""

    model_config = ConfigDict(extra="forbid")
    bay: str = Field(max_length=32)
    number: str = Field(max_length=20)
    pin: str = Field(max_length=64)
    confirmed: bool = False  # take it although it is not ready


def make_kiosk(board: Board, desk: Desk, station: Station) -> FastAPI:
    """The application; `station` describes the dock for the page's head (see `Service.describe_dock`)."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    followers = 0

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if not _is_here(request.headers.get("host", "")):
            return JSONResponse({"error": "wrong_host"}, 421, HEADERS)
        if request.method not in ("GET", "HEAD") and request.headers.get(OUR_HEADER) != "kiosk":
            return JSONResponse({"error": "not_from_this_page"}, 403, HEADERS)
        response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(AgentError)
    async def refused(_request: Request, error: AgentError) -> JSONResponse:
        return JSONResponse({"error": error.code, "zh": error.zh, "en": error.en}, STATUS.get(error.code, 500))

    def picture() -> dict[str, Any]:
        bays = [bay_view(state) for state in board.states()]
        return {"at": datetime.now(UTC).isoformat(), "notice": NOTICE, "station": station(), "bays": bays}

    @app.get("/state")
    async def state() -> dict[str, Any]:
        return picture()

    @app.get("/events")
    async def events() -> Response:
        nonlocal followers
        if followers >= FOLLOWERS_MAX:
            return JSONResponse({"error": "too_many_screens"}, 503)

        async def stream() -> AsyncIterator[str]:
            nonlocal followers
            followers += 1
            try:
                async for version in board.follow(BEAT_SECONDS):
                    yield f"id: {version}\ndata: {json.dumps(picture(), ensure_ascii=False)}\n\n"
            finally:
                followers -= 1

        return StreamingResponse(stream(), media_type="text/event-stream")

    @app.post("/check-out")
    async def check_out(asked: Asked) -> dict[str, Any]:
        done = await desk.check_out(asked.bay, asked.number, asked.pin, confirmed=asked.confirmed)
        return {
            "officer": done.officer.name,
            "camera": done.checkout.camera,
            "notice": done.notice,
            "due_at": done.checkout.due_at.isoformat(),
        }

    @app.post("/take-back")
    async def take_back(asked: Asked) -> dict[str, Any]:
        return {"undone": await desk.take_back(asked.bay, asked.number, asked.pin)}

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "kiosk.html")

    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _is_here(host: str) -> bool:
    """Whether a Host header names this machine's loopback by number or as localhost."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(name.strip("[]")).is_loopback
    return False
