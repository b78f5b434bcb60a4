"""Cameras on duty: taken once, brought back, overdue; who may be an officer. PINs are tested in integration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import duty
from agent.errors import SettingsInvalid
from agent.officers import Officer, set_officer
from agent.station import Station, load_or_create_station
from agent.store import Store
from custody.commitments import parse_opening
from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.stationevents import CameraCheckedOutV2, CameraLeftV2, CameraOverdueV2, CameraReturnedV2
from tests.openings import named

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
WANG = Officer("1001", "王芳", disabled=False)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return load_or_create_station(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "station.db")
    yield made
    made.close()


def stated(store: Store) -> list[Any]:
    envelopes = [parse_envelope(row.envelope) for row in store.outbox_from(1, 100)]
    return [decode_event(envelope.payload_type, envelope.payload) for envelope in envelopes]


def take(store: Store, station: Station, at: datetime = NOW) -> duty.Checkout:
    return duty.check_out(store, station, WANG, "CAM1", "1", "ready", (), at)


def test_a_duty_from_the_bay_and_back(store: Store, station: Station) -> None:
    take(store, station)
    with pytest.raises(duty.AlreadyOut):
        take(store, station)
    assert duty.camera_returned(store, station, "CAM1", "1", NOW) is None  # it still lies in the bay
    assert duty.camera_left(store, station, "CAM1", "1", "safe", "ready", NOW) == "1001"
    assert duty.camera_returned(store, station, "CAM1", "2", NOW + timedelta(hours=8)) == "1001"
    assert duty.open_checkouts(store) == []
    out, left, back = stated(store)
    assert isinstance(out, CameraCheckedOutV2)
    assert out.notice == "为保护您的合法权益，监督我们的执法行为，本次执法实行全过程录音录像记录。"
    assert isinstance(left, CameraLeftV2)
    assert named(store.outbox_from(1, 100)) == ["1001"] * 3
    assert isinstance(back, CameraReturnedV2)
    assert back.was_out


def test_a_camera_that_nobody_checked_out_leaves_with_nobody(store: Store, station: Station) -> None:
    assert duty.camera_left(store, station, "CAM1", "1", "copying", "unchecked", NOW) is None
    (left,) = stated(store)
    assert (left.offload, left.verdict, left.officer_commitment) == ("copying", "unchecked", None)
    assert named(store.outbox_from(1, 100)) == [None]


def test_a_check_out_is_taken_back_only_before_the_camera_left(store: Store, station: Station) -> None:
    take(store, station)
    assert duty.take_back(store, station, "CAM1", "1", NOW)
    assert not duty.take_back(store, station, "CAM1", "1", NOW)
    take(store, station)
    duty.camera_left(store, station, "CAM1", "1", "safe", "ready", NOW)
    assert not duty.take_back(store, station, "CAM1", "1", NOW)
    assert duty.take_back(store, station, "CAM1", "2", NOW, disputed=True)  # it is back, and disputed whether it is it
    assert stated(store)[-1].was_out


def test_a_loan_is_open_where_it_does_not_belong_to_the_bay(store: Store, station: Station) -> None:
    assert duty.loans(store, "CAM1", "1") == 0
    take(store, station)
    assert duty.loans(store, "CAM1", "1") == 0  # about to be taken
    assert duty.loans(store, "CAM1", "2") == 1  # moved unseen
    duty.camera_left(store, station, "CAM1", "1", "safe", "ready", NOW)
    assert duty.loans(store, "CAM1", "1") == 1  # something of its name is back
    duty.camera_returned(store, station, "CAM1", "1", NOW)
    assert duty.loans(store, "CAM1", "1") == 0


def test_overdue_is_stated_once_and_only_for_what_is_out(store: Store, station: Station) -> None:
    take(store, station)
    late = NOW + duty.DUTY + timedelta(seconds=1)
    assert duty.state_overdue(store, station, late) == []  # still in the bay
    duty.camera_left(store, station, "CAM1", "1", "safe", "ready", NOW)
    assert duty.state_overdue(store, station, NOW + duty.DUTY) == []
    assert [one.camera for one in duty.state_overdue(store, station, late)] == ["CAM1"]
    assert duty.state_overdue(store, station, late + timedelta(days=1)) == []
    assert isinstance(stated(store)[-1], CameraOverdueV2)


def test_a_departure_that_nobody_saw_is_stated_once_and_can_be_overdue(store: Store, station: Station) -> None:
    take(store, station)
    assert duty.left_unseen(store, station, frozenset({"CAM1"}), NOW) == []  # it lies in its bay
    assert duty.left_unseen(store, station, frozenset({"CAM2"}), NOW) == ["CAM1"]
    assert duty.left_unseen(store, station, frozenset(), NOW) == []
    _, left = stated(store)
    assert (left.bay, left.offload, left.verdict) == ("1", "safe", "ready")
    assert named(store.outbox_from(1, 100))[-1] == "1001"
    late = NOW + duty.DUTY + timedelta(seconds=1)
    assert [one.camera for one in duty.state_overdue(store, station, late)] == ["CAM1"]


@pytest.mark.parametrize(
    ("number", "name", "pin"),
    [
        ("", "王芳", "2468"),
        ("1 001", "王芳", "2468"),
        ("1001", "", "2468"),
        ("1001", "王\n芳", "2468"),
        ("1001", "王芳", "24"),
    ],
)
def test_officers_that_cannot_be(store: Store, number: str, name: str, pin: str) -> None:
    with pytest.raises(SettingsInvalid), store.begin():
        set_officer(store, number, name, pin)


def test_who_had_a_camera_is_forgotten_ninety_days_after_the_hub_has_it(
    store: Store, station: Station, tmp_path: Path
) -> None:
    """Openings and ended duties go, to the last byte; what the hub has not receipted and who has a camera now stay."""
    take(store, station)
    duty.camera_left(store, station, "CAM1", "1", "safe", "ready", NOW)
    duty.camera_returned(store, station, "CAM1", "1", NOW)
    receipts = [(row.seq, row.sha256, row.seq) for row in store.outbox_from(1, 2)]
    with store.begin():
        store.set_receipted(receipts, NOW)
    duty.check_out(store, station, Officer("2002", "李强", disabled=False), "CAM2", "2", "ready", (), NOW)
    salts = [parse_opening(row.opening).fields[0].salt.hex().encode() for row in store.outbox_from(1, 9) if row.opening]
    assert duty.forget_officers(store, NOW + timedelta(days=89)) == 0
    assert named(store.outbox_from(1, 9)) == ["1001", "1001", "1001", "2002"]
    assert duty.forget_officers(store, NOW + timedelta(days=91)) == 2
    openings = [row.opening for row in store.outbox_from(1, 9)]
    assert [opening is None for opening in openings] == [True, True, False, False]
    assert [one.officer for one in duty.open_checkouts(store)] == ["2002"]
    assert store.execute("SELECT count(*) FROM checkout").fetchone() == (1,)
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [salt in held for salt in salts] == [False, False, True, True]
    assert duty.forget_officers(store, NOW + timedelta(days=91)) == 0


def test_what_people_removed_is_forgotten_at_once_but_only_what_the_hub_has(
    store: Store, station: Station, tmp_path: Path
) -> None:
    take(store, station)
    duty.camera_left(store, station, "CAM1", "1", "safe", "ready", NOW)
    duty.camera_returned(store, station, "CAM1", "1", NOW)
    receipts = [(row.seq, row.sha256, row.seq) for row in store.outbox_from(1, 2)]
    with store.begin():
        store.set_receipted(receipts, NOW)
    duty.check_out(store, station, Officer("2002", "李强", disabled=False), "CAM2", "2", "ready", (), NOW)
    salts = [parse_opening(row.opening).fields[0].salt.hex().encode() for row in store.outbox_from(1, 9) if row.opening]
    with store.begin():
        assert duty.forget_openings(store, [1, 3, 99]) == 1
    duty.overwrite_forgotten(store)
    assert [row.opening is None for row in store.outbox_from(1, 9)] == [True, False, False, False]
    assert store.execute("SELECT officer FROM checkout").fetchall() == [("2002",)]
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [salt in held for salt in salts] == [False, True, True, True]
