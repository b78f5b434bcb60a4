"""Index rows out of events: what intake writes beside the log and ``dock-hub reindex`` writes again.

`project` is pure and needs no place in the log yet; `Projection` gives its rows their log indexes and puts them down in
the caller's transaction. Rows are never authoritative: the log is.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never, cast, get_args

from sqlalchemy import Connection, bindparam, update

from custody.event import Event
from custody.hubevents import (
    AccountChangeDecided,
    AccountChangeRequested,
    AccountCreated,
    AlertHandled,
    AlertOpened,
    AlertResolved,
    BundleExported,
    BundleFinished,
    CommandApproved,
    CommandIssued,
    CommandRequested,
    CommandWithdrawn,
    CopyEnded,
    EnvelopeRefused,
    ExportDecided,
    ExportRequested,
    FootageMismatched,
    FootageViewed,
    FootageViewStarted,
    IdentityLinked,
    IdentityUnlinked,
    IdentityUsed,
    KeyRevocationRequested,
    KeyRevoked,
    KeyRotated,
    KeyRotationRequested,
    LogExported,
    LogExportFinished,
    LogReaderAdded,
    LogReaderRevoked,
    LogRestored,
    OpeningRemovalRequested,
    OpeningRemoved,
    RecordingKnowingChanged,
    RecordingLabelled,
    RecordingLabelsUndone,
    RecordingMarkDecided,
    RecordingMarked,
    RecordingMarkRequested,
    SecondFactorSet,
    SectionDecided,
    SectionRequested,
    SignedIn,
    StationEnrolled,
    StationEnrolledV2,
    StationEnrolmentRefused,
    StationEnrolmentRequested,
    StationFrozen,
    TokenAdded,
    TokenRevoked,
    UseDecided,
    UseRequested,
    UseRevoked,
    WitnessAdded,
    WitnessPolicySet,
    WitnessRefused,
    WitnessRemovalRequested,
    WitnessRemoved,
    WitnessRemovedV2,
)
from custody.stationevents import (
    CameraChecked,
    CameraCheckedOut,
    CameraCheckedOutV2,
    CameraDocked,
    CameraLeft,
    CameraLeftV2,
    CameraOverdue,
    CameraOverdueV2,
    CameraReturned,
    CameraReturnedV2,
    CameraUnlocked,
    CommandAnswered,
    DeviceRefused,
    DispositionFinished,
    DispositionIntended,
    DockingClosed,
    DockingStarted,
    LogCleared,
    LogRefused,
    ReleaseFinished,
    ReleaseIntended,
    SecretKept,
    SegmentSealed,
    StationKeyRotated,
    StationStarted,
    ViewingOffered,
    WitnessOffered,
)
from hub.db import Row, insert_rows, upsert_rows
from hub.search import Filters, document, fts5_document, tsvector_document
from hub.tables import (
    camera,
    camera_event,
    command_answer,
    disposition,
    docking,
    segment,
    segment_bigrams,
    station,
    unprojected,
)
from hub.times import to_text

CameraEvent = (
    CameraUnlocked
    | CameraDocked
    | CameraChecked
    | CameraCheckedOut
    | CameraLeft
    | CameraReturned
    | CameraOverdue
    | CameraCheckedOutV2
    | CameraLeftV2
    | CameraReturnedV2
    | CameraOverdueV2
    | DeviceRefused
    | ReleaseIntended
    | ReleaseFinished
    | DispositionIntended
)
ChainEvent = WitnessOffered | LogRefused | LogCleared | StationKeyRotated | SecretKept | ViewingOffered
StationEvent = (
    StationStarted
    | DockingStarted
    | SegmentSealed
    | DockingClosed
    | CameraEvent
    | ChainEvent
    | CommandAnswered
    | DispositionFinished
)
HubEvent = (
    StationEnrolled
    | StationEnrolledV2
    | StationEnrolmentRequested
    | StationEnrolmentRefused
    | StationFrozen
    | KeyRevocationRequested
    | KeyRevoked
    | EnvelopeRefused
    | AccountCreated
    | AccountChangeRequested
    | AccountChangeDecided
    | SectionRequested
    | SectionDecided
    | SecondFactorSet
    | SignedIn
    | TokenAdded
    | TokenRevoked
    | IdentityLinked
    | IdentityUnlinked
    | IdentityUsed
    | ExportRequested
    | ExportDecided
    | UseRequested
    | UseDecided
    | UseRevoked
    | CopyEnded
    | BundleExported
    | BundleFinished
    | LogReaderAdded
    | LogReaderRevoked
    | LogExported
    | LogExportFinished
    | LogRestored
    | WitnessAdded
    | WitnessRemoved
    | WitnessRemovalRequested
    | WitnessRemovedV2
    | WitnessPolicySet
    | WitnessRefused
    | CommandRequested
    | CommandApproved
    | CommandWithdrawn
    | CommandIssued
    | KeyRotationRequested
    | KeyRotated
    | OpeningRemovalRequested
    | OpeningRemoved
    | AlertOpened
    | AlertHandled
    | AlertResolved
    | FootageViewStarted
    | FootageViewed
    | FootageMismatched
    | RecordingLabelled
    | RecordingLabelsUndone
    | RecordingMarked
    | RecordingKnowingChanged
    | RecordingMarkRequested
    | RecordingMarkDecided
)

SEGMENT_COLUMNS = tuple(c.name for c in segment.columns)
_AT = {name: place for place, name in enumerate(SEGMENT_COLUMNS[1:])}
_STARTED_COLUMNS = (
    "station", "id", "camera", "bay", "source_kind", "started_at", "new_files", "new_bytes", "started_index",
    "first_index",
)  # fmt: skip
_CLOSED_COLUMNS = (
    "station", "id", "camera", "bay", "closed_at", "complete", "reason", "listed", "copied", "already_saved", "failed",
    "skipped", "deleted_seen", "unreadable", "bytes_copied", "manifest_sha256", "manifest_bytes", "closed_index",
    "first_index",
)  # fmt: skip
_CAMERA_COLUMNS = ("id", "first_seen_at", "last_seen_at", "last_station")
_CAMERA_EVENT_COLUMNS = tuple(c.name for c in camera_event.columns)
_ANSWER_COLUMNS = tuple(c.name for c in command_answer.columns)
_DISPOSITION_COLUMNS = tuple(c.name for c in disposition.columns)
CAMERA_EVENT_TYPES = frozenset(cls.TYPE for cls in get_args(CameraEvent))
_UNPROJECTED_COLUMNS = tuple(c.name for c in unprojected.columns)


# What one event gives: its type; its row without log indexes; its tokens for the text index, with a space between.
# Plain values only, because the opener hands them over from its process (`hub.opener`).
Draft = tuple[str, Row, str]
NOT_FOR_STATIONS = "not_for_stations"  # why an event that `project` gives nothing for is set aside


def project(event: Event, utc_offset_minutes: int) -> Draft | None:
    """The row of one event of a station, or None for one that is not for stations to state.

    `utc_offset_minutes`: local time of the stations, for times that a source gives in UTC.
    """
    known = cast(StationEvent | HubEvent, event)
    match known:
        case SegmentSealed():
            row = _segment(known, timedelta(minutes=utc_offset_minutes))
            return known.TYPE, row, segment_document(row)
        case DockingStarted():
            return known.TYPE, _started(known), ""
        case DockingClosed():
            return known.TYPE, _closed(known), ""
        case StationStarted():
            return known.TYPE, (known.source, _text(known.software)), ""
        case StationKeyRotated():
            return known.TYPE, (known.source,), ""  # its rows are the chain's: `hub.chains.keep_key`
        case WitnessOffered():
            return known.TYPE, (known.source, _text(known.key_line)), ""
        case LogRefused() | LogCleared() | SecretKept() | ViewingOffered():
            return known.TYPE, (known.source,), ""  # no rows: pages find them in the log by type
        case (
            CameraUnlocked()
            | CameraDocked()
            | CameraChecked()
            | CameraCheckedOut()
            | CameraLeft()
            | CameraReturned()
            | CameraOverdue()
            | CameraCheckedOutV2()
            | CameraLeftV2()
            | CameraReturnedV2()
            | CameraOverdueV2()
            | DeviceRefused()
            | ReleaseIntended()
            | ReleaseFinished()
            | DispositionIntended()
        ):
            return known.TYPE, _camera_event(known), ""
        case CommandAnswered():
            return known.TYPE, _answer(known), ""
        case DispositionFinished():
            return known.TYPE, _disposition(known), ""
        case _:
            if not isinstance(known, HubEvent):
                assert_never(known)
            return None  # true or not, it is not for a station to say; the hub writes its own rows when it acts


class Projection:
    """The rows of a run of log entries, in log order."""

    def __init__(self) -> None:
        """Empty."""
        self.segments: list[Row] = []
        self.texts: list[Row] = []
        self._dockings: list[tuple[tuple[str, ...], Row]] = []
        self._cameras: dict[str, Row] = {}
        self.software: dict[str, str] = {}
        self.witness_keys: dict[str, str] = {}  # as stations offer them
        self.camera_events: list[Row] = []
        self.command_answers: list[Row] = []
        self.dispositions: list[Row] = []
        self.unprojected: list[Row] = []

    def add(self, log_index: int, draft: Draft, received_at: str) -> None:
        """Collect the rows of one entry."""
        kind, row, tokens = draft
        if kind == StationStarted.TYPE:
            self.software[row[0]] = row[1]
            return
        if kind == WitnessOffered.TYPE:
            self.witness_keys[row[0]] = row[1]
            return
        if kind in (LogRefused.TYPE, LogCleared.TYPE, StationKeyRotated.TYPE, SecretKept.TYPE, ViewingOffered.TYPE):
            return
        if kind in CAMERA_EVENT_TYPES:
            self.camera_events.append((log_index, *row))
            return
        if kind == CommandAnswered.TYPE:
            self.command_answers.append((log_index, *row))
            return
        if kind == DispositionFinished.TYPE:
            self.dispositions.append((log_index, *row))
            return
        if kind == SegmentSealed.TYPE:
            self.segments.append((log_index, *row))
            self.texts.append((log_index, tokens))
            name, camera_id = row[:2]
        else:
            columns = _STARTED_COLUMNS if kind == DockingStarted.TYPE else _CLOSED_COLUMNS
            self._dockings.append((columns, (*row, log_index, log_index)))
            name, _, camera_id = row[:3]
        first = self._cameras[camera_id][1] if camera_id in self._cameras else received_at
        self._cameras[camera_id] = (camera_id, first, received_at, name)

    def set_aside(self, log_index: int, source: str, event_type: str, reason: str, received_at: str) -> None:
        """Keep an authentic entry visible that gives no index rows."""
        self.unprojected.append((log_index, source, event_type, reason, received_at))

    def write(self, tx: Connection) -> None:
        """Put down everything collected."""
        insert_rows(tx, segment.name, SEGMENT_COLUMNS, self.segments)
        self.write_text(tx)
        self.write_standing(tx)
        insert_rows(tx, camera_event.name, _CAMERA_EVENT_COLUMNS, self.camera_events)
        insert_rows(tx, command_answer.name, _ANSWER_COLUMNS, self.command_answers)
        insert_rows(tx, disposition.name, _DISPOSITION_COLUMNS, self.dispositions)
        insert_rows(tx, unprojected.name, _UNPROJECTED_COLUMNS, self.unprojected)
        for column, said in (("software", self.software), ("witness_key", self.witness_keys)):
            if said:
                tx.execute(
                    update(station).where(station.c.id == bindparam("key")).values({column: bindparam("said")}),
                    [{"key": key, "said": text} for key, text in said.items()],
                )

    def write_text(self, tx: Connection) -> None:
        """Put down what makes segments findable by their words."""
        _index_text(tx, self.texts)

    def write_standing(self, tx: Connection) -> None:
        """Put down the rows that many entries make together: dockings and cameras."""
        for columns, row in self._dockings:
            upsert_rows(tx, docking, columns, [row], keep=("first_index",))
        upsert_rows(tx, camera, _CAMERA_COLUMNS, list(self._cameras.values()), keep=("first_seen_at",))


def _camera_event(e: CameraEvent) -> Row:
    """Values in the order of `_CAMERA_EVENT_COLUMNS`, from the second on; a field that an event lacks is None.

    So is one that it only commits to: its value is in `hub.openings` and nowhere else.
    """
    said: dict[str, Any] = {name: getattr(e, name, None) for name in ("bay", "camera_id", "verdict", "officer")}
    camera_id = e.serial if isinstance(e, CameraUnlocked) else said["camera_id"] or ""
    reasons = list(getattr(e, "reasons", ()))
    if isinstance(e, DeviceRefused | ReleaseFinished):
        reasons = [e.reason if isinstance(e, DeviceRefused) else e.rule]
    due_at = getattr(e, "due_at", None)
    return (
        e.source,
        _text(said["bay"] or ""),
        _text(camera_id),
        e.TYPE,
        to_text(e.at),
        said["verdict"],
        _text(json.dumps(reasons, ensure_ascii=False)),
        None if said["officer"] is None else _text(said["officer"]),
        e.charge.percent if isinstance(e, CameraChecked) else None,
        e.free_minutes if isinstance(e, CameraChecked) else None,
        e.offload if isinstance(e, CameraLeft | CameraLeftV2) else None,
        None if due_at is None else to_text(due_at),
        isinstance(e, CameraDocked) and e.disputed,
    )


def _answer(e: CommandAnswered) -> Row:
    """Values in the order of `_ANSWER_COLUMNS`, from the second on."""
    return e.source, e.number, _text(e.kind), e.command_sha256, e.result, _text(e.reason), to_text(e.at)


def _disposition(e: DispositionFinished) -> Row:
    """Values in the order of `_DISPOSITION_COLUMNS`, from the second on."""
    named = (e.source, _text(e.docking_id), e.command_sha256, e.outcome, _text(e.rule))
    return (*named, json.dumps(list(e.disposed)), len(e.kept), to_text(e.at))


def _segment(e: SegmentSealed, offset: timedelta) -> Row:
    """Values in the order of `SEGMENT_COLUMNS`, from the second on."""
    path, media = _text(e.path), e.media
    recorded_at = _recorded_at(e, offset)
    return (
        e.source,
        _text(e.camera_id),
        _text(e.bay),
        _text(e.docking_id),
        e.entry,
        path,
        path.rpartition("/")[2],
        e.version,
        _text(e.vault_path),
        e.size_bytes,
        e.sha256,
        e.tree_root,
        e.chunk_count,
        recorded_at,
        recorded_at[:10] if recorded_at else None,
        to_text(e.at),
        media.duration_ms if media else None,
        _text(media.container) if media and media.container else None,
        _text(media.video_codec) if media and media.video_codec else None,
        labels_of(e),
        e.gap_count,
        e.gap_bytes,
    )


def _recorded_at(e: SegmentSealed, offset: timedelta) -> str | None:
    """Local time without zone: the medium's own start, else the file's time; None when neither can be read."""
    started = _local(e.media.started_at if e.media else None, offset, zone_missing_means_utc=False)
    return started or _local(e.modified_at, offset, zone_missing_means_utc=e.time_basis == "utc")


def _local(text: str | None, offset: timedelta, *, zone_missing_means_utc: bool) -> str | None:
    try:
        at = datetime.fromisoformat(text or "")
        if at.tzinfo is None and zone_missing_means_utc:
            at = at.replace(tzinfo=UTC)
        if at.tzinfo is not None:
            at = at.astimezone(UTC).replace(tzinfo=None) + offset
    except (ValueError, OverflowError):  # what a camera writes there is not ours to trust
        return None
    return at.isoformat(timespec="seconds")


def labels_of(e: SegmentSealed) -> str:
    """What is not well with a segment, as a JSON list of stable words."""
    if e.size_bytes and not e.gap_count and not e.changed_while_copied and (e.media is None or e.media.playable):
        return "[]" if e.media is None or not e.media.truncated else '["truncated"]'
    found = {
        "zero_length": e.size_bytes == 0,
        "truncated": e.media is not None and e.media.truncated is True,
        "unplayable": e.media is not None and e.media.playable is False,
        "gaps": e.gap_count > 0,
        "changed": e.changed_while_copied,
    }
    return "[" + ", ".join(f'"{label}"' for label, holds in found.items() if holds) + "]"


def _started(e: DockingStarted) -> Row:
    """Values in the order of `_STARTED_COLUMNS` up to the log indexes."""
    key = (e.source, _text(e.docking_id), _text(e.camera_id), _text(e.bay))
    return (*key, e.source_kind, to_text(e.at), e.new_files, e.new_bytes)


def _closed(e: DockingClosed) -> Row:
    """Values in the order of `_CLOSED_COLUMNS` up to the log indexes."""
    key, c = (e.source, _text(e.docking_id), _text(e.camera_id), _text(e.bay)), e.counts
    counts = (c.listed, c.copied, c.already_saved, c.failed, c.skipped, c.deleted_seen, c.unreadable, c.bytes_copied)
    outcome = (to_text(e.at), e.complete, _text(e.reason))
    return (*key, *outcome, *counts, e.manifest_sha256, e.manifest_bytes)


def _index_text(tx: Connection, texts: list[Row]) -> None:
    """`texts`: log index and tokens."""
    if tx.dialect.name == "sqlite":
        insert_rows(tx, "segment_text", ("rowid", "grams"), texts)
    elif texts:
        rows = [(i, tsvector_document(tokens.split(" "))) for i, tokens in texts]
        insert_rows(tx, segment_bigrams.name, ("log_index", "bigrams"), rows)


def segment_document(row: Row) -> str:
    """The words of a segment's row (`SEGMENT_COLUMNS` from the second on), before anybody states anything of it."""
    labels = row[_AT["labels"]]
    found = () if labels == "[]" else tuple(json.loads(labels))
    filters = Filters(row[_AT["camera"]], row[_AT["station"]], row[_AT["docking"]], found)
    return fts5_document(document(row[_AT["path"]], filters, row[_AT["recorded_day"]]))


def _text(value: str) -> str:
    """A station's text as PostgreSQL can hold it: without NUL."""
    return value.replace("\x00", "\ufffd")
