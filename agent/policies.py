"""Since when this station has asked of cameras what it asks now (Art. 20: each day by its own policy)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import date, timedelta

from agent.readiness import Policy
from agent.store import Store
from custody.commandbody import PolicyChange


@dataclass(frozen=True, slots=True)
class Ordered:
    """What the hub asks of this station; it goes before the settings of agent.toml."""

    charge_percent: int
    space_hours: float
    duty_time: timedelta


def order_policy(store: Store, number: int, change: PolicyChange) -> None:
    """Keep what command `number` asks, inside the caller's transaction."""
    store.execute(
        "INSERT INTO ordered_policy VALUES (?,?,?,?)",
        (number, change.minimum_charge_percent, change.minimum_minutes, change.duty_minutes),
    )


def ordered_policy(store: Store) -> Ordered | None:
    """What the hub asked last; None as long as it asked nothing."""
    row = store.execute(
        "SELECT minimum_charge_percent, minimum_minutes, duty_minutes FROM ordered_policy ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return None if row is None else Ordered(row[0], row[1] / 60, timedelta(minutes=row[2]))


def policy_in_force(store: Store, wanted: Policy) -> Policy:
    """`wanted` with what the hub asks instead, and the day from which it is in force: the day on which this station
    first judged by it.

    A policy that differs from the last one, by settings or by an update, is in force from `wanted.effective_from`;
    that is kept, in a commit of its own, before anything is judged by it.
    """
    if (ordered := ordered_policy(store)) is not None:
        wanted = dataclasses.replace(wanted, charge_percent=ordered.charge_percent, space_hours=ordered.space_hours)
    text = _text(wanted)
    for kept, since in store.execute("SELECT asked, effective_from FROM policy ORDER BY n DESC LIMIT 1").fetchall():
        if kept == text:
            return dataclasses.replace(wanted, effective_from=date.fromisoformat(since))
    with store.begin():
        store.execute(
            "INSERT INTO policy (asked, effective_from) VALUES (?,?)", (text, wanted.effective_from.isoformat())
        )
    return wanted


def _text(policy: Policy) -> str:
    asked = dataclasses.asdict(policy)
    del asked["effective_from"]
    return json.dumps(asked, sort_keys=True, default=str)
