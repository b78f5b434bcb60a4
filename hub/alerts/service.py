"""What people do with alerts: each function is one transaction and one event in the log."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from custody.hubevents import AlertHandled
from hub import log
from hub.access import Action, Actor, Role, may, may_ever
from hub.alerts import derived, policy
from hub.alerts.kinds import KINDS
from hub.alerts.raising import end_alert
from hub.db import Database
from hub.errors import Conflict, Invalid, NotFound
from hub.keys import HubKeys
from hub.problems import NotAllowed, NotOpenAnyMore
from hub.tables import account, alert, alert_repeat, station
from hub.times import now_utc, to_text

MAX_NOTE = 200


def acknowledge(db: Database, keys: HubKeys, actor: Actor, alert_id: str, note: str = "") -> None:
    """Take note: it goes to nobody else any more. Taking note of it twice changes nothing.

    Raises NotFound, NotAllowed, NotOpenAnyMore, Invalid for a note.
    """
    _check_note(note)
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = _open_alert(tx, actor, alert_id)
        if row.acknowledged_at is None:
            _state(tx, entries, row, to_text(now), step="acknowledged", account=actor.name, note=note)


def assign(db: Database, keys: HubKeys, actor: Actor, alert_id: str, to: str, note: str = "") -> None:
    """Give it to somebody who may see it; who gives it has taken note of it.

    Raises NotFound, NotAllowed, NotOpenAnyMore, and Invalid for a note, or for an account that could do nothing here.
    """
    _check_note(note)
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = _open_alert(tx, actor, alert_id)
        subject = policy.subject_of(KINDS[row.kind], row.section)
        holder = tx.execute(select(account).where(account.c.name == to, account.c.disabled_at.is_(None))).one_or_none()
        if holder is None or not may(_actor(holder), Action.HANDLE_ALERTS, subject):
            raise Invalid("this account could do nothing about it; nothing was changed")
        _state(tx, entries, row, to_text(now), step="assigned", account=actor.name, assigned_to=to, note=note)


def resolve(db: Database, keys: HubKeys, actor: Actor, alert_id: str, note: str) -> None:
    """Say that it is over, and how.

    Raises NotFound, NotAllowed, NotOpenAnyMore, Conflict for what ends only by itself, Invalid without a note.
    """
    _check_note(note)
    if not note:
        raise Invalid("say what was done; nothing was changed")
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = _open_alert(tx, actor, alert_id)
        if not policy.may_end(KINDS[row.kind]):
            raise Conflict("this alert ends by itself, once what it is about is well again; nothing was changed")
        count = tx.execute(select(alert_repeat.c.met).where(alert_repeat.c.id == alert_id)).scalar_one_or_none()
        end_alert(tx, entries, alert_id, count or 1, now, account=actor.name, note=note)


def assignable(connection: Connection, row_subject: Any) -> tuple[str, ...]:
    """Accounts that an alert of this subject can be given to, by name."""
    people = connection.execute(select(account).where(account.c.disabled_at.is_(None)).order_by(account.c.name))
    return tuple(one.name for one in people if may(_actor(one), Action.HANDLE_ALERTS, row_subject))


def _actor(row: Any) -> Actor:
    """An account as it would be signed in."""
    return Actor(row.name, Role(row.role), must_change_password=False, section=row.section, officer=row.officer)


def _open_alert(tx: Connection, actor: Actor, alert_id: str) -> Any:
    query = select(alert, station.c.section).outerjoin(station, station.c.id == alert.c.station)
    row = tx.execute(query.where(alert.c.id == alert_id)).one_or_none()
    if row is None or row.kind not in KINDS:
        raise NotFound("there is no such alert")
    subject = policy.subject_of(KINDS[row.kind], row.section)
    if not may(actor, Action.SEE_ALERTS, subject):
        raise NotFound("there is no such alert")
    if not may_ever(actor, Action.HANDLE_ALERTS) or not may(actor, Action.HANDLE_ALERTS, subject):
        raise NotAllowed
    if row.resolved_at is not None:
        raise NotOpenAnyMore
    return row


def _state(tx: Connection, entries: log.Appender, row: Any, at: str, **facts: Any) -> None:
    """State one step in the log and write what follows from it."""
    whole = {"alert_id": row.id, "level": row.level, "account": None, "assigned_to": None, "note": ""} | facts
    entries.record(AlertHandled, **whole)
    values = derived.handled(whole["step"], whole["account"], whole["assigned_to"], whole["level"], at)
    tx.execute(update(alert).where(alert.c.id == row.id).values(**values))


def escalate(tx: Connection, entries: log.Appender, row: Any, level: int, at: str) -> None:
    """It goes to the next because nobody took note of it in time. Inside the caller's transaction."""
    _state(tx, entries, row, at, step="escalated", level=level)


def _check_note(note: str) -> None:
    if len(note) > MAX_NOTE or not (note.isprintable() or not note):
        raise Invalid(f"a note is up to {MAX_NOTE} printable characters")
