"""Recordings as JSON: the same queries as the pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request

from custody.stationevents import SegmentSealed
from hub.access import Action, Actor
from hub.accounts.gate import allowed
from hub.recordings.asked import AskedFilter
from hub.recordings.chain import load_recording
from hub.recordings.queries import MAX_PAGE_ROWS, PAGE_ROWS, RecordingPage, RecordingRow, load_recordings
from hub.site import site_of

router = APIRouter(prefix="/api/v1", tags=["recordings"])
Reader = Annotated[Actor, Depends(allowed(Action.SEE_RECORDINGS))]


@dataclass(frozen=True, slots=True)
class RecordingAnswer:
    """One recording: its index row, what its station signed, and the proof that the statement is in the log."""

    recording: RecordingRow
    statement: SegmentSealed
    signed_by: str
    envelope_sha256: str
    log_index: int
    inclusion_path: tuple[str, ...]
    checkpoint: str
    proof_holds: bool
    sha256sums: str


@router.get("/recordings")
def list_recordings(
    request: Request,
    actor: Reader,
    asked: AskedFilter,
    cursor: str = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_ROWS)] = PAGE_ROWS,
) -> RecordingPage:
    """Recordings, newest first; follow `next_cursor` with the same filter."""
    return load_recordings(site_of(request).db, actor, asked, cursor or None, limit)


@router.get("/recordings/{log_index}")
def get_recording(
    request: Request, actor: Reader, log_index: Annotated[int, Path(ge=0, lt=1 << 62)]
) -> RecordingAnswer:
    """One recording with its signed statement and its proof."""
    site = site_of(request)
    found = load_recording(site.db, actor, log_index, site.key_lines["events"])
    return RecordingAnswer(
        recording=found.row,
        statement=found.sealed,
        signed_by=found.proof.signed_by,
        envelope_sha256=found.proof.entry.envelope_sha256,
        log_index=log_index,
        inclusion_path=found.proof.path,
        checkpoint=found.proof.checkpoint.note,
        proof_holds=found.proof.holds,
        sha256sums=found.sums_line,
    )
