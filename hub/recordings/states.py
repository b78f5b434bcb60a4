"""The rows and words of how recordings stand, written from the log and compared with it.

What concerns a recording is found by `hub_subject`; what it comes to is `standing.stand`. So acting, rebuilding,
refilling and checking are one derivation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.event import Event
from custody.events import decode_event
from hub import search
from hub.db import Row, insert_rows
from hub.logwalk import plain
from hub.projections import SEGMENT_COLUMNS, segment_document
from hub.recordings.standing import STATING, UNSTATED, Standing, stand
from hub.tables import hub_subject, log_entry, recording_known, recording_state, segment

_TYPES = tuple(kind.TYPE for kind in STATING)
_AT_ONCE = 400
_COLUMNS = tuple(recording_state.c.keys())
_STATED = hub_subject.c.kind == "recording", hub_subject.c.event_type.in_(_TYPES)
Difference = tuple[str, Any, Any]  # item; the stored row and the derived one, None where there is none


def refresh(tx: Connection, recordings: Iterable[int]) -> None:
    """Write rows and words of these recordings again, after the log holds what was stated of them."""
    for some in _chunks(recordings):
        before, now = read_standings(tx, some), derive_standings(tx, some)
        _write(tx, some, now)
        query = select(*(segment.c[name] for name in SEGMENT_COLUMNS)).where(segment.c.log_index.in_(some))
        changed = []
        for index, *row in tx.execute(query):
            base = segment_document(tuple(row))
            old, new = (search.with_standing(base, told.get(index, UNSTATED)) for told in (before, now))
            if old != new:
                changed.append((index, old, new))
        search.replace(tx, changed)


def refresh_since(tx: Connection, size: int = 0) -> None:
    """`refresh` of all that an entry from log index `size` on states something of."""
    refresh(tx, _stated(tx, size))


def clear(tx: Connection) -> None:
    """Throw the rows away; the words go with the whole text index."""
    tx.execute(delete(recording_state))
    tx.execute(delete(recording_known))


def derive_standings(connection: Connection, recordings: Sequence[int]) -> dict[int, Standing]:
    """How each of these recordings stands by the log; those of which nothing was stated are left out."""
    c = hub_subject.c
    named = select(c.name, c.log_index).where(*_STATED, c.name.in_([str(index) for index in recordings]))
    of: dict[int, list[int]] = defaultdict(list)
    for row in connection.execute(named.order_by(c.log_index)):
        of[int(row.name)].append(row.log_index)
    events = read_stating(connection, {index for indexes in of.values() for index in indexes})
    return {key: stand((at, events[at]) for at in indexes if at in events) for key, indexes in of.items()}


def read_stating(connection: Connection, indexes: Iterable[int]) -> dict[int, Event]:
    """The hub's own statements at these log indexes that this version can read."""
    found: dict[int, Event] = {}
    for some in _chunks(indexes):
        query = select(log_entry.c.idx, log_entry.c.envelope).where(log_entry.c.idx.in_(some))
        for row in connection.execute(query):
            try:
                envelope = parse_envelope(bytes(row.envelope))
                found[row.idx] = decode_event(envelope.payload_type, envelope.payload)
            except CustodyError:
                continue
    return found


def read_standings(connection: Connection, recordings: Sequence[int]) -> dict[int, Standing]:
    """How each of these recordings stands by its row; those without one are left out."""
    c, k = recording_state.c, recording_known.c
    known: dict[int, set[str]] = defaultdict(set)
    for row in connection.execute(select(*plain(recording_known)).where(k.recording.in_(recordings))):
        known[row.recording].add(row.account)
    rows = connection.execute(select(*plain(recording_state)).where(c.recording.in_(recordings)))
    return {index: _standing(rest, known[index]) for index, *rest in rows}


def with_standings(connection: Connection, texts: Sequence[Row]) -> list[Row]:
    """Texts of segments (log index, words) as they are once all that the log states of them is known."""
    found = derive_standings(connection, [index for index, _ in texts]) if texts else {}
    return [(index, search.with_standing(words, found.get(index, UNSTATED))) for index, words in texts]


def differences(connection: Connection) -> Iterator[Difference]:
    """Rows that do not say what the log says, once `hub_subject` and the log were found sound."""
    stored = set(connection.execute(select(recording_state.c.recording)).scalars())
    stored |= set(connection.execute(select(recording_known.c.recording)).scalars())
    for some in _chunks(stored | set(_stated(connection, 0))):
        rows, derived = read_standings(connection, some), derive_standings(connection, some)
        for index in some:
            if rows.get(index) != derived.get(index):
                yield f"recording_state/{index}", rows.get(index), derived.get(index)


def _stated(connection: Connection, size: int) -> list[int]:
    c = hub_subject.c
    query = select(c.name).distinct().where(*_STATED, c.log_index >= size)
    return sorted(int(name) for name in connection.execute(query).scalars() if name.isdigit())


def _write(tx: Connection, recordings: Sequence[int], standings: dict[int, Standing]) -> None:
    for table in (recording_state, recording_known):
        tx.execute(delete(table).where(table.c.recording.in_(recordings)))
    rows = [(i, s.kind, s.parties_present, s.place_at, s.matter_at, s.case_at, s.mark) for i, s in standings.items()]
    insert_rows(tx, recording_state.name, _COLUMNS, rows)
    known = [(index, account) for index, s in standings.items() for account in sorted(s.known_to)]
    insert_rows(tx, recording_known.name, ("recording", "account"), known)


def _standing(row: Sequence[Any], known: set[str]) -> Standing:
    kind, parties, place, matter, case, mark = row
    parties = bool(parties) if parties in (0, 1) else parties
    return Standing(kind, parties, place, matter, case, mark, frozenset(known))


def _chunks(indexes: Iterable[int]) -> Iterator[list[int]]:
    wanted = sorted(set(indexes))
    for start in range(0, len(wanted), _AT_ONCE):
        yield wanted[start : start + _AT_ONCE]
