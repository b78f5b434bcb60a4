"""What is watched: states and times that no event tells. Pure but for `read_watched`, which reads it all at one moment.

Level-triggered: each look gives everything that holds now. So a look that a crash took away is made up by the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, desc, select

from custody.errors import FormatError
from custody.fields import load_object
from hub.alerts.rules import Signal, opening
from hub.tables import (
    account_request,
    alert,
    backup_made,
    checkpoint,
    command,
    command_answer,
    log_check,
    mark_request,
    opening_removal,
    section_request,
    station,
    station_request,
    station_state,
    use_request,
)
from hub.times import from_text, to_text

SILENT_AFTER = timedelta(minutes=15)  # a station says how it is at least every minute
OUTBOX_SECONDS = 3600
DISK_DAYS, DISK_PERCENT = 14, 3
SAFE_WITHIN = timedelta(hours=24)  # Art. 15: "promptly", see regulation.md
NIGHTLY = timedelta(hours=48)
PATIENCE = timedelta(days=2)
FORGET_COMMANDS = timedelta(days=7)
FAILING = ("disk_failed", "vault_missing")  # findings of a station's health (agent/health.py)
AILING = ("disk_wearing", "disk_hot", "cpu_hot", "undervoltage", "throttled", "memory_low", "load_high")


@dataclass(frozen=True, slots=True)
class Watched:
    """Everything that a look needs. `stations`: id, online, when heard of, what it said; those that count."""

    stations: tuple[tuple[str, bool, datetime, Mapping[str, Any]], ...]
    unsafe: tuple[tuple[str, str | None, datetime], ...]  # camera, station, since when its footage is not all saved
    commands: tuple[tuple[str, int], ...]  # station and number of those that expired unanswered
    requests: tuple[tuple[str, str, datetime], ...]  # what kind, id, since when
    last_check: tuple[datetime, str] | None  # when it ended, and its fault
    last_backup: datetime | None
    log_since: datetime


def conditions(watched: Watched, now: datetime, since: datetime) -> Iterator[Signal]:
    """What needs somebody now; nothing of a kind and subject that is not given holds. `since`: we listen that long."""
    for name, online, heard_at, said in watched.stations:
        if now - max(heard_at, since) > SILENT_AFTER:
            yield opening("station_silent", name, station=name)
        elif online:
            yield from _said(name, said)
    for camera, seen_at, unsafe_since in watched.unsafe:
        if now - unsafe_since > SAFE_WITHIN:
            yield opening("footage_late", camera, station=seen_at, camera=camera)
    for name, number in watched.commands:
        yield opening("command_unanswered", f"{name}#{number}", station=name, detail=str(number))
    for what, key, asked_at in watched.requests:
        if now - asked_at > PATIENCE:
            people = what in ("account", "section", "enrolment")
            kind = "account_request_waiting" if people else "request_waiting"
            yield opening(kind, f"{what}/{key}", detail=what)
    checked_at, fault = watched.last_check or (watched.log_since, "")
    if fault:
        yield opening("log_damaged", "log", detail=fault)
    if now - checked_at > NIGHTLY:
        yield opening("log_unchecked", "log")
    if now - (watched.last_backup or watched.log_since) > NIGHTLY:
        yield opening("backup_overdue", "hub")


def _said(name: str, said: Mapping[str, Any]) -> Iterator[Signal]:
    """Out of what a station on line says of itself; unsigned, so whatever is odd in it says nothing."""
    oldest, days = _figure(said, "outbox_oldest_seconds"), _figure(said, "days_left")
    free, total = _figure(said, "disk_free_bytes"), _figure(said, "disk_total_bytes")
    if oldest is not None and oldest > OUTBOX_SECONDS:
        yield opening("outbox_ageing", name, station=name)
    if free is not None and total and free * 100 < DISK_PERCENT * total:
        yield opening("disk_nearly_full", name, station=name, detail=str(int(free * 100 // total)))
    elif days is not None and days <= DISK_DAYS:
        yield opening("disk_filling", name, station=name, detail=str(int(days)))
    if said.get("clock") == "unsynchronised":
        yield opening("clock_wrong", name, station=name)
    findings = said.get("findings")
    codes = {one.get("code") for one in findings if isinstance(one, dict)} if isinstance(findings, list) else set()
    for kind, known in (("disk_failing", FAILING), ("station_ailing", AILING)):
        for code in known:
            if code in codes:
                yield opening(kind, f"{name}/{code}", station=name, detail=code)


def _figure(said: Mapping[str, Any], name: str) -> float | None:
    value = said.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def read_watched(connection: Connection, now: datetime) -> Watched:
    """All of it, as it stands in this transaction."""
    check = connection.execute(select(log_check).order_by(desc(log_check.c.id)).limit(1)).one_or_none()
    backups = select(backup_made.c.finished_at).order_by(desc(backup_made.c.id)).limit(1)
    first = select(checkpoint.c.signed_at).order_by(checkpoint.c.size).limit(1)
    return Watched(
        stations=tuple(_stations(connection)),
        unsafe=tuple(_unsafe(connection)),
        commands=_unanswered(connection, now),
        requests=tuple(_requests(connection)),
        last_check=None if check is None else (datetime.fromisoformat(check.finished_at), check.fault),
        last_backup=from_text(connection.execute(backups).scalar_one_or_none()),
        log_since=datetime.fromisoformat(connection.execute(first).scalar_one()),
    )


def _stations(connection: Connection) -> Iterator[tuple[str, bool, datetime, Mapping[str, Any]]]:
    counts = station.c.frozen_at.is_(None), station.c.revoked_at.is_(None)
    query = select(station.c.id, station.c.last_received_at, station_state).join(
        station_state, station_state.c.station == station.c.id
    )
    for row in connection.execute(query.where(*counts)):
        try:
            said: Mapping[str, Any] = load_object(row.json.encode())
        except FormatError:
            said = {}
        heard_at = max(row.received_at, row.last_received_at or "")
        yield row.id, bool(row.online), datetime.fromisoformat(heard_at), said


def _unsafe(connection: Connection) -> Iterator[tuple[str, str | None, datetime]]:
    """Cameras that an open alert says are not all saved, or away for longer than they should be."""
    behind = alert.c.kind.in_(("footage_unsaved", "camera_overdue")), alert.c.resolved_at.is_(None)
    for row in connection.execute(select(alert).where(*behind).order_by(alert.c.opened_at.desc())):
        yield row.subject, row.station, datetime.fromisoformat(row.opened_at)


def _unanswered(connection: Connection, now: datetime) -> tuple[tuple[str, int], ...]:
    answered = (
        select(command_answer.c.log_index)
        .where(command_answer.c.station == command.c.station, command_answer.c.number == command.c.number)
        .exists()
    )
    lately = command.c.expires_at < to_text(now), command.c.expires_at > to_text(now - FORGET_COMMANDS)
    query = select(command.c.station, command.c.number).join(station, station.c.id == command.c.station)
    query = query.where(*lately, command.c.envelope.is_not(None), station.c.revoked_at.is_(None), ~answered)
    return tuple((row.station, row.number) for row in connection.execute(query))


def _requests(connection: Connection) -> Iterator[tuple[str, str, datetime]]:
    c = command.c
    waits = (c.request_index.is_not(None), c.approved_by.is_(None), c.withdrawn_by.is_(None), c.number.is_(None))
    undecided: tuple[tuple[str, Table, tuple[Any, ...]], ...] = (
        ("command", command, waits),
        ("use", use_request, (use_request.c.decided_at.is_(None),)),
        ("mark", mark_request, (mark_request.c.decided_at.is_(None),)),
        ("removal", opening_removal, (opening_removal.c.approved_by.is_(None),)),
        ("account", account_request, (account_request.c.decided_at.is_(None),)),
        ("section", section_request, (section_request.c.decided_at.is_(None),)),
        ("enrolment", station_request, (station_request.c.decided_at.is_(None),)),
    )
    for what, table, where in undecided:
        for row in connection.execute(select(table.c.id, table.c.requested_at).where(*where)):
            yield what, row.id, datetime.fromisoformat(row.requested_at)
