"""The station's side of witnessing: what is kept, stated, and decided by people; and when late becomes rolled back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.settings import HubLink
from agent.station import load_or_create_station
from agent.store import Store
from agent.store_thread import StoreThread
from agent.uplink import Uplink
from agent.witness import (
    Witness,
    answer_request,
    clear,
    contradictions,
    hello,
    keep_checkpoint,
    load_memory,
    load_or_create_witness_key,
    offer_key,
)
from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.digest import leaf_hash, tree_root
from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.stationevents import LogCleared, LogRefused, WitnessOffered
from custody.witness import AddCheckpoint, Behind, Code, Memory, Refusal

LOG = SigningKey.from_seed("hub.example/audit", bytes(range(32)))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def note(size: int, mark: str = "") -> str:
    root = tree_root([leaf_hash(f"{n}{mark}".encode()) for n in range(size)])
    return sign_checkpoint(Checkpoint(LOG.name, size, root), LOG)


def first(size: int, mark: str = "") -> bytes:
    return AddCheckpoint(0, (), note(size, mark)).raw


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "station.db")
    yield made
    made.close()


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    station = load_or_create_station(tmp_path, "dock-1")
    return Witness(station, load_or_create_witness_key(tmp_path, station), LOG.verify_key)


def stated(store: Store) -> list[object]:
    rows = [parse_envelope(row.envelope) for row in store.outbox_from(1, 100)]
    return [decode_event(envelope.payload_type, envelope.payload) for envelope in rows]


def test_the_witness_key_is_another_one_and_is_offered_once(store: Store, witness: Witness, tmp_path: Path) -> None:
    again = load_or_create_witness_key(tmp_path, witness.station)
    assert again.public.line == witness.key.public.line
    assert witness.station.key.verify_key.public != witness.key.public.key.public
    for _ in range(3):
        offer_key(store, witness.station, witness.key)
    [event] = stated(store)
    assert isinstance(event, WitnessOffered)
    assert event.key_line == witness.key.public.line


def test_a_fork_is_kept_stated_once_and_ends_by_people_only(store: Store, witness: Witness) -> None:
    assert answer_request(store, witness, first(9), NOW).type == "cosigned.v1"
    for _ in range(3):
        assert answer_request(store, witness, first(9, "x"), NOW).code == Code.FORK
    [kept], [event] = contradictions(store), stated(store)
    assert isinstance(event, LogRefused)
    assert (kept.kept, kept.refused, kept.code) == (note(9), note(9, "x"), "fork")
    assert (event.code, event.kept_size, event.refused_size) == ("fork", 9, 9)
    assert answer_request(store, witness, AddCheckpoint(9, (), note(9)).raw, NOW).code == Code.STOPPED
    assert clear(store, witness.station, LOG.name, "compared with the printed root", anew=False, now=NOW) == 1
    assert answer_request(store, witness, AddCheckpoint(9, (), note(9)).raw, NOW).type == "cosigned.v1"
    cleared = stated(store)[-1]
    assert isinstance(cleared, LogCleared)
    assert (cleared.begins_anew, cleared.kept_size) == (False, 9)
    assert contradictions(store)[0].settled_by == "people"


def test_evidence_cannot_be_changed_or_removed(store: Store, witness: Witness) -> None:
    answer_request(store, witness, first(9), NOW)
    answer_request(store, witness, first(9, "x"), NOW)
    for change in ("DELETE FROM contradiction", "UPDATE contradiction SET refused = ''"):
        with pytest.raises(sqlite3.IntegrityError, match="evidence"):
            store.execute(change)


def test_to_begin_anew_is_stated_and_takes_the_next_checkpoint_as_the_first(store: Store, witness: Witness) -> None:
    answer_request(store, witness, first(9), NOW)
    assert answer_request(store, witness, first(5, "x"), NOW).type == "conflict.v1"
    clear(store, witness.station, LOG.name, "restored from the backup of 1 March", anew=True, now=NOW)
    assert load_memory(store, LOG.name) == Memory()
    assert answer_request(store, witness, first(5, "x"), NOW).type == "cosigned.v1"


def test_what_it_knows_is_said_unasked(store: Store, witness: Witness) -> None:
    assert (hello(store, witness).size, hello(store, witness).newest) == (0, "")
    answer_request(store, witness, first(9), NOW)
    keep_checkpoint(store, witness, note(12), NOW)
    said = hello(store, witness)
    assert (said.type, said.size, said.newest, said.pending) == ("conflict.v1", 9, note(12), note(12))


def test_the_newest_checkpoint_of_before_has_to_be_proven_after_an_update(tmp_path: Path, witness: Witness) -> None:
    old = Store(tmp_path / "old.db")
    old._db.executescript(
        "DROP TABLE witness; DROP TABLE contradiction; DROP TABLE witness_offer; CREATE TABLE checkpoint "
        "(id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, note TEXT NOT NULL) STRICT; "
        "PRAGMA user_version = 4;"
    )
    old._db.execute("INSERT INTO checkpoint VALUES (1, 12, ?)", (note(12),))
    old.close()
    store = Store(tmp_path / "old.db")
    assert load_memory(store, LOG.name) == Memory(None, note(12), note(12))
    assert answer_request(store, witness, first(20), NOW).code == Code.PROVE_FIRST
    assert answer_request(store, witness, first(12, "x"), NOW).code == Code.FORK
    store.close()


class Line:
    """An uplink that is never connected: what it decides about checkpoints, without a broker."""

    def __init__(self, store: Store, witness: Witness) -> None:
        self.thread = StoreThread(store)
        link = HubLink("mqtt://127.0.0.1:1", LOG.verify_key, LOG.verify_key)
        self.uplink = Uplink(link, witness, self.thread, dict)


async def test_late_is_not_rolled_back_and_staying_behind_is(
    store: Store, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_request(store, witness, first(9), NOW)
    line = Line(store, witness)
    for retained in (True, False, False):  # a broker's old copy; a message overtaken by another; and another
        await line.uplink._on_checkpoint(note(5).encode(), retained=retained)
    assert load_memory(store, LOG.name).stopped is None
    assert contradictions(store) == []
    await line.uplink._on_checkpoint(note(12).encode(), retained=False)  # it was late
    monkeypatch.setattr("agent.uplink.PATIENCE_SECONDS", -1.0)
    await line.uplink._on_checkpoint(note(5).encode(), retained=False)
    assert load_memory(store, LOG.name).stopped is None
    await line.uplink._on_checkpoint(note(5).encode(), retained=False)
    assert load_memory(store, LOG.name).stopped is Code.ROLLBACK
    [kept] = contradictions(store)
    assert (kept.code, kept.kept, kept.refused) == ("rollback", note(12), note(5))
    [event] = stated(store)
    assert isinstance(event, LogRefused)
    assert isinstance(keep_checkpoint(store, witness, note(30), NOW), Refusal)  # until it proves itself
    await asyncio.get_running_loop().run_in_executor(None, line.thread.close)


async def test_a_log_that_never_proves_what_it_showed_is_stopped(
    store: Store, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_request(store, witness, first(9), NOW)
    keep_checkpoint(store, witness, note(12), NOW)
    line = Line(store, witness)
    other = AddCheckpoint(9, (), note(20, "x")).raw
    await line.uplink._on_witness_request(other)
    assert load_memory(store, LOG.name).stopped is None
    monkeypatch.setattr("agent.uplink.PROOF_PATIENCE_SECONDS", -1.0)
    await line.uplink._on_witness_request(other)
    assert load_memory(store, LOG.name).stopped is Code.BAD_PROOF
    [kept] = contradictions(store)
    assert (kept.kept, kept.refused) == (note(12), note(20, "x"))
    await asyncio.get_running_loop().run_in_executor(None, line.thread.close)


def test_a_smaller_checkpoint_is_behind(store: Store, witness: Witness) -> None:
    answer_request(store, witness, first(9), NOW)
    assert keep_checkpoint(store, witness, note(5), NOW) == Behind(9)
