"""A disposition by pages: asked, approved, sent once the station has confirmed the log, and what the station stated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select
from starlette.testclient import TestClient

from custody.disposition import open_disposition
from custody.event import Sha256Hex
from custody.release import Pins
from custody.stationevents import DispositionFinished, DispositionIntended
from hub.commands.service import issue_approved
from hub.logcheck import check_log
from hub.logfaults import IndexWrong
from hub.reindex import reindex
from hub.tables import disposition, segment
from hub.times import now_utc
from tests.integration.authenticators import set_up
from tests.integration.release_scene import CAMERA, DOCKING, FILES, Docked, cosign
from tests.integration.site_data import Hub
from tests.integration.test_web_commands import post, rows
from tests.integration.test_web_releases import text
from tests.integration.web_peer import signed_in

ASK = {"station": "dock-1", "docking": DOCKING, "basis": "three years are over", "sure": "1"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.close()


def approved(hub: Hub, files: int) -> TestClient:
    """The records custodian, whose request for the first files the leader has approved."""
    records, leader = signed_in(hub, "records", "records_custodian"), signed_in(hub, "leader", "approving_leader")
    phone = set_up(hub.db, leader)
    with hub.db.read() as connection:
        digests = connection.execute(select(segment.c.sha256).order_by(segment.c.entry).limit(files)).scalars().all()
    assert post(records, "/commands/disposition", **ASK, files="\n".join(digests)) == 303
    command = rows(records)[0]["id"]
    assert post(leader, f"/commands/{command}/approve", code=phone.code()) == 303
    return records


def test_it_is_sent_once_its_station_confirmed_the_log_with_the_approval_in_it(hub: Hub) -> None:
    docked = Docked(hub)
    records = approved(hub, 2)
    assert [row["state"] for row in rows(records)] == ["approved"]
    issue_approved(hub.db, hub.keys)
    assert [row["state"] for row in rows(records)] == ["approved"], "what the station cosigned is older"
    cosign(hub.db, hub.keys, "dock-1")
    issue_approved(hub.db, hub.keys)
    assert [row["state"] for row in rows(records)] == ["waiting"]
    docked.receive()
    raw = docked.last
    pins = Pins(hub.keys.log.verify_key)
    order = open_disposition(raw, "dock-1", hub.keys.commands.verify_key, pins, now_utc(), "synchronised")
    assert (order.approved.requested_by, order.approved.approved_by) == ("records", "leader")
    assert len(order.body.file_sha256s) == 2
    assert len({checkpoint.size for checkpoint in order.checkpoints}) == 1


@pytest.mark.parametrize("outcome", ["disposed", "partly", "refused"])
def test_what_the_station_states_is_shown_everywhere_and_follows_from_the_log(hub: Hub, outcome: str) -> None:
    docked = Docked(hub)
    records = approved(hub, 3)
    cosign(hub.db, hub.keys, "dock-1")
    issue_approved(hub.db, hub.keys)
    header = docked.receive()
    assert [row["state"] for row in rows(records)] == ["under_way"]
    gone = {"disposed": (1, 2, 3), "partly": (1, 3), "refused": ()}[outcome]
    kept = {"disposed": (), "partly": (2,), "refused": ()}[outcome]
    rule = {"disposed": "complete", "partly": "file_held", "refused": "floor_not_over"}[outcome]
    named = {
        "command_id": header.id, "command_sha256": Sha256Hex(docked.previous), "camera_id": CAMERA,
        "docking_id": DOCKING, "disposition_id": json.loads(header.body)["disposition_id"],
    }  # fmt: skip
    if gone:
        people = {"requested_by": "records", "approved_by": "leader", "basis": ASK["basis"]}
        intent = docked.station.seal(DispositionIntended, **named, **people, entries=(1, 2, 3), bytes_in_all=30)
        hub.take("dock-1", intent)
    hub.take("dock-1", docked.station.seal(
        DispositionFinished, **named, outcome=outcome, rule=rule, disposed=gone, kept=kept,
    ))  # fmt: skip
    row = rows(records)[0]
    assert (row["state"], row["reason"], row["disposed"], row["kept"]) == (outcome, rule, len(gone), len(kept))
    with hub.db.read() as connection:
        seals = {row.entry: row.log_index for row in connection.execute(select(segment.c.entry, segment.c.log_index))}
        stored = connection.execute(select(disposition)).all()
    listed = {one["log_index"]: one["disposed_index"] for one in records.get("/api/v1/recordings").json()["rows"]}
    assert {entry for entry, index in seals.items() if listed[index] is not None} == set(gone)
    assert text(records, "/recordings?lang=en").count(">Disposed of<") == len(gone)
    story = text(records, f"/recordings/{seals[1]}/custody")
    assert ("has left the vault" in story) == bool(gone)
    second = text(records, f"/recordings/{seals[2]}/custody")
    assert ("This file stayed in the vault" in second) == (outcome == "partly")
    assert "left the vault" not in text(records, f"/recordings/{seals[FILES]}/custody")
    reindex(hub.db, 480)
    with hub.db.read() as connection:
        assert connection.execute(select(disposition)).all() == stored
        check_log(connection, hub.keys, 480)
    with hub.db.begin() as tx:
        tx.execute(delete(disposition))
    with hub.db.read() as connection, pytest.raises(IndexWrong, match="index_missing"):
        check_log(connection, hub.keys, 480)
