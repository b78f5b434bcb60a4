"""The history of each camera's charge in the station's store: bounded, oldest first. Battery.py judges it."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.battery import Kept, Moment
from agent.charge import ChargeState, Origin, Reading
from agent.store import Store

# At most 200 rows a camera. A battery ages over years, so what it could when it was new is never dropped; comings and
# goings are what it is judged by, so looks in between never push them out.
FIRST_ROWS = 80  # about eight dockings
NEWEST_ROWS = 40  # of each moment


def keep_reading(store: Store, camera: str, kept: Kept) -> bool:
    """Append to the camera's history, inside the caller's transaction; False when it says nothing new.

    A look in between is kept when the state, or the tens of the percentage, changed, so it may be called every minute.
    """
    reading = kept.reading
    if kept.moment is Moment.SEEN:
        last = store.execute(
            "SELECT state, percent / 10 FROM charge_reading WHERE camera = ? ORDER BY n DESC LIMIT 1", (camera,)
        ).fetchone()
        if last == (reading.state, None if reading.percent is None else reading.percent // 10):
            return False
    store.execute(
        "INSERT INTO charge_reading (camera, moment, at, percent, state, origin, source, detail, charged_mah) "
        "VALUES (?,?,?,?,?,?,?,?,?)",
        (camera, kept.moment, reading.at.astimezone(UTC).isoformat(timespec="seconds"), reading.percent,
         reading.state, reading.origin, reading.source, reading.detail, kept.charged_mah),
    )  # fmt: skip
    store.execute(
        "DELETE FROM charge_reading WHERE camera = ? AND moment = ? AND n <= (SELECT n FROM charge_reading "
        "WHERE camera = ? AND moment = ? ORDER BY n DESC LIMIT 1 OFFSET ?) AND n NOT IN "
        "(SELECT n FROM charge_reading WHERE camera = ? ORDER BY n LIMIT ?)",
        (camera, kept.moment, camera, kept.moment, NEWEST_ROWS, camera, FIRST_ROWS),
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
