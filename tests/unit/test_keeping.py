"""Keepings and refill answers: what is taken, what is refused, and that only the log key opens a keeping."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from agent import keeping as keeper
from agent.station import Station
from agent.store import OutboxRow, Store
from agent.witness import Witness, keep_checkpoint
from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.cosignature import CosigningKey
from custody.errors import CustodyError, FormatError, SignatureInvalid
from custody.keeping import (
    Held,
    Keep,
    Refilled,
    RefillRequest,
    claimed_type,
    open_keep,
    open_refill_request,
    open_refilled,
    pages,
    seal_keep,
    seal_refill_request,
    seal_refilled,
)
from hub.keeping import Run, Span, make_keep, read_keep
from hub.keys import ROLES, HubKeys
from hub.times import now_utc
from tests.bench.stations import START, SigningStation


def key(name: str) -> SigningKey:
    return SigningKey.from_seed(name, hashlib.sha256(name.encode()).digest())


KEYS = HubKeys(*(key(f"hub.test/{role}") for role in ROLES))
COSIGNER = CosigningKey(key("dock-1/witness"))
DOCK = key("dock-1")
SPAN = Span(4, 7, (Run("hub", 2, 1), Run("dock-1", 9, 2)), ((5, "a"), (7, "b")), (b"secret name",), "note")


def test_a_keeping_comes_back_and_shows_nothing() -> None:
    raw = make_keep(SPAN, KEYS, now_utc())
    keep = open_keep(raw, KEYS.receipts.verify_key)
    assert claimed_type(raw) == "keep.v1"
    assert read_keep(keep, KEYS.log) == SPAN
    assert b"secret" not in raw
    assert open_keep(make_keep(SPAN, KEYS, now_utc()), KEYS.receipts.verify_key).sealed == keep.sealed
    with pytest.raises(FormatError):
        read_keep(keep, key("hub.test/other"))
    for change in ({"start": 3}, {"size": 8}, {"log": "hub.test/x"}):
        with pytest.raises(FormatError):
            read_keep(dataclasses.replace(keep, **change), KEYS.log)


def test_every_changed_byte_of_a_keeping_is_refused() -> None:
    raw = make_keep(SPAN, KEYS, now_utc())
    for at in range(len(raw)):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(CustodyError):
            open_keep(changed, KEYS.receipts.verify_key)
    for cut in (b"", raw[:3], raw[:-1], raw + b"x", raw + bytes(4)):
        with pytest.raises(CustodyError):
            open_keep(cut, KEYS.receipts.verify_key)
    with pytest.raises(SignatureInvalid):
        open_keep(raw, DOCK.verify_key)


def test_a_request_is_for_one_station() -> None:
    raw = seal_refill_request(RefillRequest("dock-1", 7, 3, 20), KEYS.receipts)
    assert open_refill_request(raw, "dock-1", KEYS.receipts.verify_key) == RefillRequest("dock-1", 7, 3, 20)
    with pytest.raises(FormatError):
        open_refill_request(raw, "dock-2", KEYS.receipts.verify_key)
    with pytest.raises(SignatureInvalid):
        open_refill_request(raw, "dock-1", DOCK.verify_key)
    with pytest.raises(FormatError):
        open_keep(raw, KEYS.receipts.verify_key)


def test_an_answer_binds_every_envelope_and_keeping() -> None:
    keep = make_keep(SPAN, KEYS, now_utc())
    page = Refilled("dock-1", 7, "note", (Held(1, 5, b"one"), Held(2, None, b"two")), (keep,), 3, None)
    raw = seal_refilled(page, DOCK)
    assert open_refilled(raw, "dock-1", DOCK.verify_key) == page
    assert open_refilled(raw, "dock-1", None) == page
    for changed in (raw.replace(b"\x00\x00\x00\x03one", b"\x00\x00\x00\x03owe"), raw.replace(b"one", b"one ")):
        with pytest.raises(FormatError):
            open_refilled(changed, "dock-1", DOCK.verify_key)
    with pytest.raises(SignatureInvalid):
        open_refilled(raw, "dock-1", KEYS.receipts.verify_key)
    with pytest.raises(FormatError):
        open_refilled(raw, "dock-2", None)


def test_too_much_for_a_broker_is_never_sealed() -> None:
    with pytest.raises(FormatError):
        seal_keep(Keep("log", 0, 1, "at", bytes(250_000)), KEYS.receipts)
    assert pages([100] * 10, 250) == 2
    assert pages([1000, 1], 10) == 1
    assert pages([], 10) == 0


# --- the station's side ---


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "station.db")


def kept(
    start: int, size: int, at: str = "2026-01-01T00:00:00.000000Z", log: str = "hub.test/log"
) -> tuple[Keep, bytes]:
    keep = Keep(log, start, size, at, b"sealed")
    return keep, seal_keep(keep, KEYS.receipts)


def test_gaps_stop_the_figure_and_late_ones_close_them(store: Store) -> None:
    log = "hub.test/log"
    assert keeper.kept_through(store, log, 0) == 0
    keeper.keep(store, *kept(10, 12))
    assert keeper.kept_through(store, log, 0) == 12, "what was before it came is no gap"
    keeper.keep(store, *kept(15, 18))
    assert keeper.kept_through(store, log, 12) == 12
    keeper.keep(store, *kept(11, 15))
    keeper.keep(store, *kept(11, 15))
    assert keeper.kept_through(store, log, 12) == 18
    assert keeper.kept_through(store, "hub.test/another", 0) == 0
    store.close()


def test_what_is_too_old_or_too_much_is_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_PRUNE_EVERY", 1)
    keeper.keep(store, *kept(0, 1, "2026-01-01T00:00:00.000000Z"))
    keeper.keep(store, *kept(1, 2, "2026-03-31T00:00:00.000000Z"))
    assert [row[0] for row in store.execute("SELECT size FROM kept")] == [1, 2]
    keeper.keep(store, *kept(2, 3, "2026-04-02T00:00:00.000000Z"))
    assert [row[0] for row in store.execute("SELECT size FROM kept")] == [2, 3]
    monkeypatch.setattr(keeper, "KEPT_BYTES", 1000)
    keeper.keep(store, *kept(3, 4, "2026-04-03T00:00:00.000000Z"))
    [(held,)] = store.execute("SELECT sum(length(message)) FROM kept").fetchall()
    assert held <= 1000
    assert keeper.kept_through(store, "hub.test/log", 0) == 4, "the newest stay"
    store.close()


def test_everything_comes_back_page_by_page_and_each_thing_once(store: Store) -> None:
    signer = SigningStation("dock-1")
    rows = [
        OutboxRow(n, hashlib.sha256(raw).digest(), raw)
        for n, raw in enumerate((signer.segment() for _ in range(700)), 1)
    ]
    note = sign_checkpoint(Checkpoint("hub.test/log", 90, b"r" * 32), KEYS.log)
    with store.begin():
        store.add_envelopes(rows, START)
        store.set_receipted([(n, rows[n - 1].sha256, 2 * n) for n in range(1, 41)], START)
    witness = Witness(Station("dock-1", signer.key), COSIGNER, KEYS.log.verify_key)
    keep_checkpoint(store, witness, note, now_utc())
    for start in range(300):
        keeper.keep(store, *kept(start, start + 1))
    station, log_key = Station("dock-1", signer.key), KEYS.log.verify_key
    asked, held, keeps, count = RefillRequest("dock-1", 1, 3, 5), [], [], 0
    while True:
        page = open_refilled(keeper.answer(store, station, log_key, asked), "dock-1", signer.key.verify_key)
        assert page.checkpoint == note
        held += page.held
        keeps += page.keeps
        count += 1
        if page.next_seq is None or page.next_size is None:
            break
        asked = RefillRequest("dock-1", 1, page.next_seq, page.next_size)
    assert [one.seq for one in held] == list(range(3, 41 + 512)), "no more than can have been sent before"
    assert [one.log_index for one in held[:3]] == [6, 8, 10]
    assert held[-1].log_index is None
    assert [open_keep(raw, KEYS.receipts.verify_key).size for raw in keeps] == list(range(6, 301))
    assert count > 5
    alone = keeper.answer(store, station, log_key, RefillRequest("dock-1", 0, 0, 0))
    assert open_refilled(alone, "dock-1", None) == Refilled("dock-1", 0, note, (), (), None, None)
    other = keeper.answer(store, station, key("hub.test/new-log").verify_key, RefillRequest("dock-1", 0, 0, 0))
    assert open_refilled(other, "dock-1", None).checkpoint is None, "a checkpoint of a log that is no longer ours"
    store.close()
