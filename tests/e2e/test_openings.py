"""An officer's number from a station's desk to the hub's page and out again, through real broker, hub and agent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from agent import duty
from agent.officers import Officer
from agent.station import load_or_create_station
from agent.store import Store
from hub.access import Actor, Role
from hub.db import Database, open_database, sqlite_url
from hub.keys import load_keys
from hub.logcheck import check_log
from hub.openings.service import Choice, approve_removal, request_removal
from hub.settings import load_settings
from hub.tables import log_entry, opening
from tests.e2e.processes import Installation, wait_for

RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
OFFICER = "318842"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    installation.broker.start()
    installation.hub.start()
    yield installation
    installation.stop()


def held(db: Database) -> list[tuple[str, bytes | None]]:
    """Type of the entry and value, in the order of the log."""
    query = select(log_entry.c.event_type, opening.c.value).join(opening, opening.c.log_index == log_entry.c.idx)
    with db.read() as connection:
        return [(row.event_type, row.value) for row in connection.execute(query.order_by(log_entry.c.idx))]


def take_and_leave(made: Installation, camera: str) -> None:
    """A duty as the desk states it; the agent sends it when it is up."""
    store, station = Store(made.agent_dir / "station.db"), load_or_create_station(made.agent_dir)
    now = datetime.now(UTC)
    duty.check_out(store, station, Officer(OFFICER, "王芳", disabled=False), camera, "1", "ready", (), now)
    duty.camera_left(store, station, camera, "1", "safe", "ready", now)
    store.close()


def test_a_number_comes_to_the_hub_and_goes_from_it_for_good(made: Installation) -> None:
    settings, number = load_settings(made.hub_dir), OFFICER.encode()
    db = open_database(sqlite_url(made.hub_dir / "hub.db"))
    keys = load_keys(settings.keys_directory, settings.hub_id)
    take_and_leave(made, "CAM-8")
    made.agent.start()
    first = [("camera.checked_out.v2", number), ("camera.left.v2", number)]
    wait_for("the openings\n" + made.logs(), lambda: held(db) == first)
    removal_id, count = request_removal(db, keys, RECORDS, Choice("officer", value=OFFICER), "asked_by_person")
    assert (count, approve_removal(db, keys, LEADER, removal_id)) == (2, 2)
    made.agent.kill()
    take_and_leave(made, "CAM-9")
    made.agent.start()
    gone = [(kind, None) for kind, _ in first]
    wait_for("the next duty\n" + made.logs(), lambda: held(db) == gone + first)
    made.hub.kill()  # the checks see a log that nobody writes to
    with db.read() as connection:
        check_log(connection, keys, 480)
    db.close()
