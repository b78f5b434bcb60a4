"""Commands: nothing but the next authentic one in its time is ever carried out."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

import pytest

from custody.approval import Approval, Approved, NotApproved, check_approval
from custody.checkpoint import SigningKey
from custody.commandbody import Disposition, Hold, Roster, RosterEntry
from custody.commands import (
    KINDS,
    Command,
    CommandHead,
    CommandRefused,
    body_sha256,
    body_text,
    open_command,
    read_body,
    seal_command,
)
from custody.errors import FormatError
from custody.event import NO_PREVIOUS, Clock
from custody.fields import Sha256Hex
from tests.approvals import make_approval
from tests.vectors.commandcases import COMMAND_KEY, HEAD, HOLD, ISSUED, LIFT, POLICY, STATION, UUID, header

LOG_KEY = SigningKey.from_seed("hub.example/log", bytes(range(7, 39)))
EVENT_KEY = SigningKey.from_seed("hub.example/events", bytes(range(8, 40)))
NOW = ISSUED + timedelta(hours=1)


def opened(raw: bytes, head: CommandHead = HEAD, now: datetime = NOW, clock: Clock = "synchronised") -> Command:
    return open_command(raw, STATION, COMMAND_KEY.verify_key, head, now, clock)


def test_of_5_000_altered_commands_none_is_accepted() -> None:
    """Control: the unaltered one is. Alterations: bits, bytes, lengths, and parts of one command within another."""
    good = seal_command(header(), COMMAND_KEY)
    other = seal_command(header(HOLD), COMMAND_KEY)
    assert opened(good).body == POLICY
    assert opened(other).body == HOLD
    chance = random.Random(20260305)
    for n in range(5_000):
        raw = bytearray(good)
        match n % 6:
            case 0:
                raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
            case 1:
                raw[chance.randrange(len(raw))] = chance.choice(b'ABCxyz019+/="{}:, \x00\xff')
            case 2:
                del raw[(at := chance.randrange(len(raw))) : at + chance.randrange(1, 40)]
            case 3:
                raw[(at := chance.randrange(len(raw))) : at] = chance.randbytes(chance.randrange(1, 40))
            case 4:  # the beginning of one and the end of another, both authentic
                at = chance.randrange(1, len(raw) - 1)
                raw = bytearray(good[:at] + other[at:])
            case 5:
                i, j = sorted(chance.sample(range(len(raw)), 2))
                raw = raw[:i] + raw[j:] + raw[i:j]
        if bytes(raw) in (good, other):
            continue
        with pytest.raises(CommandRefused) as refused:
            opened(bytes(raw))
        assert refused.value.head is None  # and nothing is answered: its number is not used up


def test_another_key_of_the_same_name_signs_nothing_that_is_opened() -> None:
    thief = SigningKey.from_seed(COMMAND_KEY.name, bytes(32))
    for body in (HOLD, POLICY, LIFT):
        with pytest.raises(CommandRefused, match="no signature by"):
            opened(seal_command(header(body), thief))


def test_a_chain_of_150_is_opened_in_order_and_in_no_other() -> None:
    """A station that was away for weeks: every one within its time, none twice, none left out."""
    raws, head = [], CommandHead()
    for n in range(150):
        made = header(HOLD if n % 2 else POLICY, number=head.number + 1, previous=head.sha256)
        raws.append(seal_command(made, COMMAND_KEY))
        head = CommandHead(made.number, Sha256Hex(sha256(raws[-1]).hexdigest()))
    at, later = CommandHead(), ISSUED + timedelta(days=29)
    for n, raw in enumerate(raws):
        for wrong in {0, n - 1, n + 1, 149} - {n}:
            if 0 <= wrong < 150:
                with pytest.raises(CommandRefused) as refused:
                    opened(raws[wrong], at, later)
                assert refused.value.code == ("gap" if wrong > n else "replayed")
        at = opened(raw, at, later).head
    assert at == head


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_timing_of_every_kind(kind: str) -> None:
    """Whatever needs two people is strict; whatever is strict is refused by a doubtful clock."""
    cls = KINDS[kind]
    assert not cls.APPROVED or cls.TIMING == "strict"
    assert kind != "hold.v1" or cls.TIMING == "always"


def test_bodies_are_read_as_they_were_written_and_wrong_ones_are_not_sealed() -> None:
    for body in (HOLD, POLICY, LIFT):
        assert read_body(body.KIND, body_text(body)) == body
    officer = RosterEntry(number="A-1", name="王伟", pin_hash=f"scrypt${'0' * 32}${'1' * 64}", disabled=False)
    for wrong in (
        Hold(hold_id=UUID, reason="x"),
        Hold(hold_id="1", camera="c", reason="x"),
        Hold(hold_id=UUID, camera="c", reason="two\nlines"),
        Roster(officers=()),
        Roster(officers=(officer, officer)),
        Roster(officers=(replace(officer, pin_hash="1234"),)),
        Roster(officers=(replace(officer, name="\u202e"),)),
        Disposition(disposition_id=UUID, docking="d", file_sha256s=(NO_PREVIOUS, NO_PREVIOUS), basis="x"),
    ):
        with pytest.raises(FormatError):
            body_text(wrong)
    assert body_text(Roster(officers=(officer,)))


# --- two people ---


def approved(**changes: object) -> Approval:
    """Request and approval of `LIFT`."""
    key = changes.pop("key", LOG_KEY)
    assert isinstance(key, SigningKey)
    return make_approval(key, UUID, STATION, LIFT.KIND, body_text(LIFT), **changes)


def check(approval: Approval | None) -> Approved:
    return check_approval(approval, UUID, STATION, LIFT.KIND, body_sha256(body_text(LIFT)), LOG_KEY.verify_key)


def test_two_people_are_proved_by_the_log() -> None:
    assert check(approved()) == Approved("records", "leader", 3)


THIEF = SigningKey.from_seed(LOG_KEY.name, bytes(32))
OTHER = Sha256Hex("ab" * 32)


@pytest.mark.parametrize(
    "changes",
    [
        {"approved_by": "records"},  # one person
        {"source": "dock-9"},  # a station speaks for the hub
        {"key": THIEF},  # a checkpoint of another key
        {"command_id": UUID[:-1] + "8"},
        {"station": "dock-9"},
        {"kind": "disposition.v1"},
        {"body_sha256": OTHER},
        {"approved_sha256": OTHER},  # the approver saw another body
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_the_log_does_not_prove_is_not_approved(changes: dict[str, object]) -> None:
    with pytest.raises(NotApproved):
        check(approved(**changes))


def test_an_approval_is_whole_or_none() -> None:
    good = approved()
    for wrong in (
        None,
        replace(good, request=good.approval, request_proof=good.approval_proof),
        replace(good, request_proof=good.approval_proof),
        replace(good, approval=good.approval.replace("a", "b", 1)),
        replace(good, approval_proof=""),
        replace(good, request="\u20ac"),
    ):
        with pytest.raises(NotApproved):
            check(wrong)
