"""Saying what recordings are about, and taking a labelling back: each function is one transaction and one event.

Art. 4 gives the kinds, Art. 10 asks for place, time, matter and parties. Time and officer are signed facts of stations.
Texts may tell of persons: the log holds commitments to them, the values lie in openings (custody/spec/commitments.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import Connection, select

from custody.hubevents import MAX_LABELLED_RECORDINGS, RecordingKind, RecordingLabelled, RecordingLabelsUndone
from hub import log
from hub.access import Action, Actor, may, may_ever
from hub.db import Database
from hub.errors import Invalid, NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.language import mark
from hub.problems import NotAllowed, NotOpenAnyMore
from hub.recordings.states import read_stating, refresh
from hub.sections import recording_subjects
from hub.tables import hub_subject

KINDS: tuple[str, ...] = get_args(RecordingKind)
MAX_CHARACTERS = {"place": 200, "matter": 200, "case_number": 100}  # together below an opening's 4,096 bytes

NOTHING_SAID = mark("Nothing was stated: choose or enter at least one thing.")
BAD_TEXT = mark("Nothing was stated: place and matter are one line of at most 200 characters, a case number of 100.")
BAD_KIND = mark("Nothing was stated: there is no such kind.")
NONE_CHOSEN = mark("Nothing was done: choose 1 to 1,000 recordings.")


@dataclass(frozen=True, slots=True)
class Labels:
    """What is said of recordings; None: nothing is said of this."""

    kind: str | None = None
    parties_present: bool | None = None
    place: str | None = None
    matter: str | None = None
    case_number: str | None = None


def parse_labels(kind: str, parties: str, place: str, matter: str, case_number: str) -> Labels:
    """Labels from the texts of a form; "" says nothing. Raises Invalid with a marked message."""
    texts = {"place": place.strip(), "matter": matter.strip(), "case_number": case_number.strip()}
    if any(len(value) > MAX_CHARACTERS[name] or not value.isprintable() for name, value in texts.items()):
        raise Invalid(BAD_TEXT)
    if kind not in ("", *KINDS) or parties not in ("", "yes", "no"):
        raise Invalid(BAD_KIND)
    present = None if not parties else parties == "yes"
    labels = Labels(kind or None, present, *(texts[name] or None for name in ("place", "matter", "case_number")))
    if labels == Labels():
        raise Invalid(NOTHING_SAID)
    return labels


def label_recordings(
    db: Database, keys: HubKeys, actor: Actor, recordings: Sequence[int], labels: Labels, now: datetime
) -> int:
    """State `labels` of these recordings; the log index of the statement, which is the name to undo it by.

    Raises NotFound for what `actor` may not see, NotAllowed, Invalid.
    """
    with db.begin() as tx:
        with log.appending(tx, keys, now) as entries:
            wanted = checked(tx, actor, Action.LABEL_RECORDINGS, recordings)
            facts = {"kind": labels.kind, "parties_present": labels.parties_present, "place": labels.place}
            facts |= {"matter": labels.matter, "case_number": labels.case_number}
            at = entries.record(
                RecordingLabelled, labelling_id=new_id(now), recordings=wanted, account=actor.name, **facts
            )
        refresh(tx, wanted)
    return at


def undo_labelling(db: Database, keys: HubKeys, actor: Actor, log_index: int, now: datetime) -> None:
    """Let a labelling count no more, for all its recordings. Raises NotFound, NotAllowed, NotOpenAnyMore."""
    with db.begin() as tx:
        with log.appending(tx, keys, now) as entries:
            event = read_labelling(tx, log_index)
            if event is None:
                raise NotFound
            wanted = checked(tx, actor, Action.LABEL_RECORDINGS, event.recordings)
            if is_undone(tx, event):
                raise NotOpenAnyMore
            facts: dict[str, Any] = {"labelling_id": event.labelling_id, "recordings": wanted}
            entries.record(RecordingLabelsUndone, **facts, account=actor.name)
        refresh(tx, wanted)


def checked(connection: Connection, actor: Actor, action: Action, recordings: Sequence[int]) -> tuple[int, ...]:
    """These recordings, each once, rising. Raises Invalid for none or too many, NotFound, NotAllowed."""
    wanted = tuple(sorted(set(recordings)))
    if not 1 <= len(wanted) <= MAX_LABELLED_RECORDINGS:
        raise Invalid(NONE_CHOSEN)
    if not may_ever(actor, action):
        raise NotAllowed
    subjects = recording_subjects(connection, wanted)
    seen = (index in subjects and may(actor, Action.SEE_RECORDINGS, subjects[index]) for index in wanted)
    if not all(seen):
        raise NotFound
    if not all(may(actor, action, subject) for subject in subjects.values()):
        raise NotAllowed
    return wanted


def read_labelling(connection: Connection, log_index: int) -> RecordingLabelled | None:
    """The labelling that the hub stated at this log index."""
    event = read_stating(connection, [log_index]).get(log_index)
    return event if isinstance(event, RecordingLabelled) and event.source == log.HUB_SOURCE else None


def is_undone(connection: Connection, labelling: RecordingLabelled) -> bool:
    """Whether somebody took it back."""
    c = hub_subject.c
    first = str(labelling.recordings[0])
    query = select(c.log_index).where(
        c.kind == "recording", c.name == first, c.event_type == RecordingLabelsUndone.TYPE
    )
    undone = read_stating(connection, connection.execute(query).scalars()).values()
    return any(
        isinstance(event, RecordingLabelsUndone) and event.labelling_id == labelling.labelling_id for event in undone
    )
