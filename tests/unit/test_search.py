"""Search finds exactly the names that hold the words, as a plain `in` would, in the real FTS5."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, text

from hub import search
from hub.search import Filters

ANY = Filters()
ALWAYS = (None, None)


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as opened:
        opened.execute(text(search.FTS5_TABLE))
        yield opened
    engine.dispose()


def index(connection: Connection, rows: list[tuple[str, Filters, str | None]]) -> None:
    connection.execute(text("INSERT INTO segment_text(segment_text) VALUES ('delete-all')"))
    for rowid, (path, filters, day) in enumerate(rows):
        document = search.fts5_document(search.document(path, filters, day))
        connection.execute(text("INSERT INTO segment_text(rowid, grams) VALUES (:i, :d)"), {"i": rowid, "d": document})


def find(connection: Connection, wanted: str, filters: Filters = ANY, days=ALWAYS, before=None, limit=100) -> list[int]:
    return search.find(connection, wanted, filters, days, before=before, limit=limit)


NAMES = [
    "DCIM/100MEDIA/VID00001.MP4",
    "执法记录/校外培训/20250305_检查.mp4",
    "Media/Video/DCAM_0000007_123456_20250305_090000_IMP.mp4",
    "a 执法 b.MP4",
    "ＤＣＩＭ/全角.mp4",
    "法mp4",
]


@pytest.mark.parametrize(
    ("wanted", "hits"),
    [
        ("执法", [3, 1]),
        ("法", [5, 3, 1]),
        ("法mp", [5]),
        ("mp4", [5, 4, 3, 2, 1, 0]),
        ("MP", [5, 4, 3, 2, 1, 0]),
        ("dcim", [4, 0]),
        ("20250305", [2, 1]),
        ("20250306", []),
        ("7", [2]),
        ("_检查.", [1]),
        ("执法 0305", [1]),
        ("   ", []),
        ('" OR "*', []),
        ("检查 执法 校外", [1]),
    ],
)
def test_finds_words_in_names(connection: Connection, wanted: str, hits: list[int]) -> None:
    index(connection, [(name, ANY, None) for name in NAMES])
    assert find(connection, wanted) == hits


@given(
    names=st.lists(st.text(alphabet="ab1_/执法 记.é😀", max_size=12), max_size=8),
    word=st.text(alphabet="ab1_/执法记.é😀", min_size=1, max_size=5),
)
def test_agrees_with_plain_containment(connection: Connection, names: list[str], word: str) -> None:
    index(connection, [(name, ANY, None) for name in names])
    expected = [i for i, name in enumerate(names) if word in name]
    assert find(connection, word) == expected[::-1]


def test_filters_and_pages_intersect(connection: Connection) -> None:
    a, b = Filters(camera="A", station="s1", labels=("zero_length", "gaps")), Filters(camera="B", station="s1")
    index(connection, [("x.mp4", a if i % 3 == 0 else b, "2025-03-05") for i in range(30)])
    assert find(connection, "mp4", Filters(camera="A")) == list(range(27, -1, -3))
    assert find(connection, "mp4", Filters(camera="A", station="s2")) == []
    assert find(connection, "mp4", Filters(labels=("gaps",))) == list(range(27, -1, -3))
    assert find(connection, "mp4", Filters(labels=("any",)), before=6) == [3, 0]
    assert find(connection, "mp4", Filters(station="s1"), limit=2) == [29, 28]


@given(
    first=st.dates(date(2019, 11, 1), date(2026, 2, 28)) | st.none(),
    last=st.dates(date(2019, 11, 1), date(2026, 2, 28)) | st.none(),
)
def test_ranges_of_days_hold_exactly_their_days(connection: Connection, first: date | None, last: date | None) -> None:
    days = [date(2020, 1, 1) + timedelta(days=37 * i) for i in range(60)] + [date(2024, 2, 29), date(2020, 12, 31)]
    index(connection, [("x.mp4", ANY, day.isoformat()) for day in days])
    expected = {i for i, day in enumerate(days) if (first or day) <= day <= (last or day)}
    assert set(find(connection, "mp4", days=(first, last))) == expected


def test_postgresql_documents_keep_places() -> None:
    tokens = search.document("执法", ANY, None)
    assert search.tsvector_document(tokens) == "c006267006cd5:1 c006cd5:2"
