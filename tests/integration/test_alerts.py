"""Alerts on both engines: opened and ended with their cause, passed on by time, handled by people; crashes between."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.hubevents import AlertHandled, AlertOpened, AlertResolved
from hub import log
from hub.access import Actor, Role
from hub.accounts.service import create_account
from hub.alerts.kinds import KINDS
from hub.alerts.queries import AlertRow, count_waiting, load_open, load_steps, read_open, read_resolved
from hub.alerts.raising import raise_alerts
from hub.alerts.rules import ending, opening
from hub.alerts.service import acknowledge, assign, resolve
from hub.alerts.watching import Watch, look
from hub.backup import note_backup
from hub.errors import Conflict, Invalid, LogUntrusted, NotFound
from hub.logcheck import check_log
from hub.opening import Message
from hub.problems import NotAllowed, NotOpenAnyMore
from hub.reindex import reindex
from hub.tables import alert, alert_message, alert_repeat, log_entry, station
from hub.times import now_utc, to_text
from tests.bench.stations import SigningStation
from tests.integration.hubs import TestHub
from tests.integration.restore_site import cut_at

CUSTODIAN = Actor("keeper", Role.CUSTODIAN, must_change_password=False)
HEAD = Actor("head", Role.SECTION_HEAD, must_change_password=False)
STRANGER = Actor("stranger", Role.CUSTODIAN, must_change_password=False, section="B")
OFFICER = Actor("officer", Role.OFFICER, must_change_password=False)
LONG_AGO = now_utc() - timedelta(days=9)


def open_kinds(hub: TestHub) -> list[str]:
    with hub.db.read() as connection:
        return sorted(row.about.kind for row in read_open(connection))


def only(hub: TestHub) -> AlertRow:
    with hub.db.read() as connection:
        [row] = read_open(connection, CUSTODIAN)
    return row


def check(hub: TestHub) -> None:
    """The whole log, and that the rows of alerts follow from it."""
    with hub.db.read() as connection:
        check_log(connection, hub.keys, 480)


def stated(hub: TestHub) -> list[Any]:
    """The hub's events about alerts, in order."""
    found = []
    with hub.db.read() as connection:
        for raw in connection.execute(select(log_entry.c.envelope).order_by(log_entry.c.idx)).scalars():
            envelope = parse_envelope(bytes(raw))
            event = decode_event(envelope.payload_type, envelope.payload)
            found += [event] if isinstance(event, AlertOpened | AlertHandled | AlertResolved) else []
    return found


def say(hub: TestHub, name: str, text: str) -> None:
    hub.intake.take([Message(f"custodock/1/{name}/state", text.encode(), name)])


def incomplete(dock: SigningStation, reason: str = "source_gone") -> bytes:
    return dock.docking_closed(complete=False, reason=reason)


def test_it_opens_with_its_cause_counts_what_comes_again_and_ends_with_what_ends_it(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.started(), incomplete(dock), dock.segment())
    row = only(hub)
    assert (row.about.kind, row.about.station, row.about.camera, row.about.detail, row.count) == (
        "footage_unsaved", "dock-1", "DSJ-000123", "source_gone", 1,
    )  # fmt: skip
    assert hub.entries()[row.cause or 0][3] == "docking.closed.v1"
    hub.take("dock-1", incomplete(dock), incomplete(dock, "agent_stopped"))
    assert (only(hub).id, only(hub).count) == (row.id, 3)
    assert hub.types().count("alert.opened.v1") == 1
    hub.take("dock-1", dock.docking_closed())
    assert open_kinds(hub) == []
    opened, ended = stated(hub)
    assert (opened.alert_id, ended.alert_id, ended.count, ended.account) == (row.id, row.id, 3, None)
    assert hub.entries()[ended.cause][3] == "docking.closed.v1"
    hub.take("dock-1", incomplete(dock))
    assert only(hub).id != row.id
    check(hub)


def test_all_within_one_commit(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", incomplete(dock), dock.docking_closed(), incomplete(dock), incomplete(dock))
    assert (open_kinds(hub), only(hub).count) == (["footage_unsaved"], 2)
    assert [type(event) for event in stated(hub)] == [AlertOpened, AlertResolved, AlertOpened]
    check(hub)


def test_duplicates_and_another_stations_words_change_nothing(hub: TestHub) -> None:
    dock = hub.enrol()
    raw = incomplete(dock)
    for _ in range(3):
        hub.take("dock-1", raw)
    assert only(hub).count == 1
    hub.enrol("dock-2")
    hub.take("dock-1", dock.fork().docking_closed("cam-9"))  # of another camera
    assert open_kinds(hub) == ["footage_unsaved"]


def test_what_the_hub_states_opens_alerts_too(hub: TestHub) -> None:
    dock = hub.enrol()
    other = dock.fork()
    hub.take("dock-1", dock.started())
    hub.take("dock-1", other.started("another"))
    row = only(hub)
    assert (row.about.kind, row.unit, row.about.station) == ("station_frozen", "", "dock-1")  # the bureau's
    assert hub.entries()[row.cause or 0][3] == "station.frozen.v1"
    check(hub)


@pytest.mark.parametrize("statement", range(1, 40, 3))
def test_a_cut_at_any_statement_leaves_cause_and_alert_or_neither(small_hub: TestHub, statement: int) -> None:
    dock = small_hub.enrol()
    raw = incomplete(dock)
    with cut_at(small_hub.db, statement) as seen:
        try:
            small_hub.take("dock-1", raw)
        except OSError:
            assert len(seen) == statement + 1
    both = "docking.closed.v1" in small_hub.types(), "alert.opened.v1" in small_hub.types()
    assert both in ((True, True), (False, False))
    small_hub.take("dock-1", raw)
    assert only(small_hub).count == 1
    check(small_hub)
    if statement == 37:
        assert both == (True, True)  # the control: the last of these is behind the commit


def test_an_altered_row_is_found(small_hub: TestHub) -> None:
    dock = small_hub.enrol()
    small_hub.take("dock-1", incomplete(dock))
    with small_hub.db.begin() as tx:
        tx.execute(update(alert).values(resolved_at=to_text(now_utc())))
    with pytest.raises(LogUntrusted) as found:
        check(small_hub)
    assert found.value.fault == "alert_altered"


# --- time ---


def quiet(hub: TestHub) -> datetime:
    """Nothing but what a test makes is to be watched."""
    note_backup(hub.db, 0)
    return now_utc()


def test_it_goes_to_the_next_when_nobody_takes_note_and_only_once(hub: TestHub) -> None:
    now, dock = quiet(hub), hub.enrol()
    hub.take("dock-1", incomplete(dock))
    after = KINDS["footage_unsaved"].after
    for passed, level in ((after - timedelta(minutes=1), 0), (after + timedelta(minutes=1), 1), (after * 1.5, 1)):
        look(hub.db, hub.keys, now + passed, LONG_AGO)
        assert only(hub).level == level
    lookers = [threading.Thread(target=look, args=(hub.db, hub.keys, now + after * 3, LONG_AGO)) for _ in range(4)]
    for thread in lookers:
        thread.start()
    for thread in lookers:
        thread.join()
    assert only(hub).level == 2
    look(hub.db, hub.keys, now + timedelta(hours=20), LONG_AGO)  # there is nobody after the last
    steps = [event for event in stated(hub) if isinstance(event, AlertHandled)]
    assert [(event.step, event.level, event.account) for event in steps] == [
        ("escalated", 1, None),
        ("escalated", 2, None),
    ]
    with hub.db.read() as connection:
        assert connection.execute(select(func.count()).select_from(alert_message)).scalar_one() == 3
    check(hub)


@pytest.mark.parametrize("statement", range(0, 30, 3))
def test_a_cut_while_looking_passes_nothing_on_twice(small_hub: TestHub, statement: int) -> None:
    now, dock = quiet(small_hub), small_hub.enrol()
    small_hub.take("dock-1", incomplete(dock))
    later = now + timedelta(hours=5)
    with cut_at(small_hub.db, statement):
        try:
            look(small_hub.db, small_hub.keys, later, LONG_AGO)
        except OSError:
            assert [type(event) for event in stated(small_hub)] == [AlertOpened]
    for _ in range(2):
        look(small_hub.db, small_hub.keys, later, LONG_AGO)
    assert [type(event) for event in stated(small_hub)] == [AlertOpened, AlertHandled]
    check(small_hub)


def test_footage_that_is_not_safe_for_a_day(hub: TestHub) -> None:
    now, dock = quiet(hub), hub.enrol()
    hub.take("dock-1", dock.overdue())
    look(hub.db, hub.keys, now + timedelta(hours=23), LONG_AGO)
    assert open_kinds(hub) == ["camera_overdue"]
    look(hub.db, hub.keys, now + timedelta(hours=25), LONG_AGO)
    assert open_kinds(hub) == ["camera_overdue", "footage_late"]
    with hub.db.read() as connection:
        late = next(row for row in read_open(connection) if row.about.kind == "footage_late")
    with pytest.raises(Conflict):  # it would be opened again at once
        resolve(hub.db, hub.keys, CUSTODIAN, late.id, "it is fine")
    with hub.db.read() as connection:
        first = next(row for row in read_open(connection) if row.about.kind == "camera_overdue")
    resolve(hub.db, hub.keys, CUSTODIAN, first.id, "lost; reported to the equipment office")
    look(hub.db, hub.keys, now + timedelta(hours=26), LONG_AGO)
    assert open_kinds(hub) == []
    check(hub)


def test_what_flaps_is_one_alert(hub: TestHub) -> None:
    now = quiet(hub)
    hub.enrol()
    wrong, right = '{"online": true, "clock": "unsynchronised"}', '{"online": true, "clock": "synchronised"}'
    for number in range(6):
        say(hub, "dock-1", wrong if number % 2 == 0 else right)
        look(hub.db, hub.keys, now + timedelta(minutes=number), LONG_AGO)
    assert (open_kinds(hub), only(hub).count) == (["clock_wrong"], 3)
    look(hub.db, hub.keys, now + timedelta(minutes=14), LONG_AGO)
    assert open_kinds(hub) == ["clock_wrong"]  # well since minute 5: not for long enough
    look(hub.db, hub.keys, now + timedelta(minutes=15), LONG_AGO)
    assert open_kinds(hub) == []
    assert [type(event) for event in stated(hub)] == [AlertOpened, AlertResolved]
    check(hub)


def test_a_station_that_falls_silent(hub: TestHub) -> None:
    now = quiet(hub)
    hub.enrol()
    say(hub, "dock-1", '{"online": false}')
    look(hub.db, hub.keys, now + timedelta(minutes=16), now + timedelta(minutes=10))  # we were away ourselves
    assert open_kinds(hub) == []
    look(hub.db, hub.keys, now + timedelta(minutes=16), LONG_AGO)
    assert open_kinds(hub) == ["station_silent"]
    with hub.db.begin() as tx:  # whose key counts no more is not waited for
        tx.execute(update(station).values(revoked_at=to_text(now)))
    look(hub.db, hub.keys, now + timedelta(minutes=17), LONG_AGO)
    look(hub.db, hub.keys, now + timedelta(minutes=30), LONG_AGO)
    assert open_kinds(hub) == []


def test_backups_and_checks_that_are_missing(small_hub: TestHub) -> None:
    later = now_utc() + timedelta(days=3)
    look(small_hub.db, small_hub.keys, later, later)
    assert open_kinds(small_hub) == ["backup_overdue", "log_unchecked"]
    note_backup(small_hub.db, 1)
    with small_hub.db.read() as connection:
        assert all(row.unit == "" for row in read_open(connection))
    look(small_hub.db, small_hub.keys, now_utc(), LONG_AGO)
    assert open_kinds(small_hub) == []  # at that time both were young enough


def test_the_watch_looks_by_the_clock_that_it_is_given(small_hub: TestHub) -> None:
    at = [now_utc()]
    watch = Watch(small_hub.db, small_hub.keys, None, lambda: at[0])
    watch.step()
    assert open_kinds(small_hub) == []
    at[0] += timedelta(days=3)
    watch.step()
    assert "backup_overdue" in open_kinds(small_hub)
    watch.stop()
    watch.run()  # returns at once


# --- people ---


def test_people_take_note_give_and_resolve(hub: TestHub) -> None:
    now, dock = quiet(hub), hub.enrol()
    for one in (CUSTODIAN, HEAD, OFFICER):
        create_account(hub.db, hub.keys, one.name, one.role)
    hub.take("dock-1", incomplete(dock))
    alert_id = only(hub).id
    acknowledge(hub.db, hub.keys, CUSTODIAN, alert_id, "looking for it")
    acknowledge(hub.db, hub.keys, HEAD, alert_id)  # a second time changes nothing
    assert (only(hub).acknowledged_by, only(hub).state) == ("keeper", "acknowledged")
    look(hub.db, hub.keys, now + timedelta(hours=20), LONG_AGO)
    assert only(hub).level == 0  # somebody has it
    assign(hub.db, hub.keys, CUSTODIAN, alert_id, "head", "yours")
    assert (only(hub).assigned_to, only(hub).mine) == ("head", False)
    with hub.db.read() as connection:
        assert load_open(connection, HEAD)[0].mine
        assert count_waiting(connection, HEAD) == 1
        assert count_waiting(connection, CUSTODIAN) == 0
        assert count_waiting(connection, OFFICER) == 0
    for to in ("nobody", "officer"):
        with pytest.raises(Invalid):
            assign(hub.db, hub.keys, CUSTODIAN, alert_id, to)
    for note in ("", "x" * 201, "two\nlines"):
        with pytest.raises(Invalid):
            resolve(hub.db, hub.keys, HEAD, alert_id, note)
    resolve(hub.db, hub.keys, HEAD, alert_id, "docked at dock-2")
    with pytest.raises(NotOpenAnyMore):
        acknowledge(hub.db, hub.keys, HEAD, alert_id)
    with hub.db.read() as connection:
        [row] = read_resolved(connection)
        steps = [step.event.TYPE for step in load_steps(connection, alert_id)]
    assert (row.resolved_by, row.state) == ("head", "resolved")
    handled = ["alert.handled.v1"] * 2
    assert steps == ["alert.opened.v1", *handled, "alert.resolved.v1"]
    reindex(hub.db, 480)
    with hub.db.read() as connection:
        assert len(load_steps(connection, alert_id)) == 4
    check(hub)


def test_whose_it_is_not(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", incomplete(dock))
    alert_id = only(hub).id
    for one in (STRANGER, OFFICER):
        for work in (acknowledge, resolve):
            with pytest.raises((NotFound, NotAllowed)):
                work(hub.db, hub.keys, one, alert_id, "note")
    with pytest.raises(NotFound):
        acknowledge(hub.db, hub.keys, CUSTODIAN, "none")
    assert [type(event) for event in stated(hub)] == [AlertOpened]


def test_an_alert_of_a_later_version_is_left_alone(small_hub: TestHub) -> None:
    with small_hub.db.begin() as tx, log.appending(tx, small_hub.keys, now_utc()) as entries:
        raise_alerts(tx, entries, [opening("camera_overdue", "c"), ending("camera_overdue", "d")], now_utc())
    with small_hub.db.begin() as tx:
        tx.execute(update(alert).values(kind="kind_of_tomorrow"))
    look(small_hub.db, small_hub.keys, now_utc() + timedelta(hours=30), LONG_AGO)
    with small_hub.db.read() as connection:
        assert read_open(connection) == ()
        assert connection.execute(select(alert_repeat.c.met)).scalar_one() == 1
