"""Recordings: the list, one recording, and the files to verify it by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from hub.access import BUREAU, Action, Actor, may
from hub.accounts.gate import allowed
from hub.recordings.asked import AskedFilter
from hub.recordings.chain import Recording, load_recording
from hub.recordings.queries import Choices, RecordingFilter, RecordingPage, load_choices, load_recordings
from hub.recordings.story import Story, load_facts, tell
from hub.requests.details import RecordingUses, recording_uses
from hub.search import ANY_LABEL
from hub.sections import openable, station_subject
from hub.site import attachment, render, site_of, words_of
from hub.times import now_utc
from hub.viewing.grants import viewing_facts
from hub.vocabulary import LABELS

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_RECORDINGS))]

LogIndex = Annotated[int, Path(ge=0, lt=1 << 62)]


@dataclass(frozen=True, slots=True)
class RecordingsView:
    """The list with its filter form; links keep the filter."""

    asked: RecordingFilter
    choices: Choices
    labels: tuple[str, ...]
    page: RecordingPage
    first_page: bool
    next_href: str | None
    newest_href: str

    @property
    def limited(self) -> bool:
        """Whether anything is filtered."""
        return self.asked != RecordingFilter()


@dataclass(frozen=True, slots=True)
class RecordingView:
    """One recording with its story."""

    recording: Recording
    story: Story
    may_open: frozenset[int]  # log entries that the reader may see
    may_hold: bool
    may_view: bool  # holds a grant that is good now
    mismatched: tuple[int, ...]  # log entries that state that its station gave other bytes than it had sealed
    uses: RecordingUses


@router.get("/recordings")
def list_recordings(request: Request, actor: Reader, asked: AskedFilter, cursor: str = "") -> Response:
    db = site_of(request).db
    page = load_recordings(db, actor, asked, cursor or None)
    kept = [(name, value) for name, value in _query(asked) if value]
    view = RecordingsView(
        asked=asked,
        choices=load_choices(db, actor),
        labels=(ANY_LABEL, *LABELS),
        page=page,
        first_page=not cursor,
        next_href="?" + urlencode([*kept, ("cursor", page.next_cursor)]) if page.next_cursor else None,
        newest_href="?" + urlencode(kept),
    )
    return render(request, "recordings.html", view)


@router.get("/recordings/{log_index}")
def show_recording(request: Request, actor: Reader, log_index: LogIndex) -> Response:
    return render(request, "recording.html", load_view(request, actor, log_index))


@router.get("/recordings/{log_index}/sha256sums")
def download_sums(request: Request, actor: Reader, log_index: LogIndex) -> Response:
    site = site_of(request)
    found = load_recording(site.db, actor, log_index, site.key_lines["events"])
    return attachment(found.sums_line.encode(), f"recording-{log_index}.sha256", "text/plain; charset=utf-8")


def load_view(request: Request, actor: Actor, log_index: int) -> RecordingView:
    """One recording with its story. Raises NotFound, EntryDamaged."""
    site = site_of(request)
    recording = load_recording(site.db, actor, log_index, site.key_lines["events"])
    with site.db.read() as connection:
        facts = load_facts(connection, recording)
        may_open = openable(connection, actor, facts.events)
        kept = station_subject(connection, recording.row.station) or BUREAU
        may_view, mismatched = viewing_facts(connection, actor, log_index, now_utc())
        uses = recording_uses(connection, actor, log_index, now_utc())
    orders = site.keys is not None
    return RecordingView(
        recording,
        tell(words_of(request), facts),
        may_open,
        orders and may(actor, Action.ORDER_HOLD, kept),
        orders and may_view,
        mismatched,
        uses if orders else replace(uses, may_ask=False),
    )


def _query(asked: RecordingFilter) -> list[tuple[str, str | None]]:
    """The filter as parameters of an address."""
    day_from = asked.day_from.isoformat() if asked.day_from else None
    day_to = asked.day_to.isoformat() if asked.day_to else None
    return [
        ("camera", asked.camera),
        ("station", asked.station),
        ("docking", asked.docking),
        ("from", day_from),
        ("to", day_to),
        ("label", asked.label),
        ("q", asked.text),
    ]
