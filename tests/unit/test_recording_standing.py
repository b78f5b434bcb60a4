"""What people state of a recording adds up the same way every time; searches and labels are read strictly."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.event import Event, Sha256Hex
from custody.hubevents import (
    RecordingKnowingChanged,
    RecordingLabelled,
    RecordingLabelsUndone,
    RecordingMarkDecided,
    RecordingMarked,
)
from hub.errors import Invalid
from hub.problems import BadQuery
from hub.recordings.dayline import Gap, lay_out
from hub.recordings.filters import RecordingFilter, parse_filter
from hub.recordings.labelling import Labels, parse_labels
from hub.recordings.queries import RecordingRow
from hub.recordings.standing import MARKS, UNSTATED, Standing, approvals_needed, rank, stand
from hub.search import standing_tokens

SHA = Sha256Hex("ab" * 32)


def made(kind: type[Event], /, **facts: Any) -> Event:
    head = {"id": "", "source": "hub", "seq": 1, "previous": SHA, "at": datetime(2026, 1, 1, tzinfo=UTC)}
    return kind(**head, clock="unknown", **facts)  # type: ignore[arg-type]


def labelled(name: str, **said: Any) -> Event:
    facts = {"kind": None, "parties_present": None} | dict.fromkeys(
        ("place_commitment", "matter_commitment", "case_number_commitment")
    )
    return made(RecordingLabelled, labelling_id=name, recordings=(7,), account="li", **facts | said)


def undone(name: str) -> Event:
    return made(RecordingLabelsUndone, labelling_id=name, recordings=(7,), account="li")


def marked(mark: str, account: str = "li") -> Event:
    return made(RecordingMarked, recordings=(7,), mark=mark, account=account)


def knowing(account: str, *, may_know: bool) -> Event:
    return made(RecordingKnowingChanged, recordings=(7,), account=account, may_know=may_know, decided_by="wang")


def decided(mark: str, *, approved: bool) -> Event:
    return made(RecordingMarkDecided, request_id="", recordings=(7,), mark=mark, approved=approved, decided_by="zhou")


KIND = labelled("a", kind="complaint_report", place_commitment=SHA)
LATER = labelled("b", kind="evidence_taking", parties_present=False)
LI, BOTH = frozenset({"li"}), frozenset({"li", "wang"})
SECRET = Standing(mark="commercial_secret", known_to=frozenset({"li"}))


@pytest.mark.parametrize(
    ("events", "standing"),
    [
        ([], UNSTATED),
        ([KIND], Standing("complaint_report", None, 0)),
        ([KIND, LATER], Standing("evidence_taking", False, 0)),  # what the second does not say stays
        ([KIND, LATER, undone("b")], Standing("complaint_report", None, 0)),
        ([KIND, LATER, undone("a")], Standing("evidence_taking", False)),
        ([KIND, undone("a"), undone("a"), undone("z")], UNSTATED),
        ([KIND, undone("a"), labelled("c", case_number_commitment=SHA)], Standing(case_at=2)),
        ([marked("commercial_secret")], SECRET),
        ([marked("commercial_secret"), marked("privacy", "wang")], SECRET),  # never lower by one person
        ([marked("privacy"), marked("commercial_secret", "wang")], SECRET),  # raising gives nobody what they had not
        ([marked("privacy"), knowing("wang", may_know=True)], Standing(mark="privacy", known_to=BOTH)),
        ([marked("privacy"), knowing("li", may_know=False)], Standing(mark="privacy")),
        ([knowing("wang", may_know=True)], UNSTATED),
        ([marked("commercial_secret"), decided("normal", approved=True)], UNSTATED),
        ([marked("commercial_secret"), decided("normal", approved=False)], SECRET),
        ([marked("commercial_secret"), decided("privacy", approved=True)], Standing(mark="privacy", known_to=LI)),
        ([marked("privacy"), decided("commercial_secret", approved=True)], Standing(mark="privacy", known_to=LI)),
        (
            [marked("privacy"), decided("normal", approved=True), marked("privacy", "wang")],
            Standing(mark="privacy", known_to=BOTH - LI),
        ),
    ],
)  # fmt: skip
def test_statements_add_up(events: list[Event], standing: Standing) -> None:
    assert stand(enumerate(events)) == standing


STEPS = st.sampled_from(
    [marked(mark, who) for mark in MARKS for who in ("li", "wang")]
    + [knowing("wang", may_know=True), knowing("li", may_know=False), KIND, undone("a")]
)


@given(st.lists(STEPS, max_size=8), STEPS)
def test_without_a_second_person_no_mark_ever_falls(before: list[Event], one: Event) -> None:
    earlier, later = stand(enumerate(before)), stand(enumerate([*before, one]))
    assert rank(later.mark) >= rank(earlier.mark)
    assert later.restricted or not later.known_to


def test_a_use_of_what_is_restricted_takes_two_approvals() -> None:
    assert [approvals_needed(mark) for mark in MARKS] == [1, 2, 2, 2]
    with pytest.raises(ValueError, match="not in"):
        approvals_needed("secret")


def test_words_of_the_index_hold_no_text_of_people() -> None:
    tokens = standing_tokens(Standing("evidence_taking", True, 12, None, 13, "privacy", frozenset({"li"})))
    assert tokens[:4] == ["nevidencetaking", "p1", "tp12", "tc13"]
    assert all(token.isalnum() and token.isascii() for token in tokens)
    assert not [token for token in tokens if token[0] in "ac"]  # letters of pieces of names


def test_labels_are_read_strictly() -> None:
    assert parse_labels("", "no", " 人民路 ", "", "") == Labels(parties_present=False, place="人民路")
    for wrong in (
        ("", "", " ", "", ""), ("none", "", "", "", ""), ("", "perhaps", "", "", ""), ("", "", "x" * 201, "", ""),
        ("", "", "", "", "x" * 101), ("", "", "a\nb", "", ""), ("", "", "", "a\u202eb", ""),
        ("", "", "\x1b[31m", "", ""),
    ):  # fmt: skip
        with pytest.raises(Invalid):
            parse_labels(*wrong)


def test_searches_are_read_strictly_and_written_as_they_were() -> None:
    more = {"officer": "1001", "kind": "investigation", "about": " 案 ", "mark": "restricted", "state": "held"}
    full = parse_filter("c", "s", "", "2026-01-01", "", "gaps", "执法", **more, sort="oldest")
    assert (full.about, full.oldest, full.describes, full.searches) == ("案", True, True, True)
    names = {"q": "text", "from": "day_from", "to": "day_to"}
    given = {names.get(name, name): value for name, value in full.parameters}
    assert parse_filter(**{"docking": "", "day_to": "", **given}) == full
    for wrong in (
        {"kind": "x"},
        {"mark": "normal"},
        {"state": "x"},
        {"sort": "size"},
        {"officer": "\0"},
        {"about": "x" * 101},
    ):
        with pytest.raises(BadQuery):
            parse_filter("", "", "", "", "", "", "", **wrong)
    for asked, describes in ((RecordingFilter(station="s"), False), (RecordingFilter(mark="privacy"), False),
                             (RecordingFilter(), False), (RecordingFilter(day_to=date(2026, 1, 1)), True)):  # fmt: skip
        assert asked.describes == describes


# --- a day on one line ---

DAY = date(2026, 3, 5)


def row(index: int, at: str | None, seconds: float | None, docking: str = "d") -> RecordingRow:
    recorded = None if at is None else f"2026-03-05T{at}"
    return RecordingRow(
        index, "dock-1", "C", "1", docking, "a/b.MP4", "b.MP4", 1, 1, SHA, recorded, datetime(2026, 3, 5, tzinfo=UTC),
        seconds, (),
    )  # fmt: skip


def gaps_of(*rows: RecordingRow) -> list[tuple[str, float]]:
    return [(f"{gap.start:%H:%M:%S}", gap.seconds) for gap in lay_out("C", rows, DAY).gaps]


@pytest.mark.parametrize(
    ("rows", "gaps"),
    [
        ([], []),
        ([row(1, "09:00:00", 600), row(2, "09:10:00", 600)], []),
        ([row(1, "09:00:00", 600), row(2, "09:10:04", 600)], []),  # a camera's cut
        ([row(1, "09:00:00", 600), row(2, "09:10:05", 600)], [("09:10:00", 5)]),
        ([row(2, "09:30:00", 60), row(1, "09:00:00", 600)], [("09:10:00", 1200)]),  # in whatever order they came
        ([row(1, "09:00:00", 3600), row(2, "09:10:00", 60), row(3, "10:30:00", 60)], [("10:00:00", 1800)]),  # within
        ([row(1, "09:00:00", None), row(2, "09:30:00", 60)], []),  # nobody knows how long the first one was
        ([row(1, None, 60), row(2, "09:30:00", 60)], []),
    ],
)
def test_gaps_are_found_with_their_length(rows: list[RecordingRow], gaps: list[tuple[str, float]]) -> None:
    assert gaps_of(*rows) == gaps


def test_a_clock_that_jumps_back_is_marked_within_its_offload_only() -> None:
    rows = [row(1, "09:00:00", 60), row(2, "08:00:00", 60), row(3, "07:00:00", 60, "other"), row(4, None, None)]
    line = lay_out("C", rows, DAY)
    assert {piece.row.log_index for piece in line.pieces if piece.jumped} == {2}
    assert [one.log_index for one in line.untimed] == [4]


@given(st.lists(st.tuples(st.integers(0, 86_399), st.integers(0, 2_000)), min_size=1, max_size=20))
def test_everything_lies_on_the_line_in_its_order(times: list[tuple[int, int]]) -> None:
    clock = [f"{at // 3600:02d}:{at // 60 % 60:02d}:{at % 60:02d}" for at, _ in times]
    line = lay_out("C", [row(i, at, times[i][1]) for i, at in enumerate(clock)], DAY)
    assert all(item.left >= 0 and item.left + item.width <= 100.001 for item in line.items)
    assert len(line.pieces) == len(times)
    assert len(line.ticks) <= 8
    recorded = {second for at, length in times for second in range(at, at + length)}
    for item in line.items:
        if isinstance(item, Gap):  # nothing was recorded within it
            first = (item.start - datetime(2026, 3, 5)).total_seconds()  # noqa: DTZ001 (cameras tell no zone)
            assert not recorded & set(range(int(first), int(first + item.seconds)))
