"""The hub's web side: every route in one place, and what happens to a request that cannot be served."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.access import Actor
from hub.accounts import code_pages, people_pages, section_pages, token_pages
from hub.accounts import pages as account_pages
from hub.accounts.gate import is_poll, signed_in, signed_in_or_local
from hub.alerts import pages as alert_pages
from hub.audit import api as log_api
from hub.audit import download as log_export
from hub.audit import pages as log_pages
from hub.audit import tiles as log_tiles
from hub.audit.queries import count_entries
from hub.commands import api as command_api
from hub.commands import pages as command_pages
from hub.db import Database
from hub.errors import DomainError, LogReadOnly
from hub.intake import Intake
from hub.overview import api as station_api
from hub.overview import pages as overview_pages
from hub.overview.live import Live
from hub.overview.parts import Parts
from hub.overview.queries import load_totals
from hub.problems import (
    BadQuery,
    Busy,
    CodeDue,
    InternalFault,
    MethodNotAllowed,
    NotFound,
    NotSignedIn,
    PasswordChangeDue,
    Problem,
    ReadOnly,
)
from hub.readonly import why_read_only
from hub.recordings import api as recording_api
from hub.recordings import custody as custody_pages
from hub.recordings import pages as recording_pages
from hub.releases import pages as release_pages
from hub.removals import pages as removal_pages
from hub.requests import pages as request_pages
from hub.requests import register_pages
from hub.restore import pages as restore_pages
from hub.restore.status import Status
from hub.sections import EVERYTHING
from hub.site import STATIC_DIR, Site, render, site_of, words_of
from hub.stations import api as delivery_api
from hub.stations import enrolment_pages
from hub.stations import pages as station_pages
from hub.stations.now import load_stations
from hub.times import now_utc
from hub.verify import pages as verify_pages
from hub.viewing import pages as viewing_pages
from hub.witnesses import pages as witness_pages

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024  # forms are far below
SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
_FOR_PROGRAMS = ("/api/", "/log/tile/")  # answered with problem+json
_FOR_EVER = "public, max-age=31536000, immutable"


def create_app(
    db: Database,
    key_lines: Mapping[str, str],
    intake: Intake | None = None,
    restore_status: Callable[[], Status] | None = None,
    *,
    timestamps_wanted: bool = False,
) -> FastAPI:
    """The application over an opened database.

    `key_lines` are the hub's public keys by role (`hub.keys.ROLES`). With `intake`, stations may also deliver their
    envelopes by HTTP, and people can do what the log has to state. `restore_status` tells how the refilling of a
    read-only log stands. `timestamps_wanted`: an authority is asked.
    """
    app = FastAPI(
        title="Custodock",
        version=version("custodock"),
        openapi_url=None,  # served by `get_openapi` to the signed-in; the documentation pages would load from a CDN
        docs_url=None,
        redoc_url=None,
        max_body_size=MAX_BODY_BYTES,
    )
    keys = intake.keys if intake else None
    app.state.site = site = Site(db, version("custodock"), dict(key_lines), restore_status, keys, timestamps_wanted)
    app.state.parts = Parts(
        site.environments
    )  # a broken template or translation stops the start, not the first visitor
    app.state.live = Live(site, app.state.parts)
    for router in (
        _operations,
        account_pages.open_router,
        account_pages.router,
        code_pages.router,
        people_pages.router,
        enrolment_pages.router,
        removal_pages.router,
        station_pages.router,
        section_pages.router,
        token_pages.router,
        overview_pages.router,
        alert_pages.router,
        recording_pages.router,
        witness_pages.open_router,
        verify_pages.open_router,
        log_tiles.router,  # before the open tiles: the first route that fits an address is taken
        log_tiles.open_router,
        witness_pages.router,
        log_pages.router,
        log_export.router,
        custody_pages.router,
        register_pages.router,  # before the requests, whose addresses take any word
        restore_pages.router,
        station_api.router,
        recording_api.router,
        log_api.router,
    ):
        app.include_router(router)
    if intake is not None:
        app.state.intake = intake
        app.include_router(request_pages.router)
        app.include_router(release_pages.router)  # before the forms of commands, whose addresses take any word
        app.include_router(command_pages.router)
        app.include_router(command_api.router)
        app.include_router(viewing_pages.router)
        app.include_router(delivery_api.router, max_body_size=delivery_api.MAX_BODY_BYTES)
    app.mount("/static", StaticFiles(directory=STATIC_DIR))
    app.add_middleware(_Headers)
    app.add_exception_handler(DomainError, _on_domain_error)
    app.add_exception_handler(LogReadOnly, _on_read_only)
    app.add_exception_handler(RequestValidationError, lambda request, _: answer_problem(request, BadQuery()))
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(OperationalError, _on_database_away)
    app.add_exception_handler(PoolTimeout, _on_database_away)
    app.add_exception_handler(Exception, _on_fault)
    return app


_operations = APIRouter(include_in_schema=False)


@_operations.get("/healthz")
def healthz(request: Request) -> Response:
    """The process answers; a second line says when it takes nothing in."""
    try:
        with site_of(request).db.read() as connection:
            reason = why_read_only(connection)
    except (DBAPIError, PoolTimeout):
        reason = None  # /readyz tells of it: restarting us would not bring the database back
    return PlainTextResponse("ok\n" if reason is None else f"ok\nlog_read_only {reason}\n")


@_operations.get("/readyz")
def readyz(request: Request) -> Response:
    """The database answers too, and holds a log that can be appended to."""
    try:
        with site_of(request).db.read() as connection:
            count_entries(connection)
            reason = why_read_only(connection)
    except (DBAPIError, PoolTimeout):
        return PlainTextResponse("the database does not answer\n", 503)
    if reason is not None:
        return PlainTextResponse(f"log_read_only {reason}\n", 503)
    return PlainTextResponse("ready\n")


@_operations.get("/metrics", dependencies=[Depends(signed_in_or_local)])
def metrics(request: Request) -> Response:
    """Figures in the Prometheus text format."""
    db = site_of(request).db
    with db.read() as connection:
        entries = count_entries(connection)
        stations = load_stations(connection, EVERYTHING, now_utc())
        totals = load_totals(connection, EVERYTHING, stations)
    lines = [
        _metric("log_entries", "Entries in the audit log", entries),
        _metric("stations", "Enrolled stations", totals.stations),
        _metric("stations_online", "Stations that report being online", totals.stations_online),
        _metric("dockings", "Dockings in the index", totals.dockings),
        _metric("dockings_incomplete", "Dockings that ended incomplete", totals.dockings_incomplete),
        _metric("recordings", "Recordings of finished dockings", totals.recordings),
    ]
    lines += [
        f'custodock_outbox_unreceipted{{station="{s.id}"}} {s.outbox_unreceipted}\n'
        for s in stations
        if s.outbox_unreceipted is not None
    ]
    return PlainTextResponse("".join(lines), media_type="text/plain; version=0.0.4")


@_operations.get("/api/v1/openapi.json")
def get_openapi(request: Request, _actor: Annotated[Actor, Depends(signed_in)]) -> Response:
    """The description of the API."""
    return JSONResponse(request.app.openapi())


def _metric(name: str, help_text: str, value: int) -> str:
    return f"# HELP custodock_{name} {help_text}\n# TYPE custodock_{name} gauge\ncustodock_{name} {value}\n"


def answer_problem(request: Request, problem: Problem, detail: str = "") -> Response:
    """A problem as a page for people, as RFC 9457 for programs, or as the way to where it is solved."""
    words = words_of(request)
    headers = {"retry-after": str(problem.retry_after_seconds)} if problem.retry_after_seconds else {}
    if isinstance(problem, NotSignedIn):
        headers["www-authenticate"] = "Bearer"  # of use on the program paths; pages redirect
    if request.url.path.startswith(_FOR_PROGRAMS):
        body = {
            "type": f"urn:custodock:problem:{problem.code}",
            "title": words.say(problem.title),
            "status": problem.http_status,
            "detail": detail or words.say(problem.advice),
            "code": problem.code,
        }
        return JSONResponse(body, problem.http_status, headers, media_type="application/problem+json")
    if isinstance(problem, NotSignedIn):
        query = f"?{request.url.query}" if request.url.query else ""
        href = account_pages.sign_in_href(request.url.path + query if request.method == "GET" else "/")
        if is_poll(request):  # a redirect would put the sign-in form inside the page
            return Response(status_code=401, headers={"hx-redirect": "/sign-in"})
        return RedirectResponse(href, 303)
    if isinstance(problem, PasswordChangeDue) and request.method == "GET":
        return RedirectResponse("/password", 303)
    if isinstance(problem, CodeDue) and request.method == "GET":
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(account_pages.code_href(request.url.path + query), 303)
    response = render(request, "problem.html", problem, problem.http_status)
    response.headers.update(headers)
    return response


async def _on_domain_error(request: Request, error: Exception) -> Response:
    if isinstance(error, Problem):
        return answer_problem(request, error)
    not_found = isinstance(error, DomainError) and error.http_status == 404
    return answer_problem(request, NotFound() if not_found else BadQuery(), str(error))


async def _on_read_only(request: Request, _error: Exception) -> Response:
    return answer_problem(request, ReadOnly())


async def _on_http_exception(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    by_status: dict[int, Problem] = {404: NotFound(), 405: MethodNotAllowed()}
    return answer_problem(request, by_status.get(status, BadQuery()))


async def _on_database_away(request: Request, error: Exception) -> Response:
    log.warning("database_away", extra={"path": request.url.path, "error": type(error).__name__})
    return answer_problem(request, Busy())


async def _on_fault(request: Request, _error: Exception) -> Response:
    # the server logs the traceback after this answer; the outermost layer adds no headers, so they are set here
    response = answer_problem(request, InternalFault())
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


class _Headers:
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if scope["path"].startswith("/static/") and b"v" in parse_qs(scope["query_string"]):
                    headers.setdefault("cache-control", _FOR_EVER)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
