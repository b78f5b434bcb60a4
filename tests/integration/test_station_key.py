"""A station's own key rotates: what the hub takes in, crashes at every step, and who can follow afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from agent.errors import KeyUnreadable, RotationRefused
from agent.keyrotation import finish_rotation, rotate_key
from agent.opening import open_dock
from agent.station import KEY_FILE, Station, load_or_create_station, sign_events
from agent.store import Store
from custody.bundleexamine import examine_bundle
from custody.bundlekeys import BundleKeys
from custody.checkpoint import SigningKey, VerifyKey
from custody.disk import Hasher
from custody.errors import SignatureInvalid
from custody.event import NO_PREVIOUS
from custody.keyrotation import RotationInvalid, check_station_rotation, sign_station_rotation, successor
from custody.manifest import Copied, ManifestReader
from custody.receipt import Receipt
from custody.report import Report
from custody.stationevents import StationKeyRotated, StationStarted
from hub.access import Actor, Role
from hub.audit.queries import load_proof
from hub.bundles.selection import find_recordings
from hub.bundles.service import export_bundle
from hub.bundles.work import Order
from hub.errors import LogUntrusted
from hub.intake import Intake
from hub.logcheck import check_log, check_start
from hub.opening import Message
from hub.recordings.queries import RecordingFilter
from hub.stations.service import enrol_station
from hub.tables import refused, station, station_key
from tests.bench.stations import START, SigningStation
from tests.integration.approved_exports import approved
from tests.integration.hubs import TestHub, sqlite_hub
from tests.integration.site_data import Hub
from tests.vectors.dockings import STATION_KEY, Docking, build
from tests.vectors.dockings import Station as VaultStation

TOPIC = "custodock/1/dock-1/events"


def sound(hub: TestHub) -> None:
    with hub.db.read() as connection:
        assert check_log(connection, hub.keys, 480).size == check_start(connection, hub.keys, 480).size


def reasons(hub: TestHub) -> list[str]:
    with hub.db.read() as connection:
        return sorted(connection.execute(select(refused.c.reason)).scalars())


def receipted(answers: list[Any]) -> list[int]:
    return [entry.seq for answer in answers if isinstance(answer, Receipt) for entry in answer.entries]


# --- the hub ---


def test_the_hub_follows_and_refuses_the_old_key(hub: TestHub) -> None:
    dock = hub.enrol()
    before = [dock.started(), dock.docking_started()]
    thief = dock.fork()
    rotation = dock.rotate()
    after = [dock.segment(), dock.segment(), dock.rotate(), dock.segment()]
    assert receipted(hub.take("dock-1", *before, rotation, *after)) == [1, 2, 3, 4, 5, 6, 7]
    assert receipted(hub.take("dock-1", *before, rotation, *after)) == [1, 2, 3, 4, 5, 6, 7], "receipts can be lost"
    assert reasons(hub) == []
    other_history = thief.started("0.6.6")  # seq 3, as the rotation
    while thief.seq < 7:
        going_on = thief.started("0.6.6")
    assert hub.take("dock-1", other_history, going_on, thief.started()) == []
    assert reasons(hub) == ["old_key"]
    assert receipted(hub.take("dock-1", dock.segment())) == [8], "a thief with an old key freezes nothing"
    sound(hub)


def test_processes_that_do_not_know_the_new_key_yet_learn_it(hub: TestHub) -> None:
    dock, other = hub.enrol(), Intake(hub.db, hub.keys, 480)
    other.take([Message(TOPIC, dock.started(), "dock-1")])
    opened_before = other.open([Message(TOPIC, dock.docking_started(), "dock-1")])
    rotation = dock.rotate()
    with_new_key = Message(TOPIC, dock.segment(), "dock-1")
    stale = other.open([with_new_key])  # opened before the rotation is taken in, as the pipelining of intake does
    assert hub.take("dock-1", dock.segment()) == [], "a gap, signed with a key that nothing named: refused"
    other.commit(opened_before)
    assert receipted(hub.take("dock-1", rotation)) == [3]
    assert [entry.seq for entry in other.commit(stale).receipts["dock-1"].values()] == [4]
    other.close()
    sound(hub)


def test_a_rotation_that_the_new_key_does_not_bear_out_changes_nothing(hub: TestHub) -> None:
    dock = hub.enrol()
    old, stranger = dock.key.verify_key, SigningKey.from_seed("dock-1", bytes(32))
    facts = {"old_line": old.line, "new_line": stranger.verify_key.line}
    signature = sign_station_rotation(SigningKey.from_seed("dock-2", bytes(32)).verify_key, stranger)
    claimed = dock.seal(StationKeyRotated, **facts, new_signature=signature)
    assert receipted(hub.take("dock-1", claimed, dock.started())) == [1, 2]
    with hub.db.read() as connection:
        assert connection.execute(select(station.c.key_line)).scalar_one() == old.line
    sound(hub)


def test_changed_rows_are_found(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.started(), dock.rotate(), dock.started())
    for change in (
        update(station).values(key_line=SigningStation("dock-1").key.verify_key.line),
        update(station_key).where(station_key.c.first_seq == 3).values(first_seq=2),
        delete(station_key).where(station_key.c.first_seq == 1),
    ):
        sound(hub)
        with hub.db.begin() as tx:
            kept = [dict(row._mapping) for row in tx.execute(select(station_key))]
            line = tx.execute(select(station.c.key_line)).scalar_one()
            tx.execute(change)
        with pytest.raises(LogUntrusted) as found, hub.db.read() as connection:
            check_log(connection, hub.keys, 480)
        assert found.value.fault == "station_altered"
        with hub.db.begin() as tx:
            tx.execute(delete(station_key))
            tx.execute(station_key.insert(), kept)
            tx.execute(update(station).values(key_line=line))


def test_a_start_knows_the_key_of_the_entries_that_it_checks(hub: TestHub) -> None:
    """It checks the last thousand entries: the rotation may lie among them, before them, or there may be two."""
    dock = hub.enrol()
    for _ in range(2):
        for _ in range(3):
            hub.take("dock-1", *(dock.started() for _ in range(300)))
        hub.take("dock-1", dock.rotate(), dock.started())
        sound(hub)


# --- those outside ---


def test_a_bundle_across_rotations_verifies_by_every_key(hub: TestHub, tmp_path: Path) -> None:
    """Three dockings, a rotation between each two: by the log's key, and by a station's key line of any time."""
    vault, signer, papers = tmp_path / "vault", VaultStation(), [STATION_KEY.verify_key]
    enrol_station(hub.db, hub.keys, STATION_KEY.verify_key.line)
    for n in range(3):
        docking = build(vault, Docking({f"{n}.MP4": b"abc" * 9}, docking_id=f"0195f000-d0c{n}"), signer)
        with (docking / ".custody/manifest.jsonl").open("rb") as stream:
            seals = [item.envelope for item in ManifestReader(stream) if isinstance(item, Copied)]
        hub.take("dock-test", *seals, (docking / ".custody/completed.dsse.json").read_bytes())
        old, new = signer.key.verify_key, SigningKey.from_seed("dock-test", bytes([n]) * 32)
        facts = {"old_line": old.line, "new_line": new.verify_key.line}
        signature = sign_station_rotation(old, new)
        hub.take("dock-test", signer.seal(partial(StationKeyRotated, **facts, new_signature=signature))[1])  # type: ignore[arg-type]
        signer.key = new
        papers.append(new.verify_key)
    sound(hub)
    recordings = find_recordings(hub.db, RecordingFilter(station="dock-test"))
    assert len(recordings) == 3
    order = Order(tuple(recordings), "all of them", "court", "case 17", "root")
    export_bundle(hub.db, hub.keys, approved(hub.db, hub.keys, order), [vault], tmp_path / "bundle")

    def report_by(*keys: VerifyKey) -> Report:
        with Hasher() as hasher:
            return examine_bundle(os.fsencode(tmp_path / "bundle"), keys, [], lambda _: None, hasher)

    def stations_by(report: Report) -> dict[str, str]:
        assert report.bundle is not None
        return {label: vouch for label, vouch in report.bundle.stations_by if label.startswith("dock-test+")}

    log_key = hub.keys.log.verify_key
    by_log = report_by(log_key)
    assert (by_log.exit.name, by_log.authorship_proved) == ("VERIFIED", True)
    assert stations_by(by_log) == {key.label: "log" for key in papers[:3]}
    for key in papers:
        report = report_by(log_key, key)
        assert [f.kind for f in report.findings if not f.is_information] == []
        assert set(stations_by(report).values()) == {"given"}
    thief = SigningKey.from_seed("dock-test", b"t" * 32).verify_key
    assert report_by(log_key, thief).exit.name != "VERIFIED"
    for path in (tmp_path / "bundle" / "untrusted-keys").glob("rotation-*"):
        path.unlink()  # without them nothing leads from the enrolled key to the later ones
    assert report_by(log_key).exit.name != "VERIFIED"


def test_in_a_bundle_a_key_counts_for_its_own_events_only() -> None:
    """A hub that logged an event under a key which did not count there is found, even with its own signatures."""
    dock, complaints = SigningStation("dock-1"), list[object]()
    first = dock.started()
    thief = dock.fork()
    rotation, later = dock.rotate(), dock.started()
    keys = BundleKeys([SigningStation("dock-1").key.verify_key], [], lambda *found, **_: complaints.append(found))
    keys.take_rotation(b"untrusted-keys/rotation-000000000001.dsse.json", rotation)
    for raw in (first, rotation, later):
        keys.open(raw, b"entry")
    thief.started()
    with pytest.raises(SignatureInvalid):
        keys.open(thief.started(), b"entry")  # seq 3 under the key that ended with seq 2
    early = SigningStation("dock-1")
    early.key = dock.key
    with pytest.raises(SignatureInvalid):
        keys.open(early.started(), b"entry")  # seq 1 under the key that began with seq 3
    assert complaints == []


def test_the_log_page_names_the_key_of_its_time(tmp_path: Path) -> None:
    made = Hub(tmp_path)
    dock = made.station("dock-1", START)
    labels = []
    for _ in range(3):
        made.take("dock-1", dock.started())
        labels.append(dock.key.verify_key.label)
        made.take("dock-1", dock.rotate())
    auditor = Actor("auditor", Role.AUDITOR, must_change_password=False)
    found = [load_proof(made.db, auditor, index, made.keys.lines["events"]).signed_by for index in (1, 3, 5)]
    assert found == labels
    assert len(set(labels)) == 3
    made.close()


# --- the station ---


@dataclass
class Place:
    """A station's directories and the hub that enrolled its first key."""

    vault: Path
    directory: Path
    hub: TestHub

    def say(self, *, twice: bool = False) -> Station:
        """Start as an agent does, state something, and deliver the whole outbox."""
        with open_dock(self.vault, self.directory) as opened:
            for _ in range(2 if twice else 1):
                asyncio.run(opened.dock.store.call(_started, opened.station))
            rows = asyncio.run(opened.dock.store.call(Store.outbox_from, 1, 100))
        self.hub.take("dock-1", *(row.envelope for row in rows))
        return opened.station

    def rotate(self, moment: str) -> int:
        command = [sys.executable, "-m", "tests.integration.rotate_child", self.vault, self.directory, moment]
        return subprocess.run(command, check=False).returncode


def _started(store: Store, who: Station) -> None:
    with store.begin():
        sign_events(store, who, [lambda common: StationStarted(**common, software="0.1.0")])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "vault", tmp_path / "station", sqlite_hub(tmp_path))
    made.directory.mkdir()
    first = load_or_create_station(made.directory, "dock-1")
    enrol_station(made.hub.db, made.hub.keys, first.key.verify_key.line)
    yield made
    made.hub.intake.close()
    made.hub.db.close()


@pytest.mark.parametrize(
    ("moment", "rotates"),
    [("made", 0), ("BEGIN", 0), ("COMMIT", 0), ("used", 1), ("done", 1), ("never", 1)],
)
def test_killed_at_any_moment_the_chain_goes_on(place: Place, moment: str, rotates: int) -> None:
    before = place.say().key.verify_key.line
    assert place.rotate(moment) == (0 if moment == "never" else -signal.SIGKILL)
    after = place.say(twice=True).key.verify_key.line
    assert (before != after) == bool(rotates)
    assert place.hub.types().count("station.key_rotated.v1") == rotates
    assert place.hub.types().count("station.started.v1") == 3
    assert reasons(place.hub) == []
    assert place.rotate("never") == 0, "a rotation that was begun is no hindrance"
    last = place.say()
    assert last.key.verify_key.line not in (before, after)
    assert place.hub.types().count("station.started.v1") == 4
    assert not (place.directory / "station.next.key").exists()
    sound(place.hub)


def test_control_the_file_before_the_event_is_found(place: Place) -> None:
    place.say()
    assert place.rotate("file-first") == 0
    place.say()
    assert place.hub.types().count("station.started.v1") == 1, "nothing named the new key: nothing of it was taken in"
    assert reasons(place.hub) == ["bad_signature"]


def test_an_old_key_file_put_back_signs_nothing(place: Place) -> None:
    place.say()
    shutil.copy(place.directory / KEY_FILE, place.directory / "kept")
    old = load_or_create_station(place.directory)
    assert place.rotate("never") == 0
    place.say()
    with open_dock(place.vault, place.directory) as opened, pytest.raises(KeyUnreadable):
        asyncio.run(opened.dock.store.call(_started, old))  # a program that was started before
    os.replace(place.directory / "kept", place.directory / KEY_FILE)
    with pytest.raises(KeyUnreadable), open_dock(place.vault, place.directory):
        pass
    assert place.hub.types().count("station.started.v1") == 2


def test_not_while_an_offload_is_open(tmp_path: Path) -> None:
    who, store = load_or_create_station(tmp_path, "dock-1"), Store(tmp_path / "station.db")
    with store.begin():
        store.execute(
            "INSERT INTO docking (id, camera, bay, folder, source, started_at) VALUES ('d', 'c', '1', x'', '{}', ?)",
            (START.isoformat(),),
        )
    with pytest.raises(RotationRefused):
        rotate_key(store, tmp_path, who)
    assert store.head().seq == 0
    assert finish_rotation(store, tmp_path, who) is who
    store.close()


# --- the statement itself ---

OLD, NEW, THIRD = (SigningKey.from_seed("dock-1", bytes([n]) * 32) for n in (1, 2, 3))


def rotated(**changes: Any) -> StationKeyRotated:
    facts = {
        "old_line": OLD.verify_key.line, "new_line": NEW.verify_key.line, "id": "0195f000-0000-7000-8000-000000000001",
        "new_signature": sign_station_rotation(OLD.verify_key, NEW), "source": "dock-1", "seq": 1,
        "previous": NO_PREVIOUS, "at": START, "clock": "unknown",
    }  # fmt: skip
    return StationKeyRotated(**(facts | changes))


def test_both_keys_must_have_signed() -> None:
    assert check_station_rotation(rotated(), OLD.verify_key).line == NEW.verify_key.line
    elsewhere = SigningKey.from_seed("dock-2", bytes(32))
    for changes in (
        {"new_line": THIRD.verify_key.line},  # a key that it does not hold
        {"new_signature": sign_station_rotation(THIRD.verify_key, NEW)},
        {"new_signature": ""},
        {"new_line": "nonsense"},
        {"old_line": THIRD.verify_key.line, "new_signature": sign_station_rotation(THIRD.verify_key, NEW)},
        {"new_line": elsewhere.verify_key.line, "new_signature": sign_station_rotation(OLD.verify_key, elsewhere)},
        {"new_line": OLD.verify_key.line, "new_signature": sign_station_rotation(OLD.verify_key, OLD)},
        {"source": "dock-2"},
    ):
        with pytest.raises(RotationInvalid):
            check_station_rotation(rotated(**changes), OLD.verify_key)
        assert successor(rotated(**changes), OLD.verify_key) is None
    assert successor(None, OLD.verify_key) is None
