"""The station's store: chain, outbox and the rules its triggers keep."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.errors import KeyUnreadable, StoreUntrusted
from agent.station import Station, load_or_create_station, sign_events
from agent.store import Store
from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.stationevents import StationStarted


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "station.db")
    yield made
    made.close()


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return load_or_create_station(tmp_path)


def start_many(store: Store, station: Station, number: int) -> list[int]:
    with store.begin():
        return sign_events(store, station, [lambda c: StationStarted(**c, software="test")] * number)


def test_chain_is_gapless_and_each_envelope_names_the_one_before(store: Store, station: Station) -> None:
    assert start_many(store, station, 3) + start_many(store, station, 2) == [1, 2, 3, 4, 5]
    previous = "0" * 64
    for row in store.outbox_from(1, 10):
        envelope = parse_envelope(row.envelope)
        event = decode_event(envelope.payload_type, envelope.verify(station.key.verify_key))
        assert (event.seq, event.previous, event.source) == (row.seq, previous, station.id)
        previous = row.sha256.hex()


def test_a_failed_transaction_leaves_no_gap(store: Store, station: Station) -> None:
    start_many(store, station, 1)
    with pytest.raises(RuntimeError), store.begin():  # noqa: PT012 - the transaction is what is tested
        sign_events(store, station, [lambda c: StationStarted(**c, software="lost")])
        raise RuntimeError
    assert start_many(store, station, 1) == [2]


def test_only_a_receipt_with_the_same_hash_clears_a_row(store: Store, station: Station) -> None:
    start_many(store, station, 2)
    first, second = store.outbox_from(1, 2)
    with store.begin():
        assert store.set_receipted([(1, second.sha256, 0), (2, second.sha256, 1)], datetime.now(UTC)) == 1
    assert store.first_unreceipted() == first.seq
    assert store.outbox_depth()[0] == 1


def test_envelopes_can_neither_change_nor_vanish(store: Store, station: Station, tmp_path: Path) -> None:
    start_many(store, station, 1)
    raw = sqlite3.connect(tmp_path / "station.db")
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute("UPDATE outbox SET envelope = x'00'")
    with pytest.raises(sqlite3.IntegrityError):
        raw.execute("DELETE FROM outbox")
    raw.close()


def test_a_damaged_database_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "bad.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUntrusted) as caught:
        Store(path)
    assert "不可信" in caught.value.zh


def test_a_key_open_to_others_is_refused(tmp_path: Path, station: Station) -> None:
    (tmp_path / "station.key").chmod(0o644)
    with pytest.raises(KeyUnreadable):
        load_or_create_station(tmp_path)


def test_a_key_of_another_name_is_refused(tmp_path: Path, station: Station) -> None:
    with pytest.raises(KeyUnreadable):
        load_or_create_station(tmp_path, "dock-other")
    assert load_or_create_station(tmp_path, station.id).id == station.id
