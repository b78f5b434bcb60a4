"""The set that a docking keeps of its files: equal to Python's own, at a tenth of the memory."""

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.seen import Seen

NUMBERS = st.integers(0, 2**64 - 1)


@settings(max_examples=30)
@given(st.lists(NUMBERS | st.integers(0, 40)), st.lists(NUMBERS), st.integers(0, 3000))
def test_it_answers_as_a_set_does(added: list[int], asked: list[int], filled: int) -> None:
    """But for 0, which stands for 1: keys are parts of digests, and a meeting costs a version number only."""
    seen, model = Seen(), set[int]()
    for number in (*added, *range(10**9, 10**9 + filled), *added):
        assert seen.add(number) == ((number or 1) not in model)
        model.add(number or 1)
    for number in (*added, *asked):
        assert (number in seen) == ((number or 1) in model)


def test_many_numbers_take_little_memory_wherever_they_would_meet() -> None:
    tracemalloc.start()
    seen = Seen()
    for number in range(1, 10_001):
        seen.add(number << 40)  # all alike in their lower bits
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 24 * 10_000
    assert all(number << 40 in seen for number in range(1, 10_001))
    assert 5 not in seen
