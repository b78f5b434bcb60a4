"""Rotations of the hub's keys: every role, crashes between the steps, stations that were away, old keys kept."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from agent.commands import Trust, take_command, trust_now
from agent.station import Station, load_or_create_station
from agent.store import Store
from custody.bundleexamine import examine_bundle
from custody.checkpoint import SigningKey, VerifyKey
from custody.commandbody import Hold, HoldLifted
from custody.disk import Hasher
from custody.errors import CustodyError
from custody.hubevents import KeyRole, KeyRotated
from custody.keyrotation import RotationInvalid, check_rotation, follow, sign_rotation, trace_back
from custody.manifest import Copied, ManifestReader
from custody.stationevents import StationStarted
from custody.tiles import ENTRIES, encode_bundle, tiles_of
from hub import log
from hub.access import Actor, Role
from hub.accounts.service import Visit, change_password
from hub.app import main
from hub.bundles.selection import find_recordings
from hub.bundles.service import export_bundle
from hub.bundles.work import Order
from hub.commands import approving
from hub.commands import service as commands
from hub.commands.queries import load_envelopes
from hub.db import open_database
from hub.errors import KeysChanged, LogUntrusted
from hub.intake import Intake
from hub.keychanges import service
from hub.keyhistory import read_history
from hub.keys import ROLES, HubKeys, create_keys, load_keys
from hub.logcheck import check_log, check_start
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.recordings.queries import RecordingFilter
from hub.stations.service import enrol_station
from hub.tables import key_change, log_entry
from hub.times import now_utc
from tests.independent import reader
from tests.integration.approved_exports import approved
from tests.integration.authenticators import new_person
from tests.integration.hubs import TestHub, drop_triggers
from tests.integration.schema import open_migrated
from tests.integration.site_data import Hub
from tests.vectors.dockings import STATION_KEY, Docking, build
from tests.vectors.dockings import Station as VaultStation

ADMIN = Actor("admin", Role.ADMINISTRATOR, must_change_password=False)
AUDITOR = Actor("auditor", Role.AUDITOR, must_change_password=False)
RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
UUID = "0195f000-0000-7000-8000-0000000000"


class RotatingHub(TestHub):
    """A hub with key files. `keys` are what a process holds that was started now."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory / "keys"
        keys, db = create_keys(self.directory, "t"), open_migrated(url)
        with db.begin() as tx:
            log.create(tx, keys, now_utc())
        super().__init__(db, keys, Intake(db, keys, 480))

    def restart(self) -> HubKeys:
        self.keys = service.finish_changes(self.db, self.directory, "t")
        self.intake.close()
        self.intake = Intake(self.db, self.keys, 480)
        return self.keys

    def ask(self, role: KeyRole) -> str:
        return service.request_rotation(self.db, self.keys, self.directory, "t", ADMIN, role)

    def rotate(self, role: KeyRole) -> None:
        service.approve_rotation(self.db, self.keys, self.directory, "t", AUDITOR, self.ask(role))
        self.restart()

    def hold(self, n: int) -> None:
        body = Hold(hold_id=f"{UUID}{n:02x}", camera=f"cam-{n}", reason="case")
        commands.request_command(self.db, self.keys, RECORDS, "dock-1", body)

    def sound(self) -> None:
        with self.db.read() as connection:
            assert check_log(connection, self.keys, 480).size == check_start(connection, self.keys, 480).size


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[RotatingHub]:
    made = RotatingHub(tmp_path, database_url)
    yield made
    made.intake.close()
    made.db.close()


class Dock:
    """A station that pinned the keys of its enrolment."""

    def __init__(self, directory: Path, hub: RotatingHub) -> None:
        self.hub, self.store = hub, Store(directory / "station.db")
        self.station: Station = load_or_create_station(directory, "dock-1")
        keys = hub.keys
        self.pinned = Trust(keys.commands.verify_key, keys.log.verify_key, {}, keys.receipts.verify_key)
        enrol_station(hub.db, keys, self.station.key.verify_key.line)

    def catch_up(self) -> list[tuple[str, str]]:
        """Take every command that the hub has, in order."""
        found = []
        for _, _, raw in load_envelopes(self.hub.db, [("dock-1", n) for n in range(1, 200)]):
            answer = take_command(self.store, self.station, self.pinned, raw, now_utc(), "synchronised")
            if answer is not None:
                found.append((answer.kind, answer.reason))
        return found

    def knows_the_keys_of_now(self) -> bool:
        trust, keys = trust_now(self.store, self.pinned), self.hub.keys
        known = (trust.command_key, trust.log_key, trust.receipt_key)
        wanted = (keys.commands.verify_key, keys.log.verify_key, keys.receipts.verify_key)
        return all(k is not None and k.line == w.line for k, w in zip(known, wanted, strict=True))


@pytest.fixture
def dock(hub: RotatingHub, tmp_path: Path) -> Iterator[Dock]:
    (tmp_path / "dock").mkdir()
    made = Dock(tmp_path / "dock", hub)
    yield made
    made.store.close()


@pytest.mark.parametrize("role", ROLES)
def test_every_role_before_and_after(hub: RotatingHub, dock: Dock, role: KeyRole) -> None:
    before, station = hub.keys.lines, hub.enrol("dock-2")
    hub.take("dock-2", station.started())
    hub.hold(1)
    hub.rotate(role)
    assert {r for r in ROLES if hub.keys.lines[r] != before[r]} == {role}
    hub.sound()
    assert len(hub.take("dock-2", station.started())) == 1  # a receipt that the keys of now have signed
    hub.hold(2)
    assert hub.root_is_naive_root()
    told = [] if role == "events" else [("key_rotated.v1", "done")]
    assert dock.catch_up() == [("hold.v1", "done"), *told, ("hold.v1", "done")]
    assert dock.knows_the_keys_of_now()
    assert len(dock.store.holds()) == 2


def test_a_station_that_was_away_follows_every_rotation_in_order(hub: RotatingHub, dock: Dock) -> None:
    """Three rounds of every key with holds between, and at the end an approval under the newest log key."""
    n = 0
    for role in [*ROLES, *reversed(ROLES), *ROLES]:
        hub.hold(n := n + 1)
        hub.rotate(role)
    hub.hold(n := n + 1)
    lift = commands.request_command(hub.db, hub.keys, RECORDS, "dock-1", HoldLifted(hold_id=f"{UUID}01", reason="x"))
    phone = new_person(hub.db, hub.keys, "leader", "approving_leader")
    approving.approve_command(hub.db, hub.keys, LEADER, lift, phone.code())
    hub.sound()
    answers = dock.catch_up()
    assert {reason for _, reason in answers} == {"done"}
    assert [kind for kind, _ in answers].count("key_rotated.v1") == 9
    assert dock.knows_the_keys_of_now()
    assert len(dock.store.holds()) == n - 1


def test_one_person_and_wrong_roles_rotate_nothing(hub: RotatingHub) -> None:
    both = replace(ADMIN, role=Role.AUDITOR)  # the same account in another office
    place = (hub.directory, "t")
    with pytest.raises(NotAllowed):
        service.request_rotation(hub.db, hub.keys, *place, AUDITOR, "log")
    first, second = hub.ask("log"), hub.ask("log")
    for actor, change, error in (
        (both, second, SecondPersonNeeded),
        (RECORDS, second, NotAllowed),
        (AUDITOR, first, NotOpenAnyMore),  # a later request took its place
    ):
        with pytest.raises(error):
            service.approve_rotation(hub.db, hub.keys, *place, actor, change)
    assert "key.rotated.v1" not in hub.types()
    service.approve_rotation(hub.db, hub.keys, *place, AUDITOR, second)
    with pytest.raises(NotOpenAnyMore):
        service.approve_rotation(hub.db, hub.restart(), *place, AUDITOR, second)
    hub.sound()


@pytest.mark.parametrize("role", ROLES)
def test_crashes_between_the_steps(hub: RotatingHub, dock: Dock, role: KeyRole, tmp_path: Path) -> None:
    hub.hold(1)
    change = hub.ask(role)
    assert hub.restart().lines == load_keys(hub.directory, "t").lines  # after step 1: nothing is used yet
    service.record_rotation(hub.db, hub.keys, hub.directory, "t", AUDITOR, change)  # after step 2
    shutil.copytree(hub.directory, tmp_path / "as-after-step-3")
    after = hub.restart()
    assert not (hub.directory / f"{role}.next.pem").exists()
    shutil.rmtree(hub.directory)
    os.replace(tmp_path / "as-after-step-3", hub.directory)  # the old file and the new one, all stations told
    assert hub.restart().lines == after.lines
    hub.hold(2)
    hub.sound()
    assert dock.catch_up().count(("key_rotated.v1", "done")) == (0 if role == "events" else 1)
    assert dock.knows_the_keys_of_now()


def test_a_process_with_the_old_key_signs_nothing(hub: RotatingHub) -> None:
    station, old = hub.enrol(), hub.intake
    service.approve_rotation(hub.db, hub.keys, hub.directory, "t", AUDITOR, hub.ask("log"))
    with pytest.raises(KeysChanged):
        hub.take("dock-1", station.started())
    assert hub.types()[-1] == "command.issued.v1"
    old.close()
    hub.restart()
    hub.sound()


def test_lost_or_foreign_files_are_found(hub: RotatingHub) -> None:
    """The old file put back, and a key that no rotation led to: the log is not signed on with either."""
    kept = hub.directory.parent / "kept"
    shutil.copytree(hub.directory, kept)
    hub.rotate("events")
    for directory in (kept, None):
        keys = load_keys(kept, "t") if directory else create_keys(hub.directory.parent / "foreign", "t")
        with hub.db.read() as connection, pytest.raises(LogUntrusted):
            read_history(connection, keys)
        with pytest.raises(KeysChanged), hub.db.begin() as tx, log.appending(tx, keys, now_utc()):
            pass


def test_changed_rows_and_entries_are_found(hub: RotatingHub) -> None:
    hub.rotate("receipts")
    hub.sound()
    with hub.db.begin() as tx:
        tx.execute(update(key_change).values(approved_by="somebody"))
    with pytest.raises(LogUntrusted) as found, hub.db.read() as connection:
        check_log(connection, hub.keys, 480)
    assert found.value.fault == "key_altered"
    with hub.db.begin() as tx:
        drop_triggers(tx)
        raw = tx.execute(select(log_entry.c.envelope).where(log_entry.c.event_type == KeyRotated.TYPE)).scalar_one()
        changed = bytes(raw).replace(b'"sig":"', b'"sig":"A')
        tx.execute(update(log_entry).where(log_entry.c.event_type == KeyRotated.TYPE).values(envelope=changed))
    with pytest.raises(LogUntrusted), hub.db.read() as connection:
        check_log(connection, hub.keys, 480)


def test_the_command_line_needs_two_accounts_with_their_passwords(
    tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    def run(password: str, *words: str) -> dict[str, Any]:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        with contextlib.suppress(SystemExit):
            main([*words, "--dir", str(tmp_path / "hub"), "--json"])
        return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))

    before = run("", "init")
    people = {}
    for name, role in (("ann", "administrator"), ("bob", "auditor")):
        first = run("", "user", "add", name, "--role", role)["password"]
        db = open_database(f"sqlite:///{tmp_path}/hub/hub.db")
        actor = Actor(name, Role(role), must_change_password=True)
        keys = load_keys(tmp_path / "hub" / "keys", before["hub_id"])
        change_password(db, keys, actor, first, f"a long one, {role}", f"a long one, {role}", Visit("here"), now_utc())
        db.close()
        people[name] = f"a long one, {role}"
    assert run("wrong", "key", "rotate", "log", "--account", "ann")["error"] == "invalid"
    assert run(people["bob"], "key", "rotate", "log", "--account", "bob")["error"] == "not_allowed"
    change = run(people["ann"], "key", "rotate", "log", "--account", "ann")["change"]
    assert run(people["ann"], "key", "approve", change, "--account", "ann")["error"] == "second_person_needed"
    after = run(people["bob"], "key", "approve", change, "--account", "bob")
    assert {name for name in before if name.endswith("_key") and before[name] != after[name]} == {"log_key"}
    assert run("", "keys") == after
    assert "size" in run("", "log", "check")
    station = SigningKey.from_seed("dock-1", bytes(32)).verify_key.line
    run("", "station", "add", station)
    freeze = ("station", "freeze", "dock-1", "--reason", "key stolen", "--account")
    assert run("wrong", *freeze, "bob")["error"] == "invalid"
    assert run(people["bob"], *freeze, "bob") == {"station": "dock-1", "frozen": True}
    assert run(people["bob"], *freeze, "bob")["error"] == "conflict"
    assert run("", "station", "show", "dock-1")["frozen_reason"] == "key stolen (bob)"
    assert "size" in run("", "log", "check")


# --- the statement itself ---

OLD, NEW, THIRD = (SigningKey.from_seed("hub.test/log", bytes([n]) * 32) for n in (1, 2, 3))


def rotated(old: SigningKey = OLD, new: SigningKey = NEW, **changes: str) -> KeyRotated:
    signatures = sign_rotation("log", old, new)
    facts = {
        "change_id": UUID + "01", "role": "log", "old_line": old.verify_key.line, "new_line": new.verify_key.line,
        "old_signature": signatures[0], "new_signature": signatures[1], "requested_by": "a", "approved_by": "b",
    } | changes  # fmt: skip
    return KeyRotated(
        id=UUID + "02",
        source="hub",
        seq=1,
        previous="0" * 64,
        at=now_utc(),
        clock="unknown",
        **facts,  # type: ignore[arg-type]
    )


def test_both_keys_sign_for_each_other() -> None:
    first, second = check_rotation(rotated()), check_rotation(rotated(NEW, THIRD))
    lines = [key.verify_key.line for key in (OLD, NEW, THIRD)]
    assert [key.line for key in follow(OLD.verify_key, [first, second])] == lines
    assert [key.line for key in trace_back(THIRD.verify_key, [first, second])] == lines[::-1]
    assert follow(THIRD.verify_key, [first, second]) == (THIRD.verify_key,)


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "events"}, {"old_line": THIRD.verify_key.line}, {"new_line": THIRD.verify_key.line},
        {"old_signature": sign_rotation("log", THIRD, NEW)[0]}, {"new_signature": sign_rotation("log", OLD, THIRD)[1]},
        {"old_signature": ""}, {"new_signature": "?"}, {"old_line": "x"},
    ],
    ids="-".join,
)  # fmt: skip
def test_a_rotation_with_one_thing_wrong_holds_for_nobody(changes: dict[str, str]) -> None:
    with pytest.raises(RotationInvalid):
        check_rotation(rotated(**changes))


def test_a_key_does_not_follow_itself_nor_another_name() -> None:
    for old, new in ((OLD, OLD), (OLD, SigningKey.from_seed("other/log", bytes(32)))):
        with pytest.raises(CustodyError):
            check_rotation(rotated(old, new))


# --- those outside ---


def test_a_bundle_is_verified_by_the_logs_key_of_any_time(hub: RotatingHub, tmp_path: Path) -> None:
    """Footage enrolled, sealed and exported across rotations; a key on paper from before each of them verifies it."""
    vault, station, papers = tmp_path / "vault", VaultStation(), [hub.keys.log.verify_key]
    enrol_station(hub.db, hub.keys, STATION_KEY.verify_key.line)
    docking = build(vault, Docking({"a.MP4": b"abc" * 9}), station)
    for role in ("events", "log", "receipts", "events", "log"):
        hub.rotate(role)  # type: ignore[arg-type]
        papers.append(hub.keys.log.verify_key)
    with (docking / ".custody/manifest.jsonl").open("rb") as stream:
        seals = [item.envelope for item in ManifestReader(stream) if isinstance(item, Copied)]
    hub.take("dock-test", *seals, (docking / ".custody/completed.dsse.json").read_bytes())
    recordings = find_recordings(hub.db, RecordingFilter(station="dock-test"))
    order = Order(tuple(recordings), "all of them", "court", "case 17", "root")
    export_bundle(hub.db, hub.keys, approved(hub.db, hub.keys, order), [vault], tmp_path / "bundle")

    def verdict_by(key: VerifyKey) -> str:
        with Hasher() as hasher:
            report = examine_bundle(os.fsencode(tmp_path / "bundle"), [key], [], lambda _: None, hasher)
        return report.exit.name if report.authorship_proved else "unproved"

    assert [verdict_by(key) for key in papers] == ["VERIFIED"] * len(papers)
    thief = SigningKey.from_seed(papers[0].name, bytes(32)).verify_key
    assert verdict_by(thief) != "VERIFIED"
    for path in (tmp_path / "bundle" / "untrusted-keys").glob("rotation-*"):
        path.unlink()  # without them the old key leads nowhere
    assert verdict_by(papers[0]) != "VERIFIED"


def test_a_second_reader_follows_the_rotations_of_the_logs_key(tmp_path: Path) -> None:
    made = Hub(tmp_path)
    first = made.keys.log.verify_key.line
    station = made.station("dock-1")
    made.take("dock-1", station.seal(StationStarted, software="x"))
    keys = made.keys
    for role in ("log", "events", "log"):
        change = service.request_rotation(made.db, keys, tmp_path / "keys", "test", ADMIN, role)  # type: ignore[arg-type]
        keys = service.approve_rotation(made.db, keys, tmp_path / "keys", "test", AUDITOR, change)
    with made.db.read() as connection:
        size, note = log.read_head(connection).size, log.newest_note(connection)
        tiles = {tile.path: log.read_tile(connection, tile.level, tile.index) for tile in tiles_of(size)
                 if tile.level != ENTRIES}  # fmt: skip
        raws = connection.execute(select(log_entry.c.envelope).order_by(log_entry.c.idx)).scalars()
        bundle = encode_bundle([bytes(raw) for raw in raws])
    files = {"checkpoint": note.encode(), **tiles, f"tile/entries/000.p/{size}": bundle}
    for key in (first, keys.log.verify_key.line):
        assert reader.Log(files.__getitem__, key).check_entries() == size
    name = keys.log.name
    with pytest.raises(reader.Wrong):
        reader.Log(files.__getitem__, SigningKey.from_seed(name, bytes(32)).verify_key.line)
    made.close()
