"""Rows that follow from the log, derived again beside a `LogWalk` and compared with those that are stored.

Index rows (recordings, dockings, cameras, camera events, dispositions, subjects of our own events, entries set aside,
full text) can be rebuilt: the first wrong one is kept in `fault` while the walk goes on, for a fault of the log matters
more.
Stations, accounts, readers, witnesses and stated refusals cannot be rebuilt: LogUntrusted. Not derived, because the log
does not hold them: passwords, sessions, retained states, refused messages whose minute is not over, cosignatures (they
prove themselves).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, assert_never, cast, get_args

from sqlalchemy import Connection, Table, select

from custody.checkpoint import parse_key_line
from custody.event import NO_PREVIOUS
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
from custody.keyrotation import successor
from hub import log
from hub.accounts.derived import PeopleCheck
from hub.alerts.derived import AlertRows
from hub.commands.check import CommandRows
from hub.db import Row
from hub.indexscratch import Scratch
from hub.keychanges.check import KeyChangeRows
from hub.logfaults import IndexWrong, untrusted
from hub.logwalk import Logged, first_outside, plain
from hub.opening import draft_of
from hub.openings.check import OpeningCheck
from hub.projections import NOT_FOR_STATIONS, HubEvent, Projection
from hub.recordings import states
from hub.recordings.markrows import MarkRequestRows
from hub.refusals import SAMPLE_BYTES
from hub.requests.check import UseRows
from hub.stations.derived import AboutStation, StationRequests, asked_for, carried_out
from hub.tables import (
    alert,
    camera_event,
    command_answer,
    disposition,
    docking,
    hub_subject,
    log_reader,
    opening,
    refused,
    second_factor,
    segment,
    station,
    station_key,
    station_request,
    station_revocation,
    unprojected,
    witness,
    witness_policy,
    witness_removal,
)
from hub.times import to_text
from hub.viewing.check import ViewingRows
from hub.witnesses.removal import removal_row

WitnessEvent = WitnessAdded | WitnessRemoved | WitnessRemovalRequested | WitnessRemovedV2 | WitnessPolicySet
_BY_LOG_INDEX = (segment, camera_event, command_answer, disposition, unprojected)
_ONCE_UNREADABLE = ("unknown_type", "bad_format", "projection_failed")  # reasons that a later version may not have
_SPECIAL = ("revoked_at", "frozen_at", "frozen_reason", "last_event_at", "last_received_at", "software", "witness_key")
_OWNERS = (
    segment.c.log_index, camera_event.c.log_index, command_answer.c.log_index, disposition.c.log_index,
    docking.c.started_index, docking.c.closed_index,
)  # fmt: skip


class IndexCheck:
    """Feed it the pages of a walk, in order; when they began with the first entry, call `finish`."""

    def __init__(self, connection: Connection, utc_offset_minutes: int, *, whole: bool) -> None:
        """`utc_offset_minutes` as intake uses it. Unless `whole`, only rows of single entries are looked at."""
        self.fault: IndexWrong | None = None
        self._connection, self._offset = connection, utc_offset_minutes
        self._stations: dict[str, dict[str, Any]] = {}
        self._people = PeopleCheck()
        self._readers: dict[str, list[Any]] = {}
        self._witnesses: dict[str, list[Any]] = {}
        self._policy: dict[int, Row] = {}
        self._removals: dict[str, dict[str, Any]] = {}  # of witnesses
        self._commands, self._changes, self._uses = CommandRows(), KeyChangeRows(), UseRows()
        self._enrolments, self._alerts = StationRequests(), AlertRows()
        self._viewings = ViewingRows()
        self._marks = MarkRequestRows()
        self._revocations: dict[str, dict[str, Any]] = {}
        self._keys: set[Row] = set()  # station, first seq, key line
        self._openings = OpeningCheck(connection)
        stated = select(*plain(refused)).where(refused.c.log_index.is_not(None))
        self._refused = {row.log_index: row for row in connection.execute(stated)}
        self._scratch = Scratch(connection) if whole else None
        self._subjects: set[Row] = set()  # of the page that is looked at

    def close(self) -> None:
        """Drop the scratch database."""
        if self._scratch is not None:
            self._scratch.close()

    def page(self, entries: Sequence[Logged]) -> None:
        """Derive the rows of one page and compare those that belong to single entries."""
        if not entries:
            return
        start, end = entries[0].index, entries[-1].index + 1
        projection, stale = Projection(), self._set_aside(start, end)
        for entry in entries:
            if entry.source == log.HUB_SOURCE:
                self._hub_event(entry)
            else:
                self._station_event(entry, projection, stale)
        derived = (
            projection.segments, projection.camera_events, projection.command_answers, projection.dispositions,
            projection.unprojected,
        )  # fmt: skip
        for table, rows in zip(_BY_LOG_INDEX, derived, strict=True):
            self._compare(table, rows, start, end)
        self._compare_subjects(start, end)
        self._openings.page(start, end)
        if self._scratch is not None:
            for difference in self._scratch.add(projection):
                self._differs(*difference)
        for name, said in projection.software.items():
            if name in self._stations:
                self._stations[name]["software"] = said
        for name, line in projection.witness_keys.items():
            if name in self._stations:
                self._stations[name]["witness_key"] = line

    def finish(self, size: int) -> None:
        """Compare what stands for the whole log, and look for rows too many. Raises LogUntrusted. Only when `whole`."""
        self._compare_stations()
        asked = self._enrolments.rows()
        self._compare_rows(station_request, tuple(station_request.c.keys()), asked, "station_altered")
        names = tuple(station_revocation.c.keys())
        revoked = {key: tuple(map(row.get, names)) for key, row in self._revocations.items()}
        self._compare_rows(station_revocation, names, revoked, "station_altered")
        for table, names, derived in self._people.derived():
            self._compare_rows(table, names, derived, "account_altered")
        self._compare_rows(alert, tuple(alert.c.keys()), self._alerts.rows(), "alert_altered")
        readers = {name: tuple(row) for name, row in self._readers.items()}
        self._compare_rows(log_reader, tuple(log_reader.c.keys()), readers, "reader_altered")
        witnesses = {name: tuple(row) for name, row in self._witnesses.items()}
        self._compare_rows(witness, tuple(witness.c.keys()), witnesses, "witness_altered")
        removals = {key: tuple(row.values()) for key, row in self._removals.items()}
        self._compare_rows(witness_removal, tuple(witness_removal.c.keys()), removals, "witness_altered")
        self._compare_rows(witness_policy, tuple(witness_policy.c.keys()), self._policy, "witness_altered")
        self._commands.compare(self._connection)
        self._changes.compare(self._connection)
        self._uses.compare(self._connection)
        self._marks.compare(self._connection)
        self._viewings.compare(self._connection)
        self._openings.compare()
        for row in self._refused.values():
            raise untrusted("refused_altered", f"refused/{row.id}", "no event states it")
        self.find_more(size)
        for difference in states.differences(self._connection):
            self._differs(*difference)
        for difference in self._scratch.differences() if self._scratch is not None else ():
            self._differs(*difference)

    def find_more(self, size: int) -> None:
        """Look for rows of entries that a log of `size` has not."""
        for table in (*_BY_LOG_INDEX, hub_subject, opening):
            extra = first_outside(self._connection, table.c.log_index, size)
            if extra is not None:
                self._wrong("index_extra", f"{table.name}/{extra}")

    # --- entries of stations ---

    def _station_event(self, entry: Logged, projection: Projection, stale: dict[int, str]) -> None:
        event = entry.event
        row = self._stations.get(entry.source)
        if row is not None:
            row["last_seq"], row["last_hash"], row["last_received_at"] = entry.seq, entry.sha256, entry.received_at
            row["last_event_at"] = to_text(event.at) if event is not None else None
            if follows := successor(event, parse_key_line(row["key_line"])):
                row["key_line"] = follows.line
                self._keys.add((entry.source, entry.seq + 1, follows.line))
        draft, unread = draft_of(event, self._offset) if event is not None else (None, entry.unread)
        if draft is None:
            reason = unread or NOT_FOR_STATIONS
            projection.set_aside(entry.index, entry.source, entry.event_type, reason, entry.received_at)
        elif entry.index in stale:
            self._wrong("index_stale", f"entry/{entry.index}")
            reason = stale[entry.index]
            projection.set_aside(entry.index, entry.source, entry.event_type, reason, entry.received_at)
        else:
            projection.add(entry.index, draft, entry.received_at)

    def _set_aside(self, start: int, end: int) -> dict[int, str]:
        """Entries set aside that have no rows of their own, and why."""
        index = unprojected.c.log_index
        query = select(*plain(unprojected, "log_index", "reason")).where(
            index >= start, index < end, unprojected.c.reason.in_(_ONCE_UNREADABLE)
        )
        found = {row.log_index: row.reason for row in self._connection.execute(query)}
        for column in _OWNERS if found else ():
            held = self._connection.execute(select(column).where(column.in_(found)))
            for at in held.scalars().all():
                found.pop(at, None)
        return found

    def _compare(self, table: Table, rows: Sequence[Row], start: int, end: int) -> None:
        index = table.c.log_index
        found = self._connection.execute(select(*plain(table)).where(index >= start, index < end))
        stored, derived = {row[0]: tuple(row) for row in found}, {row[0]: tuple(row) for row in rows}
        for at in sorted(stored.keys() | derived.keys()):
            if stored.get(at) != derived.get(at):
                self._differs(f"{table.name}/{at}", stored.get(at), derived.get(at))

    def _compare_subjects(self, start: int, end: int) -> None:
        index = hub_subject.c.log_index
        found = self._connection.execute(select(*plain(hub_subject)).where(index >= start, index < end))
        stored, derived = {tuple(row) for row in found}, self._subjects
        self._subjects = set()
        for row in sorted(derived - stored, key=str):
            self._wrong("index_missing", f"hub_subject/{row[2]}")
        for row in sorted(stored - derived, key=str):
            self._wrong("index_extra", f"hub_subject/{row[2]}")

    # --- the hub's own events ---

    def _hub_event(self, entry: Logged) -> None:  # noqa: PLR0912  one case for each family of events
        if not isinstance(entry.event, get_args(HubEvent)):
            return  # of a later version
        known = cast(HubEvent, entry.event)
        self._subjects |= set(log.subject_rows(known, entry.index))
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
                self._about_station(known, entry.index, entry.received_at)
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
                self._people.event(known, entry.received_at)
            case LogReaderAdded() | LogReaderRevoked():
                self._reader_event(known, entry.received_at)
            case EnvelopeRefused():
                self._check_refused(entry.index, known)
            case (
                WitnessAdded() | WitnessRemoved() | WitnessRemovalRequested() | WitnessRemovedV2() | WitnessPolicySet()
            ):
                self._witness_event(known, entry.received_at)
            case CommandRequested() | CommandApproved() | CommandWithdrawn() | CommandIssued():
                self._commands.take(known, entry.index, entry.received_at)
            case ExportRequested() | ExportDecided() | UseRequested() | UseDecided() | UseRevoked() | CopyEnded():
                self._uses.take(known, entry.received_at)
            case RecordingMarkRequested() | RecordingMarkDecided():
                self._marks.take(known, entry.received_at)
            case FootageViewStarted() | FootageViewed():
                self._viewings.take(known, entry.index, entry.received_at)
            case KeyRotationRequested() | KeyRotated():
                self._changes.take(known, entry.index, entry.received_at)
            case OpeningRemovalRequested() | OpeningRemoved():
                self._openings.take(known, entry.index, entry.received_at)
            case AlertOpened() | AlertHandled() | AlertResolved():
                self._alerts.take(known, entry.received_at)
            case (
                BundleExported()
                | BundleFinished()
                | WitnessRefused()
                | LogExported()
                | LogExportFinished()
                | LogRestored()
                | FootageMismatched()
                | RecordingLabelled()
                | RecordingLabelsUndone()
                | RecordingMarked()
                | RecordingKnowingChanged()
            ):
                pass  # no rows but those that every event's subjects have, from which `states` follows the last four
            case _:
                assert_never(known)

    def _about_station(self, event: AboutStation, index: int, received_at: str) -> None:
        match event:
            case StationEnrolled(station=name, key_line=line):
                self._stations[name] = {"id": name, "key_line": line, "enrolled_at": received_at} | {
                    "last_seq": 0, "last_hash": str(NO_PREVIOUS), **dict.fromkeys(_SPECIAL)
                }  # fmt: skip
                self._keys.add((name, 1, line))
                if isinstance(event, StationEnrolledV2):
                    self._enrolments.take(event, received_at)
            case StationEnrolmentRequested() | StationEnrolmentRefused():
                self._enrolments.take(event, received_at)
            case StationFrozen(station=name, reason=reason):
                with suppress(KeyError):
                    self._stations[name] |= {"frozen_at": received_at, "frozen_reason": reason}
            case KeyRevocationRequested():
                self._revocations.setdefault(event.change_id, {}).update(asked_for(event, received_at))
            case KeyRevoked(station=name):
                self._revocations.setdefault(event.change_id, {}).update(carried_out(event, index, received_at))
                with suppress(KeyError):
                    self._stations[name]["revoked_at"] = received_at
            case _:
                assert_never(event)

    def _reader_event(self, event: LogReaderAdded | LogReaderRevoked, received_at: str) -> None:
        if isinstance(event, LogReaderAdded):
            self._readers[event.reader] = [event.reader, event.token_sha256, received_at, None]
        else:
            with suppress(KeyError):
                self._readers[event.reader][3] = received_at

    def _witness_event(self, event: WitnessEvent, received_at: str) -> None:
        if isinstance(event, WitnessRemovalRequested | WitnessRemovedV2):
            row = self._removals.setdefault(event.change_id, dict.fromkeys(witness_removal.c.keys()))
            row |= removal_row(event, received_at)
        match event:
            case WitnessAdded(witness=name):
                self._witnesses[name] = [name, event.key_line, event.station, event.url, received_at, None]
            case WitnessRemovalRequested():
                pass
            case WitnessRemoved(witness=name) | WitnessRemovedV2(witness=name):
                with suppress(KeyError):
                    self._witnesses[name][-1] = received_at
            case WitnessPolicySet(needed=needed):
                self._policy[1] = (1, needed, received_at)
            case _:
                assert_never(event)

    def _check_refused(self, index: int, event: EnvelopeRefused) -> None:
        row = self._refused.pop(index, None)
        if row is None:
            return  # the oldest rows are dropped once they are stated
        named = ("topic", "reason", "count", "sample_sha256", "sample_bytes")
        sample = log.stored_bytes(row.sample)
        cut = len(sample) == SAMPLE_BYTES < event.sample_bytes  # the rest of it was never kept
        if any(getattr(event, name) != row._mapping[name] for name in named) or not (
            cut or hashlib.sha256(sample).hexdigest() == event.sample_sha256
        ):
            raise untrusted("refused_altered", f"refused/{row.id}")

    # --- rows that stand for many entries ---

    def _compare_stations(self) -> None:
        names = tuple(station.c.keys())
        rows = {key: row | {"section": self._people.stations.get(key, "")} for key, row in self._stations.items()}
        derived = {key: tuple(row[name] for name in names) for key, row in rows.items()}
        self._compare_rows(station, names, derived, "station_altered")
        stored = {tuple(row) for row in self._connection.execute(select(*plain(station_key)))}
        for name, *_ in sorted(stored ^ self._keys, key=str):
            raise untrusted("station_altered", f"station_key/{name}")

    def _compare_rows(self, table: Table, names: tuple[str, ...], derived: Mapping[Any, Row], fault: str) -> None:
        query = select(*plain(table, *names))
        if table is second_factor:
            query = query.where(second_factor.c.confirmed_at.is_not(None))  # the others are still being set up
        stored = {row[0]: tuple(row) for row in self._connection.execute(query)}
        for key in sorted(stored.keys() | derived.keys(), key=str):
            if stored.get(key) != derived.get(key):
                raise untrusted(fault, f"{table.name}/{key}")

    def _differs(self, item: str, stored: Any, derived: Any) -> None:
        code = "index_missing" if stored is None else "index_extra" if derived is None else "index_altered"
        self._wrong(code, item)

    def _wrong(self, fault: str, item: str) -> None:
        if self.fault is None or (self.fault.fault == "index_stale" != fault):
            self.fault = IndexWrong(fault, item)
