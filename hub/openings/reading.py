"""Events as pages tell them: with the values that their commitments stand for, where the hub still holds them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

from custody.event import Event
from custody.stationevents import (
    CameraCheckedOut,
    CameraCheckedOutV2,
    CameraLeft,
    CameraLeftV2,
    CameraOverdue,
    CameraOverdueV2,
    CameraReturned,
    CameraReturnedV2,
)
from hub.language import mark
from hub.openings.rows import Held

# each event that commits, and the one that said the same in plain text: both are told by one sentence
PLAIN: dict[type[Event], type[Event]] = {
    CameraCheckedOutV2: CameraCheckedOut,
    CameraLeftV2: CameraLeft,
    CameraReturnedV2: CameraReturned,
    CameraOverdueV2: CameraOverdue,
}
REMOVED = mark("(removed)")
NOT_HERE = mark("(not in the log)")


class Unshown(str):
    """A marked message that stands in the place of a value."""

    __slots__ = ()


def reveal(event: Event, held: Iterable[Held] = ()) -> Event:
    """An event that commits as its plain forerunner, with what is held, or an `Unshown`; any other as it is."""
    plain = PLAIN.get(type(event))
    if plain is None:
        return event
    by_field = {one.field: one for one in held}
    facts = {f.name: getattr(event, f.name) for f in fields(event) if not f.name.endswith("_commitment")}
    for field in event.COMMITTED:
        one = by_field.get(field)
        value = Unshown(NOT_HERE) if one is None else Unshown(REMOVED) if one.value is None else one.value
        facts[field] = None if getattr(event, f"{field}_commitment") is None else value
    return plain(**facts)
