"""Where lost envelopes stand, from what keepings tell and receipts claim."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hub.keeping import Run
from hub.restore.placing import Missing, Piece, Told, find_missing, place


def spread(pieces: list[Piece]) -> list[tuple[str | None, int]]:
    """Source and seq of each index."""
    return [(p.source, p.first_seq + i if p.source else 0) for p in pieces for i in range(p.count)]


def test_what_keepings_tell_needs_no_claim() -> None:
    told = [Told(8, 12, (Run("a", 3, 2), Run("hub", 5, 1), Run("b", 1, 1))), Told(12, 14, (Run("a", 5, 2),))]
    pieces = place(10, 14, told, {"a": 4, "hub": 4}, {}, {})
    assert spread(pieces) == [("hub", 5), ("b", 1), ("a", 5), ("a", 6)]
    held = {"hub": [(5, 6)], "b": [(1, 2)], "a": [(6, 9)]}
    assert find_missing(pieces, held) == [Missing(12, 13, "a", 5)]


def test_the_target_cuts_what_was_told_beyond_it() -> None:
    pieces = place(0, 2, [Told(0, 4, (Run("a", 1, 4),))], {}, {}, {})
    assert spread(pieces) == [("a", 1), ("a", 2)]


def test_receipts_place_what_no_keeping_tells_and_the_one_source_left_fills_the_rest() -> None:
    pieces = place(5, 9, [], {"a": 2}, {5: ("b", 1), 8: ("b", 2)}, {"a": 7, "b": 2})
    assert spread(pieces) == [("b", 1), ("a", 3), ("a", 4), ("b", 2)]


def test_two_sources_that_could_stand_there_are_not_guessed() -> None:
    pieces = place(5, 7, [], {}, {}, {"a": 1, "b": 1})
    assert pieces == [Piece(5, 2, None)]
    assert find_missing(pieces, {"a": [(1, 2)], "b": [(1, 2)]}) == [Missing(5, 7, None)]


def test_a_keeping_behind_a_gap_tells_who_fills_it() -> None:
    told = [Told(12, 13, (Run("a", 5, 1),))]
    pieces = place(10, 13, told, {"a": 2}, {}, {"a": 9, "b": 0})
    assert spread(pieces) == [("a", 3), ("a", 4), ("a", 5)]


def test_nothing_at_hand_is_missing_and_unknown() -> None:
    assert find_missing(place(3, 6, [], {}, {}, {}), {}) == [Missing(3, 6, None)]


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 60))
def test_any_log_is_put_together_from_any_of_its_keepings_and_receipts(seed: int, base: int, more: int) -> None:
    chance = random.Random(seed)
    seqs: dict[str, int] = {}
    truth: list[tuple[str, int]] = []
    for _ in range(base + more):
        source = chance.choice(["a", "b", "hub"])
        seqs[source] = seqs.get(source, 0) + 1
        truth.append((source, seqs[source]))
    heads: dict[str, int] = {}
    for source, seq in truth[:base]:
        heads[source] = seq
    cuts = sorted({0, base + more, *(chance.randrange(base + more) for _ in range(4))})
    told, claimed = [], {}
    for start, size in pairwise(cuts):
        if chance.random() < 0.6:
            told.append(Told(start, size, tuple(Run(source, seq, 1) for source, seq in truth[start:size])))
        else:
            claimed |= {index: truth[index] for index in range(max(base, start), size)}
    held = {source: seq for source, seq in seqs.items() if seq > heads.get(source, 0)}
    assert spread(place(base, base + more, told, heads, claimed, held)) == truth[base:]
