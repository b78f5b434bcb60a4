"""Intake over real databases: what is accepted, what is not, and what a failure leaves behind."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from custody.envelope import EVENT_TYPE
from custody.hubevents import StationEnrolled
from custody.receipt import Receipt, ResendRequest
from hub.opening import HTTP_TOPIC, Message
from hub.refusals import MAX_ROWS_PER_MINUTE
from hub.reindex import reindex
from hub.tables import bay_state, camera, docking, log_entry, refused, segment, station, station_state, unprojected
from tests.bench.stations import SigningStation
from tests.integration.hubs import TestHub


def rows(hub: TestHub, table: object) -> list[dict[str, object]]:
    with hub.db.read() as connection:
        return [dict(r) for r in connection.execute(select(table)).mappings()]  # type: ignore[call-overload]


def docking_of(dock: SigningStation) -> list[bytes]:
    return [dock.started(), dock.docking_started(), dock.segment(), dock.segment(), dock.docking_closed()]


def test_a_docking_becomes_log_entries_rows_and_one_receipt(hub: TestHub) -> None:
    dock = hub.enrol()
    [receipt] = hub.take("dock-1", *docking_of(dock))
    assert isinstance(receipt, Receipt)
    assert [(e.seq, e.log_index) for e in receipt.entries] == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]
    assert [r["file_name"] for r in rows(hub, segment)] == [
        "DSJ-000123_20260105_083000_0003.MP4",
        "DSJ-000123_20260105_084000_0004.MP4",
    ]
    assert rows(hub, segment)[0]["recorded_day"] == "2026-01-05"
    [row] = rows(hub, docking)
    assert (row["complete"], row["copied"], row["started_index"], row["closed_index"]) == (True, 48, 2, 5)
    assert rows(hub, camera)[0]["id"] == "DSJ-000123"
    [held] = rows(hub, station)
    assert (held["last_seq"], held["last_hash"], held["software"]) == (5, dock.previous, "0.1.0")
    assert hub.root_is_naive_root()


def test_a_duplicate_has_no_effect_but_its_receipt_comes_again(hub: TestHub) -> None:
    dock = hub.enrol()
    raws = docking_of(dock)
    hub.take("dock-1", *raws)
    [again] = hub.take("dock-1", *raws, raws[2])
    assert isinstance(again, Receipt)
    assert [e.log_index for e in again.entries] == [1, 2, 3, 4, 5]
    assert len(hub.entries()) == 6


def test_a_gap_is_asked_for_once_and_closes(hub: TestHub) -> None:
    dock = hub.enrol()
    first, second, third = dock.started(), dock.segment(), dock.segment()
    assert hub.take("dock-1", third) == [ResendRequest("dock-1", 1)]
    hub.take("dock-1", first)
    [receipt] = hub.take("dock-1", third, second)  # swapped neighbours need no resend
    assert isinstance(receipt, Receipt)
    assert [e.seq for e in receipt.entries] == [2, 3]


@pytest.mark.parametrize("told", ["same seq, other bytes", "wrong previous"])
def test_a_fork_freezes_the_station(hub: TestHub, told: str) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.started())
    other = dock.fork()
    truth = dock.segment()
    hub.take("dock-1", truth)
    lie = other.segment(path="other.MP4")
    if told == "wrong previous":
        lie = other.segment()
    assert hub.take("dock-1", lie) == []
    assert hub.take("dock-1", truth, dock.segment()) == []  # not even a receipt for what is in the log
    assert hub.types()[-2:] == ["station.frozen.v1", "alert.opened.v1"]
    assert rows(hub, station)[0]["frozen_reason"]
    [kept] = [r for r in rows(hub, refused) if r["reason"] == "fork"]
    assert bytes(kept["sample"]) == lie  # type: ignore[call-overload]
    assert len(rows(hub, segment)) == 1
    assert hub.root_is_naive_root()


def test_what_is_not_authentic_is_refused_counted_and_stated_once(hub: TestHub) -> None:
    dock, other = hub.enrol(), hub.enrol("dock-2")
    honest = other.started()
    forged = SigningStation("dock-1")
    forged.key = SigningStation("thief").key
    stranger = SigningStation("stranger").started()
    hub.take("dock-1", honest, forged.started(), b"garbage", b"", b"x" * 70_000, b"\xff" * 40)
    hub.take("nobody", stranger, b"garbage")
    hub.take("dock-1", dock.started())
    counted = {(r["topic"], r["reason"]): r["count"] for r in rows(hub, refused)}
    assert counted == {
        ("custodock/1/dock-1/events", "bad_signature"): 2,
        ("custodock/1/dock-1/events", "bad_format"): 4,
        ("custodock/1/nobody/events", "unknown_station"): 2,
    }
    with hub.db.begin() as tx:
        tx.execute(text("UPDATE refused SET minute = '2026-01-01T00:00'"))
    hub.intake.tick()
    hub.intake.tick()
    assert hub.types().count("envelope.refused.v1") == 3
    assert hub.types().count("station.started.v1") == 1


def test_refused_topics_are_bounded(small_hub: TestHub) -> None:
    messages = [Message(f"custodock/1/x{i}/events", b"garbage", f"x{i}") for i in range(300)]
    small_hub.intake.take(messages)
    small_hub.intake.take(messages)
    held = rows(small_hub, refused)
    assert len(held) <= MAX_ROWS_PER_MINUTE + 1
    assert sum(int(str(r["count"])) for r in held) == 600


def test_an_authentic_unknown_event_is_logged_and_set_aside(hub: TestHub) -> None:
    dock = hub.enrol()
    body = {"source": "dock-1", "seq": 1, "previous": dock.previous, "type": "moon.risen.v7"}
    unknown = dock.seal_raw(EVENT_TYPE, json.dumps(body).encode())
    broken = dock.seal_raw(
        EVENT_TYPE, json.dumps(body | {"seq": 2, "previous": dock.previous, "type": "station.started.v1"}).encode()
    )
    [receipt] = hub.take("dock-1", unknown, broken, dock.segment())
    assert isinstance(receipt, Receipt)
    assert len(receipt.entries) == 3
    assert [(r["event_type"], r["reason"]) for r in rows(hub, unprojected)] == [
        ("moon.risen.v7", "unknown_type"),
        ("station.started.v1", "bad_format"),
    ]


def test_a_station_cannot_speak_as_the_hub_or_as_another(hub: TestHub) -> None:
    dock = hub.enrol()
    claim = dock.seal(StationEnrolled, station="dock-9", key_line="x")
    hub.take("dock-1", claim)
    assert rows(hub, unprojected)[0]["reason"] == "not_for_stations"
    body = {"source": "dock-2", "seq": 2, "previous": dock.previous, "type": "station.started.v1"}
    hub.take("dock-1", dock.seal_raw(EVENT_TYPE, json.dumps(body).encode()))
    assert rows(hub, refused)[0]["reason"] == "wrong_source"


def test_hostile_text_reaches_the_tables_without_harm(hub: TestHub) -> None:
    dock = hub.enrol()
    path = "DCIM/a\x00b'; DROP TABLE segment; --\u202e\U0001f46e执法.MP4"
    [receipt] = hub.take("dock-1", dock.segment(path=path, media=None, modified_at="not a time"))
    assert isinstance(receipt, Receipt)
    [row] = rows(hub, segment)
    assert row["path"] == path.replace("\x00", "\ufffd")
    assert row["recorded_at"] is None


def test_envelopes_over_http_need_no_topic(small_hub: TestHub) -> None:
    dock = small_hub.enrol()
    answers = small_hub.intake.take([Message(HTTP_TOPIC, dock.started(), None)])
    assert isinstance(small_hub.opened("dock-1", answers)[0], Receipt)


def test_states_are_kept_for_enrolled_stations_only(hub: TestHub) -> None:
    hub.enrol()

    def say(topic: str, body: bytes) -> None:
        hub.intake.take([Message(topic, body, topic.split("/")[2])])

    say("custodock/1/dock-1/state", b'{"online":true}')
    say("custodock/1/dock-1/bay/3", b'{"state":"copying"}')
    say("custodock/1/dock-1/bay/4", b"[1]")
    say("custodock/1/nobody/state", b'{"online":true}')
    assert [(r["station"], r["online"]) for r in rows(hub, station_state)] == [("dock-1", True)]
    assert [r["bay"] for r in rows(hub, bay_state)] == ["3"]
    say("custodock/1/dock-1/state", b'{"online":false}')
    say("custodock/1/dock-1/bay/3", b"")
    assert rows(hub, station_state)[0]["online"] is False
    assert rows(hub, bay_state) == []


def test_a_failing_database_leaves_nothing_and_the_batch_can_be_given_again(small_hub: TestHub) -> None:
    dock = small_hub.enrol()
    raws = docking_of(dock)
    with small_hub.db.begin() as tx:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.exec_driver_sql(f"PRAGMA max_page_count={pages}")  # the disk is full
    many = [dock.segment() for _ in range(400)]
    with pytest.raises(OperationalError, match="full"):
        small_hub.take("dock-1", *raws, *many)
    assert len(small_hub.entries()) == 1
    with small_hub.db.begin() as tx:
        tx.exec_driver_sql("PRAGMA max_page_count=1000000")
    small_hub.take("dock-1", *raws, *many)
    assert len(small_hub.entries()) == 406
    assert small_hub.root_is_naive_root()


def test_a_message_that_breaks_its_projection_does_not_stop_the_others(small_hub: TestHub) -> None:
    dock = small_hub.enrol()
    with small_hub.db.begin() as tx:  # as if a row of this entry were there already
        tx.exec_driver_sql("INSERT INTO unprojected VALUES (3, 'x', 'x', 'x', 'x')")
        tx.exec_driver_sql(
            "CREATE TRIGGER t BEFORE INSERT ON segment WHEN NEW.entry = 2 BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
        tx.exec_driver_sql("DELETE FROM unprojected")
    raws = [dock.started(), dock.segment(), dock.segment(), dock.segment()]
    receipts = small_hub.take("dock-1", *raws)
    assert sorted(e.seq for r in receipts if isinstance(r, Receipt) for e in r.entries) == [1, 2, 3, 4]
    assert [r["reason"] for r in rows(small_hub, unprojected)] == ["projection_failed"]
    assert len(rows(small_hub, segment)) == 2
    assert small_hub.root_is_naive_root()


def test_the_log_refuses_changes(hub: TestHub) -> None:
    hub.enrol()
    for change in ("UPDATE log_entry SET seq = 9", "DELETE FROM log_entry"):
        with pytest.raises(Exception, match="append-only"), hub.db.begin() as tx:
            tx.execute(text(change))
    assert len(hub.entries()) == 1


def test_reindex_gives_the_same_rows(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", *docking_of(dock), dock.segment(size_bytes=0, gap_count=1))
    tables = (segment, docking, camera, unprojected)
    before = [rows(hub, t) for t in tables]
    assert reindex(hub.db, 480) == len(hub.entries())
    assert [rows(hub, t) for t in tables] == before


def test_each_station_has_its_own_dockings(hub: TestHub) -> None:
    first, second = hub.enrol(), hub.enrol("dock-2")
    second.docking = first.docking
    hub.take("dock-1", first.docking_started())
    hub.take("dock-2", second.docking_started(camera="other"))
    assert [(r["station"], r["camera"]) for r in rows(hub, docking)] == [("dock-1", "DSJ-000123"), ("dock-2", "other")]


def test_envelopes_are_kept_byte_for_byte(hub: TestHub) -> None:
    dock = hub.enrol()
    raws = docking_of(dock)
    hub.take("dock-1", *raws)
    with hub.db.read() as connection:
        stored = connection.execute(select(log_entry.c.envelope).where(log_entry.c.source == "dock-1")).scalars()
        assert [bytes(raw) for raw in stored] == raws
