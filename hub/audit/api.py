"""The log as JSON: the same queries as the pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from hub.access import Action, Actor
from hub.accounts.gate import allowed
from hub.audit.asked import AskedEntries
from hub.audit.queries import (
    MAX_PAGE_ROWS,
    PAGE_ROWS,
    CheckpointNow,
    EntryPage,
    load_checkpoint,
    load_entries,
    load_proof,
)
from hub.site import attachment, site_of

router = APIRouter(prefix="/api/v1/log", tags=["log"])
WHOLE = [Depends(allowed(Action.SEE_LOG))]


@router.get("/checkpoint", dependencies=WHOLE)
def get_checkpoint(request: Request) -> CheckpointNow:
    """The newest checkpoint."""
    return load_checkpoint(site_of(request).db)


@router.get("/entries", dependencies=WHOLE)
def list_entries(
    request: Request,
    asked: AskedEntries,
    cursor: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS)] = PAGE_ROWS,
) -> EntryPage:
    """Entries of the log, newest first; follow `next_cursor` with the same filter."""
    return load_entries(site_of(request).db, asked, cursor, limit)


@router.get("/entries/{index}/envelope", responses={200: {"content": {"application/json": {}}}})
def get_envelope(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.SEE_ENTRY))],
    index: Annotated[int, Path(ge=0, lt=1 << 62)],
) -> Response:
    """The exact bytes of one entry: what was signed, chained and hashed."""
    site = site_of(request)
    proof = load_proof(site.db, actor, index, site.key_lines["events"])
    return attachment(proof.envelope, f"entry-{index}.dsse.json", "application/json")
