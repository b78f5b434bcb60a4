"""What pages, the command line and MQTT show of alerts, limited to what a person may see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.event import Event
from custody.events import decode_event
from hub.access import Action, Actor, Subject, may, may_ever
from hub.alerts import policy
from hub.alerts.kinds import KINDS, ORDER, Kind, Severity
from hub.alerts.saying import About
from hub.log import stored_bytes
from hub.problems import NotFound
from hub.tables import alert, alert_repeat, hub_subject, log_entry, station

RESOLVED_SHOWN = 100
_RESOLVED_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert. `mine`: the reader is to do something about it. `count`: how often it was met while open."""

    id: str
    about: About
    subject: str
    section: str | None  # of its station; None: the bureau's
    cause: int | None  # log index
    opened_at: datetime
    level: int
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    assigned_to: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    count: int
    last_at: datetime
    mine: bool

    @property
    def kind(self) -> Kind:
        """Its row of the table of kinds."""
        return KINDS[self.about.kind]

    @property
    def severity(self) -> Severity:
        """How grave."""
        return self.kind.severity

    @property
    def whose(self) -> Subject:
        """Whose it is."""
        return policy.subject_of(self.kind, self.section)

    @property
    def unit(self) -> str:
        """The section whose supervisors read it by MQTT; "": the bureau's."""
        return "" if self.kind.bureau else self.section or ""

    @property
    def state(self) -> str:
        """One of open, acknowledged, assigned, resolved."""
        if self.resolved_at is not None:
            return "resolved"
        return "assigned" if self.assigned_to else "acknowledged" if self.acknowledged_at else "open"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done about an alert: the log entry that states it."""

    index: int
    at: datetime
    event: Event


def load_open(connection: Connection, actor: Actor) -> tuple[AlertRow, ...]:
    """Open alerts that the reader may see: theirs first, then the gravest, then the oldest."""
    found = [row for row in read_open(connection, actor) if may(actor, Action.SEE_ALERTS, row.whose)]
    return tuple(sorted(found, key=lambda row: (not row.mine, ORDER[row.severity], row.opened_at, row.id)))


def load_resolved(connection: Connection, actor: Actor) -> tuple[AlertRow, ...]:
    """The newest alerts that are over, the last one first, at most `RESOLVED_SHOWN`."""
    found = read_resolved(connection, actor, _RESOLVED_LOOKED_AT)
    return tuple(row for row in found if may(actor, Action.SEE_ALERTS, row.whose))[:RESOLVED_SHOWN]


def load_alert(connection: Connection, actor: Actor, alert_id: str) -> AlertRow:
    """One alert, open or over. Raises NotFound, also for one that is not this reader's to see."""
    for row in _read(connection, _select().where(alert.c.id == alert_id), actor):
        if may(actor, Action.SEE_ALERTS, row.whose):
            return row
    raise NotFound


def count_waiting(connection: Connection, actor: Actor) -> int:
    """Alerts that this person is to do something about and of which nobody took note: the number on every page."""
    if not may_ever(actor, Action.SEE_ALERTS):
        return 0
    return sum(row.mine and row.state != "acknowledged" for row in load_open(connection, actor))


def read_open(connection: Connection, actor: Actor | None = None) -> tuple[AlertRow, ...]:
    """Every open alert, in no order; those of a kind that this version does not know are left out."""
    return tuple(_read(connection, _select().where(alert.c.resolved_at.is_(None)), actor))


def read_resolved(
    connection: Connection, actor: Actor | None = None, most: int = RESOLVED_SHOWN
) -> tuple[AlertRow, ...]:
    """The newest alerts that are over, whosever they are."""
    newest = _select().where(alert.c.resolved_at.is_not(None)).order_by(alert.c.resolved_at.desc(), alert.c.id)
    return tuple(_read(connection, newest.limit(most), actor))


def load_steps(connection: Connection, alert_id: str) -> tuple[Step, ...]:
    """What the log holds about an alert, in its order."""
    query = (
        select(log_entry.c.idx, log_entry.c.envelope, log_entry.c.received_at)
        .join(hub_subject, hub_subject.c.log_index == log_entry.c.idx)
        .where(hub_subject.c.kind == "alert", hub_subject.c.name == alert_id)
        .order_by(log_entry.c.idx)
    )
    return tuple(_steps(connection.execute(query)))


def _steps(rows: Any) -> Iterator[Step]:
    for row in rows:
        try:
            envelope = parse_envelope(stored_bytes(row.envelope))
            event = decode_event(envelope.payload_type, envelope.payload)
        except CustodyError:
            continue  # of a later version, or damaged: the log's own page says so
        yield Step(row.idx, datetime.fromisoformat(row.received_at), event)


def _select() -> Any:
    whole = select(alert, station.c.section, alert_repeat.c.met, alert_repeat.c.last_at)
    joined = alert.outerjoin(station, station.c.id == alert.c.station)
    return whole.select_from(joined.outerjoin(alert_repeat, alert_repeat.c.id == alert.c.id))


def _read(connection: Connection, query: Any, actor: Actor | None) -> Iterator[AlertRow]:
    def at(text: str | None) -> datetime | None:
        return None if text is None else datetime.fromisoformat(text)

    for row in connection.execute(query):
        kind = KINDS.get(row.kind)
        if kind is None:
            continue
        opened_at = datetime.fromisoformat(row.opened_at)
        yield AlertRow(
            id=row.id,
            about=About(row.kind, row.station, row.camera, row.bay, row.detail),
            subject=row.subject,
            section=row.section,
            cause=row.cause,
            opened_at=opened_at,
            level=row.level,
            acknowledged_by=row.acknowledged_by,
            acknowledged_at=at(row.acknowledged_at),
            assigned_to=row.assigned_to,
            resolved_by=row.resolved_by,
            resolved_at=at(row.resolved_at),
            count=row.met or 1,
            last_at=at(row.last_at) or opened_at,
            mine=actor is not None and policy.is_mine(actor, kind, row.level, row.assigned_to),
        )


@dataclass(frozen=True, slots=True)
class AlertPanel:
    """The first of a reader's open alerts, for the first page."""

    rows: tuple[AlertRow, ...]
    more: int


def load_panel(connection: Connection, actor: Actor, most: int = 5) -> AlertPanel | None:
    """Open alerts for the overview; None for whom there are none to see."""
    if not may_ever(actor, Action.SEE_ALERTS):
        return None
    found = load_open(connection, actor)
    return AlertPanel(found[:most], max(0, len(found) - most))
