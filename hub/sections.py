"""Whose things are: the sections that a station, docking or log entry belongs to, and lists limited to a person.

A single thing is asked about by its `Subject`; a list by its `Scope`, which is what the subjects add up to: that the
two agree is tested. Who carried a camera follows from signed events of stations and the openings of what they commit to
(custody/spec/commitments.md); what they do not tell, or do not tell any more, is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Connection, and_, case, false, or_, select, true, union_all

from custody.hubevents import RecordingLabelled
from custody.stationevents import CameraDocked, CameraLeft, CameraLeftV2, CameraReturned, CameraReturnedV2
from hub import log
from hub.access import BUREAU, Action, Actor, Relation, Subject, may, reach
from hub.tables import (
    account,
    camera_event,
    docking,
    hub_subject,
    log_entry,
    opening,
    recording_known,
    recording_state,
    segment,
    station,
)

_AT_ONCE = 500
MAX_CARRIED = 1000  # newest offloads of a person's or section's own that a list of recordings goes through


@dataclass(frozen=True, slots=True)
class Scope:
    """What a list may hold: what these stations keep, and what these officers carried; `stations` None: everything."""

    stations: frozenset[str] | None = None
    officers: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.stations is None

    def docking_parts(self) -> tuple[ColumnElement[bool], ...]:
        """Conditions for rows of `docking`: each row within fulfils exactly one, and each one has an index to go by."""
        if self.stations is None:
            return (true(),)
        theirs = docking.c.station.in_(self.stations)
        return (theirs, self._elsewhere()) if self.officers else (theirs,)

    def _elsewhere(self) -> ColumnElement[bool]:
        """What these officers carried to stations not among ours."""
        taken = select(camera_event.c.camera).where(camera_event.c.log_index.in_(_telling(self.officers)))
        return and_(docking.c.camera.in_(taken), docking.c.station.not_in(self.stations or ()), self._carried())

    def carried(self, connection: Connection) -> tuple[tuple[str, str], ...]:
        """The newest offloads, as (station, id), of what these officers carried, from stations not among ours."""
        if self.stations is None or not self.officers:
            return ()
        query = select(docking.c.station, docking.c.id).where(self._elsewhere())
        rows = connection.execute(query.order_by(docking.c.first_index.desc()).limit(MAX_CARRIED))
        return tuple((row.station, row.id) for row in rows)

    def _carried(self) -> ColumnElement[bool]:
        return _TOLD_BY.in_(_telling(self.officers)) if self.officers else false()


EVERYTHING = Scope()


def carried_by(connection: Connection, officer: str) -> tuple[tuple[str, str], ...]:
    """The newest offloads, as (station, id), of cameras that the officer of this number carried."""
    return Scope(frozenset(), frozenset({officer})).carried(connection)


def scope_of(connection: Connection, actor: Actor, action: Action) -> Scope:
    """What of the index `actor` may do `action` to."""
    far = reach(actor.role, action)
    if Relation.OTHER in far:
        return EVERYTHING
    officers = {actor.officer} - {""}
    if Relation.SECTION not in far:
        return Scope(frozenset(), frozenset(officers))
    found = connection.execute(select(station.c.id, station.c.section)).all()
    held = frozenset(row.id for row in found if row.section == actor.section)
    if len(held) == len(found):
        return EVERYTHING
    colleagues = select(account.c.officer).where(account.c.section == actor.section, account.c.officer != "")
    officers |= set(connection.execute(colleagues).scalars())
    return Scope(held, frozenset(officers))


def station_subject(connection: Connection, name: str) -> Subject | None:
    """Whose a station is; None when there is none of this name."""
    held = connection.execute(select(station.c.section).where(station.c.id == name)).scalar_one_or_none()
    return None if held is None else Subject(frozenset({held}))


def docking_subject(connection: Connection, station_id: str, docking_id: str) -> Subject:
    """Whose an offload and its recordings are: the station's section's, and the officer's who carried the camera."""
    here = docking.c.station == station_id, docking.c.id == docking_id
    told_by = connection.execute(select(_TOLD_BY).where(*here)).scalar_one_or_none()
    officer = None if told_by is None else _officer(connection, told_by)
    sections = (station_subject(connection, station_id) or BUREAU).sections
    if officer:
        sections |= set(connection.execute(select(account.c.section).where(account.c.officer == officer)).scalars())
    return Subject(sections, officer or None)


def recording_subjects(connection: Connection, indexes: Iterable[int]) -> dict[int, Subject]:
    """Whose recordings are, and who may know the restricted ones, by the log index of the seal; no recording: no item.

    The one place where a mark of secrecy (Art. 18) comes into what somebody may see.
    """
    found: dict[int, Subject] = {}
    of_docking: dict[tuple[str, str], Subject] = {}
    c = segment.c
    wanted = sorted(set(indexes))
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        known = _known_to(connection, some)
        for row in connection.execute(select(c.log_index, c.station, c.docking).where(c.log_index.in_(some))):
            key = row.station, row.docking
            if key not in of_docking:
                of_docking[key] = docking_subject(connection, *key)
            found[row.log_index] = replace(of_docking[key], known_to=known.get(row.log_index))
    return found


def hidden_from(name: str) -> ColumnElement[bool]:
    """The condition for rows of `segment`: restricted, and the account `name` may not know them."""
    state, known = recording_state.c, recording_known.c
    restricted = select(state.recording).where(state.recording == segment.c.log_index, state.mark != "normal")
    knows = select(known.recording).where(known.recording == segment.c.log_index, known.account == name)
    return restricted.correlate(segment).exists() & ~knows.correlate(segment).exists()


def hides_files(connection: Connection, name: str, station_id: str, docking_id: str) -> bool:
    """Whether an offload has a restricted recording that the account `name` may not know: its files are not named."""
    here = segment.c.station == station_id, segment.c.docking == docking_id
    restricted = select(recording_state.c.recording).join(segment, segment.c.log_index == recording_state.c.recording)
    query = restricted.where(recording_state.c.mark != "normal", *here, hidden_from(name)).limit(1)
    return connection.execute(query).first() is not None


def concealed(connection: Connection, name: str, indexes: Iterable[int]) -> frozenset[int]:
    """Those of these log entries that tell more of a restricted recording than the account `name` may know.

    Seals, which hold paths, and what people said of recordings in words. That and when something was done, and by whom,
    stays in everybody's log.
    """
    found: set[int] = set()
    wanted = sorted(set(indexes))
    c = hub_subject.c
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        about = {index: {index} for index in some}
        told = c.log_index.in_(some), c.kind == "recording", c.event_type == RecordingLabelled.TYPE
        for row in connection.execute(select(c.log_index, c.name).where(*told)):
            about[row.log_index].add(int(row.name))
        known = _known_to(connection, sorted(set().union(*about.values())))
        hidden = {recording for recording, names in known.items() if name not in names}
        found |= {index for index, recordings in about.items() if recordings & hidden}
    return frozenset(found)


def _known_to(connection: Connection, recordings: Sequence[int]) -> dict[int, frozenset[str]]:
    """Who may know each restricted one of these."""
    state, known = recording_state.c, recording_known.c
    found: dict[int, frozenset[str]] = {}
    for start in range(0, len(recordings), _AT_ONCE):
        some = state.recording.in_(recordings[start : start + _AT_ONCE])
        query = select(state.recording, known.account).outerjoin(recording_known, known.recording == state.recording)
        for row in connection.execute(query.where(some, state.mark != "normal")):
            found[row.recording] = found.get(row.recording, frozenset()) | ({row.account} - {None})
    return found


def entry_subject(connection: Connection, index: int) -> Subject:
    """Whose a log entry is. What the hub states itself is the bureau's."""
    source = connection.execute(select(log_entry.c.source).where(log_entry.c.idx == index)).scalar_one_or_none()
    if source is None or source == log.HUB_SOURCE:
        return BUREAU
    sealed = recording_subjects(connection, [index]).get(index)
    if sealed is not None:
        return sealed
    of_docking = or_(docking.c.started_index == index, docking.c.closed_index == index)
    query = select(docking.c.id).where(docking.c.station == source, of_docking)
    found = connection.execute(query).scalar_one_or_none()
    if found is not None:
        return docking_subject(connection, source, found)
    return station_subject(connection, source) or BUREAU


def openable(connection: Connection, actor: Actor, indexes: Iterable[int]) -> frozenset[int]:
    """Those of these log entries that `actor` may open."""
    return frozenset(i for i in indexes if may(actor, Action.SEE_ENTRY, entry_subject(connection, i)))


def seen_recordings(connection: Connection, actor: Actor, indexes: Iterable[int]) -> frozenset[int]:
    """Those of these log indexes that are seals of recordings which `actor` may see."""
    subjects = recording_subjects(connection, indexes)
    return frozenset(i for i, subject in subjects.items() if may(actor, Action.SEE_RECORDINGS, subject))


def _officer(connection: Connection, index: int) -> str | None:
    """The officer's number of a camera's event: its own, or what its opening shows; None once that was removed."""
    own = connection.execute(select(camera_event.c.officer).where(camera_event.c.log_index == index)).scalar_one()
    if own is not None:
        return str(own) or None
    held = opening.c.log_index == index, opening.c.field == "officer"
    raw = connection.execute(select(opening.c.value).where(*held)).scalar_one_or_none()
    return None if raw is None else bytes(raw).decode() or None


def _telling(officers: frozenset[str]) -> CompoundSelect[Any]:
    """Log indexes of the events that name one of these officers, in the open or in an opening."""
    shown = select(camera_event.c.log_index).where(camera_event.c.officer.in_(officers))
    values = [number.encode() for number in officers]
    return union_all(
        shown, select(opening.c.log_index).where(opening.c.field == "officer", opening.c.value.in_(values))
    )


def _told_by() -> ColumnElement[Any]:
    """Log index of the event that tells who carried the camera before an offload, for a row of `docking`; else null.

    The camera's last departure says who had checked it out, and its return after that says it again. Between it and the
    offload the camera may have been docked once: twice means that it was away without anybody stating it.
    """
    last, before = camera_event.alias("last"), camera_event.alias("before")
    # an offload follows its docking: what the camera had been before that docking
    left = (
        select(case((before.c.kind.in_(_LEFT), before.c.log_index)))
        .where(before.c.camera == last.c.camera, before.c.kind.in_(_KINDS), before.c.log_index < last.c.log_index)
        .order_by(before.c.log_index.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(case((last.c.kind == CameraDocked.TYPE, left), else_=last.c.log_index))
        .where(last.c.camera == docking.c.camera, last.c.kind.in_(_KINDS), last.c.log_index < docking.c.first_index)
        .order_by(last.c.log_index.desc())
        .limit(1)
        .correlate(docking)
        .scalar_subquery()
    )


_LEFT = (CameraLeft.TYPE, CameraLeftV2.TYPE)
_KINDS = (CameraDocked.TYPE, *_LEFT, CameraReturned.TYPE, CameraReturnedV2.TYPE)
_TOLD_BY = _told_by()
