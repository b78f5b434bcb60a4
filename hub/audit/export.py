"""Entries of the log as a file: CSV for people, JSON Lines for programs. Streamed; memory does not grow with the log.

1. Find which entries fit, up to the log as it is. 2. State the export in the log, before the first byte. 3. Read and
write them a few hundred at a time. 4. State how it ended. A hub that dies between 2 and 4 leaves a statement without
an end, which is what an auditor should see.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Row, select

from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.event import Event, Sha256Hex
from custody.hubevents import LogExported, LogExportFinished
from custody.inert import inert_json_text
from hub import log
from hub.audit.queries import count_entries, read_event
from hub.audit.saying import CONCEALED, say_event
from hub.audit.selection import EntryFilter, all_indexes
from hub.audit.typeset import TooMuchForPdf
from hub.db import Database
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.language import mark
from hub.sections import concealed
from hub.tables import log_entry
from hub.times import now_utc
from hub.wording import Wording, visible

MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}
_PAGE = 400  # entries read and written together: under a megabyte
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # with their full-width forms
CSV_COLUMNS = (
    mark("Index"),
    mark("Received, Beijing time"),
    mark("Kind"),
    mark("Type"),
    mark("Source"),
    mark("Number at its source"),
    mark("Time by its source, UTC"),
    mark("What it says"),
    mark("Envelope SHA-256"),
)
Entry = Row[tuple[int, str, int, str, str, str, bytes]]


@dataclass(frozen=True, slots=True)
class Stated:
    """An export that the log knows of. `indexes` rise."""

    export_id: str
    log_index: int  # of its statement
    log_size: int  # entries from here on are left out
    indexes: Sequence[int]


def state_export(
    db: Database,
    keys: HubKeys,
    account: str,
    form: str,
    asked: EntryFilter,
    *,
    first: int = 0,
    size: int | None = None,
    most: int | None = None,
) -> Stated:
    """1, 2. Find the entries from `first` on, in the log of `size` (as it is), and say that `account` is to have them.

    Raises TooMuchForPdf, before anything is said, when more than `most` fit.
    """
    with db.read() as connection:
        size = count_entries(connection) if size is None else size
        indexes = all_indexes(connection, asked, size)
    if first:
        indexes = indexes[bisect_left(indexes, first) :]
    if most is not None and len(indexes) > most:
        raise TooMuchForPdf(TooMuchForPdf.code)
    now = now_utc()
    export_id = new_id(now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        at = entries.record(
            LogExported,
            export_id=export_id,
            account=account,
            format=form,
            selection=asked.text,
            first_index=first,
            log_size=size,
            entries=len(indexes),
        )
    return Stated(export_id, at, size, indexes)


def hand_over(db: Database, keys: HubKeys, stated: Stated, parts: Iterator[bytes]) -> Generator[bytes]:
    """`parts`, one by one, and then 4. Closing it early states that whoever received it has gone."""
    digest, count, reason = hashlib.sha256(), 0, "internal"
    try:
        for part in parts:
            yield part
            digest.update(part)
            count += len(part)
        reason = "complete"
    except GeneratorExit:
        reason = "reader_gone"
        raise
    except OSError:
        reason = "target_failed"
        raise
    finally:
        state_end(db, keys, stated, reason, count, digest.hexdigest())


def state_end(db: Database, keys: HubKeys, stated: Stated, reason: str, count: int, sha256: str | None) -> None:
    """4. How it ended: `count` bytes were handed over; a digest counts only when that was all of it."""
    with db.begin() as tx, log.appending(tx, keys, now_utc()) as entries:
        entries.record(
            LogExportFinished,
            export_id=stated.export_id,
            complete=reason == "complete",
            reason=reason,
            size_bytes=count,
            sha256=Sha256Hex(sha256) if sha256 and reason == "complete" else None,
        )


def csv_parts(db: Database, indexes: Sequence[int], words: Wording, reader: str | None = None) -> Iterator[bytes]:
    """3. UTF-8 with the mark that Excel knows it by; no cell is taken for a formula. `reader`: see `_parts`."""
    yield b"\xef\xbb\xbf" + csv_line([words.say(column) for column in CSV_COLUMNS])
    yield from _parts(db, indexes, lambda entry, hidden: csv_line(_cells(entry, words, hidden)), reader)


def jsonl_parts(db: Database, indexes: Sequence[int], reader: str | None = None) -> Iterator[bytes]:
    """3. One object a line: index, received_at, envelope (base64, exactly the bytes in the log), event."""
    yield from _parts(db, indexes, json_line, reader)


def _parts(
    db: Database, indexes: Sequence[int], line: Callable[[Entry, bool], bytes], reader: str | None
) -> Iterator[bytes]:
    """The lines of these entries; `line` is told whether the account `reader` may not know what the entry tells.

    None: whoever runs the hub's computer, to whom it is open anyway.
    """
    columns = [
        log_entry.c[name]
        for name in ("idx", "source", "seq", "event_type", "envelope_sha256", "received_at", "envelope")
    ]
    for start in range(0, len(indexes), _PAGE):
        chosen = indexes[start : start + _PAGE]
        query = select(*columns).order_by(log_entry.c.idx)
        if chosen[-1] - chosen[0] == len(chosen) - 1:
            query = query.where(log_entry.c.idx.between(chosen[0], chosen[-1]))
        else:
            query = query.where(log_entry.c.idx.in_(list(chosen)))
        with db.read() as connection:  # entries never change: no view has to outlive a slow reader
            hidden = concealed(connection, reader, chosen) if reader is not None else frozenset()
            lines = [line(row, row.idx in hidden) for row in connection.execute(query)]
        yield b"".join(lines)


def json_line(entry: Entry, hidden: bool = False) -> bytes:
    """An entry as JSON: the event is a copy for reading, the envelope is what counts; null where it cannot be read.

    Both are null, with the envelope's digest in their place, where whoever reads may not know them.
    """
    if hidden:
        kept = {"index": entry.idx, "received_at": entry.received_at, "envelope": None, "event": None}
        return json.dumps(kept | {"envelope_sha256": entry.envelope_sha256, "restricted": True}).encode() + b"\n"
    raw = bytes(entry.envelope)
    try:
        event = json.loads(parse_envelope(raw).payload)
    except (CustodyError, ValueError):
        event = None
    said = {
        "index": entry.idx,
        "received_at": entry.received_at,
        "envelope": base64.b64encode(raw).decode(),
        "event": event,
    }
    return inert_json_text(json.dumps(said, ensure_ascii=False, separators=(",", ":"))).encode() + b"\n"


def _cells(entry: Entry, words: Wording, hidden: bool) -> list[str]:
    event: Event | None = read_event(bytes(entry.envelope))
    received = words.at_second(entry.received_at)
    at = event.at.isoformat(timespec="milliseconds") if event else ""
    kind = words.entry_type(entry.event_type)
    said = words.say(CONCEALED) if hidden else say_event(words, event)
    return [
        str(entry.idx),
        received,
        kind,
        entry.event_type,
        entry.source,
        str(entry.seq),
        at,
        said,
        entry.envelope_sha256,
    ]


def csv_line(cells: Sequence[str]) -> bytes:
    """One line of CSV: every hidden character made visible, and no cell taken for a formula."""
    out = io.StringIO()
    csv.writer(out).writerow([inert(visible(cell)) for cell in cells])
    return out.getvalue().encode("utf-8", "backslashreplace")


def inert(cell: str) -> str:
    """Text that no spreadsheet takes for a formula, however it trims: an apostrophe in front says that it is text."""
    return f"'{cell}" if cell.lstrip(" \u00a0\u3000\ufeff\n").startswith(_FORMULA) else cell
