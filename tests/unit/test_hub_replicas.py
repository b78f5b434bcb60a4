"""Who takes which station, among several hub processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.replicas import owner

NAMES = st.text(min_size=1, max_size=12)
STATIONS = [f"dock-{n}" for n in range(300)]


@given(st.sets(NAMES, min_size=1, max_size=6))
def test_everybody_names_the_same_owner_whatever_the_order(alive: set[str]) -> None:
    names = sorted(alive)
    assert [owner(s, names) for s in STATIONS[:20]] == [owner(s, names[::-1]) for s in STATIONS[:20]]
    assert all(owner(s, names) in alive for s in STATIONS[:20])


@given(st.sets(NAMES, min_size=2, max_size=6))
def test_when_one_goes_only_its_stations_move(alive: set[str]) -> None:
    gone = sorted(alive)[0]
    for station in STATIONS[:50]:
        before = owner(station, alive)
        if before != gone:
            assert owner(station, alive - {gone}) == before


def test_each_gets_a_fair_share() -> None:
    shares = {name: sum(owner(s, ("a", "b", "c")) == name for s in STATIONS) for name in "abc"}
    assert min(shares.values()) > 70, shares
