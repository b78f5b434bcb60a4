"""When the hub sends which command again."""

from __future__ import annotations

from custody.commands import KINDS
from hub.commands.policy import RULES
from hub.commands.sending import WINDOW, Sender


def test_new_ones_at_once_then_with_growing_patience() -> None:
    sender = Sender()
    assert sender.due({"a": [1, 2]}, 0) == [("a", 1), ("a", 2)]
    assert sender.due({"a": [1, 2]}, 9) == []
    assert sender.due({"a": [1, 2, 3]}, 9) == [("a", 3)]
    assert sender.due({"a": [1, 2, 3]}, 11) == [("a", 1), ("a", 2), ("a", 3)]
    assert sender.due({"a": [1, 2, 3]}, 30) == []
    assert sender.due({"a": [1, 2, 3]}, 32) == [("a", 1), ("a", 2), ("a", 3)]


def test_a_station_that_answers_gets_only_what_is_new() -> None:
    sender = Sender()
    numbers = list(range(1, 41))
    assert [n for _, n in sender.due({"a": numbers}, 0)] == numbers[:WINDOW]
    assert [n for _, n in sender.due({"a": numbers[5:]}, 1)] == numbers[WINDOW : WINDOW + 5]
    assert sender.due({"a": numbers[5:]}, 10.5) == []  # patience began anew with its answers


def test_a_station_that_comes_back_gets_everything_at_once() -> None:
    sender = Sender()
    sender.due({"a": [1]}, 0)
    assert sender.due({}, 1) == []
    assert sender.due({"a": [1], "b": []}, 2) == [("a", 1)]


def test_every_kind_has_its_rule_and_two_people_where_the_station_asks_for_two() -> None:
    for kind, cls in KINDS.items():
        # the hub's own word: two people stood for the rotation, the use of footage or the removal itself
        if kind in ("key_rotated.v1", "grant.v1", "grant_revoked.v1", "openings_forgotten.v1"):
            assert kind not in RULES
            continue
        assert (RULES[kind].approve is not None) == cls.APPROVED, kind
