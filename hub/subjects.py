"""Whom and what an event of the hub is about: the rows that the log's filters find it by. Pure.

Entries of stations need none: the index of recordings, dockings and camera events finds them. Whatever the hub states
about a person, a recording or a camera carries it in a field named here, so a new event needs no line of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Literal

from custody.event import Event

Kind = Literal["account", "recording", "camera", "export", "alert"]
FIELDS: dict[str, Kind] = {
    "account": "account",  # the person concerned, or who did it
    "operator": "account",  # an account on the hub's computer
    "requested_by": "account",
    "decided_by": "account",
    "approved_by": "account",
    "withdrawn_by": "account",
    "assigned_to": "account",
    "holder": "account",  # who is to view footage
    "revoked_by": "account",
    "noted_by": "account",
    "recording": "recording",  # log index of its seal
    "recordings": "recording",
    "camera": "camera",
    "camera_id": "camera",
    "bundle_id": "export",
    "export_id": "export",
    "alert_id": "alert",
}


def subjects_of(event: Event) -> Iterator[tuple[Kind, str]]:
    """What `event` is about, each once, in the order of its fields."""
    seen: set[tuple[Kind, str]] = set()
    for field in fields(event):
        kind, value = FIELDS.get(field.name), getattr(event, field.name)
        if kind is None or value is None:
            continue
        for one in value if isinstance(value, tuple) else (value,):
            subject = (kind, str(one).replace("\x00", "\ufffd"))  # as PostgreSQL can hold it
            if subject not in seen:
                seen.add(subject)
                yield subject
