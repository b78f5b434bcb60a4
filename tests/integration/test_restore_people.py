"""What people did after the backup comes back with the log: commands, roles, second factors, witnesses, approvals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from custody.checkpoint import SigningKey
from custody.commandbody import Hold, HoldLifted, PolicyChange
from custody.commands import CommandHead, open_command
from custody.cosignature import CosigningKey
from custody.stationevents import CommandAnswered
from hub.access import Actor, Role
from hub.accounts import codes, people
from hub.accounts.changes import Asked, Change
from hub.accounts.service import WrongPassword, create_account, sign_in
from hub.bundles.work import Order
from hub.commands import approving, service
from hub.commands.queries import CommandRow, load_commands, load_envelopes
from hub.errors import LogUntrusted
from hub.intake import Intake
from hub.logcheck import check_log
from hub.opening import Message
from hub.problems import NotOpenAnyMore
from hub.requests.approving import approve_use
from hub.requests.exporting import approved_order, check_approved
from hub.requests.queries import load_request, load_requests
from hub.requests.service import request_use, revoke_use
from hub.tables import account, command, second_factor, segment, witness, witness_policy
from hub.times import now_utc
from hub.witnesses.removal import approve_removal, request_removal
from hub.witnesses.service import add_witness, set_policy
from tests.integration.approved_exports import RECORDS, asked, copy_of
from tests.integration.authenticators import Authenticator, new_person, with_factor
from tests.integration.restore_site import OFFSET, Restored, Site

ANN = Actor("ann", Role.ADMINISTRATOR, must_change_password=False)
BOB = Actor("bob", Role.ADMINISTRATOR, must_change_password=False)
HEAD = Actor("head", Role.SECTION_HEAD, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
UUID = "0195f000-0000-7000-8000-0000000000"
DOCK = "dock-1"
HOLD = Hold(hold_id=f"{UUID}01", camera="cam-1", reason="case 17")
LIFT = HoldLifted(hold_id=f"{UUID}01", reason="closed")
POLICY = PolicyChange(minimum_charge_percent=90, minimum_minutes=240, duty_minutes=720)


class Office(Site):
    """A site with people, one of whom has an authenticator since before the backup."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.film(self.enrol(DOCK), 3)
        self.deliver(self.docks[DOCK])
        for name in ("ann", "bob"):
            create_account(self.db, self.keys, name, "administrator")
        self.passwords = {name: create_account(self.db, self.keys, name, "auditor") for name in ("li", "wu", "xu")}
        self.bob = with_factor(self.db, self.keys, "bob")
        self.phone = new_person(self.db, self.keys, "leader", "approving_leader")

    def order(self, actor: Actor, body: Hold | HoldLifted | PolicyChange) -> str:
        return service.request_command(self.db, self.keys, actor, DOCK, body)

    def change(self, name: str, change: Change, role: Role | None = None) -> None:
        """Asked for by ann, approved by bob."""
        done = people.ask(self.db, self.keys, ANN, Asked(name, change, role, "test"), now_utc())
        people.approve(self.db, self.keys, BOB, done.request.id, self.bob.code(), now_utc())

    def lost_and_back(self, backup: Path) -> Restored:
        """The hub is lost; its stations have the log, and it comes back whole."""
        self.hand_over()
        again = self.restored(backup, "hub-2")
        again.ask_all()
        again.complete()
        again.check()
        return again


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.close()


def commands_of(again: Restored) -> dict[str, CommandRow]:
    return {row.id: row for row in load_commands(again.db, LEADER, limit=200).rows}


def test_commands_come_back_with_who_asked_and_approved_but_without_what_they_say(office: Office) -> None:
    kept = office.order(RECORDS, LIFT)  # asked for before the backup
    backup = office.backup("backup")
    hold = office.order(RECORDS, HOLD)
    late, gone = office.order(RECORDS, LIFT), office.order(RECORDS, LIFT)
    approving.approve_command(office.db, office.keys, LEADER, kept, office.phone.code())
    service.withdraw_command(office.db, office.keys, RECORDS, gone)
    names = ("station", "kind", "number", "requested_by", "requested_at", "request_index", "approved_by", "approved_at",
             "approval_index", "withdrawn_by", "issued_at", "expires_at", "body_sha256", "command_sha256")  # fmt: skip
    again = office.lost_and_back(backup)
    before = {row.id: row for row in load_commands(office.db, LEADER, limit=200).rows}
    after = commands_of(again)
    assert after.keys() == before.keys()
    for key, row in before.items():
        assert [getattr(after[key], name) for name in names] == [getattr(row, name) for name in names]
    assert {after[key].body for key in (hold, late, gone)} == {None}
    assert after[kept].body == before[kept].body
    assert (after[late].state, after[gone].state) == ("requested", "withdrawn")
    with pytest.raises(NotOpenAnyMore):  # nobody could see what it says
        approving.approve_command(again.db, again.keys, LEADER, late, Authenticator(again.db, secret(again)).code())
    service.withdraw_command(again.db, again.keys, RECORDS, late)
    assert commands_of(again)[late].state == "withdrawn"
    again.check()
    again.close()


def test_an_approval_before_the_loss_is_issued_after_it_where_its_content_is_known(office: Office) -> None:
    kept = office.order(RECORDS, LIFT)
    backup = office.backup("backup")
    lost = office.order(RECORDS, LIFT)
    for one in (kept, lost):
        approving.record_approval(office.db, office.keys, LEADER, one, office.phone.code(), now_utc())  # and no further
    again = office.lost_and_back(backup)
    assert service.issue_approved(again.db, again.keys) == 1
    after = commands_of(again)
    assert (after[kept].number, after[lost].number, after[lost].state) == (1, None, "approved")
    again.check()
    again.close()


def test_a_command_that_was_lost_on_its_way_does_not_stop_those_that_follow(office: Office) -> None:
    """Its station never had it, so it waits for that number; or had it, and says so later."""
    backup = office.backup("backup")
    lost = office.order(RECORDS, HOLD)
    [(_, _, sent)] = load_envelopes(office.db, [(DOCK, 1)])
    key = office.keys.commands.verify_key
    again = office.lost_and_back(backup)
    assert load_envelopes(again.db, [(DOCK, 1)]) == []
    after = service.request_command(again.db, again.keys, HEAD, DOCK, POLICY)
    [(_, _, raw)] = load_envelopes(again.db, [(DOCK, 1)])
    assert open_command(raw, DOCK, key, CommandHead(), now_utc(), "synchronised").header.id == after
    again.check()
    had = open_command(sent, DOCK, key, CommandHead(), now_utc(), "synchronised")
    facts = {"number": 1, "kind": HOLD.KIND, "command_sha256": had.sha256, "result": "accepted", "reason": "done"}
    intake = Intake(again.db, again.keys, OFFSET)
    answer = office.docks[DOCK].signer.seal(CommandAnswered, **facts)
    intake.take([Message(f"custodock/1/{DOCK}/events", answer, DOCK)])
    intake.close()
    assert {key: row.state for key, row in commands_of(again).items()} == {lost: "accepted", after: "lost"}
    third = service.request_command(again.db, again.keys, HEAD, DOCK, POLICY)
    [(_, _, raw)] = load_envelopes(again.db, [(DOCK, 2)])
    assert open_command(raw, DOCK, key, had.head, now_utc(), "synchronised").header.id == third
    again.check()
    again.close()


def test_roles_closed_accounts_and_passwords_are_those_of_the_day_of_the_loss(office: Office) -> None:
    backup = office.backup("backup")
    office.change("li", "role", Role.RECORDS_CUSTODIAN)
    office.change("wu", "disable")
    office.change("xu", "password_reset")
    again = office.lost_and_back(backup)
    with again.db.read() as connection:
        rows = {row.name: row for row in connection.execute(select(account))}
    assert rows["li"].role == "records_custodian"
    assert rows["wu"].disabled_at is not None
    for name in ("wu", "xu"):  # closed; and a password that was replaced must not open anything again
        with pytest.raises(WrongPassword):
            sign_in(again.db, again.keys, name, office.passwords[name], "here", now_utc())
    sign_in(again.db, again.keys, "li", office.passwords["li"], "here", now_utc())
    asked_for = people.list_requests(again.db, waiting=False)
    assert [(one.account, one.approved, one.decided_by) for one in asked_for] == [
        ("xu", True, "bob"), ("wu", True, "bob"), ("li", True, "bob"),
    ]  # fmt: skip
    again.close()


def test_a_second_factor_of_after_the_backup_is_asked_for_until_two_people_remove_it(office: Office) -> None:
    removed = with_factor(office.db, office.keys, "wu")
    backup = office.backup("backup")
    phone = with_factor(office.db, office.keys, "li")
    office.change("wu", "second_factor_reset")
    again = office.lost_and_back(backup)
    with again.db.read() as connection:
        assert codes.has_second_factor(connection, "li")
        assert not codes.has_second_factor(connection, "wu")
        kept = connection.execute(select(second_factor.c.secret).where(second_factor.c.account == "bob")).scalar_one()
    for name, code in (("li", phone.code()), ("wu", removed.code())):
        with pytest.raises((codes.WrongCode, codes.NoSecondFactor)):
            codes.check_code(again.db, name, code, now_utc())
    asked_for = people.ask(again.db, again.keys, ANN, Asked("li", "second_factor_reset", None, "lost"), now_utc())
    code = Authenticator(again.db, kept).code()
    people.approve(again.db, again.keys, BOB, asked_for.request.id, code, now_utc())
    assert with_factor(again.db, again.keys, "li").code()
    again.check()
    again.close()


def test_witnesses_and_their_policy_are_those_of_the_day_of_the_loss(office: Office) -> None:
    keys = [CosigningKey(SigningKey.from_seed(f"office.example/{n}", bytes([n]) * 32)) for n in range(3)]
    add_witness(office.db, office.keys, keys[0].public.line, "tester")
    add_witness(office.db, office.keys, keys[1].public.line, "tester")
    set_policy(office.db, office.keys, 1, "tester")
    backup = office.backup("backup")
    removal = request_removal(office.db, office.keys, ANN, keys[0].public.name, "retired")
    approve_removal(office.db, office.keys, LEADER, removal)
    add_witness(office.db, office.keys, keys[2].public.line, "tester")
    set_policy(office.db, office.keys, 2, "tester")
    again = office.lost_and_back(backup)
    for table in (witness, witness_policy):
        with office.db.read() as lost, again.db.read() as back:
            query = select(table)
            assert sorted(map(tuple, back.execute(query))) == sorted(map(tuple, lost.execute(query)))
    again.close()


def test_the_control_a_row_that_came_back_otherwise_is_found(office: Office) -> None:
    backup = office.backup("backup")
    office.order(RECORDS, HOLD)
    again = office.lost_and_back(backup)
    with again.db.begin() as tx:
        tx.execute(command.update().values(requested_by="somebody"))
    with pytest.raises(LogUntrusted) as found, again.db.read() as connection:
        check_log(connection, again.keys, OFFSET)
    assert found.value.fault == "command_altered"
    again.close()


def secret(again: Restored) -> str:
    """The leader's, which the backup holds."""
    with again.db.read() as connection:
        query = select(second_factor.c.secret).where(second_factor.c.account == "leader")
        return str(connection.execute(query).scalar_one())


def test_requests_to_use_footage_come_back_whole_and_can_be_approved_and_exported(office: Office) -> None:
    backup = office.backup("backup")
    with office.db.read() as connection:
        seals = tuple(connection.execute(select(segment.c.log_index).order_by(segment.c.log_index)).scalars())
    order = Order(seals, "all of them", "区法院", "案件 17 调取", "root")
    db, keys = office.db, office.keys
    good, open_ = asked(db, keys, order), asked(db, keys, replace(order, reason="later"))
    view = request_use(db, keys, RECORDS, copy_of(order, use="view", holder="li", recipient=""), now_utc())
    for one in (good, view):
        approve_use(db, keys, LEADER, one, office.phone.code(), now_utc())
    again = office.lost_and_back(backup)
    before, after = (load_requests(one, LEADER, now_utc()) for one in (db, again.db))
    assert before == after
    with again.db.read() as connection:
        carried_out = approved_order(connection, good, "root")
        assert carried_out == replace(order, request_id=good)
        assert check_approved(connection, carried_out, "", now_utc()).approved_by == "leader"
    approve_use(again.db, again.keys, LEADER, open_, Authenticator(again.db, secret(again)).code(), now_utc())
    assert load_request(again.db, LEADER, open_, now_utc()).copy_number == 2
    revoke_use(again.db, again.keys, LEADER, view, "after a restore", now_utc())  # its grant's body is lost
    assert [row.kind for row in load_commands(again.db, LEADER, kind="grant_revoked.v1").rows] == [
        "grant_revoked.v1"
    ] * len(seals)
    again.check()
    again.close()
