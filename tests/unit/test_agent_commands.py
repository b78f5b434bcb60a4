"""Commands at the station: number, effect and answer in one commit, once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from agent.commands import EffectRefused, Handler, Trust, take_command
from agent.grants import Reached, Uptime, find_grant, keep_grant, keep_mark, load_mark, revoke_grant, why_not_good
from agent.officers import PinRefused, check_pin, officers, set_officer
from agent.policies import ordered_policy, policy_in_force
from agent.readiness import Policy
from agent.station import Station, load_or_create_station
from agent.store import HoldRow, Store
from custody.approval import Approval
from custody.checkpoint import SigningKey
from custody.commandbody import (
    Body,
    Disposition,
    Grant,
    GrantRevoked,
    Hold,
    HoldLifted,
    PolicyChange,
    Roster,
    RosterEntry,
)
from custody.commands import Command, CommandHead, Header, body_text, seal_command
from custody.envelope import open_envelope
from custody.event import Clock
from custody.events import EVENT_TYPE, decode_event
from custody.fields import Sha256Hex
from custody.pin import hash_pin
from custody.stationevents import CommandAnswered
from tests.approvals import make_approval

COMMAND_KEY = SigningKey.from_seed("hub.test/commands", bytes(range(32)))
LOG_KEY = SigningKey.from_seed("hub.test/log", bytes(range(1, 33)))
AT = datetime(2026, 3, 5, 8, 0, tzinfo=UTC)
UUID = "0195f000-0000-7000-8000-00000000000"
SHA = Sha256Hex("ab" * 32)


class HubSide:
    """Numbers and signs what one station is told."""

    def __init__(self, station: str) -> None:
        self.station, self.head = station, CommandHead()

    def order(self, body: Body, **changes: object) -> bytes:
        made = Header(
            id=f"{UUID}1", station=self.station, number=self.head.number + 1, previous=self.head.sha256,
            issued_at=AT, expires_at=AT + timedelta(days=60), kind=body.KIND, body=body_text(body),
        )  # fmt: skip
        raw = seal_command(replace(made, **changes), COMMAND_KEY)  # type: ignore[arg-type]
        self.head = CommandHead(self.head.number + 1, Sha256Hex(sha256(raw).hexdigest()))
        return raw


class Dock:
    """A station with a store."""

    def __init__(self, directory: Path) -> None:
        self.station: Station = load_or_create_station(directory, "dock-1")
        self.store, self.hub = Store(directory / "station.db"), HubSide("dock-1")
        self.handlers: dict[str, Handler] = {}

    def take(self, raw: bytes, now: datetime = AT, clock: Clock = "synchronised") -> tuple[str, str] | None:
        trust = Trust(COMMAND_KEY.verify_key, LOG_KEY.verify_key, self.handlers)
        answer = take_command(self.store, self.station, trust, raw, now, clock)
        return None if answer is None else (answer.result, answer.reason)

    def answers(self) -> list[CommandAnswered]:
        found = []
        for row in self.store.outbox_from(1, 10_000):
            event = decode_event(EVENT_TYPE, open_envelope(row.envelope, self.station.key.verify_key, EVENT_TYPE))
            assert isinstance(event, CommandAnswered)
            found.append(event)
        return found


@pytest.fixture
def dock(tmp_path: Path) -> Iterator[Dock]:
    made = Dock(tmp_path)
    yield made
    made.store.close()


NOT_APPROVED = ("refused", "not_approved")


def approval(body: Body, **changes: object) -> Approval:
    return make_approval(LOG_KEY, f"{UUID}1", "dock-1", body.KIND, body_text(body), **changes)


def hold(n: int = 1, **facts: str) -> Hold:
    return Hold(hold_id=f"{UUID}{n}", reason="case 17", **(facts or {"camera": "cam-7"}))  # type: ignore[arg-type]


def test_a_hold_is_kept_and_answered_and_a_repetition_does_nothing(dock: Dock) -> None:
    raw = dock.hub.order(hold(docking="d", file_sha256=SHA))
    assert dock.take(raw) == ("accepted", "done")
    assert dock.store.holds() == [HoldRow(f"{UUID}1", None, "d", SHA, "case 17")]
    assert dock.take(raw) is None
    [answer] = dock.answers()
    assert (answer.number, answer.kind, answer.command_sha256) == (1, "hold.v1", sha256(raw).hexdigest())
    assert len(dock.store.holds()) == 1


def test_what_a_hold_fits() -> None:
    row = HoldRow("h", "cam-7", None, SHA, "r")
    assert row.fits("cam-7", "any", SHA)
    assert not row.fits("cam-8", "any", SHA)
    assert not row.fits("cam-7", "any", "cd" * 32)
    assert HoldRow("h", None, "d", None, "r").fits("any", "d", SHA)


def test_away_for_weeks_then_150_in_order_and_shuffled(dock: Dock) -> None:
    """As the broker may give them: in order at first, then again in any order. Each is carried out once."""
    raws = [dock.hub.order(hold(n % 10, camera=f"cam-{n}")) for n in range(150)]
    later = AT + timedelta(days=59)
    chance = random.Random(5)
    for raw in raws:
        dock.take(chance.choice(raws), later)
        dock.take(raw, later)
        dock.take(raw, later)
    assert [a.number for a in dock.answers()] == list(range(1, 151))
    assert {(a.result, a.reason) for a in dock.answers()} == {("accepted", "done")}
    assert sorted(row.camera or "" for row in dock.store.holds()) == sorted(f"cam-{n}" for n in range(150))
    for raw in chance.sample(raws, 50):
        assert dock.take(raw, later) is None
    assert dock.store.head().seq == 150


def test_order_does_not_matter_to_the_outcome_only_to_the_time(dock: Dock) -> None:
    raws = [dock.hub.order(hold(n, camera=f"cam-{n}")) for n in range(8)]
    while len(dock.answers()) < 8:  # the hub sends all of it again and again until the last is answered
        for raw in reversed(raws):
            dock.take(raw)
    assert [row.camera for row in dock.store.holds()] == [f"cam-{n}" for n in range(8)]


def test_what_comes_late_or_by_a_doubtful_clock(dock: Dock) -> None:
    policy = PolicyChange(minimum_charge_percent=95, minimum_minutes=300, duty_minutes=480)
    assert dock.take(dock.hub.order(policy), AT + timedelta(days=61)) == ("expired", "expired")
    assert ordered_policy(dock.store) is None
    assert dock.take(dock.hub.order(hold()), AT + timedelta(days=61)) == ("accepted", "done")
    lift = HoldLifted(hold_id=f"{UUID}1", reason="over")
    assert dock.take(dock.hub.order(lift), AT, "unsynchronised") == ("refused", "clock_unsynchronised")
    assert dock.take(dock.hub.order(lift), AT) == ("refused", "not_approved")
    assert len(dock.store.holds()) == 1
    assert dock.take(dock.hub.order(policy), AT, "unknown") == ("accepted", "done")
    assert ordered_policy(dock.store) is not None


def test_the_hubs_policy_goes_before_the_settings_and_has_its_day(dock: Dock) -> None:
    march, april = date(2026, 3, 1), date(2026, 4, 1)
    assert policy_in_force(dock.store, Policy(effective_from=march)).charge_percent == 80
    dock.take(dock.hub.order(PolicyChange(minimum_charge_percent=95, minimum_minutes=300, duty_minutes=480)))
    now = policy_in_force(dock.store, Policy(effective_from=april))
    assert (now.charge_percent, now.space_hours, now.effective_from) == (95, 5, april)
    ordered = ordered_policy(dock.store)
    assert ordered is not None
    assert ordered.duty_time == timedelta(hours=8)


def entry(number: str, pin: str | None = "1234", *, disabled: bool = False) -> RosterEntry:
    return RosterEntry(number=number, name="王伟", pin_hash=None if pin is None else hash_pin(pin), disabled=disabled)


def test_a_roster_is_kept_whole_or_not_at_all(dock: Dock) -> None:
    with dock.store.begin():
        set_officer(dock.store, "A-1", "老王", "9999")
    assert dock.take(dock.hub.order(Roster(officers=(entry("A-2"), entry("A-3", None))))) == ("refused", "pin_missing")
    assert [one.number for one in officers(dock.store)] == ["A-1"]
    raw = dock.hub.order(Roster(officers=(entry("A-1", None), entry("A-2"), entry("A-3", disabled=True))))
    assert dock.take(raw) == ("accepted", "done")
    assert check_pin(dock.store, "A-1", "9999", AT).name == "王伟"
    assert check_pin(dock.store, "A-2", "1234", AT).number == "A-2"
    with pytest.raises(PinRefused):
        check_pin(dock.store, "A-3", "1234", AT)
    kept = dock.store.execute("SELECT envelope FROM command ORDER BY number").fetchall()
    assert kept == [(None,), (None,)]  # a roster names people: its bytes are not kept
    assert all("王伟".encode() not in row.envelope for row in dock.store.outbox_from(1, 99))


def test_two_people_lift_a_hold_and_nobody_else_does(dock: Dock) -> None:
    dock.take(dock.hub.order(hold(1), expires_at=AT + timedelta(days=1)))
    dock.take(dock.hub.order(hold(1, docking="d")))
    lift = HoldLifted(hold_id=f"{UUID}1", reason="over")
    assert dock.take(dock.hub.order(lift, approval=approval(lift, approved_by="records"))) == NOT_APPROVED
    assert dock.take(dock.hub.order(lift, approval=approval(lift, source="dock-2"))) == NOT_APPROVED
    other = HoldLifted(hold_id=f"{UUID}2", reason="over")
    assert dock.take(dock.hub.order(lift, approval=approval(other))) == NOT_APPROVED
    assert len(dock.store.holds()) == 2
    assert dock.take(dock.hub.order(lift, approval=approval(lift))) == ("accepted", "done")
    assert dock.store.holds() == []
    assert dock.take(dock.hub.order(lift, approval=approval(lift))) == ("refused", "hold_unknown")


DISPOSITION = Disposition(disposition_id=f"{UUID}5", docking="d", file_sha256s=(SHA,), basis="90 days are over")


def test_a_disposition_is_off_until_its_handler_is_set_up_and_never_without_two_people(dock: Dock) -> None:
    def order(**changes: object) -> tuple[str, str] | None:
        return dock.take(dock.hub.order(DISPOSITION, approval=approval(DISPOSITION, **changes)))

    seen: list[Command] = []
    assert order() == ("refused", "disposition_off")
    dock.handlers["disposition.v1"] = lambda _store, command, _now: seen.append(command)
    assert order(approved_by="records") == NOT_APPROVED
    assert seen == []
    assert order() == ("accepted", "done")
    assert [command.body for command in seen] == [DISPOSITION]
    kept = dock.store.execute("SELECT envelope FROM command WHERE result = 'accepted'").fetchone()[0]
    assert sha256(kept).hexdigest() == seen[0].sha256  # the authorisation itself stays, as it came


def test_a_handler_that_fails_is_answered_and_leaves_nothing(dock: Dock) -> None:
    def broken(store: Store, _command: Command, _now: datetime) -> None:
        store.execute("INSERT INTO grant_revoked VALUES ('g', 1)")
        raise ZeroDivisionError

    def refusing(store: Store, _command: Command, _now: datetime) -> None:
        store.execute("INSERT INTO grant_revoked VALUES ('g', 1)")
        raise EffectRefused("not_here")

    for handler, code in ((broken, "internal"), (refusing, "not_here")):
        dock.handlers["disposition.v1"] = handler
        assert dock.take(dock.hub.order(DISPOSITION, approval=approval(DISPOSITION))) == ("refused", code)
    assert dock.store.execute("SELECT count(*) FROM grant_revoked").fetchone() == (0,)


def grant(n: int = 1, seconds: int = 600) -> Grant:
    return Grant(
        grant_id=f"{UUID}{n}", docking="d", file_sha256=SHA, holder="wang", purpose="case 17", valid_seconds=seconds,
        until=AT + timedelta(hours=1),
    )  # fmt: skip


def test_when_a_grant_is_good(dock: Dock) -> None:
    dock.take(dock.hub.order(hold()))  # command 1, so that rows may name it
    with dock.store.begin():
        assert keep_grant(dock.store, 1, grant(), Uptime("boot", 1000))
        assert not keep_grant(dock.store, 1, grant(), Uptime("boot", 1000))
    row = find_grant(dock.store, f"{UUID}1")
    assert row is not None
    minutes = timedelta(minutes=1)
    for now, clock, uptime, mark, why in (
        (AT, "synchronised", Uptime("boot", 1599), None, None),
        (AT, "unknown", Uptime("boot", 1599), None, None),
        (AT - timedelta(days=9), "unknown", Uptime("boot", 1600), None, "expired"),  # the clock set back
        (AT - timedelta(days=9), "synchronised", Uptime("boot", 1600), None, "expired"),  # by who answers for its time
        (AT + 10 * minutes, "synchronised", Uptime("boot", 1001), None, "expired"),
        (AT + timedelta(hours=1), "unsynchronised", Uptime("boot", 1001), None, None),  # nothing sure says so
        (AT, "synchronised", Uptime("other", 1), None, None),
        (AT + 10 * minutes, "synchronised", Uptime("other", 1), None, "expired"),  # a new boot gives no time back
        (AT, "unsynchronised", Uptime("other", 1), None, "clock_unsynchronised"),
        # set back after a new boot: the mark remembers
        (AT, "synchronised", Uptime("other", 1), Reached(AT + 10 * minutes, Uptime("boot", 1001)), "expired"),
        (AT, "synchronised", Uptime("other", 601), Reached(AT, Uptime("other", 1)), "expired"),
        (AT, "synchronised", Uptime("other", 600), Reached(AT, Uptime("other", 1)), None),
    ):
        assert why_not_good(row, mark, now, clock, uptime) == why  # type: ignore[arg-type]
    with dock.store.begin():
        revoke_grant(dock.store, 1, f"{UUID}1")
    row = find_grant(dock.store, f"{UUID}1")
    assert row is not None
    assert why_not_good(row, None, AT, "synchronised", Uptime("boot", 1001)) == "revoked"
    assert find_grant(dock.store, f"{UUID}2") is None


def test_the_mark_of_the_clock_only_rises(dock: Dock) -> None:
    later = Reached(AT + timedelta(days=1), Uptime("boot", 5.0))
    for reached in (Reached(AT, Uptime("boot", 9.0)), later, Reached(AT, Uptime("other", 1.0))):
        with dock.store.begin():
            keep_mark(dock.store, reached)
    assert load_mark(dock.store) == later


def test_a_revocation_may_come_before_its_grant(dock: Dock) -> None:
    assert dock.take(dock.hub.order(GrantRevoked(grant_id=f"{UUID}1", reason="wrong"))) == ("accepted", "done")
    assert dock.take(dock.hub.order(grant())) == NOT_APPROVED
    assert dock.take(dock.hub.order(grant(), approval=approval(grant()))) == ("accepted", "done")
    row = find_grant(dock.store, f"{UUID}1")
    assert row is not None
    assert why_not_good(row, None, AT, "synchronised", row.received.uptime) == "revoked"
    assert dock.take(dock.hub.order(grant(), approval=approval(grant()))) == ("refused", "grant_known")


def test_of_500_altered_commands_none_changes_the_store(dock: Dock) -> None:
    raw, chance = dock.hub.order(hold()), random.Random(7)
    for _ in range(500):
        at = chance.randrange(len(raw))
        changed = raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :]
        assert dock.take(changed) is None
    assert (dock.store.holds(), dock.store.head().seq) == ([], 0)
    assert dock.take(raw) == ("accepted", "done")  # the control
