"""What outsiders do with witnessed checkpoints: read them, hand cosignatures in, print the root on paper."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from custody.checkpoint import MAX_NOTE_BYTES
from hub.access import Action
from hub.accounts.gate import allowed
from hub.problems import BadQuery, NotFound
from hub.site import site_of
from hub.witnesses.queries import newest_cosigned, newest_witnessed
from hub.witnesses.rootsheet import SHEET_CSP, load_sheet, render_sheet
from hub.witnesses.service import take_cosigned_note

open_router = APIRouter(include_in_schema=False)
router = APIRouter(include_in_schema=False)


@open_router.get("/log/checkpoint")
def get_checkpoint(request: Request) -> Response:
    """The newest checkpoint with the cosignatures it has so far, for everybody: comparing it finds a split view."""
    return PlainTextResponse(newest_cosigned(site_of(request).db))


@open_router.get("/log/checkpoint/witnessed")
def get_witnessed(request: Request) -> Response:
    """The newest checkpoint that as many witnesses cosigned as the policy asks. Raises NotFound where there is none."""
    with site_of(request).db.read() as connection:
        note = newest_witnessed(connection)
    if note is None:
        raise NotFound
    return PlainTextResponse(note)


@open_router.post("/log/cosignatures", max_body_size=MAX_NOTE_BYTES)
async def post_cosignatures(request: Request) -> Response:
    """Take in a checkpoint of this log with cosignatures of accepted witnesses; nothing else of it is kept.

    Nobody signs in: a cosignature proves itself, and one that does not is refused.
    """
    note = (await request.body()).decode(errors="replace")
    if not await run_in_threadpool(take_cosigned_note, site_of(request).db, note):
        raise BadQuery
    return PlainTextResponse("ok\n")


@router.get("/log/root-sheet")
def show_root_sheet(request: Request, _actor: Annotated[object, Depends(allowed(Action.SEE_LOG))]) -> Response:
    """The log's root on one sheet of A4."""
    site = site_of(request)
    page = render_sheet(load_sheet(site.db, site.key_lines["log"]))
    return Response(page, media_type="text/html; charset=utf-8", headers={"content-security-policy": SHEET_CSP})
