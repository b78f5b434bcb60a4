"""The register of uses (Art. 17): every request, how it was decided, and what was done with it; as rows and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, select

from hub.access import Actor
from hub.bundles.page import cell
from hub.language import mark
from hub.problems import BadQuery
from hub.requests import policy
from hub.requests.queries import QUERY, UseRow, read_rows, recordings_of
from hub.tables import use_recording, use_request
from hub.times import to_text
from hub.wording import BEIJING, Wording

PAGE_ROWS = 50
MAX_ROWS = 10_000  # of one CSV
LISTED = 20  # recordings of a request that a line names
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class RegisterFilter:
    """What the register is limited to; an empty value limits nothing. Days are Beijing days of asking."""

    day_from: str = ""
    day_to: str = ""
    person: str = ""  # account that asked, decided, is to view, revoked or noted
    recording: str = ""
    case: str = ""  # words of the case number
    use: str = ""

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """As parameters of an address."""
        found = [("from", self.day_from), ("to", self.day_to), ("person", self.person), ("recording", self.recording),
                 ("case", self.case), ("use", self.use)]  # fmt: skip
        return [(name, value) for name, value in found if value]


def parse_filter(**given: str) -> RegisterFilter:
    """A filter out of what a form or call says. Raises BadQuery."""
    asked = RegisterFilter(**{name: value.strip() for name, value in given.items()})
    first, last = _day(asked.day_from), _day(asked.day_to)
    wrong = (
        (first and last and first > last) or (asked.use and asked.use not in policy.USES)
        or len(asked.person) > _MAX_NAME or len(asked.case) > policy.MAX_CASE or "\x00" in asked.person + asked.case
        or not (asked.recording.isascii() and (asked.recording or "0").isdigit() and len(asked.recording) < 16)
    )  # fmt: skip
    if wrong:
        raise BadQuery
    return asked


def read_register(
    connection: Connection, actor: Actor, asked: RegisterFilter, now: datetime, before: str = "", rows: int = PAGE_ROWS
) -> tuple[UseRow, ...]:
    """Requests that fit and `actor` may see, newest first, those after the one with id `before`."""
    query = QUERY.where(*_limits(asked)).order_by(use_request.c.id.desc()).limit(rows)
    if before:
        query = query.where(use_request.c.id < before)
    return read_rows(connection, actor, query, now)


def _limits(asked: RegisterFilter) -> Iterator[ColumnElement[bool]]:
    c, first, last = use_request.c, _day(asked.day_from), _day(asked.day_to)
    if first:
        yield c.requested_at >= _begin(first)
    if last:
        yield c.requested_at < _begin(last + timedelta(days=1))
    if asked.person:
        people = (c.requested_by, c.holder, c.decided_by, c.revoked_by, c.copy_end_by)
        yield or_(*(column == asked.person for column in people))
    if asked.recording:
        named = select(use_recording.c.request_id).where(use_recording.c.recording == int(asked.recording))
        yield c.id.in_(named)
    if asked.case:
        yield c.case_number.contains(asked.case, autoescape=True)
    if asked.use:
        yield c.use == asked.use


def _begin(day: date) -> str:
    return to_text(datetime(day.year, day.month, day.day, tzinfo=BEIJING))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise BadQuery from None


COLUMNS = (
    mark("Asked at"), mark("Asked for by"), mark("Use"), mark("Recordings"), mark("For"), mark("Case"), mark("Reason"),
    mark("State"), mark("Decided at"), mark("Decided by"), mark("Why it ended"), mark("Good until"), mark("Used"),
    mark("Copy no."), mark("What became of the copy"), mark("Request"),
)  # fmt: skip
MORE = mark("and %(n)s more")


def register_cells(connection: Connection, row: UseRow, words: Wording) -> list[str]:
    """One line of the register as texts, one for each of `COLUMNS`."""
    ended = words.copy_end(row.copy_end) if row.copy_end else ""
    copy_end = " · ".join(filter(None, (ended, _moment(words, row.copy_end_at), row.copy_end_by, row.copy_end_note)))
    why = row.refusal or " · ".join(filter(None, (row.revocation, row.revoked_by)))
    used = "; ".join(f"{_moment(words, one.at)} {one.by} #{one.log_index}" for one in row.used)
    return [
        _moment(words, row.requested_at), row.requested_by, words.use(row.use), recordings_text(connection, row, words),
        row.holder or row.recipient, row.case_number, row.reason, words.use_state(row.state),
        _moment(words, row.decided_at), row.decided_by or "", why, _moment(words, row.expires_at), used,
        str(row.copy_number or ""), copy_end, row.id,
    ]  # fmt: skip


def recordings_text(connection: Connection, row: UseRow, words: Wording) -> str:
    """Which recordings a request is about: their numbers, the first of many, or how many there were."""
    found = recordings_of(connection, row.id)
    listed = " ".join(map(str, found[:LISTED]))
    rest = row.recordings_in_all - len(found[:LISTED])
    return f"{listed} {words.say(MORE, n=rest)}".strip() if rest else listed


def register_csv(connection: Connection, rows: tuple[UseRow, ...], words: Wording) -> bytes:
    """The register as UTF-8 with a mark, as Excel wants it; no text in it is taken for a formula."""
    made = io.StringIO()
    table = csv.writer(made)
    table.writerow(words.say(name) for name in COLUMNS)
    for row in rows:
        table.writerow(cell(text) for text in register_cells(connection, row, words))
    return b"\xef\xbb\xbf" + made.getvalue().encode()


def _moment(words: Wording, at: Any) -> str:
    return "" if at is None else words.at_second(to_text(at))
