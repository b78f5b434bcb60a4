"""Rows that follow from the hub's own events, written again when a lost part of the log comes back.

They are what the hub wrote when it acted (`hub/indexcheck.py` says what must follow from each event).
"""

from __future__ import annotations

from typing import assert_never, cast, get_args

from sqlalchemy import Connection, delete, insert, select, update

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
from hub.alerts.derived import write_alert_rows
from hub.db import upsert_rows
from hub.openings.service import write_removal
from hub.projections import HubEvent
from hub.recordings.markrows import write_mark_request
from hub.restore.commandrows import write_command_rows, write_key_rows
from hub.restore.peoplerows import write_people_rows
from hub.restore.stationrows import write_station_rows
from hub.restore.userows import write_use_rows
from hub.tables import log_reader, refused, witness, witness_policy
from hub.viewing.check import write_viewing_rows
from hub.witnesses.removal import write_removal as write_witness_removal

WitnessEvent = WitnessAdded | WitnessRemoved | WitnessRemovalRequested | WitnessRemovedV2 | WitnessPolicySet


def write_hub_rows(  # noqa: PLR0912  one case for each family of events
    tx: Connection, event: Event | None, index: int, received_at: str
) -> None:
    """Write what the hub wrote when it stated `event` at this log index; nothing for one of a later version."""
    if not isinstance(event, get_args(HubEvent)):
        return
    known = cast(HubEvent, event)
    match known:
        case (
            StationEnrolled()
            | StationEnrolledV2()
            | StationEnrolmentRequested()
            | StationEnrolmentRefused()
            | StationFrozen()
            | KeyRevocationRequested()
            | KeyRevoked()
        ):
            write_station_rows(tx, known, index, received_at)
        case (
            AccountCreated()
            | AccountChangeRequested()
            | AccountChangeDecided()
            | SectionRequested()
            | SectionDecided()
            | SecondFactorSet()
            | SignedIn()
            | TokenAdded()
            | TokenRevoked()
            | IdentityLinked()
            | IdentityUnlinked()
            | IdentityUsed()
        ):
            write_people_rows(tx, known, received_at)
        case LogReaderAdded() | LogReaderRevoked():
            _write_reader_rows(tx, known, received_at)
        case EnvelopeRefused():
            _mark_stated(tx, known, index)
        case WitnessAdded() | WitnessRemoved() | WitnessRemovalRequested() | WitnessRemovedV2() | WitnessPolicySet():
            _write_witness_rows(tx, known, received_at)
        case CommandRequested() | CommandApproved() | CommandWithdrawn() | CommandIssued():
            write_command_rows(tx, known, index, received_at)
        case FootageViewStarted() | FootageViewed():
            write_viewing_rows(tx, known, index, received_at)
        case ExportRequested() | ExportDecided() | UseRequested() | UseDecided() | UseRevoked() | CopyEnded():
            write_use_rows(tx, known, received_at)
        case RecordingMarkRequested() | RecordingMarkDecided():
            write_mark_request(tx, known, received_at)
        case KeyRotationRequested() | KeyRotated():
            write_key_rows(tx, known, index, received_at)
        case OpeningRemovalRequested() | OpeningRemoved():
            write_removal(tx, known, index, received_at)
        case AlertOpened() | AlertHandled() | AlertResolved():
            write_alert_rows(tx, known, received_at)
        case (
            BundleExported()
            | BundleFinished()
            | LogExported()
            | LogExportFinished()
            | LogRestored()
            | WitnessRefused()
            | FootageMismatched()
            | RecordingLabelled()
            | RecordingLabelsUndone()
            | RecordingMarked()
            | RecordingKnowingChanged()
        ):
            pass  # no rows; those of the last four follow once all is in the log: `hub.recordings.states`
        case _:
            assert_never(known)


def _write_reader_rows(tx: Connection, event: LogReaderAdded | LogReaderRevoked, at: str) -> None:
    if isinstance(event, LogReaderAdded):
        row = {"name": event.reader, "token_sha256": event.token_sha256, "created_at": at}
        tx.execute(insert(log_reader).values(**row))
    else:
        tx.execute(update(log_reader).where(log_reader.c.name == event.reader).values(revoked_at=at))


def _write_witness_rows(tx: Connection, event: WitnessEvent, at: str) -> None:
    match event:
        case WitnessAdded(witness=name):
            tx.execute(delete(witness).where(witness.c.name == name))
            facts = {"key_line": event.key_line, "station": event.station, "url": event.url}
            tx.execute(insert(witness).values(name=name, added_at=at, **facts))
        case WitnessRemoved() | WitnessRemovalRequested() | WitnessRemovedV2():
            write_witness_removal(tx, event, at)
        case WitnessPolicySet(needed=needed):
            upsert_rows(tx, witness_policy, ("id", "needed", "set_at"), [(1, needed, at)])


def _mark_stated(tx: Connection, event: EnvelopeRefused, index: int) -> None:
    """A row that the backup holds unstated was stated since: it must not be stated twice."""
    same = (
        refused.c.log_index.is_(None)
        & (refused.c.topic == event.topic)
        & (refused.c.reason == event.reason)
        & (refused.c.sample_sha256 == event.sample_sha256)
    )
    held = tx.execute(select(refused.c.id).where(same).order_by(refused.c.id).limit(1)).scalar_one_or_none()
    if held is not None:
        values = {"count": event.count, "log_index": index}  # it may have grown after the backup
        tx.execute(update(refused).where(refused.c.id == held).values(values))
