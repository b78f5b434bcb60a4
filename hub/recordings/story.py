"""The chain of custody of one recording as a person would tell it: step by step, each with its log entry, and what the
log does not say. `load_story` reads, `tell` is pure. Whatever the hub states of a recording joins it by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Literal

from sqlalchemy import Connection, select

from custody.event import Event
from custody.hubevents import BundleExported, BundleFinished, UseRequested
from custody.stationevents import (
    CameraCheckedOut,
    CameraCheckedOutV2,
    CameraDocked,
    CameraLeft,
    CameraLeftV2,
    CameraReturned,
    CameraReturnedV2,
    DispositionFinished,
    DispositionIntended,
    DockingClosed,
    DockingStarted,
    SegmentSealed,
)
from hub import log
from hub.audit.queries import read_events
from hub.audit.saying import say_event
from hub.language import mark
from hub.recordings.chain import Recording
from hub.tables import camera_event, checkpoint, checkpoint_timestamp, disposition, hub_subject
from hub.wording import Wording

LATE = timedelta(hours=1)  # between seal and receipt: worth saying
_SEEN = 30  # camera events looked at on either side of an offload
Mood = Literal["plain", "this", "warn"]
# types as the index holds them; `read_events` gives both versions as the first
_OUT = (CameraCheckedOut.TYPE, CameraCheckedOutV2.TYPE)
_BACK = (CameraReturned.TYPE, CameraReturnedV2.TYPE)
_LEFT = (CameraLeft.TYPE, CameraLeftV2.TYPE)


@dataclass(frozen=True, slots=True)
class Stamp:
    """An authority's time-stamp of the first stamped checkpoint that covers the seal."""

    size: int
    stamped_at: datetime
    authority: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the log holds of a recording. `events` are by log index; None is one that this version cannot read."""

    recording: Recording
    events: Mapping[int, Event | None]
    received_at: Mapping[int, datetime]
    covered_by: int  # size of the first checkpoint that includes the seal
    stamp: Stamp | None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `said` and `more` are in the reader's language."""

    said: str
    at: datetime | None
    clock: str  # quality of the clock that `at` is by, in words
    source: str  # who signed it
    index: int | None  # of its log entry, where it is one
    mood: Mood
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """All of it, in order, and what is not known."""

    steps: tuple[Step, ...]
    unknown: tuple[str, ...]


def load_facts(connection: Connection, recording: Recording) -> Facts:
    """Everything in the log that concerns a recording."""
    seal = recording.row.log_index
    links = recording.docking
    indexes = {seal}
    if links is not None:
        indexes |= {index for index in (links.started_index, links.closed_index) if index is not None}
    indexes |= _camera_events(connection, recording, min(indexes), max(indexes))
    c = hub_subject.c
    own = select(c.log_index).where(c.kind == "recording", c.name == str(seal))
    # who asked for it is for those who may see the request (hub/requests/details.py), and touched no footage
    own = own.where(c.event_type != UseRequested.TYPE)
    stated = set(connection.execute(own).scalars())
    exports = select(c.name).where(c.kind == "export", c.log_index.in_(stated))
    for name in connection.execute(exports).scalars().all():  # how each export ended
        indexes |= set(connection.execute(select(c.log_index).where(c.kind == "export", c.name == name)).scalars())
    indexes |= stated | _dispositions(connection, recording)
    first = select(checkpoint.c.size).where(checkpoint.c.size > seal).order_by(checkpoint.c.size).limit(1)
    return Facts(
        recording,
        read_events(connection, indexes),
        log.times_of(connection, indexes),
        connection.execute(first).scalar_one(),
        _stamp(connection, seal),
    )


def _camera_events(connection: Connection, recording: Recording, first: int, last: int) -> set[int]:
    """The stay in the bay that the recording came with, and the check-out before it."""
    c, row = camera_event.c, recording.row
    kinds = (CameraDocked.TYPE, *_OUT, *_BACK, *_LEFT)
    query = select(c.log_index, c.kind, c.station, c.bay).where(c.camera == row.camera, c.kind.in_(kinds))
    before = connection.execute(query.where(c.log_index < first).order_by(c.log_index.desc()).limit(_SEEN)).all()
    after = connection.execute(query.where(c.log_index > first).order_by(c.log_index).limit(_SEEN)).all()
    found: set[int] = set()
    for event in before:  # backwards: the docking, then the check-out that it ended
        here = (event.station, event.bay) == (row.station, row.bay)
        if event.kind in _LEFT and here and not found:
            break  # it left before this offload: its docking is not in the log
        if event.kind == CameraDocked.TYPE and found & {e.log_index for e in before if e.kind == CameraDocked.TYPE}:
            break
        found.add(event.log_index)
        if event.kind in _OUT:
            break
    for event in after:
        if (event.station, event.bay) != (row.station, row.bay) or event.kind == CameraDocked.TYPE:
            break
        if event.kind not in _OUT or event.log_index < last:
            found.add(event.log_index)
        if event.kind in _LEFT:
            break
    return found


def _dispositions(connection: Connection, recording: Recording) -> set[int]:
    """What the station stated of dispositions that name this file."""
    row, c, ended = recording.row, camera_event.c, disposition.c
    begun = select(c.log_index).where(
        c.camera == row.camera, c.station == row.station, c.kind == DispositionIntended.TYPE
    )
    over = select(ended.log_index).where(ended.station == row.station, ended.docking == row.docking)
    indexes = {index for query in (begun, over) for index in connection.execute(query).scalars()}
    return {index for index, event in read_events(connection, indexes).items() if _names(event, recording)}


def _names(event: Event | None, recording: Recording) -> bool:
    entry, docking = recording.sealed.entry, recording.row.docking
    match event:
        case DispositionIntended(docking_id=of, entries=entries):
            return of == docking and entry in entries
        case DispositionFinished(docking_id=of, disposed=gone, kept=kept):
            return of == docking and entry in (*gone, *kept)
    return False


def _stamp(connection: Connection, seal: int) -> Stamp | None:
    c = checkpoint_timestamp.c
    query = select(c.size, c.stamped_at, c.authority).where(c.size > seal).order_by(c.size).limit(1)
    row = connection.execute(query).one_or_none()
    return Stamp(row.size, datetime.fromisoformat(row.stamped_at), row.authority) if row else None


def tell(words: Wording, facts: Facts) -> Story:
    """The story in the words of a language.

    In the order in which the hub learnt of it, which nobody can change afterwards: clocks of stations may be wrong.
    """
    steps = [(facts.received_at[index], _step(words, facts, index)) for index in sorted(facts.events)]
    steps += [(step.at, step) for step in _received(words, facts) if step.at is not None]
    steps.sort(key=itemgetter(0))  # what came at one time stays as it is: entries first, by their indexes
    return Story(tuple(step for _, step in steps), tuple(_unknown(words, facts)))


def _step(words: Wording, facts: Facts, index: int) -> Step:
    event = facts.events[index]
    source = event.source if event else ""
    mood: Mood = "this" if index == facts.recording.row.log_index else "plain"
    if (isinstance(event, DockingClosed | BundleFinished) and not event.complete) or (
        isinstance(event, CameraLeft) and event.offload != "safe"
    ):
        mood = "warn"
    if isinstance(event, DispositionFinished):
        mood = "warn"
    at = event.at if event else facts.received_at.get(index)
    clock = words.clock(event.clock) if event and event.source != log.HUB_SOURCE else ""
    more = (words.say(READ_BACK),) if mood == "this" else ()
    if isinstance(event, DispositionFinished):
        gone = facts.recording.sealed.entry in event.disposed
        more = (words.say(GONE if gone else STAYED),)
    return Step(say_event(words, event), at, clock, source, index, mood, more)


GONE = mark("This file has left the vault. Its seal, chunk hashes and manifest stay and prove what it was.")
STAYED = mark("This file stayed in the vault.")
READ_BACK = mark("“Read back” means: read again from the station's disk and compared, before it counted as saved.")
RECEIVED = mark(
    "The hub checked the signature, took it in as log entry %(index)s and signed a receipt for the station."
)
LATER = mark("That was %(time)s after it was sealed; until then it waited at the station.")
COVERED = mark("Since the checkpoint of %(size)s entries nobody can change or remove it unnoticed.")
STAMPED = mark("%(authority)s, a time-stamping authority, confirmed the checkpoint of %(size)s entries.")


def _received(words: Wording, facts: Facts) -> list[Step]:
    """What followed from the seal at the hub: not entries of their own, but provable from the log."""
    recording = facts.recording
    received_at, sealed_at = recording.proof.entry.received_at, recording.sealed.at
    more = [words.say(COVERED, size=f"{facts.covered_by:,}")]
    if received_at - sealed_at > LATE:
        more.insert(0, words.say(LATER, time=words.duration((received_at - sealed_at).total_seconds())))
    index = recording.row.log_index
    found = [Step(words.say(RECEIVED, index=f"{index:,}"), received_at, "", log.HUB_SOURCE, None, "plain", tuple(more))]
    if facts.stamp:
        said = words.say(STAMPED, authority=facts.stamp.authority, size=f"{facts.stamp.size:,}")
        found.append(Step(said, facts.stamp.stamped_at, "", facts.stamp.authority, None, "plain"))
    return found


NOT_PROVED = mark("The stored bytes do not fit the station's key or the checkpoint. Nothing below can be relied upon.")
NO_DOCKED = mark("When the camera was put into the bay is not in the log; only the offload is.")
NO_OFFICER = mark("Who carried the camera and put it into the bay is not in the log: nobody had checked it out.")
NO_START = mark("The beginning of the offload is not in the log.")
NO_END = mark("The end of the offload is not in the log yet. Its manifest follows with it.")
NOT_WHOLE = mark("The offload did not end well: %(reason)s. Other files of this camera may be missing.")
NO_LEFT = mark("That the camera left the bay is not in the log yet.")
GAPS = mark("%(size)s of this file could not be read from the card; the copy holds zeros there.")
CHANGED = mark("The camera changed the file while it was copied.")
CLOCK = mark(
    "The station's clock was not known to be right. Its times are its own claim; the time of receipt is the hub's."
)
CAMERA_TIME = mark("When it was recorded is the camera's claim: no clock but the camera's own was there.")
NO_STAMP = mark("No time-stamp of an outside authority covers it: times rest on the clocks of station and hub.")
NO_EXPORT = mark("No export through the hub is in the log. Copies made past it are not known here.")
BEFORE = mark("What happened before the dock read the card, and whether the picture is true, no record here can show.")


def _unknown(words: Wording, facts: Facts) -> list[str]:
    recording, seen = facts.recording, [event for event in facts.events.values() if event is not None]

    def has(*kinds: type[Event]) -> bool:
        return any(isinstance(event, kinds) for event in seen)

    closed = next((event for event in seen if isinstance(event, DockingClosed)), None)
    seal: SegmentSealed = recording.sealed
    found = [
        (NOT_PROVED, not (recording.proof.holds and recording.proof.signed_by)),
        (NO_DOCKED, not has(CameraDocked)),
        (NO_OFFICER, not has(CameraCheckedOut, CameraReturned)),
        (NO_START, not has(DockingStarted)),
        (NO_END, closed is None),
        (NO_LEFT, closed is not None and has(CameraDocked) and not has(CameraLeft)),
        (CHANGED, seal.changed_while_copied),
        (CLOCK, seal.clock != "synchronised"),
        (CAMERA_TIME, True),
        (NO_STAMP, facts.stamp is None),
        (NO_EXPORT, not has(BundleExported)),
        (BEFORE, True),
    ]
    said = [words.say(message) for message, holds in found if holds]
    if closed is not None and not closed.complete:
        said.insert(0, words.say(NOT_WHOLE, reason=words.reason(closed.reason)))
    if seal.gap_bytes:
        said.insert(0, words.say(GAPS, size=f"{seal.gap_bytes:,} B"))
    return said
