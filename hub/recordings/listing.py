"""A list of recordings as CSV, exactly as its reader sees it, in pages: memory does not grow with the list."""

from __future__ import annotations

from collections.abc import Iterator

from hub.access import Actor
from hub.audit.export import csv_line
from hub.db import Database
from hub.language import mark
from hub.recordings.filters import RecordingFilter
from hub.recordings.queries import MAX_PAGE_ROWS, RecordingRow, load_recordings
from hub.wording import Wording

MAX_ROWS = 20_000
CUT = mark("Cut here after %(n)s recordings: narrow the filter.")
MASKED = mark("Restricted recording")
_COLUMNS = (
    mark("Number"), mark("File"), mark("Folder"), mark("Recorded, by the camera's clock"), mark("Camera"),
    mark("Station"), mark("Bay"), mark("Length, seconds"), mark("Bytes"), mark("What is not well"),
    mark("Kind of work"), mark("Mark"), "SHA-256",
)  # fmt: skip


def csv_lines(db: Database, actor: Actor, limits: RecordingFilter, words: Wording) -> Iterator[bytes]:
    """UTF-8 with the mark that Excel knows it by; no cell is taken for a formula."""
    yield b"\xef\xbb\xbf" + csv_line([words.say(column) for column in _COLUMNS])
    cursor: str | None = None
    for written in range(0, MAX_ROWS, MAX_PAGE_ROWS):
        page = load_recordings(db, actor, limits, cursor, MAX_PAGE_ROWS)
        yield b"".join(csv_line(_cells(row, words)) for row in page.rows)
        cursor = page.next_cursor
        if cursor is None:
            return
        if written + MAX_PAGE_ROWS >= MAX_ROWS:
            yield csv_line([words.say(CUT, n=f"{MAX_ROWS:,}")])


def _cells(row: RecordingRow, words: Wording) -> list[str]:
    if row.masked:
        return [str(row.log_index), words.say(MASKED), *[""] * 3, row.station, *[""] * 5, words.secrecy(row.mark), ""]
    length = "" if row.duration_seconds is None else f"{row.duration_seconds:g}"
    return [
        str(row.log_index), row.file_name, row.folder, (row.recorded_at or "").replace("T", " "), row.camera,
        row.station, row.bay, length, str(row.size_bytes), ", ".join(words.label(code) for code in row.labels),
        words.work_kind(row.kind) if row.kind else "", words.secrecy(row.mark), row.sha256,
    ]  # fmt: skip
