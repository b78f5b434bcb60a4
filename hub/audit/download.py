"""Taking entries of the log away: as CSV, JSON Lines or PDF. A use like any other: stated first."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, Depends, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hub.access import Action, Actor
from hub.accounts.gate import allowed, checked_form
from hub.audit.asked import OrderedEntries
from hub.audit.document import log_document
from hub.audit.export import MEDIA_TYPES, csv_parts, hand_over, jsonl_parts, state_end, state_export
from hub.audit.typeset import MAX_ENTRIES
from hub.problems import Problem
from hub.site import keys_of, site_of, words_of

router = APIRouter(include_in_schema=False)


@router.post("/log/export", dependencies=[Depends(checked_form)])
def export_log(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.SEE_LOG))],
    asked: OrderedEntries,
    form: Annotated[Literal["csv", "jsonl", "pdf"], Form(alias="format")],
) -> Response:
    """The file. Every entry that fits, as the log stands now."""
    site, keys, words = site_of(request), keys_of(request), words_of(request)
    most = MAX_ENTRIES if form == "pdf" else None
    stated = state_export(site.db, keys, actor.name, form, asked, most=most)
    name = f"custodock-log-{stated.log_size}.{form}"
    if form == "csv":
        parts = csv_parts(site.db, stated.indexes, words, actor.name)
    elif form == "jsonl":
        parts = jsonl_parts(site.db, stated.indexes, actor.name)
    else:
        try:
            made = log_document(site.db, stated, asked, words, actor.name)
        except Problem as problem:  # answered as a page; the statement of the export gets its end
            state_end(site.db, keys, stated, problem.code, 0, None)
            raise
        parts = iter([made])
    handed = hand_over(site.db, keys, stated, parts)
    return _Download(handed, name, MEDIA_TYPES.get(form, "application/pdf"))


class _Download(StreamingResponse):
    """A stream whose end is stated even when the browser goes away in the middle of it."""

    def __init__(self, parts: Generator[bytes], file_name: str, media_type: str) -> None:
        self._parts = parts
        headers = {"content-disposition": f'attachment; filename="{file_name}"'}
        super().__init__(parts, media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):  # the request is cancelled; the statement of its end must not be
                await run_in_threadpool(self._parts.close)
