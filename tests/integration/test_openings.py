"""Openings beside the log: taken with their entry or later, refused when wrong, and removed so that nothing is left."""

from __future__ import annotations

import base64
import json
import random
import secrets
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text, update

from custody.commandbody import OpeningsForgotten
from custody.commands import CommandHead, open_command
from custody.commitments import attach, detach
from custody.hubevents import OpeningRemoved
from custody.receipt import Receipt
from hub import log
from hub.access import Actor, Role
from hub.errors import Invalid, LogUntrusted, NotFound
from hub.logcheck import check_log, check_start
from hub.opening import HTTP_TOPIC, received
from hub.openings.rows import read_openings
from hub.openings.service import Choice, approve_removal, request_removal
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.reindex import reindex
from hub.stations.api import _messages
from hub.tables import camera_event, command, log_entry, metadata, opening, opening_removal, refused
from hub.times import now_utc, to_text
from tests.bench.stations import SigningStation
from tests.integration.hubs import TestHub, drop_triggers, make_hub
from tests.integration.postgres import new_database, server_programs

RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
OFFICER = "318842"  # six digits that no digest, time or id of these tests holds
ALL = Choice("officer", value=OFFICER)


def values(hub: TestHub) -> dict[int, str | None]:
    """What is held of the officer, by entry."""
    with hub.db.read() as connection:
        indexes = connection.execute(select(log_entry.c.idx)).scalars().all()
        return {index: held[0].value for index, held in read_openings(connection, indexes).items()}


def check(hub: TestHub) -> int:
    """Both checks; how many entries the log has."""
    with hub.db.read() as connection:
        check_start(connection, hub.keys, 480)
        return check_log(connection, hub.keys, 480).size


def reasons(hub: TestHub) -> list[str]:
    with hub.db.read() as connection:
        return list(connection.execute(select(refused.c.reason)).scalars())


def remove(hub: TestHub, choice: Choice = ALL) -> tuple[str, int]:
    removal_id, count = request_removal(hub.db, hub.keys, RECORDS, choice, "asked_by_person")
    assert approve_removal(hub.db, hub.keys, LEADER, removal_id) == count
    return removal_id, count


def test_a_removal_tells_each_station_which_of_its_events_and_no_name(hub: TestHub) -> None:
    docks = {name: hub.enrol(name) for name in ("dock-1", "dock-2", "dock-3")}
    dock = docks["dock-1"]
    hub.take("dock-1", dock.checked_out(OFFICER), dock.checked_out("1"), dock.checked_out(OFFICER))
    hub.take("dock-2", docks["dock-2"].checked_out(OFFICER))
    hub.take("dock-3", docks["dock-3"].checked_out("1"))
    removal_id, _ = remove(hub)
    with hub.db.read() as connection:
        rows = connection.execute(select(command).order_by(command.c.station)).all()
    bodies = {row.station: json.loads(row.body) for row in rows}
    assert bodies == {
        "dock-1": {"removal_id": removal_id, "seqs": [1, 3]},
        "dock-2": {"removal_id": removal_id, "seqs": [1]},
    }
    for row in rows:
        key = hub.keys.commands.verify_key
        opened = open_command(row.envelope, row.station, key, CommandHead(), now_utc(), "unknown")
        assert isinstance(opened.body, OpeningsForgotten)
        assert OFFICER.encode() not in row.envelope
    check(hub)


# --- coming in ---


def test_an_opening_is_kept_beside_the_entry_and_in_no_leaf(hub: TestHub) -> None:
    dock = hub.enrol()
    message = dock.checked_out(OFFICER)
    [receipt] = hub.take("dock-1", message)
    assert isinstance(receipt, Receipt)
    assert values(hub) == {1: OFFICER}
    envelope, raw = detach(message)
    assert raw is not None
    with hub.db.read() as connection:
        assert (
            bytes(connection.execute(select(log_entry.c.envelope).where(log_entry.c.idx == 1)).scalar_one()) == envelope
        )
        assert connection.execute(select(camera_event.c.officer)).scalar_one() is None
    assert OFFICER.encode() not in envelope
    assert hub.root_is_naive_root()
    assert check(hub) == 2


def test_an_entry_without_opening_is_taken_and_a_resend_brings_it(hub: TestHub) -> None:
    dock = hub.enrol()
    message = dock.checked_out(OFFICER)
    [first] = hub.take("dock-1", detach(message)[0])
    assert isinstance(first, Receipt)
    assert (values(hub), check(hub)) == ({}, 2)
    [again] = hub.take("dock-1", message)
    assert isinstance(again, Receipt)
    assert [e.log_index for e in again.entries] == [1]
    assert (values(hub), check(hub)) == ({1: OFFICER}, 2)
    hub.take("dock-1", detach(message)[0], message)  # neither takes it away nor doubles it
    assert (values(hub), reasons(hub)) == ({1: OFFICER}, [])


@pytest.mark.parametrize("wrong", ["value", "other envelope", "no opening", "empty"])
def test_a_wrong_opening_changes_nothing_but_its_entry_is_taken(hub: TestHub, wrong: str) -> None:
    dock = hub.enrol()
    envelope, raw = detach(dock.checked_out(OFFICER))
    other = detach(dock.fork().checked_out(OFFICER))[1]
    assert raw is not None
    bent = {
        "value": raw.replace(OFFICER.encode(), b"318843"),
        "other envelope": other,
        "no opening": b"{}",
        "empty": b"",
    }
    [receipt] = hub.take("dock-1", attach(envelope, bent[wrong]))
    assert isinstance(receipt, Receipt)  # nobody on the way can keep a station from its receipts
    assert (values(hub), reasons(hub)) == ({}, ["opening_wrong"])
    with hub.db.read() as connection:  # the sample is the envelope: no value is kept that way either
        assert bytes(connection.execute(select(refused.c.sample)).scalar_one()) == envelope
    hub.take("dock-1", attach(envelope, raw))
    assert values(hub) == {1: OFFICER}
    hub.take("dock-1", attach(envelope, bent[wrong]))
    assert (values(hub), check(hub)) == ({1: OFFICER}, 2)


def test_the_same_message_may_come_by_https(hub: TestHub) -> None:
    dock = hub.enrol()
    answers = hub.intake.take([received(HTTP_TOPIC, dock.checked_out(OFFICER), None)])
    assert len(answers) == 1
    assert values(hub) == {1: OFFICER}


def test_a_batch_of_many_goes_through_the_openers_process_as_well(hub: TestHub) -> None:
    dock = hub.enrol()
    messages = [received("custodock/1/dock-1/events", dock.checked_out(f"{n:06}"), "dock-1") for n in range(40)]
    while not hub.intake._opener.start():
        pass
    hub.intake.commit(hub.intake.begin_opening(messages).result())
    assert values(hub) == {n + 1: f"{n:06}" for n in range(40)}


def test_what_no_database_text_can_hold_is_held(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.checked_out("a\0b"), dock.checked_out("李"))
    assert values(hub) == {1: "a\0b", 2: "李"}


def test_a_new_index_leaves_openings_alone(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.checked_out(OFFICER), dock.checked_out("318843"))
    remove(hub)
    before = values(hub)
    reindex(hub.db, 480)
    assert values(hub) == before == {1: None, 2: "318843"}
    check(hub)


# --- going ---


def test_two_people_remove_a_value_and_every_proof_holds(hub: TestHub) -> None:
    dock = hub.enrol()
    messages = [dock.checked_out(OFFICER), dock.checked_out("318843"), dock.checked_out(OFFICER)]
    hub.take("dock-1", *messages)
    with hub.db.read() as connection:
        leaves = connection.execute(select(log_entry.c.envelope).order_by(log_entry.c.idx)).scalars().all()
    removal_id, count = remove(hub)
    assert count == 2
    assert values(hub) == {1: None, 2: "318843", 3: None}
    assert hub.types()[-3:] == ["opening.removal_requested.v1", "opening.removed.v1", "command.issued.v1"]
    with hub.db.read() as connection:
        now = connection.execute(select(log_entry.c.envelope).order_by(log_entry.c.idx)).scalars().all()
        assert now[: len(leaves)] == leaves
        row = connection.execute(select(opening_removal)).one()
        assert (row.id, row.requested_by, row.approved_by, row.removed_index) == (removal_id, "records", "leader", 5)
        for index in range(6):
            assert log.prove_inclusion(connection, index, 6) is not None
    assert hub.root_is_naive_root()
    assert check(hub) == 7
    [receipt] = hub.take("dock-1", *messages)  # whoever kept the openings brings nothing back
    assert isinstance(receipt, Receipt)
    assert values(hub) == {1: None, 2: "318843", 3: None}
    assert check(hub) == 7


def test_who_may_remove(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.checked_out(OFFICER))
    for actor in (LEADER, Actor("x", Role.ADMINISTRATOR, must_change_password=False)):
        with pytest.raises(NotAllowed):
            request_removal(hub.db, hub.keys, actor, ALL, "ordered")
    for choice, error in ((Choice("officer"), Invalid), (Choice("officer", value="1"), NotFound)):
        with pytest.raises(error):
            request_removal(hub.db, hub.keys, RECORDS, choice, "ordered")
    removal_id, _ = request_removal(hub.db, hub.keys, RECORDS, ALL, "ordered")
    assert values(hub) == {1: OFFICER}  # asking removes nothing
    with pytest.raises(SecondPersonNeeded):
        approve_removal(hub.db, hub.keys, RECORDS, removal_id)
    with pytest.raises(NotAllowed):
        approve_removal(hub.db, hub.keys, Actor("y", Role.AUDITOR, must_change_password=False), removal_id)
    with pytest.raises(NotFound):
        approve_removal(hub.db, hub.keys, LEADER, "none")
    assert values(hub) == {1: OFFICER}
    approve_removal(hub.db, hub.keys, LEADER, removal_id)
    with pytest.raises(NotOpenAnyMore):
        approve_removal(hub.db, hub.keys, LEADER, removal_id)
    with pytest.raises(NotFound):  # it is removed already
        request_removal(hub.db, hub.keys, RECORDS, ALL, "ordered")


def test_a_value_that_never_came_can_be_removed_before_it_comes(hub: TestHub) -> None:
    dock = hub.enrol()
    message = dock.checked_out(OFFICER)
    hub.take("dock-1", detach(message)[0], dock.started())
    assert remove(hub, Choice("officer", entries=(1, 2, 77)))[1] == 1  # entry 2 commits to nothing, 77 is none
    hub.take("dock-1", message)
    assert values(hub) == {1: None}
    assert check(hub) == 6


def test_a_choice_by_day_takes_what_came_before(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.checked_out(OFFICER))
    until = to_text(now_utc())
    hub.take("dock-1", dock.checked_out(OFFICER))
    remove(hub, Choice("officer", before=until))
    assert values(hub) == {1: None, 2: OFFICER}


def test_no_byte_of_a_removed_value_is_left_in_any_table(hub: TestHub) -> None:
    dock = hub.enrol()
    message = dock.checked_out(OFFICER)
    salt = secrets_of(message)
    hub.take("dock-1", message, attach(detach(dock.checked_out(OFFICER))[0], b'{"officer":"318842"}'))
    assert held_in(hub, OFFICER.encode(), salt) == {"opening"}  # the control: it is found where it is
    remove(hub)
    assert held_in(hub, OFFICER.encode(), salt) == set()


def held_in(hub: TestHub, *secret: bytes) -> set[str]:
    """Tables with a row that holds one of these, as text, bytes or hex."""
    found = set()
    with hub.db.read() as connection:
        there = {t.name: t for t in metadata.sorted_tables if t.info.get("only") in (None, connection.dialect.name)}
        for name, table in there.items():
            for row in connection.execute(select(table)):
                cells = b"\n".join(bytes(c) if isinstance(c, bytes | memoryview) else str(c).encode() for c in row)
                if any(form in cells for one in secret for form in (one, one.hex().encode())):
                    found.add(name)
    return found


def secrets_of(message: bytes) -> bytes:
    """The salt of a message's opening."""
    return bytes.fromhex(json.loads(detach(message)[1] or b"")["openings"][0][1])


def test_no_byte_of_a_removed_value_is_left_in_sqlites_files(small_hub: TestHub, tmp_path: Path) -> None:
    dock = small_hub.enrol()
    message = dock.checked_out(OFFICER)
    salt = secrets_of(message)
    small_hub.take("dock-1", message, *(dock.checked_out(f"{n:06}") for n in range(400)))  # more than one page of rows
    assert in_files(tmp_path, OFFICER.encode(), salt)  # the control
    remove(small_hub)
    assert in_files(tmp_path, OFFICER.encode(), salt) == []
    small_hub.db.close()
    assert in_files(tmp_path, OFFICER.encode(), salt) == []


def test_no_removed_salt_is_left_whatever_came_and_went_before(small_hub: TestHub, tmp_path: Path) -> None:
    """Pages fill, rows go in any order, more rows come: of every removed opening not a byte, of every other one all."""
    chance, dock = random.Random(20261124), small_hub.enrol()
    salts: dict[int, bytes] = {}  # by log index
    removed: set[int] = set()
    for _ in range(6):
        messages = [dock.checked_out(f"{chance.randrange(10**6):06}" * chance.randrange(1, 40)) for _ in range(300)]
        [receipt, *_] = small_hub.take("dock-1", *messages)
        assert isinstance(receipt, Receipt)
        first = receipt.entries[0].log_index
        salts |= {first + n: secrets_of(message) for n, message in enumerate(messages)}
        chosen = chance.sample(sorted(salts.keys() - removed), 120)
        remove(small_hub, Choice("officer", entries=tuple(chosen)))
        removed |= set(chosen)
        held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert [index for index in sorted(removed) if salts[index] in held] == []
        assert all(salts[index] in held for index in salts.keys() - removed)
    assert check(small_hub) == 1 + 6 * 303


def in_files(folder: Path, *secret: bytes) -> list[str]:
    """Files that hold one of these: database, WAL, shared memory, whatever lies beside them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(one in path.read_bytes() for one in secret)]


@pytest.mark.needs_postgres
@pytest.mark.skipif(server_programs() is None, reason="no PostgreSQL server programs are installed")
def test_no_byte_of_a_removed_value_is_left_in_the_relations_of_postgresql(request: pytest.FixtureRequest) -> None:
    hub = make_hub(new_database(request.getfixturevalue("postgres")))
    dock = hub.enrol()
    message = dock.checked_out(OFFICER)
    salt = secrets_of(message)
    hub.take("dock-1", message, *(dock.checked_out(f"{n:06}") for n in range(400)))
    assert in_relations(hub, OFFICER.encode(), salt)  # the control
    remove(hub)
    assert in_relations(hub, OFFICER.encode(), salt) == []
    hub.intake.close()
    hub.db.close()


def in_relations(hub: TestHub, *secret: bytes) -> list[str]:
    """Tables and indexes of the hub's database whose files hold one of these, once all is on the disk."""
    with hub.db.writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CHECKPOINT"))
        top = Path(connection.execute(text("SHOW data_directory")).scalar_one())
        query = "SELECT relname, pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't')"
        paths = [(name, top / path) for name, path in connection.execute(text(query)) if path]
    return [name for name, path in paths if path.is_file() and any(one in path.read_bytes() for one in secret)]


# --- the log's check ---


@pytest.fixture
def checked(hub: TestHub) -> TestHub:
    """A hub with one value held and one removed; its tables can be written to."""
    dock = hub.enrol()
    hub.take("dock-1", dock.checked_out("318843"), dock.checked_out(OFFICER), dock.checked_out("318844"))
    remove(hub)
    assert check(hub) == 7
    return hub


@pytest.mark.parametrize(
    ("index", "change"),
    [
        (1, {"value": b"318844"}),
        (1, {"salt": secrets.token_bytes(32)}),
        (1, {"field": "holder"}),
        (1, {"salt": None, "value": None, "removed_index": 5}),  # removed, and nobody said so
        (2, {"removed_index": 4}),
        (2, {"salt": bytes(32), "value": OFFICER.encode(), "removed_index": None}),  # brought back
        (1, {"log_index": 99}),
    ],
)
def test_the_check_finds_a_changed_opening(checked: TestHub, index: int, change: dict[str, object]) -> None:
    with checked.db.begin() as tx:
        drop_triggers(tx)
        tx.execute(update(opening).where(opening.c.log_index == index).values(**change))
    with pytest.raises(Exception, match="opening"):
        check(checked)


def test_the_check_finds_a_removal_that_the_log_does_not_state(checked: TestHub) -> None:
    with checked.db.begin() as tx:
        tx.execute(update(opening_removal).values(approved_by="somebody"))
    with pytest.raises(LogUntrusted, match="opening_removal"):
        check(checked)


def test_an_opening_that_somebody_deleted_is_missing_and_not_removed(checked: TestHub) -> None:
    """What nobody sent and what somebody deleted past the log look alike: pages say neither "removed" nor a value."""
    with checked.db.begin() as tx:
        tx.execute(delete(opening).where(opening.c.log_index == 1))
    assert values(checked) == {2: None, 3: "318844"}
    with checked.db.begin() as tx:
        tx.execute(delete(opening).where(opening.c.log_index == 2))  # of a removed one the log knows
    with pytest.raises(LogUntrusted, match="opening/2/officer"):
        check(checked)


def test_a_station_states_its_own_removal_in_vain(hub: TestHub) -> None:
    """`opening.removed.v1` is the hub's to state: said by a station it is logged, set aside, and removes nothing."""
    dock: SigningStation = hub.enrol()
    facts = {"removal_id": "i", "field": "officer", "entries": (1,), "reason": "ordered", "requested_by": "a"}
    hub.take("dock-1", dock.checked_out(OFFICER), dock.seal(OpeningRemoved, **facts, approved_by="b"))
    assert values(hub) == {1: OFFICER}
    assert check(hub) == 3


def test_the_body_of_a_post_may_hold_openings() -> None:
    message = SigningStation("dock-1").checked_out(OFFICER)
    [taken] = _messages(f'["{base64.b64encode(message).decode()}"]'.encode())
    assert (taken.raw, taken.opening) == detach(message)
