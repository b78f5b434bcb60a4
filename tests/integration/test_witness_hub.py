"""The hub's side of witnessing, on both engines: who counts, what is kept of answers, what outsiders read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from starlette.testclient import TestClient

from agent.witness import clear, hello
from custody.checkpoint import Checkpoint, SigningKey, open_checkpoint, sign_checkpoint
from custody.cosignature import CosigningKey, is_cosigned, parse_witness_line
from custody.witness import Accepted, AddCheckpoint, parse_answer, size_of
from hub import log
from hub.access import Actor, Role
from hub.audit.readers import add_reader
from hub.errors import Conflict, Invalid, LogUntrusted, NotFound
from hub.logcheck import check_log
from hub.problems import NotOpenAnyMore, SecondPersonNeeded
from hub.tables import cosignature, witness, witness_policy
from hub.web import create_app
from hub.witnesses.asking import Asking
from hub.witnesses.queries import load_witnesses, newest_witnessed
from hub.witnesses.removal import approve_removal, request_removal
from hub.witnesses.rootsheet import MAX_QR_BYTES, load_sheet, render_sheet
from hub.witnesses.service import (
    accept_station,
    add_witness,
    keep_cosignature,
    set_policy,
    take_cosigned_note,
)
from tests.integration.hubs import TestHub, drop_triggers
from tests.integration.web_peer import client
from tests.integration.witness_scene import OPERATOR, Dock, carry, enrolled, now

ADMIN = Actor("admin", Role.ADMINISTRATOR, must_change_password=False)
AUDITOR = Actor("auditor", Role.AUDITOR, must_change_password=False)
LEADER = CosigningKey(SigningKey.from_seed("office.example/leader", bytes(range(32))))


@pytest.fixture
def docks(hub: TestHub, tmp_path: Path) -> Iterator[list[Dock]]:
    """Two stations that were accepted as witnesses of `hub`."""
    made = [Dock(tmp_path / name, hub.keys, name) for name in ("dock-1", "dock-2")]
    enrolled(hub, made)
    yield made
    for dock in made:
        dock.close()


def app_of(hub: TestHub) -> FastAPI:
    return create_app(hub.db, hub.keys.lines)


def note_of(hub: TestHub) -> str:
    with hub.db.read() as connection:
        return log.newest_note(connection)


def witnessed(hub: TestHub) -> str | None:
    with hub.db.read() as connection:
        return newest_witnessed(connection)


def remove(hub: TestHub, name: str) -> None:
    """By two people."""
    change = request_removal(hub.db, hub.keys, ADMIN, name, "its keeper left")
    with pytest.raises(SecondPersonNeeded):
        approve_removal(hub.db, hub.keys, ADMIN, change)
    assert approve_removal(hub.db, hub.keys, AUDITOR, change) == name
    with pytest.raises(NotOpenAnyMore):
        approve_removal(hub.db, hub.keys, AUDITOR, change)


def checked(hub: TestHub) -> int:
    with hub.db.read() as connection:
        return check_log(connection, hub.keys, 480).size


def test_accepting_and_removing_are_stated_and_follow_from_the_log(hub: TestHub, docks: list[Dock]) -> None:
    add_witness(hub.db, hub.keys, LEADER.public.line, OPERATOR, url="http://127.0.0.1:9")
    add_witness(hub.db, hub.keys, LEADER.public.line, OPERATOR, url="http://127.0.0.1:9")  # again: nothing
    set_policy(hub.db, hub.keys, 3, OPERATOR)
    remove(hub, "dock-2/witness")
    accept_station(hub.db, hub.keys, "dock-2", OPERATOR)
    remove(hub, LEADER.key.name)
    kinds = [kind for kind in hub.types() if kind.startswith("witness") and kind != "witness.offered.v1"]
    assert kinds == [
        "witness.added.v1", "witness.added.v1", "witness.added.v1", "witness_policy.set.v1",
        "witness.removal_requested.v1", "witness.removed.v2", "witness.added.v1", "witness.removal_requested.v1",
        "witness.removed.v2",
    ]  # fmt: skip
    assert [row.name for row in load_witnesses(hub.db).current] == ["dock-1/witness", "dock-2/witness"]
    assert checked(hub) == len(hub.entries())


@pytest.mark.parametrize("change", ["key", "removed", "more", "policy"])
def test_a_witness_that_does_not_follow_from_the_log_is_found(hub: TestHub, docks: list[Dock], change: str) -> None:
    set_policy(hub.db, hub.keys, 2, OPERATOR)
    with hub.db.begin() as tx:
        drop_triggers(tx)
        match change:
            case "key":
                tx.execute(
                    update(witness).where(witness.c.name == "dock-1/witness").values(key_line=LEADER.public.line)
                )
            case "removed":
                tx.execute(delete(witness).where(witness.c.name == "dock-1/witness"))
            case "more":
                tx.execute(
                    witness.insert().values(
                        name="x", key_line=LEADER.public.line, added_at="2026-01-01T00:00:00.000000Z"
                    )
                )
            case "policy":
                tx.execute(update(witness_policy).values(needed=1))
    with pytest.raises(LogUntrusted) as caught:
        checked(hub)
    assert caught.value.fault == "witness_altered"


def test_who_may_not_be_a_witness(hub: TestHub, docks: list[Dock]) -> None:
    with pytest.raises(NotFound):
        accept_station(hub.db, hub.keys, "dock-9", OPERATOR)
    with pytest.raises(Invalid):
        add_witness(hub.db, hub.keys, hub.keys.log.verify_key.line, OPERATOR)  # a key that signs notes
    with pytest.raises(Invalid):
        add_witness(hub.db, hub.keys, LEADER.public.line, OPERATOR, url="file:///etc/passwd")
    other = CosigningKey(SigningKey.from_seed("dock-1/witness", bytes(32)))
    with pytest.raises(Conflict):
        add_witness(hub.db, hub.keys, other.public.line, OPERATOR)
    with pytest.raises(NotFound):
        remove(hub, "nobody")
    for needed in (0, 3):
        with pytest.raises(Invalid):
            set_policy(hub.db, hub.keys, needed, OPERATOR)


def test_a_checkpoint_is_witnessed_by_as_many_as_the_policy_asks(hub: TestHub, docks: list[Dock]) -> None:
    carry(hub, docks)
    assert witnessed(hub) is None  # no policy yet
    set_policy(hub.db, hub.keys, 2, OPERATOR)
    carry(hub, docks[:1])
    first = size_of(note_of(hub))
    assert size_of(witnessed(hub)) < first
    carry(hub, docks)
    note = witnessed(hub)
    assert note is not None
    assert open_checkpoint(note, hub.keys.log.verify_key).size == first
    assert all(is_cosigned(note, dock.witness.key.public) for dock in docks)
    remove(hub, "dock-2/witness")
    assert witnessed(hub) is None


def test_cosignatures_stay_as_they_came(hub: TestHub, docks: list[Dock]) -> None:
    carry(hub, docks)
    for change in (delete(cosignature), update(cosignature).values(line="")):
        with pytest.raises(DatabaseError), hub.db.begin() as tx:
            tx.execute(change)


def test_what_is_false_is_not_kept(hub: TestHub, docks: list[Dock]) -> None:
    note, size = note_of(hub), size_of(note_of(hub))
    good = docks[0].witness.key.cosign(note, now())
    with hub.db.read() as connection:
        older = connection.execute(select(log.checkpoint.c.note).order_by(log.checkpoint.c.size).limit(1)).scalar_one()
    for name, lines, of_size in (
        ("dock-1/witness", docks[1].witness.key.cosign(note, now()), size),
        ("dock-1/witness", docks[0].witness.key.cosign(older, now()), size),
        ("dock-1/witness", good[:-8] + "AAAAAA=\n", size),
        ("dock-1/witness", "", size),
        ("dock-1/witness", good, size + 1),
        ("nobody", good, size),
    ):
        assert not keep_cosignature(hub.db, name, lines, of_size)
    assert keep_cosignature(hub.db, "dock-1/witness", good, size)
    assert keep_cosignature(hub.db, "dock-1/witness", docks[0].witness.key.cosign(note, now()), size)  # keeps the first
    with hub.db.read() as connection:
        assert connection.execute(select(cosignature.c.line)).scalars().all() == [good]


def test_a_note_of_our_own_key_that_our_log_does_not_give_is_proof_from_whoever_brings_it(
    hub: TestHub, docks: list[Dock], tmp_path: Path
) -> None:
    """A station that nobody accepted yet; an accepted one; each finding is stated once, and goes when it was wrong."""
    asking = Asking(hub.db, hub.keys, by_http=False)
    larger = sign_checkpoint(Checkpoint(hub.keys.log.name, 999, bytes(32)), hub.keys.log)
    same = sign_checkpoint(Checkpoint(hub.keys.log.name, 3, bytes(32)), hub.keys.log)
    said = parse_answer(hello(docks[0].store, docks[0].witness).raw)
    for note, code in ((larger, "rollback"), (same, "fork")):
        for _ in range(2):
            asking.hear_stranger("dock-9", type(said)(**_fields(said) | {"newest": note}))
        [alarm] = load_witnesses(hub.db).alarms
        assert (alarm.name, alarm.code, alarm.size) == ("dock-9", code, size_of(note))
    assert hub.types().count("witness.refused.v1") == 2
    asking.hear_stranger("dock-9", said)
    assert load_witnesses(hub.db).alarms == ()
    one = asking.witness_of("dock-1")
    assert one is not None
    assert asking.take(one, type(said)(**_fields(said) | {"newest": larger})) is None
    assert [alarm.name for alarm in load_witnesses(hub.db).alarms] == ["dock-1/witness"]
    carry(hub, docks)
    assert load_witnesses(hub.db).alarms == ()
    assert checked(hub) == len(hub.entries())


def test_what_a_witness_only_claims_is_stated_once_and_rubbish_is_no_note(hub: TestHub, docks: list[Dock]) -> None:
    """Whoever writes to a station's topic must not fill the log."""
    asking, said = Asking(hub.db, hub.keys, by_http=False), hello(docks[0].store, docks[0].witness)
    one = asking.witness_of("dock-1")
    assert one is not None
    for number in range(6):
        claim = {"type": "refused.v1", "code": ("stopped", "bad_proof")[number % 2], "newest": f"rubbish {number}"}
        asking.take(one, type(said)(**_fields(said) | claim | {"pending": "x" * number}))
    assert hub.types().count("witness.refused.v1") == 1
    [alarm] = load_witnesses(hub.db).alarms
    assert (alarm.code, alarm.size) == ("stopped", 0)
    carry(hub, docks)
    assert load_witnesses(hub.db).alarms == ()


def test_a_station_that_states_that_it_refuses_the_log_is_shown_until_it_takes_that_back(
    hub: TestHub, docks: list[Dock]
) -> None:
    carry(hub, docks)
    dock, shown = docks[0], docks[0].memory()
    other = sign_checkpoint(Checkpoint(hub.keys.log.name, shown.size, bytes(32)), hub.keys.log)
    assert dock.answer(AddCheckpoint(0, (), other).raw).code == "fork"
    assert not any(
        isinstance(outcome, Accepted) for outcome in dock.deliver(hub)
    )  # taken in; its receipt is not believed
    assert load_witnesses(hub.db).refusing_stations == ("dock-1",)
    clear(dock.store, dock.station, hub.keys.log.name, "a forged note", anew=False, now=now())
    assert all(isinstance(outcome, Accepted) for outcome in dock.deliver(hub))
    assert load_witnesses(hub.db).refusing_stations == ()
    assert checked(hub) == len(hub.entries())


def _fields(answer: object) -> dict[str, str | int]:
    return {name: getattr(answer, name) for name in answer.__slots__}  # type: ignore[attr-defined]


def test_a_strangers_wrong_proof_stops_nothing(hub: TestHub, docks: list[Dock]) -> None:
    set_policy(hub.db, hub.keys, 2, OPERATOR)
    carry(hub, docks)
    add_reader(hub.db, hub.keys, "r1")
    wrong = AddCheckpoint(docks[0].memory().size, (bytes(32),) * 4, note_of(hub)).raw
    assert docks[0].answer(wrong).code == "bad_proof"
    add_reader(hub.db, hub.keys, "r2")
    carry(hub, docks)
    assert size_of(witnessed(hub)) == size_of(note_of(hub))
    assert docks[0].memory().stopped is None


def test_outsiders_read_cosigned_checkpoints_and_hand_cosignatures_in(hub: TestHub, docks: list[Dock]) -> None:
    anonymous: TestClient = client(app_of(hub))
    add_witness(hub.db, hub.keys, LEADER.public.line, OPERATOR)
    assert anonymous.get("/log/checkpoint/witnessed").status_code == 404
    set_policy(hub.db, hub.keys, 1, OPERATOR)
    note = anonymous.get("/log/checkpoint").text
    assert note == note_of(hub)
    for body in ("", "nonsense", note, note + CosigningKey(SigningKey.from_seed("x/y", bytes(32))).cosign(note, now())):
        assert anonymous.post("/log/cosignatures", content=body).status_code == 422
    assert not take_cosigned_note(hub.db, note.replace("\n", f"\n{9 * 10**18}\n", 1))
    cosigned = note + LEADER.cosign(note, now())
    assert anonymous.post("/log/cosignatures", content=cosigned).status_code == 200
    assert anonymous.get("/log/checkpoint").text == cosigned
    assert anonymous.get("/log/checkpoint/witnessed").text == cosigned
    add_reader(hub.db, hub.keys, "r")
    assert anonymous.get("/log/checkpoint").text == note_of(hub)
    assert anonymous.get("/log/checkpoint/witnessed").text == cosigned


def test_a_database_that_fails_loses_an_answer_and_nothing_else(hub: TestHub, docks: list[Dock]) -> None:
    asking = Asking(hub.db, hub.keys, by_http=False)
    [first, *_] = asking.due(1.0)
    answer = docks[0].answer(first.raw)
    if hub.db.is_sqlite:
        with hub.db.begin() as tx:
            tx.exec_driver_sql("ALTER TABLE witness_state RENAME TO away")
        with pytest.raises(SQLAlchemyError):
            asking.take(first.witness, answer)
        with hub.db.begin() as tx:
            tx.exec_driver_sql("ALTER TABLE away RENAME TO witness_state")
    carry(hub, docks)
    assert [row.behind for row in load_witnesses(hub.db).current] == [0, 0]


def test_the_root_sheet_says_everything_and_runs_nothing(hub: TestHub, docks: list[Dock]) -> None:
    set_policy(hub.db, hub.keys, 2, OPERATOR)
    carry(hub, docks)
    line = hub.keys.log.verify_key.line
    sheet = load_sheet(hub.db, line)
    page = render_sheet(sheet).decode()
    held = open_checkpoint(sheet.note, hub.keys.log.verify_key)
    assert sheet.witnessed
    assert sheet.cosigners == ("dock-1/witness", "dock-2/witness")
    groups = [held.root.hex()[i : i + 8] for i in range(0, 64, 8)]
    assert " ".join(groups) in page
    for text in (
        held.origin,
        str(held.size),
        line,
        *sheet.note.splitlines()[:5],
        "审计日志根值",
        "Root of the audit log",
    ):
        assert text.replace("'", "&#x27;") in page, text
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=", page)
    assert page.count("<svg") == 1
    assert len(sheet.note.encode()) < MAX_QR_BYTES


def test_keys_of_witnesses_read_as_they_are_written() -> None:
    assert parse_witness_line(LEADER.public.line).label == LEADER.public.label
