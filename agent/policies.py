"""Since when this station has asked of cameras what it asks now (Art. 20: each day by its own policy)."""

from __future__ import annotations

import dataclasses
import json
from datetime import date

from agent.readiness import Policy
from agent.store import Store


def policy_in_force(store: Store, wanted: Policy) -> Policy:
    """`wanted` with the day from which it is in force: the day on which this station first judged by it.

    A policy that differs from the last one, by settings or by an update, is in force from `wanted.effective_from`;
    that is kept, in a commit of its own, before anything is judged by it.
    """
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
