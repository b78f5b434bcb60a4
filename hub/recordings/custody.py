"""The chain of custody of one recording: a page to read and print, and a PDF to file."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from hub.audit.document import custody_document
from hub.recordings.pages import LogIndex, Reader, load_view
from hub.site import attachment, render, words_of

router = APIRouter(include_in_schema=False)


@router.get("/recordings/{log_index}/custody")
def show_custody(request: Request, actor: Reader, log_index: LogIndex) -> Response:
    return render(request, "custody.html", load_view(request, actor, log_index))


@router.get("/recordings/{log_index}/custody.pdf")
def download_custody(request: Request, actor: Reader, log_index: LogIndex) -> Response:
    view = load_view(request, actor, log_index)
    made = custody_document(view.recording, view.story, words_of(request))
    return attachment(made, f"custody-{log_index}.pdf", "application/pdf")
