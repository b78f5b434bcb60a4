"""Alerts open and end in the transaction of their cause: what `hub.log.appending` does before it writes its entries.

Invariant, held by the log's lock and by an index: at most one alert of a kind is open about one subject. What is met
again while it is open is counted and not stated. So is an alert that was well for less than its kind asks: it stays
open, and `hub.alerts.watching` ends it once it was well for long enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, select

from custody.hubevents import AlertOpened, AlertResolved
from hub.alerts import derived
from hub.alerts.kinds import KINDS
from hub.alerts.rules import Signal
from hub.db import upsert_rows
from hub.identifiers import new_id
from hub.tables import alert, alert_message, alert_repeat
from hub.times import to_text

if TYPE_CHECKING:
    from hub.log import Appender  # which calls us

_FACTS = tuple(f.name for f in fields(Signal) if f.name != "opens")


@dataclass(slots=True)
class _Open:
    """An open alert, with its row of `alert_repeat`. `changed`: that row is to be written."""

    id: str
    count: int
    last_at: str
    well_since: str | None
    changed: bool = False


def raise_alerts(tx: Connection, entries: Appender, signals: Sequence[Signal], at: datetime) -> None:
    """Act on signals in their order, inside the caller's transaction and under the log's lock."""
    if not signals:
        return
    now = to_text(at)
    held = _open_alerts(tx, {signal.subject for signal in signals})
    for signal in signals:
        key = signal.kind, signal.subject
        known = held.get(key)
        if signal.opens and known is None:
            held[key] = _Open(open_alert(tx, entries, signal, at), 1, now, None, changed=True)
        elif signal.opens and known is not None:
            known.count, known.last_at, known.well_since, known.changed = known.count + 1, now, None, True
        elif known is not None and KINDS[signal.kind].settles:
            known.well_since, known.changed = known.well_since or now, True
        elif known is not None:
            end_alert(tx, entries, known.id, known.count, at, cause=signal.cause)
            del held[key]
    rows = [(one.id, one.count, one.last_at, one.well_since) for one in held.values() if one.changed]
    upsert_rows(tx, alert_repeat, tuple(alert_repeat.c.keys()), rows)


def open_alert(tx: Connection, entries: Appender, signal: Signal, at: datetime) -> str:
    """State an alert, write its row, and what is to be sent of it; its id."""
    facts: dict[str, Any] = {name: getattr(signal, name) for name in _FACTS}
    alert_id = new_id(at)
    entries.record(AlertOpened, alert_id=alert_id, **facts)
    tx.execute(insert(alert).values(**derived.opened(alert_id, facts, to_text(at))))
    queue_message(tx, alert_id, 0, at)
    return alert_id


def end_alert(
    tx: Connection,
    entries: Appender,
    alert_id: str,
    count: int,
    at: datetime,
    *,
    cause: int | None = None,
    account: str | None = None,
    note: str = "",
) -> None:
    """State that an alert is over, and by whom; None: by itself."""
    entries.record(AlertResolved, alert_id=alert_id, account=account, cause=cause, count=count, note=note)
    tx.execute(derived.resolved(alert_id, account, to_text(at)))
    tx.execute(delete(alert_repeat).where(alert_repeat.c.id == alert_id))


def queue_message(tx: Connection, alert_id: str, level: int, at: datetime) -> None:
    """Something is to be sent to those of this step, where senders are set up (`hub.alerts.sending`)."""
    now = to_text(at)
    tx.execute(insert(alert_message).values(alert=alert_id, level=level, created_at=now, attempts=0, next_at=now))


def _open_alerts(tx: Connection, subjects: set[str]) -> dict[tuple[str, str], _Open]:
    query = select(
        alert.c.id, alert.c.kind, alert.c.subject, alert.c.opened_at,
        alert_repeat.c.met, alert_repeat.c.last_at, alert_repeat.c.well_since,
    ).outerjoin(alert_repeat, alert_repeat.c.id == alert.c.id)  # fmt: skip
    found = tx.execute(query.where(alert.c.resolved_at.is_(None), alert.c.subject.in_(subjects)))
    return {
        (row.kind, row.subject): _Open(row.id, row.met or 1, row.last_at or row.opened_at, row.well_since)
        for row in found
    }
