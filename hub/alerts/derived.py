"""The rows of `alert` that follow from the hub's own events: written when it acts, when a lost log comes back
(`hub.restore.hubrows`), and derived beside the log to be compared (`hub.indexcheck`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, assert_never

from sqlalchemy import Connection, Update, insert, update

from custody.hubevents import AlertHandled, AlertOpened, AlertResolved
from hub.db import Row
from hub.tables import alert

Step = Literal["acknowledged", "assigned", "escalated"]
AlertEvent = AlertOpened | AlertHandled | AlertResolved
COLUMNS = tuple(alert.c.keys())
_FACTS = ("kind", "subject", "station", "camera", "bay", "detail", "cause")


def opened(alert_id: str, facts: Mapping[str, Any], at: str) -> dict[str, Any]:
    """The row of an alert that was just opened."""
    named = {name: facts[name] for name in _FACTS}
    return dict.fromkeys(COLUMNS) | {"id": alert_id, "opened_at": at, "level": 0, "level_at": at} | named


def handled(step: Step, account: str | None, assigned_to: str | None, level: int, at: str) -> dict[str, Any]:
    """The columns that one step sets. Whoever gives an alert to somebody has taken note of it."""
    match step:
        case "acknowledged":
            return {"acknowledged_by": account, "acknowledged_at": at}
        case "assigned":
            return {"assigned_to": assigned_to, "acknowledged_by": account, "acknowledged_at": at}
        case "escalated":
            return {"level": level, "level_at": at}
        case _:
            assert_never(step)


def _handled(event: AlertHandled, at: str) -> dict[str, Any]:
    return handled(event.step, event.account, event.assigned_to, event.level, at)


def resolved(alert_id: str, account: str | None, at: str) -> Update:
    """The statement that ends one."""
    return update(alert).where(alert.c.id == alert_id).values(resolved_by=account, resolved_at=at)


def write_alert_rows(tx: Connection, event: AlertEvent, received_at: str) -> None:
    """Write what the hub wrote when it stated `event`."""
    match event:
        case AlertOpened():
            facts = {name: getattr(event, name) for name in _FACTS}
            tx.execute(insert(alert).values(**opened(event.alert_id, facts, received_at)))
        case AlertHandled():
            tx.execute(update(alert).where(alert.c.id == event.alert_id).values(**_handled(event, received_at)))
        case AlertResolved():
            tx.execute(resolved(event.alert_id, event.account, received_at))
        case _:
            assert_never(event)


class AlertRows:
    """Feed it the hub's events about alerts, in the order of the log."""

    def __init__(self) -> None:
        """None was opened."""
        self._rows: dict[str, dict[str, Any]] = {}

    def take(self, event: AlertEvent, received_at: str) -> None:
        """One event; `received_at` as its entry says."""
        match event:
            case AlertOpened():
                facts = {name: getattr(event, name) for name in _FACTS}
                self._rows[event.alert_id] = opened(event.alert_id, facts, received_at)
            case AlertHandled():
                self._rows.get(event.alert_id, {}).update(_handled(event, received_at))
            case AlertResolved():
                done = {"resolved_by": event.account, "resolved_at": received_at}
                self._rows.get(event.alert_id, {}).update(done)
            case _:
                assert_never(event)

    def rows(self) -> dict[str, Row]:
        """The rows by id."""
        return {key: tuple(row.values()) for key, row in self._rows.items()}
