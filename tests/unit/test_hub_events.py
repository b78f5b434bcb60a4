"""No event that can be read is unknown to the hub's rows or pages. Where a match asks for each, type checking tells."""

from __future__ import annotations

from typing import get_args

from custody.events import EVENTS
from custody.hubevents import HUB_EVENTS
from custody.stationevents import STATION_EVENTS
from hub.audit.saying import SENTENCES
from hub.projections import HubEvent, StationEvent
from hub.vocabulary import ENTRY_TYPES


def test_the_matches_are_asked_for_every_event() -> None:
    assert set(get_args(StationEvent)) == set(STATION_EVENTS)
    assert set(get_args(HubEvent)) == set(HUB_EVENTS)
    assert len(EVENTS) == len(STATION_EVENTS) + len(HUB_EVENTS)  # none twice, no type of two


def test_every_event_has_a_sentence_and_a_name() -> None:
    assert set(SENTENCES) == {*STATION_EVENTS, *HUB_EVENTS}
    assert set(ENTRY_TYPES) == set(EVENTS)
