"""What the verdict on a camera is drawn from, beside its charge and free space: its dockings, its rate, its clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from agent.readiness import CameraClock, ClockEvidence, card_faults, recording_rate
from agent.recognise import Recognised
from agent.source import TimeBasis
from agent.store import Store
from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.events import decode_event
from custody.stationevents import SegmentSealed

RATE_SEGMENTS = 60  # the newest of a camera that its recording rate is drawn from


@dataclass(frozen=True, slots=True)
class DockingFacts:
    """What the dockings of this stay, and earlier footage, say of a camera."""

    unsafe_files: int  # listed and not in the vault
    card_faults: int
    bytes_per_second: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What people have recorded of a camera."""

    open_loans: int  # see `duty.loans`
    set_aside: bool  # not for duty until somebody takes that back


def docking_facts(store: Store, camera: str, dockings: Sequence[str]) -> DockingFacts:
    """From the store, for the dockings of one stay."""
    unsafe = faults = 0
    for docking in dockings:
        counts = store.state_counts(docking)
        unsafe += sum(counts.get(state, (0, 0))[0] for state in ("failed", "planned"))
        faults += card_faults(store.finding_counts(docking), store.gap_files(docking))
    return DockingFacts(unsafe, faults, recording_rate(_segments(store, camera)))


def camera_clock(seen: Recognised) -> CameraClock:
    """What is known of the camera's clock: its own word (where the dock set it, as read back), else its newest file."""
    if seen.ptp is not None and seen.ptp.clock:
        try:
            at = datetime.fromisoformat(seen.ptp.clock)
        except ValueError:
            return CameraClock()
        return CameraClock(ClockEvidence.REPORTED, _aware(at, _zone(seen)), seen.at)
    if seen.said is not None:
        told = seen.said.clock_left_seconds if seen.said.clock_set else seen.said.clock_error_seconds
        if told is not None:
            return CameraClock(ClockEvidence.REPORTED, seen.said.at + timedelta(seconds=told), seen.said.at)
    newest = [(one.newest_ns, one.facts.time_basis) for one in seen.inspections if one.newest_ns is not None]
    if not newest:
        return CameraClock()
    nanoseconds, basis = max(newest)
    zone = UTC if basis is TimeBasis.UTC else _zone(seen)
    try:
        at = datetime(1970, 1, 1, tzinfo=zone) + timedelta(microseconds=nanoseconds // 1000)  # wall clock of that zone
    except OverflowError:
        return CameraClock()
    return CameraClock(ClockEvidence.FILE_TIMES, at, seen.at)


def _segments(store: Store, camera: str) -> list[tuple[int, int]]:
    """Bytes and milliseconds of the newest segments whose duration is known."""
    rows = store.execute(
        "SELECT o.envelope FROM entry e JOIN outbox o ON o.seq = e.seal_seq WHERE e.camera = ? AND e.state = 'sealed' "
        "AND e.size_bytes > 1048576 ORDER BY e.seal_seq DESC LIMIT ?",
        (camera, RATE_SEGMENTS),
    ).fetchall()
    found = []
    for (raw,) in rows:
        try:
            envelope = parse_envelope(bytes(raw))
            event = decode_event(envelope.payload_type, envelope.payload)
        except CustodyError:
            continue
        if isinstance(event, SegmentSealed) and event.media is not None and event.media.duration_ms:
            found.append((event.size_bytes, event.media.duration_ms))
    return found


def _zone(seen: Recognised) -> tzinfo:
    """The zone of the camera's wall clock: its profile's, else the station's own."""
    if seen.profile.time_zone is not None:
        return seen.profile.time_zone
    return datetime.now(UTC).astimezone().tzinfo or UTC


def _aware(at: datetime, zone: tzinfo) -> datetime:
    return at.replace(tzinfo=zone) if at.tzinfo is None else at
