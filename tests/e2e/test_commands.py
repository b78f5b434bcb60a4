"""Commands through real processes: broker, hub and station, each killed at will; every command done once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store import HoldRow, Store
from custody.commandbody import Hold, HoldLifted, PolicyChange
from hub.access import Actor, Role
from hub.commands.approving import approve_command
from hub.commands.queries import load_commands
from hub.commands.service import request_command
from hub.db import Database, open_database, sqlite_url
from hub.keys import HubKeys, load_keys
from hub.settings import load_settings
from tests.e2e.processes import Installation, wait_for
from tests.integration.authenticators import new_person

RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
HEAD = Actor("head", Role.SECTION_HEAD, must_change_password=False)
UUID = "0195f000-0000-7000-8000-0000000000"


class Ordering:
    """A second process's view of the hub: it orders, the running hub sends."""

    def __init__(self, made: Installation) -> None:
        settings = load_settings(made.hub_dir)
        self.made = made
        self.db: Database = open_database(sqlite_url(made.hub_dir / "hub.db"))
        self.keys: HubKeys = load_keys(settings.keys_directory, settings.hub_id)

    def hold(self, n: int) -> str:
        body = Hold(hold_id=f"{UUID}{n:02x}", camera=f"cam-{n}", reason="case")
        return request_command(self.db, self.keys, RECORDS, self.made.station, body)

    def states(self) -> list[str]:
        """Oldest first."""
        return [row.state for row in load_commands(self.db, RECORDS, limit=200).rows][::-1]

    def holds(self) -> list[HoldRow]:
        store = Store(self.made.agent_dir / "station.db")
        try:
            return store.holds()
        finally:
            store.close()


@pytest.fixture
def ordering(tmp_path: Path) -> Iterator[Ordering]:
    made = Installation(tmp_path)
    made.broker.start()
    made.hub.start()
    found = Ordering(made)
    yield found
    found.db.close()
    made.stop()


def test_ordered_while_the_station_is_away_done_once_in_order_through_kills(ordering: Ordering) -> None:
    made = ordering.made
    for n in range(40):
        ordering.hold(n)
    assert ordering.states() == ["waiting"] * 40  # nobody is there to be sent to
    made.agent.start()
    wait_for("the first answers\n" + made.logs(), lambda: "accepted" in ordering.states())
    made.agent.kill()
    made.hub.kill()
    made.agent.start()
    for n in range(40, 50):
        ordering.hold(n)
    made.hub.start()
    wait_for("all answers", lambda: ordering.states() == ["accepted"] * 50, 120)
    assert [row.camera for row in ordering.holds()] == [f"cam-{n}" for n in range(50)]
    lift = request_command(
        ordering.db, ordering.keys, RECORDS, made.station, HoldLifted(hold_id=f"{UUID}07", reason="closed")
    )
    phone = new_person(ordering.db, ordering.keys, "leader", "approving_leader")
    approve_command(ordering.db, ordering.keys, LEADER, lift, phone.code())
    policy = PolicyChange(minimum_charge_percent=95, minimum_minutes=240, duty_minutes=480)
    request_command(ordering.db, ordering.keys, HEAD, made.station, policy)
    wait_for("lift and policy", lambda: ordering.states()[-2:] not in (["waiting"] * 2, ["delivered"] * 2)
             and not {"waiting", "delivered"} & set(ordering.states()), 120)  # fmt: skip
    rows = load_commands(ordering.db, RECORDS).rows[:2][::-1]
    if rows[0].reason == "clock_unsynchronised":  # this machine's clock is not disciplined: a hold then stays
        assert len(ordering.holds()) == 50
    else:
        assert (rows[0].state, rows[0].reason) == ("accepted", "done")
        assert len(ordering.holds()) == 49
    assert rows[1].state == "accepted"
