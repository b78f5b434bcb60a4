"""A station's key is revoked by two people: nothing more is taken in, and whoever verifies learns what is in doubt."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Update, select, update
from sqlalchemy.exc import IntegrityError

from custody.bundleexamine import examine_bundle
from custody.disk import Hasher
from custody.finding import Kind
from custody.manifest import Copied, ManifestReader
from hub.access import Actor, Role
from hub.bundles.selection import find_recordings
from hub.bundles.service import export_bundle
from hub.bundles.work import Order
from hub.errors import Conflict, Invalid, LogUntrusted, NotFound
from hub.logcheck import check_log, check_start
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.recordings.queries import RecordingFilter
from hub.stations.queries import show_station
from hub.stations.revocation import approve_revocation, request_revocation
from hub.stations.service import enrol_station, freeze_station
from hub.tables import refused, station, station_revocation
from tests.integration.approved_exports import approved
from tests.integration.hubs import TestHub
from tests.integration.restore_site import Site, differing_tables
from tests.vectors.dockings import STATION_KEY, Docking, build
from tests.vectors.dockings import Station as VaultStation

ADMIN = Actor("admin", Role.ADMINISTRATOR, must_change_password=False)
AUDITOR = Actor("auditor", Role.AUDITOR, must_change_password=False)


def revoke(hub: Any, name: str = "dock-1", from_seq: int | None = None) -> None:
    change = request_revocation(hub.db, hub.keys, ADMIN, name, "stolen", from_seq)
    assert approve_revocation(hub.db, hub.keys, AUDITOR, change) == name


def sound(hub: Any) -> None:
    with hub.db.read() as connection:
        assert check_log(connection, hub.keys, 480).size == check_start(connection, hub.keys, 480).size


def fault_after(hub: TestHub, change: Update) -> str:
    """What the check says of a changed row; the change is undone."""
    try:
        with hub.db.begin() as tx:
            tx.execute(change)
            check_log(tx, hub.keys, 480)
    except LogUntrusted as found:
        return str(found.fault)
    return "nothing"


def reasons(hub: TestHub) -> list[str]:
    with hub.db.read() as connection:
        return sorted(connection.execute(select(refused.c.reason)).scalars())


def test_nothing_of_a_revoked_station_is_taken_in(hub: TestHub) -> None:
    dock, other = hub.enrol(), hub.enrol("dock-2")
    hub.take("dock-1", dock.started(), dock.docking_started())
    freeze_station(hub.db, hub.keys, AUDITOR, "dock-1", "stolen")
    revoke(hub, from_seq=2)
    before = hub.types()
    assert hub.take("dock-1", dock.segment(), dock.rotate(), dock.segment()) == []
    assert hub.take("dock-2", other.started()) != []
    assert hub.types() == [*before, "station.started.v1"]
    assert reasons(hub) == ["key_revoked"]
    assert show_station(hub.db, "dock-1").revoked_at
    sound(hub)
    with pytest.raises(Conflict):
        revoke(hub)
    with pytest.raises(Conflict):
        enrol_station(hub.db, hub.keys, dock.key.verify_key.line)


def test_one_person_wrong_roles_and_wrong_numbers_revoke_nothing(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.started())
    place = (hub.db, hub.keys)
    with pytest.raises(NotAllowed):
        request_revocation(*place, AUDITOR, "dock-1", "stolen")
    with pytest.raises(NotFound):
        request_revocation(*place, ADMIN, "dock-9", "stolen")
    for reason, from_seq in (("", None), ("stolen", 0), ("stolen", 3), ("two\nlines", None)):
        with pytest.raises(Invalid):
            request_revocation(*place, ADMIN, "dock-1", reason, from_seq)
    first, second = (request_revocation(*place, ADMIN, "dock-1", "stolen") for _ in range(2))
    for actor, change, error in (
        (replace(ADMIN, role=Role.AUDITOR), second, SecondPersonNeeded),
        (replace(ADMIN, name="other"), second, NotAllowed),
        (AUDITOR, first, NotOpenAnyMore),  # a later request took its place
        (AUDITOR, "x", NotFound),
    ):
        with pytest.raises(error):
            approve_revocation(*place, actor, change)
    hub.take("dock-1", dock.rotate())
    with pytest.raises(Conflict):  # whoever stole the key has replaced it meanwhile: people look again
        approve_revocation(*place, AUDITOR, second)
    assert "key.revoked.v1" not in hub.types()
    assert hub.take("dock-1", dock.started()) != []
    with pytest.raises(IntegrityError), hub.db.begin() as tx:
        tx.execute(update(station_revocation).values(approved_by="admin"))
    revoke(hub)
    sound(hub)


def test_the_check_finds_what_does_not_follow(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.started())
    revoke(hub)
    for change in (
        update(station).values(revoked_at=None),
        update(station_revocation).values(from_seq=1),
    ):
        assert fault_after(hub, change) == "station_altered"
    sound(hub)


def test_control_an_entry_of_a_revoked_key_in_the_log_is_found(hub: TestHub) -> None:
    """As a hub would have it that went on taking in: its own rows say that nothing was revoked."""
    dock = hub.enrol()
    hub.take("dock-1", dock.started())
    revoke(hub)
    with hub.db.begin() as tx:
        tx.execute(update(station).values(revoked_at=None))
    assert hub.take("dock-1", dock.started()) != []
    for check in (check_log, check_start):
        with pytest.raises(LogUntrusted) as found, hub.db.read() as connection:
            check(connection, hub.keys, 480)
        assert found.value.fault == "entry_signature"


def test_a_bundle_says_what_is_in_doubt(hub: TestHub, tmp_path: Path) -> None:
    vault, signer = tmp_path / "vault", VaultStation()
    enrol_station(hub.db, hub.keys, STATION_KEY.verify_key.line)
    docking = build(vault, Docking({"a.MP4": b"abc" * 9, "b.MP4": b"cde" * 9}), signer)
    with (docking / ".custody/manifest.jsonl").open("rb") as stream:
        seals = [item.envelope for item in ManifestReader(stream) if isinstance(item, Copied)]
    hub.take("dock-test", *seals, (docking / ".custody/completed.dsse.json").read_bytes())
    recordings = find_recordings(hub.db, RecordingFilter(station="dock-test"))

    def findings(name: str) -> list[tuple[Kind, object]]:
        order = Order(tuple(recordings), "all of them", "court", "case 17", "root")
        export_bundle(hub.db, hub.keys, approved(hub.db, hub.keys, order), [vault], tmp_path / name)
        with Hasher() as hasher:
            report = examine_bundle(os.fsencode(tmp_path / name), [hub.keys.log.verify_key], [], lambda _: None, hasher)
        return [(f.kind, f.expected) for f in report.findings if not f.is_information]

    assert findings("before") == []
    revoke(hub, "dock-test", 2)
    assert findings("after") == [(Kind.KEY_REVOKED, 2)], "the first seal stays good"


def test_a_revocation_after_the_backup_comes_back(tmp_path: Path) -> None:
    site = Site(tmp_path)
    one = site.enrol("dock-1")
    site.film(one, 3)
    site.deliver(one)
    backup = site.backup("backup")
    site.film(one, 2)
    site.deliver(one)
    revoke(site, "dock-1", 4)
    site.hand_over()
    site.enrol("dock-2")
    site.hand_over()
    again = site.restored(backup, "again")
    again.ask_all()
    size = again.complete()
    assert again.check() == size
    assert differing_tables(site.db, again.db, site.size()) == set()
    again.close()
    site.close()
