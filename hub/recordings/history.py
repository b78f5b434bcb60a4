"""What people have stated of one recording, in order, with the values that openings hold; and what protects it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from custody.event import Event
from custody.hubevents import RecordingLabelled, RecordingLabelsUndone
from hub import log
from hub.commands.holds import HoldFacts, load_holds
from hub.openings.rows import Held, read_openings
from hub.recordings.queries import RecordingRow
from hub.recordings.standing import STATING, Standing, stand
from hub.recordings.states import read_stating
from hub.tables import cosignature, hub_subject, witness

TEXTS = ("place", "matter", "case_number")


@dataclass(frozen=True, slots=True)
class Said:
    """One labelling. Of each text: the value; None where nothing was said, "" where its opening is gone."""

    log_index: int
    at: datetime
    account: str
    kind: str | None
    parties_present: bool | None
    place: str | None
    matter: str | None
    case_number: str | None
    recordings_in_all: int
    undone_by: str | None
    undone_at: datetime | None


@dataclass(frozen=True, slots=True)
class History:
    """All that people stated, and what counts now. `now` has the texts in force, as `Said`."""

    standing: Standing
    said: tuple[Said, ...]  # the newest first
    place: str | None
    matter: str | None
    case_number: str | None


@dataclass(frozen=True, slots=True)
class Safety:
    """What protects a recording beside its seal. `witnesses`: names whose cosignature covers it."""

    witnesses: tuple[str, ...]
    holds: tuple[HoldFacts, ...]


def load_history(connection: Connection, recording: int) -> History:
    """What was stated of the recording whose seal is at this log index."""
    c = hub_subject.c
    named = c.kind == "recording", c.name == str(recording), c.event_type.in_([kind.TYPE for kind in STATING])
    indexes = sorted(connection.execute(select(c.log_index).where(*named)).scalars())
    events = read_stating(connection, indexes)
    held = read_openings(connection, indexes)
    times = log.times_of(connection, indexes)
    undone = {e.labelling_id: (e, times[i]) for i, e in events.items() if isinstance(e, RecordingLabelsUndone)}
    said = tuple(
        _said(index, event, times[index], held.get(index, ()), undone.get(event.labelling_id))
        for index, event in sorted(events.items(), reverse=True)
        if isinstance(event, RecordingLabelled)
    )
    standing = stand(sorted(events.items()))
    by_index = {one.log_index: one for one in said}
    places = (standing.place_at, standing.matter_at, standing.case_at)
    texts = (None if at is None else getattr(by_index[at], name) for name, at in zip(TEXTS, places, strict=True))
    return History(standing, said, *texts)


def load_safety(connection: Connection, row: RecordingRow) -> Safety:
    """Who confirmed the log over this recording, and which holds keep it."""
    in_force = select(witness.c.name).where(witness.c.removed_at.is_(None))
    covering = cosignature.c.size > row.log_index, cosignature.c.witness.in_(in_force)
    names = connection.execute(select(cosignature.c.witness).where(*covering).distinct()).scalars()
    holds = load_holds(connection, row.station)
    return Safety(tuple(sorted(names)), tuple(one for one in holds if one.fits(row.camera, row.docking, row.sha256)))


def _said(
    index: int,
    event: RecordingLabelled,
    at: datetime,
    held: tuple[Held, ...],
    undone: tuple[Event, datetime] | None,
) -> Said:
    values = {one.field: one.value for one in held}
    texts = {name: None if getattr(event, f"{name}_commitment") is None else values.get(name) or "" for name in TEXTS}
    taken_back = undone[0] if undone else None
    by = taken_back.account if isinstance(taken_back, RecordingLabelsUndone) else None
    return Said(
        index, at, event.account, event.kind, event.parties_present, **texts, recordings_in_all=len(event.recordings),
        undone_by=by, undone_at=undone[1] if undone else None,
    )  # fmt: skip
