"""Index rows that many entries make together, built again in a scratch database: dockings, cameras, full text.

The scratch database is SQLite on the disk whatever the hub's engine is, so memory does not grow with the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from sqlalchemy import Connection, Table, create_engine, select

from hub.logwalk import plain
from hub.projections import Projection
from hub.recordings.states import with_standings
from hub.search import FTS5_TABLE, FTS5_WORDS, tsvector_document
from hub.tables import camera, docking, metadata

_MANY = 5000
_WORDS = "SELECT term, doc, offset FROM segment_text_words"  # in this order by itself
_WRONG_TEXT = (
    "SELECT min(told.at) FROM unnest(%s::bigint[], %s::text[]) AS told (at, words) "
    "LEFT JOIN segment_bigrams ON log_index = told.at WHERE bigrams IS DISTINCT FROM told.words::tsvector"
)
_EXTRA_TEXT = (
    "SELECT min(log_index) FROM segment_bigrams "
    "WHERE NOT EXISTS (SELECT 1 FROM segment WHERE segment.log_index = segment_bigrams.log_index)"
)
Difference = tuple[str, Any, Any]  # item; the stored row and the derived one, None where there is none


class Scratch:
    """Add the pages of the whole log in order, then ask for the differences."""

    def __init__(self, connection: Connection) -> None:
        """`connection` is to the hub's database."""
        self._hub = connection
        self._fts5 = connection.dialect.name == "sqlite"
        self._engine = create_engine("sqlite://", creator=lambda: sqlite3.connect("", check_same_thread=False))
        self._own = self._engine.connect()
        metadata.create_all(self._own, [docking, camera])
        for made in (FTS5_TABLE, FTS5_WORDS):
            self._own.exec_driver_sql(made)

    def close(self) -> None:
        """The scratch database goes with its connection."""
        self._own.close()
        self._engine.dispose()

    def add(self, projection: Projection) -> Iterator[Difference]:
        """Add one page; what is already seen to differ. Its texts get the words of all that people state of them."""
        projection.texts = with_standings(self._hub, projection.texts)
        projection.write_standing(self._own)
        if self._fts5:
            projection.write_text(self._own)
            return
        places = [index for index, _ in projection.texts]
        documents = [tsvector_document(tokens.split(" ")) for _, tokens in projection.texts]
        wrong = self._hub.exec_driver_sql(_WRONG_TEXT, (places, documents)).scalar_one()
        if wrong is not None:
            yield f"text/{wrong}", (), ()

    def differences(self) -> Iterator[Difference]:
        """The first difference of each kind once everything was added."""
        both = (self._hub, self._own)
        by_index = select(*plain(docking)).order_by(docking.c.first_index).execution_options(yield_per=_MANY)
        pairs = zip_longest(*(connection.execute(by_index) for connection in both))
        yield from _first(docking, pairs)
        # databases order text differently, and cameras are few
        stored, derived = ({row.id: row for row in c.execute(select(*plain(camera)))} for c in both)
        keys = sorted(stored.keys() | derived.keys(), key=str)
        yield from _first(camera, iter([(stored.get(key), derived.get(key)) for key in keys]))
        yield from self._text_difference()

    def _text_difference(self) -> Iterator[Difference]:
        if not self._fts5:
            extra = self._hub.exec_driver_sql(_EXTRA_TEXT).scalar_one()
            if extra is not None:
                yield f"text/{extra}", (), None
            return
        # the driver's own cursors: SQLAlchemy's rows would double the time of the whole check
        stored, derived = (c.connection.cursor() for c in (self._hub, self._own))
        for cursor in (stored, derived):
            cursor.execute(_WORDS)
        while True:
            some, expected = stored.fetchmany(_MANY), derived.fetchmany(_MANY)
            if some != expected:
                one, other = next((a, b) for a, b in zip_longest(some, expected) if a != b)
                # both are in order: the smaller one is what the other side has not
                yield f"text/{min(row for row in (one, other) if row is not None)[1]}", (), ()
            if some != expected or not some:
                return


def _place(row: Any) -> tuple[bool, Any]:
    number = isinstance(row.first_index, int)
    return not number, row.first_index if number else 0


def _first(table: Table, pairs: Iterator[tuple[Any, ...]]) -> Iterator[Difference]:
    for stored, derived in pairs:
        if stored is None or derived is None or tuple(stored) != tuple(derived):
            row = derived if derived is not None else stored
            if stored is not None and derived is not None and table is docking:
                row = min(stored, derived, key=_place)  # the later one is only out of step
            yield f"{table.name}/{row.id if table is camera else f'{row.station}/{row.id}'}", stored, derived
            return
