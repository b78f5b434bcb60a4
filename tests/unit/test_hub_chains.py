"""What an authentic envelope is to its station's chain: the whole table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.chains import ChainEnd, Verdict, judge
from hub.opening import Link, Message

MESSAGE = Message("custodock/1/dock-1/events", b"", "dock-1")


def link(seq: int, previous: str, sha256: str, key: str = "now") -> Link:
    return Link(MESSAGE, "dock-1", seq, previous, sha256, "test", None, None, "", key, key)


@pytest.mark.parametrize(
    ("seq", "previous", "sha256", "logged", "verdict"),
    [
        (6, "five", "six", None, Verdict.ACCEPT),
        (6, "other", "six", None, Verdict.FORK),
        (5, "four", "five", "five", Verdict.DUPLICATE),
        (5, "four", "other", "five", Verdict.FORK),
        (1, "zero", "one", "one", Verdict.DUPLICATE),
        (5, "four", "five", None, Verdict.FORK),  # below the end, yet not in the log: never "seen"
        (7, "six", "seven", None, Verdict.GAP),
        (7, "five", "seven", None, Verdict.GAP),
    ],
)
def test_judge(seq: int, previous: str, sha256: str, logged: str | None, verdict: Verdict) -> None:
    assert judge(ChainEnd(5, "five", frozen=False, key_line="now"), link(seq, previous, sha256), logged) is verdict
    assert (
        judge(ChainEnd(5, "five", frozen=True, key_line="now"), link(seq, previous, sha256), logged) is Verdict.FROZEN
    )


@pytest.mark.parametrize(
    ("seq", "previous", "sha256", "logged", "verdict"),
    [
        (5, "four", "five", "five", Verdict.DUPLICATE),  # from before the rotation: it gets its receipt again
        (5, "four", "other", "five", Verdict.OLD_KEY),
        (6, "five", "six", None, Verdict.OLD_KEY),
        (7, "six", "seven", None, Verdict.OLD_KEY),
    ],
)
def test_an_old_key_only_repeats(seq: int, previous: str, sha256: str, logged: str | None, verdict: Verdict) -> None:
    end = ChainEnd(5, "five", frozen=False, key_line="now")
    assert judge(end, link(seq, previous, sha256, "before"), logged) is verdict


@given(st.permutations(range(1, 9)), st.lists(st.integers(1, 8), max_size=8))
def test_any_order_with_repetitions_ends_in_the_same_chain(order: list[int], again: list[int]) -> None:
    end, logged = ChainEnd(0, "0", frozen=False, key_line="now"), dict[int, str]()
    waiting = [*order, *again]
    while end.seq < 8:  # what is asked for again comes again
        for seq in waiting:
            one = link(seq, str(seq - 1), str(seq))
            verdict = judge(end, one, logged.get(seq))
            assert verdict in (Verdict.ACCEPT, Verdict.DUPLICATE, Verdict.GAP)
            if verdict is Verdict.ACCEPT:
                end.seq, end.sha256, logged[seq] = seq, one.sha256, one.sha256
    assert [logged[seq] for seq in range(1, 9)] == [str(seq) for seq in range(1, 9)]
