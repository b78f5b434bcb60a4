"""Recordings: the list, one recording, one day on a line, and the files to verify one by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from hub.access import BUREAU, Action, Actor, may, may_ever
from hub.accounts.gate import allowed
from hub.db import Database
from hub.problems import BadQuery
from hub.recordings.asked import AskedFilter
from hub.recordings.chain import Recording, load_recording
from hub.recordings.dayline import Line, lay_out
from hub.recordings.filters import ANY_MARK, DISPUTED, HELD, RecordingFilter
from hub.recordings.history import History, Safety, load_history, load_safety
from hub.recordings.labelling import KINDS, is_undone, read_labelling
from hub.recordings.listing import csv_lines
from hub.recordings.queries import (
    COUNT_TO,
    Choices,
    Counted,
    RecordingPage,
    count_recordings,
    load_choices,
    load_day,
    load_recordings,
)
from hub.recordings.saved import SavedFilter, load_filters
from hub.recordings.standing import MARKS
from hub.recordings.story import Story, load_facts, tell
from hub.requests.details import RecordingUses, recording_uses
from hub.search import ANY_LABEL
from hub.sections import openable, recording_subjects, station_subject
from hub.site import attachment, render, site_of, words_of
from hub.times import now_utc
from hub.viewing.grants import viewing_facts
from hub.vocabulary import LABELS

router = APIRouter(include_in_schema=False)
Reader = Annotated[Actor, Depends(allowed(Action.SEE_RECORDINGS))]

LogIndex = Annotated[int, Path(ge=0, lt=1 << 62)]


@dataclass(frozen=True, slots=True)
class Done:
    """A labelling that was just stated, to be taken back at once if it was a slip."""

    log_index: int
    recordings: int


@dataclass(frozen=True, slots=True)
class RecordingsView:
    """The list with its filter form; links keep the filter."""

    asked: RecordingFilter
    choices: Choices
    page: RecordingPage
    counted: Counted
    first_page: bool
    next_href: str | None
    newest_href: str
    query: str
    filters: tuple[SavedFilter, ...]
    done: Done | None
    may_choose: bool
    labels: tuple[str, ...] = (ANY_LABEL, *LABELS)
    kinds: tuple[str, ...] = KINDS
    marks: tuple[str, ...] = (ANY_MARK, *MARKS[1:])
    held: str = HELD
    disputed: str = DISPUTED
    count_to: int = COUNT_TO

    @property
    def limited(self) -> bool:
        """Whether anything is filtered."""
        return bool(self.asked.parameters)


@dataclass(frozen=True, slots=True)
class RecordingView:
    """One recording with its story."""

    recording: Recording
    story: Story
    history: History
    safety: Safety
    line: Line | None  # its camera's day
    may_open: frozenset[int]  # log entries that the reader may see
    may_hold: bool
    may_view: bool  # holds a grant that is good now
    mismatched: tuple[int, ...]  # log entries that state that its station gave other bytes than it had sealed
    uses: RecordingUses
    may_label: bool
    may_mark: bool
    may_lower: bool
    kinds: tuple[str, ...] = KINDS
    marks: tuple[str, ...] = MARKS


@dataclass(frozen=True, slots=True)
class DayView:
    """The days of one camera, or of what one officer carried."""

    day: date | None
    camera: str
    officer: str
    lines: tuple[Line, ...]
    hidden: int
    cut: bool


@router.get("/recordings")
def list_recordings(
    request: Request, actor: Reader, asked: AskedFilter, cursor: str = "",
    done: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None,
) -> Response:  # fmt: skip
    db = site_of(request).db
    filters = load_filters(db, actor)
    chosen = next((one for one in filters if one.is_default), None)
    if chosen is not None and not request.url.query:
        return RedirectResponse(f"/recordings?{chosen.query}", 303)
    page = load_recordings(db, actor, asked, cursor or None)
    view = RecordingsView(
        asked=asked,
        choices=load_choices(db, actor),
        page=page,
        counted=count_recordings(db, actor, asked, None if cursor or page.next_cursor else len(page.rows)),
        first_page=not cursor,
        next_href="?" + urlencode([*asked.parameters, ("cursor", page.next_cursor)]) if page.next_cursor else None,
        newest_href="?" + urlencode(asked.parameters or [("all", "1")]),
        query=urlencode(asked.parameters),
        filters=filters,
        done=_done(db, actor, done),
        may_choose=may_ever(actor, Action.LABEL_RECORDINGS) or may_ever(actor, Action.ORDER_HOLD),
    )
    return render(request, "recordings.html", view)


@router.get("/recordings/list.csv")
def download_list(request: Request, actor: Reader, asked: AskedFilter) -> Response:
    """The list as a table for spreadsheets, as this reader sees it."""
    lines: Iterator[bytes] = csv_lines(site_of(request).db, actor, asked, words_of(request))
    headers = {"content-disposition": 'attachment; filename="recordings.csv"'}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/recordings/day")
def show_day(request: Request, actor: Reader, day: str = "", camera: str = "", officer: str = "") -> Response:
    try:
        on = date.fromisoformat(day) if day else None
    except ValueError:
        raise BadQuery from None
    if "\x00" in camera + officer or max(len(camera), len(officer)) > 512:
        raise BadQuery
    lines: tuple[Line, ...] = ()
    hidden, cut = 0, False
    if on is not None and (camera or officer):
        found = load_day(site_of(request).db, actor, on, camera or None, officer or None)
        lines = tuple(lay_out(name, rows, on) for name, rows in found.by_camera.items())
        hidden, cut = found.hidden, found.cut
    return render(request, "recording_day.html", DayView(on, camera, officer, lines, hidden, cut))


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
    row = recording.row
    with site.db.read() as connection:
        facts = load_facts(connection, recording)
        may_open = openable(connection, actor, facts.events)
        may_view, mismatched = viewing_facts(connection, actor, log_index, now_utc())
        uses = recording_uses(connection, actor, log_index, now_utc())
        kept = station_subject(connection, row.station) or BUREAU
        subject = recording_subjects(connection, [log_index])[log_index]
        history, safety = load_history(connection, log_index), load_safety(connection, row)
    line = None
    if row.recorded_at is not None:
        day = date.fromisoformat(row.recorded_at[:10])
        line = lay_out(row.camera, load_day(site.db, actor, day, row.camera, None).by_camera.get(row.camera, []), day)
    orders = site.keys is not None
    return RecordingView(
        recording,
        tell(words_of(request), facts),
        history,
        safety,
        line,
        may_open,
        orders and may(actor, Action.ORDER_HOLD, kept),
        orders and may_view,
        mismatched,
        uses if orders else replace(uses, may_ask=False),
        orders and may(actor, Action.LABEL_RECORDINGS, subject),
        orders and may(actor, Action.MARK_RECORDINGS, subject),
        orders and (may_ever(actor, Action.REQUEST_LOWER_MARK) or may_ever(actor, Action.CHANGE_KNOWING)),
    )


def _done(db: Database, actor: Actor, log_index: int | None) -> Done | None:
    if log_index is None:
        return None
    with db.read() as connection:
        labelling = read_labelling(connection, log_index)
        if labelling is None or labelling.account != actor.name or is_undone(connection, labelling):
            return None
        return Done(log_index, len(labelling.recordings))
