"""Commands at the hub: one transaction and one log entry a step, two people where two are needed, nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from custody.approval import check_approval
from custody.checkpoint import SigningKey
from custody.commandbody import Body, Hold, HoldLifted, PolicyChange, Roster, RosterEntry
from custody.commands import Command, CommandHead, body_sha256, open_command
from custody.fields import Sha256Hex
from custody.stationevents import CommandAnswered
from hub.access import Actor, Role
from hub.accounts import codes, policy
from hub.commands import approving, service
from hub.commands.queries import load_command, load_commands, load_envelopes, waiting_numbers
from hub.errors import Invalid, LogUntrusted, NotFound
from hub.logcheck import check_log
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded, TooManyAttempts
from hub.reindex import reindex
from hub.tables import command
from hub.times import now_utc
from tests.bench.stations import SigningStation
from tests.integration.authenticators import new_person
from tests.integration.hubs import TestHub, drop_triggers

RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
OFFICE = Actor("office", Role.EQUIPMENT_OFFICE, must_change_password=False)
UUID = "0195f000-0000-7000-8000-000000000007"
HOLD = Hold(hold_id=UUID, camera="DSJ-000317", reason="case 2026-17")
LIFT = HoldLifted(hold_id=UUID, reason="case closed")
POLICY = PolicyChange(minimum_charge_percent=90, minimum_minutes=240, duty_minutes=720)


def order(hub: TestHub, actor: Actor, body: Body, station: str = "dock-1") -> str:
    return service.request_command(hub.db, hub.keys, actor, station, body)


def sent(hub: TestHub, station: str, number: int) -> bytes:
    [(_, _, raw)] = load_envelopes(hub.db, [(station, number)])
    return raw


def opened(hub: TestHub, raw: bytes, head: CommandHead) -> Command:
    return open_command(raw, "dock-1", hub.keys.commands.verify_key, head, now_utc(), "synchronised")


def answer(station: SigningStation, got: Command, result: str = "accepted", reason: str = "done") -> bytes:
    facts = {"number": got.header.number, "kind": got.header.kind, "command_sha256": got.sha256}
    return station.seal(CommandAnswered, **facts, result=result, reason=reason)


def state(hub: TestHub, command_id: str) -> tuple[str, str]:
    row = load_command(hub.db, LEADER, command_id)
    return row.state, row.reason


def sound(hub: TestHub) -> None:
    with hub.db.read() as connection:
        check_log(connection, hub.keys, 480)
    assert hub.root_is_naive_root()


def test_a_hold_is_issued_at_once_and_known_to_be_carried_out_by_the_stations_answer(hub: TestHub) -> None:
    station = hub.enrol()
    first, second = order(hub, RECORDS, HOLD), order(hub, OFFICE, POLICY)
    assert hub.types() == ["station.enrolled.v2", "command.issued.v1", "command.issued.v1"]
    one = opened(hub, sent(hub, "dock-1", 1), CommandHead())
    two = opened(hub, sent(hub, "dock-1", 2), one.head)
    assert (one.body, two.body) == (HOLD, POLICY)
    assert state(hub, first) == ("waiting", "")
    hub.take("dock-1", answer(station, one), answer(station, two, "refused", "bad_body"))
    assert state(hub, first) == ("accepted", "done")
    assert state(hub, second) == ("refused", "bad_body")
    assert hub.types()[-1] == "alert.opened.v1"
    assert reindex(hub.db, 480) == 6
    assert state(hub, second) == ("refused", "bad_body")
    sound(hub)


def test_two_people_and_the_station_can_prove_it(hub: TestHub) -> None:
    hub.enrol()
    asked = order(hub, RECORDS, LIFT)
    assert hub.types()[-1] == "command.requested.v1"
    for nobody, error in ((RECORDS, SecondPersonNeeded), (OFFICE, NotAllowed)):
        with pytest.raises(error):
            approving.approve_command(hub.db, hub.keys, nobody, asked, "000000")
    assert load_envelopes(hub.db, [("dock-1", 1)]) == []
    phone = new_person(hub.db, hub.keys, "leader", "approving_leader")
    approving.approve_command(hub.db, hub.keys, LEADER, asked, phone.code())
    assert hub.types()[-2:] == ["command.approved.v1", "command.issued.v1"]
    got = opened(hub, sent(hub, "dock-1", 1), CommandHead())
    digest = body_sha256(got.header.body)
    found = check_approval(got.header.approval, got.header.id, "dock-1", LIFT.KIND, digest, hub.keys.log.verify_key)
    assert (found.requested_by, found.approved_by) == ("records", "leader")
    with pytest.raises(NotOpenAnyMore):
        approving.approve_command(hub.db, hub.keys, LEADER, asked, phone.code())
    sound(hub)


def test_a_code_that_is_wrong_used_or_missing_approves_nothing_and_guesses_end_in_a_pause(hub: TestHub) -> None:
    hub.enrol()
    first, second = order(hub, RECORDS, LIFT), order(hub, RECORDS, LIFT)
    with pytest.raises(codes.NoSecondFactor):
        approving.approve_command(hub.db, hub.keys, LEADER, first, "123456")
    phone = new_person(hub.db, hub.keys, "leader", "approving_leader")
    right = phone.code()
    approving.approve_command(hub.db, hub.keys, LEADER, first, right)
    with pytest.raises(codes.WrongCode):
        approving.approve_command(hub.db, hub.keys, LEADER, second, right)  # each code serves once
    for guess in range(policy.FREE_FAILURES_PER_NAME - 1):
        with pytest.raises(codes.WrongCode):
            approving.approve_command(hub.db, hub.keys, LEADER, second, f"x{guess}")
    with pytest.raises(TooManyAttempts):
        approving.approve_command(hub.db, hub.keys, LEADER, second, phone.code())
    assert state(hub, second) == ("requested", "")
    assert hub.types().count("command.approved.v1") == 1
    sound(hub)


def test_a_crash_between_approval_and_issue_is_made_good(hub: TestHub) -> None:
    hub.enrol()
    asked = order(hub, RECORDS, LIFT)
    phone = new_person(hub.db, hub.keys, "leader", "approving_leader")
    approving.record_approval(hub.db, hub.keys, LEADER, asked, phone.code(), now_utc())  # and here the process ends
    assert state(hub, asked) == ("approved", "")
    sound(hub)
    assert service.issue_approved(hub.db, hub.keys) == 1
    assert service.issue_approved(hub.db, hub.keys) == 0
    assert state(hub, asked) == ("waiting", "")
    assert hub.types().count("command.issued.v1") == 1
    sound(hub)


@pytest.mark.parametrize("table", ["command", "log_entry", "checkpoint"])
def test_a_failure_before_the_commit_leaves_neither_row_nor_entry(small_hub: TestHub, table: str) -> None:
    """The database fails at each of the three writes in turn."""
    small_hub.enrol()
    before = small_hub.types()
    with small_hub.db.begin() as tx:
        tx.exec_driver_sql(f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(IntegrityError, match="full"):
        order(small_hub, RECORDS, HOLD)
    with small_hub.db.begin() as tx:
        tx.exec_driver_sql("DROP TRIGGER full")
    assert small_hub.types() == before
    assert load_commands(small_hub.db, LEADER).rows == ()
    order(small_hub, RECORDS, HOLD)
    assert opened(small_hub, sent(small_hub, "dock-1", 1), CommandHead()).body == HOLD
    sound(small_hub)


def test_who_asks_may_withdraw_and_then_nobody_approves(hub: TestHub) -> None:
    hub.enrol()
    asked = order(hub, RECORDS, LIFT)
    with pytest.raises(NotAllowed):
        service.withdraw_command(hub.db, hub.keys, OFFICE, asked)
    service.withdraw_command(hub.db, hub.keys, RECORDS, asked)
    with pytest.raises(NotOpenAnyMore):
        approving.approve_command(hub.db, hub.keys, LEADER, asked, "000000")
    assert state(hub, asked)[0] == "withdrawn"
    sound(hub)


def test_what_cannot_be_asked_for(hub: TestHub) -> None:
    hub.enrol()
    with pytest.raises(NotAllowed):
        order(hub, OFFICE, HOLD)
    with pytest.raises(NotFound):
        order(hub, RECORDS, HOLD, "dock-9")
    with pytest.raises(Invalid):
        order(hub, RECORDS, Hold(hold_id=UUID, reason="of nothing"))
    officers = tuple(
        RosterEntry(number=f"N-{n}", name="张" * 40, pin_hash=f"scrypt${'0' * 32}${'1' * 64}", disabled=False)
        for n in range(200)
    )
    with pytest.raises(Invalid, match="several"):
        order(hub, OFFICE, Roster(officers=officers))
    with pytest.raises(Invalid):
        service.make_body("format.v1", {})
    with pytest.raises(Invalid):
        service.make_body("hold.v1", {"hold_id": UUID, "reason": "x", "camera": 7})
    assert hub.types() == ["station.enrolled.v2"]


def test_the_database_itself_refuses_one_person(hub: TestHub) -> None:
    hub.enrol()
    asked = order(hub, RECORDS, LIFT)
    with pytest.raises(IntegrityError), hub.db.begin() as tx:
        tx.execute(update(command).where(command.c.id == asked).values(approved_by="records"))


def test_a_rosters_bytes_go_once_it_is_answered(hub: TestHub) -> None:
    station = hub.enrol()
    officer = RosterEntry(number="A-1", name="王伟", pin_hash=None, disabled=False)
    asked = order(hub, OFFICE, Roster(officers=(officer,)))
    assert service.forget_answered(hub.db) == 0
    got = opened(hub, sent(hub, "dock-1", 1), CommandHead())
    hub.take("dock-1", answer(station, got))
    assert service.forget_answered(hub.db) == 1
    assert load_envelopes(hub.db, [("dock-1", 1)]) == []
    assert state(hub, asked) == ("accepted", "done")
    with hub.db.read() as connection:
        assert all("王伟".encode() not in repr(row).encode() for row in connection.execute(select(command)))
    sound(hub)


def test_after_a_restored_backup_numbers_go_on_from_what_the_station_answered(hub: TestHub) -> None:
    """The station answered 1 to 3; this hub knows only of its own command 1."""
    station = hub.enrol()
    lost = order(hub, RECORDS, HOLD)
    answers = []
    for number in (1, 2, 3):
        digest = Sha256Hex(f"{number:064x}")
        facts = {"number": number, "kind": "hold.v1", "command_sha256": digest}
        answers.append(station.seal(CommandAnswered, **facts, result="accepted", reason="done"))
    hub.take("dock-1", *answers)
    assert state(hub, lost) == ("lost", "done")
    order(hub, RECORDS, HOLD)
    head = CommandHead(3, Sha256Hex(f"{3:064x}"))
    assert opened(hub, sent(hub, "dock-1", 4), head).header.number == 4
    sound(hub)


def test_what_waits_is_told_per_station_that_is_online(hub: TestHub) -> None:
    from hub.opening import Message  # noqa: PLC0415

    station = hub.enrol()
    hub.enrol("dock-2")
    for _ in range(5):
        order(hub, RECORDS, HOLD)
    order(hub, RECORDS, HOLD, "dock-2")
    assert waiting_numbers(hub.db, 3) == {}
    online = b'{"station":"dock-1","online":true}'
    hub.intake.take([Message("custodock/1/dock-1/state", online, "dock-1")])
    assert waiting_numbers(hub.db, 3) == {"dock-1": [1, 2, 3]}
    one = opened(hub, sent(hub, "dock-1", 1), CommandHead())
    hub.take("dock-1", answer(station, one))
    assert waiting_numbers(hub.db, 9) == {"dock-1": [2, 3, 4, 5]}


@pytest.mark.parametrize(
    "changed",
    [
        {"approved_by": "leader"}, {"requested_by": "somebody"}, {"body": '{"hold_id":"x"}'}, {"envelope": b"x"},
        {"number": 7}, {"command_sha256": "0" * 64}, {"withdrawn_by": "leader", "number": None},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_a_changed_row_is_found(hub: TestHub, changed: dict[str, object]) -> None:
    hub.enrol()
    order(hub, RECORDS, HOLD)
    sound(hub)  # the control
    with hub.db.begin() as tx:
        drop_triggers(tx)
        tx.execute(update(command).values(**changed))
    with pytest.raises(LogUntrusted) as found, hub.db.read() as connection:
        check_log(connection, hub.keys, 480)
    assert found.value.fault == "command_altered"


def test_a_missing_or_added_row_is_found(hub: TestHub, tmp_path: Path) -> None:
    hub.enrol()
    order(hub, RECORDS, HOLD)
    with hub.db.begin() as tx:
        tx.execute(command.delete())
    with pytest.raises(LogUntrusted) as found, hub.db.read() as connection:
        check_log(connection, hub.keys, 480)
    assert found.value.fault == "command_altered"


def test_a_thief_of_another_key_is_not_the_hub(hub: TestHub) -> None:
    """Control for `opened`: with the event key as command key nothing opens."""
    hub.enrol()
    order(hub, RECORDS, HOLD)
    key = SigningKey(hub.keys.commands.name, hub.keys.events.private).verify_key
    with pytest.raises(Exception, match="no signature by"):
        open_command(sent(hub, "dock-1", 1), "dock-1", key, CommandHead(), now_utc(), "synchronised")
