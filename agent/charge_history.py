"""The history of each camera's charge in the station's store: bounded, oldest first. Battery.py judges it."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.battery import Kept, Moment
from agent.charge import ChargeState, Origin, Reading
from agent.store import Store

# Comings and goings are what a battery is judged by, so looks in between never push them out. 200 rows a camera.
KEEP = {Moment.ARRIVED: 60, Moment.LEFT: 60, Moment.SEEN: 80}


def keep_reading(store: Store, camera: str, kept: Kept) -> bool:
    """Append to the camera's history, inside the caller's transaction; False when it says nothing new.

    A look in between is kept when state or percentage changed since the one before, so it may be called every minute.
    """
    reading = kept.reading
    if kept.moment is Moment.SEEN:
        last = store.execute(
            "SELECT percent, state FROM charge_reading WHERE camera = ? ORDER BY n DESC LIMIT 1", (camera,)
        ).fetchone()
        if last == (reading.percent, reading.state):
            return False
    store.execute(
        "INSERT INTO charge_reading (camera, moment, at, percent, state, origin, source, detail, charged_mah) "
        "VALUES (?,?,?,?,?,?,?,?,?)",
        (camera, kept.moment, reading.at.astimezone(UTC).isoformat(timespec="seconds"), reading.percent,
         reading.state, reading.origin, reading.source, reading.detail, kept.charged_mah),
    )  # fmt: skip
    store.execute(
        "DELETE FROM charge_reading WHERE camera = ? AND moment = ? AND n <= (SELECT n FROM charge_reading "
        "WHERE camera = ? AND moment = ? ORDER BY n DESC LIMIT 1 OFFSET ?)",
        (camera, kept.moment, camera, kept.moment, KEEP[kept.moment]),
    )
    return True


def charge_history(store: Store, camera: str) -> list[Kept]:
    """Everything kept of one camera, oldest first."""
    rows = store.execute(
        "SELECT moment, percent, state, origin, source, at, detail, charged_mah FROM charge_reading "
        "WHERE camera = ? ORDER BY n",
        (camera,),
    )
    return [
        Kept(
            Moment(moment),
            Reading(percent, ChargeState(state), Origin(origin), source, datetime.fromisoformat(at), detail),
            mah,
        )
        for moment, percent, state, origin, source, at, detail, mah in rows
    ]
