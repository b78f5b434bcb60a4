"""Backup, loss and refilling with the code of both sides: any backup point, any engine, whoever is missing."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from agent.keeping import newest_checkpoint
from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.envelope import parse_envelope
from custody.errors import SignatureInvalid
from custody.events import decode_event
from custody.hubevents import LogRestored
from custody.keeping import Held, Refilled, seal_refilled
from hub.accounts.service import create_account
from hub.backup import back_up
from hub.backupfiles import read_manifest
from hub.errors import BackupUnusable, Invalid, LogReadOnly
from hub.intake import Intake
from hub.logcheck import check_log
from hub.mark import Mark, look_outside
from hub.readonly import BEHIND, FORKED, why_read_only
from hub.restore.absorb import Absorber
from hub.restore.beginning import begin
from hub.restore.completing import RefillWrong, complete
from hub.restore.line import finish_left_over
from hub.restore.outside import Verdict, notice
from hub.restore.scratch import Scratch
from hub.restore.status import read_status, status_lines
from hub.tables import log_entry
from hub.web import create_app
from tests.integration.postgres import new_database
from tests.integration.restore_site import OFFSET, Restored, Site, cut_at, differing_tables, rows, write_mirror
from tests.integration.web_peer import change_password, client, sign_in

ONE, TWO = "dock-1", "dock-2"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.enrol(ONE)
    made.enrol(TWO)
    yield made
    made.close()


def restored_event(again: Restored, index: int) -> LogRestored:
    with again.db.read() as connection:
        raw = connection.execute(select(log_entry.c.envelope).where(log_entry.c.idx == index)).scalar_one()
    envelope = parse_envelope(bytes(raw))
    event = decode_event(envelope.payload_type, envelope.payload)
    assert isinstance(event, LogRestored)
    return event


@pytest.mark.parametrize("seed", range(24))
def test_whatever_came_after_any_backup_comes_back_as_it_was(site: Site, seed: int) -> None:
    chance = random.Random(seed)
    site.work(chance, chance.randrange(0, 12))
    backup = site.backup("backup")
    site.work(chance, chance.randrange(1, 14))
    size = site.size()
    again = site.restored(backup, "hub-2")
    with pytest.raises(LogReadOnly):
        create_account(again.db, again.keys, "too-early", "auditor")
    again.ask_all()
    assert again.complete() == size + 1
    assert again.check() == size + 1
    assert differing_tables(site.db, again.db, size) == set()
    event = restored_event(again, size)
    assert (event.size, event.untimed, event.without) == (size, 0, ())
    again.close()


@pytest.mark.needs_postgres
@pytest.mark.parametrize(("lost", "back"), [("postgresql", "postgresql"), ("postgresql", ""), ("", "postgresql")])
def test_either_engine_comes_back(request: pytest.FixtureRequest, tmp_path: Path, lost: str, back: str) -> None:
    server = request.getfixturevalue("postgres")
    site, chance = Site(tmp_path, new_database(server) if lost else None), random.Random(5)
    site.enrol(ONE)
    site.enrol(TWO)
    site.work(chance, 8)
    backup = site.backup("backup.tar")
    site.work(chance, 8)
    size = site.size()
    again = site.restored(backup, "hub-2", new_database(server) if back else None)
    again.ask_all()
    assert again.complete() == size + 1
    assert again.check() == size + 1
    assert differing_tables(site.db, again.db, size) == set()
    site.keys = again.keys
    again.close()
    site.close()


# --- what is missing ---


def lose(site: Site, *, keepings: bool = True, receipts: bool = True) -> Restored:
    """Backup, then both stations and people work, then the hub is lost."""
    one, two = site.docks[ONE], site.docks[TWO]
    site.film(one, 5)
    site.deliver(one)
    backup = site.backup("backup")
    site.film(one, 4)
    site.deliver(one, keepings=keepings)
    create_account(site.db, site.keys, "li", "auditor")
    site.film(two, 3)
    site.deliver(two, keepings=keepings, receipts=receipts)
    return site.restored(backup, "hub-2")


def test_a_station_that_is_away_is_waited_for_and_named(site: Site) -> None:
    again = lose(site)
    again.ask_all(ONE)
    status = again.status()
    assert not status.complete
    assert status.silent == (TWO,)
    [lack] = status.lacking
    assert (lack.source, lack.first_seq, lack.last_seq) == (TWO, 1, 3)
    assert lack.last_index == site.size() - 1
    words = "\n".join(status_lines(status))
    assert "dock-2 seq 1–3" in words
    assert "not through" in words
    json.dumps(status.json())
    with pytest.raises(AssertionError):
        again.complete()
    again.ask_all(TWO)
    assert again.complete() == site.size() + 1
    assert again.check() == site.size() + 1
    again.close()


def test_without_keepings_the_hubs_own_events_are_named_and_a_mirror_brings_them(site: Site, tmp_path: Path) -> None:
    again = lose(site, keepings=False)
    again.ask_all()
    [lack] = again.status().lacking
    assert (lack.source, lack.first_index, lack.last_index) == (None, lack.first_index, lack.first_index)
    assert not again.status().complete
    write_mirror(site, tmp_path / "mirror")
    scratch = Scratch(again.directory)
    with again.db.read() as connection:
        absorber = Absorber(connection, again.keys, scratch)
    with pytest.raises(Invalid):
        absorber.mirror(tmp_path / "hub")
    assert absorber.mirror(tmp_path / "mirror") >= 1
    scratch.close()
    assert again.complete() == site.size() + 1
    assert again.check() == site.size() + 1
    assert restored_event(again, site.size()).untimed > 0, "nobody kept when these were received"
    again.close()


def test_an_envelope_whose_receipt_was_lost_takes_the_place_that_is_left(site: Site) -> None:
    one, two = site.docks[ONE], site.docks[TWO]
    site.film(one, 5)
    site.deliver(one)
    backup = site.backup("backup")
    site.film(one, 4)
    site.deliver(one, keepings=False, receipts=False)  # logged, but the station does not know
    site.film(two, 2)
    site.deliver(two, keepings=False)
    site.film(one, 7)  # never sent
    again = site.restored(backup, "hub-2")
    again.ask_all()
    assert again.complete() == site.size() + 1
    assert again.check() == site.size() + 1
    assert site.docks[ONE].store.head().seq == 16
    again.close()


def test_a_station_that_claims_wrong_places_is_named_and_changes_nothing(site: Site) -> None:
    again = lose(site, keepings=False)
    with site.docks[TWO].store.begin():
        site.docks[TWO].store.execute("UPDATE outbox SET log_index = log_index - 1")
    again.ask_all()
    write_mirror(site, site.root / "mirror")
    scratch = Scratch(again.directory)
    with again.db.read() as connection:
        Absorber(connection, again.keys, scratch).mirror(site.root / "mirror")
    status = again.status()
    assert status.lacking
    assert any("dock-2 seq 1" in fault for fault in status.faults)
    with scratch.begin():
        scratch.set_fact("without", json.dumps([TWO]))  # it has no say about places any more
    scratch.close()
    assert again.complete() == site.size() + 2  # that it was restored without a station, and the alert of it
    assert again.check() == site.size() + 2
    again.close()


def test_a_station_alone_that_claims_wrong_places_does_not_lead_to_the_signed_root(site: Site) -> None:
    one = site.docks[ONE]
    site.film(one, 1)
    site.deliver(one)
    backup = site.backup("backup")
    site.film(one, 2)  # nothing that makes the hub state something after it
    site.deliver(one, keepings=False)
    with one.store.begin():  # two neighbours change places
        first = site.size() - 2
        one.store.execute("UPDATE outbox SET log_index = ? - log_index WHERE log_index >= ?", (2 * first + 1, first))
    again = site.restored(backup, "hub-2")
    again.ask_all()
    _, plan = read_status(again.db, again.keys, again.directory)
    assert plan is not None
    assert not plan.missing
    scratch = Scratch(again.directory)
    with pytest.raises(RefillWrong):
        complete(again.db, again.keys, scratch, plan, OFFSET)
    scratch.close()
    with again.db.read() as connection:
        assert why_read_only(connection) == "restoring"
    again.close()


def test_two_checkpoints_that_contradict_each_other_stop_it(site: Site) -> None:
    again = lose(site)
    again.ask_all()
    forged = sign_checkpoint(Checkpoint(again.keys.log.name, site.size(), b"f" * 32), again.keys.log)
    scratch = Scratch(again.directory)
    with again.db.read() as connection:
        absorber = Absorber(connection, again.keys, scratch)
    with pytest.raises(Invalid):
        absorber.checkpoint("a friend", "nonsense")
    absorber.checkpoint("a friend", forged)
    scratch.close()
    status = again.status()
    assert not status.complete
    assert status.fork is not None
    assert forged in status.fork
    assert status.fork.count("\u2014 custodock.example/h/log") == 2, "both are shown"
    again.close()


def test_a_checkpoint_within_the_backup_that_is_not_ours_stops_it_too(site: Site) -> None:
    again = lose(site)
    again.ask_all()
    forged = sign_checkpoint(Checkpoint(again.keys.log.name, 2, b"f" * 32), again.keys.log)
    assert notice(again.db, again.keys, again.directory, "a witness", forged) is Verdict.FORKED
    assert not again.status().complete
    with again.db.read() as connection:
        assert why_read_only(connection) == FORKED
    again.close()


def test_an_event_that_gives_no_rows_does_not_hold_up_the_others(site: Site) -> None:
    again = lose(site)
    again.ask_all()
    with again.db.begin() as tx:
        tx.exec_driver_sql(
            "CREATE TRIGGER t BEFORE INSERT ON segment WHEN NEW.entry = 7 BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
    again.complete()
    assert [(row[2], row[3]) for row in rows(again.db, "unprojected")] == [("segment.sealed.v1", "projection_failed")]
    assert len(rows(again.db, "segment")) == len(rows(site.db, "segment")) - 1
    again.close()


# --- pages ---


def test_every_page_says_so_and_one_says_what_is_missing(site: Site) -> None:
    password = create_account(site.db, site.keys, "admin", "administrator")
    again = lose(site)
    again.ask_all(ONE)
    intake = Intake(again.db, again.keys, OFFSET)
    app = create_app(again.db, again.keys.lines, intake, again.status)
    browser = client(app)
    assert "正在补齐日志" in browser.get("/sign-in").text
    assert sign_in(browser, "admin", password) == 303
    assert change_password(browser, password) == 303
    page = browser.get("/restore").text
    for words in ("dock-2", "1–3", "尚未", "dock-hub restore add"):
        assert words in page
    assert "正在补齐日志" in browser.get("/").text
    again.ask_all(TWO)
    again.complete()
    assert "正在补齐日志" not in browser.get("/").text
    assert "没有恢复在进行" in browser.get("/restore").text
    assert client(app).get("/readyz").status_code == 200
    intake.close()
    again.close()


# --- interruptions ---


def test_a_station_whose_key_rotated_after_the_backup_is_believed(site: Site) -> None:
    one, two = site.docks[ONE], site.docks[TWO]
    site.film(one, 3)
    site.rotate(one)  # in the backup
    site.deliver(one)
    backup = site.backup("backup")
    for _ in range(3):
        site.film(one, 2)
        site.rotate(one)
        site.deliver(one, two)
    late = site.enrol("late")
    site.film(late, 2)
    site.rotate(late)  # neither this station nor its key is in the backup
    site.film(late, 2)
    site.deliver(late)
    site.hand_over()
    again = site.restored(backup, "again")
    again.ask_all()
    size = again.complete()
    assert again.check() == size
    assert differing_tables(site.db, again.db, site.size()) == set()
    again.close()


def test_a_stranger_cannot_answer_as_a_station_by_a_rotation_of_his_own(site: Site) -> None:
    one = site.docks[ONE]
    site.film(one, 3)
    site.deliver(one)
    backup = site.backup("backup")
    again = site.restored(backup, "again")
    mine, stranger = one.signer.fork(), SigningKey.from_seed(ONE, bytes(32))
    mine.key = stranger
    raw = mine.rotate()
    page = Refilled(ONE, 1, None, (Held(mine.seq, None, raw),), (), None, None)
    scratch = Scratch(again.directory)
    with again.db.read() as connection:
        absorber = Absorber(connection, again.keys, scratch)
    for key in (stranger, mine.key):
        with pytest.raises(SignatureInvalid):
            absorber.page(ONE, seal_refilled(page, key))
    scratch.close()
    again.close()


def test_asking_goes_on_where_it_was_cut_off(site: Site) -> None:
    one = site.docks[ONE]
    site.film(one, 1)
    site.deliver(one)
    backup = site.backup("backup")
    for _ in range(6):
        site.film(one, 90)
        site.deliver(one)
    again = site.restored(backup, "hub-2")
    pages = 0
    while not again.ask(one, 1):  # each time a new process
        pages += 1
    assert pages > 3
    again.ask(site.docks[TWO])
    assert again.complete() == site.size() + 1
    assert differing_tables(site.db, again.db, site.size()) == set()
    again.close()


def test_a_cut_at_any_statement_of_the_last_step_is_as_if_it_had_not_begun(site: Site) -> None:
    again = lose(site)
    again.ask_all()
    reached = set()
    _, plan = read_status(again.db, again.keys, again.directory)
    assert plan is not None
    base = plan.base_size
    scratch = Scratch(again.directory)
    for statement in range(400):
        with cut_at(again.db, statement) as seen:
            try:
                complete(again.db, again.keys, scratch, plan, OFFSET)
            except OSError:
                pass
            else:
                break
        reached.add(seen[-1].split(" (")[0].split(" SET")[0])
        with again.db.read() as connection:
            assert why_read_only(connection) == "restoring"
            assert check_log(connection, again.keys, OFFSET).size == base
    else:
        raise AssertionError("it does not take 400 statements")
    scratch.close()
    assert {"COMMIT", "INSERT INTO account", "UPDATE log_state"} <= reached, reached
    assert any("log_entry" in words for words in reached)
    assert again.check() == site.size() + 1
    # after the commit: the scratch area is still there, and a start removes it
    finish_left_over(again.db, again.directory)
    assert not (again.directory / "refill.db").exists()
    again.close()


def test_it_goes_on_without_a_station_only_when_told(site: Site) -> None:
    again = lose(site)
    site.film(site.docks[ONE], 1)
    again.ask_all(ONE)
    write_mirror(site, site.root / "mirror")
    scratch = Scratch(again.directory)
    with again.db.read() as connection:
        Absorber(connection, again.keys, scratch).mirror(site.root / "mirror")
    assert not again.status().lacking
    assert not again.status().complete, "its checkpoint may be newer"
    with scratch.begin():
        scratch.set_fact("without", json.dumps([TWO]))
    scratch.close()
    assert again.complete() == site.size() + 2
    assert restored_event(again, site.size()).without == (TWO,)
    again.close()


# --- an old database that nobody announced ---


def test_an_older_database_is_found_by_what_stands_beside_the_keys(site: Site) -> None:
    site.film(site.docks[ONE], 3)
    site.deliver(site.docks[ONE])
    look_outside(site.settings, site.db, site.keys)
    old = site.root / "old.db"
    with closing(sqlite3.connect(site.settings.directory / "hub.db")) as source, closing(sqlite3.connect(old)) as copy:
        source.backup(copy)
    site.film(site.docks[ONE], 3)
    site.deliver(site.docks[ONE])
    look_outside(site.settings, site.db, site.keys)  # as every second
    with site.db.read() as connection:
        assert why_read_only(connection) is None
    site.db.close()
    for suffix in ("-wal", "-shm"):
        (site.settings.directory / f"hub.db{suffix}").unlink(missing_ok=True)
    shutil.copyfile(old, site.settings.directory / "hub.db")
    look_outside(site.settings, site.db, site.keys)
    with site.db.read() as connection:
        assert why_read_only(connection) == BEHIND
    site.film(site.docks[ONE], 1)
    with pytest.raises(LogReadOnly):
        site.deliver(site.docks[ONE])
    again = Restored(site, site.settings.directory)
    again.ask_all()
    assert again.complete() == 10
    again.close()


def test_the_first_answer_of_a_station_that_is_ahead_closes_the_log(site: Site) -> None:
    again = lose(site)
    with again.db.begin() as tx:
        tx.exec_driver_sql("UPDATE log_state SET read_only = NULL")  # nobody ran `restore begin`
    note = newest_checkpoint(site.docks[TWO].store, site.keys.log.verify_key)
    assert note is not None
    old = Mark(site.settings.keys_directory)
    old.keep(note)
    assert old.read() == note
    assert notice(again.db, again.keys, again.directory, TWO, "nonsense") is Verdict.WITHIN
    assert notice(again.db, again.keys, again.directory, TWO, note) is Verdict.AHEAD
    with again.db.read() as connection:
        assert why_read_only(connection) == BEHIND
    again.ask_all()
    assert again.complete() == site.size() + 1
    again.close()


# --- the backup itself ---


def test_a_backup_is_whole_or_has_no_name(site: Site, tmp_path: Path) -> None:
    site.film(site.docks[ONE], 3)
    site.deliver(site.docks[ONE])
    backup = site.backup("backup")
    assert read_manifest(backup).size == site.size()
    assert {path.stat().st_mode & 0o777 for path in backup.rglob("*") if path.is_file()} == {0o600}
    assert not (backup / "keys").exists()
    with pytest.raises(Invalid, match="exists"):
        site.backup("backup")
    leftover = tmp_path / ".next.part"
    leftover.mkdir()
    (leftover / "hub.db").write_bytes(b"half")
    assert site.backup("next").is_dir(), "what a kill left behind is no hindrance"
    with (backup / "hub.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff")
    with pytest.raises(BackupUnusable, match=r"hub\.db"):
        site.restored(backup, "hub-2")
    assert not (tmp_path / "hub-2" / "hub.toml").exists()


def test_keys_go_along_only_when_asked_and_open_with_their_passphrase(site: Site, tmp_path: Path) -> None:
    site.film(site.docks[ONE], 3)
    site.deliver(site.docks[ONE])
    target, secret = tmp_path / "with-keys.tar", b"a long passphrase"
    manifest = back_up(site.settings, site.db, site.keys, target, with_keys=True, passphrase=secret)
    assert manifest.keys == "encrypted"
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BackupUnusable, match="passphrase"):
        begin(target, tmp_path / "hub-2", passphrase=b"another passphrase")
    begun = begin(target, tmp_path / "hub-2", passphrase=secret)  # the same directory again
    assert begun.size == site.size()
    with pytest.raises(BackupUnusable, match="keys"):
        begin(site.backup("without"), tmp_path / "hub-3")


def test_a_copy_that_is_not_sound_gets_no_name(site: Site, tmp_path: Path) -> None:
    site.film(site.docks[ONE], 3)
    site.deliver(site.docks[ONE])
    with site.db.begin() as tx:
        tx.exec_driver_sql("UPDATE station SET last_seq = 77")
    with pytest.raises(Exception, match="station_altered"):
        back_up(site.settings, site.db, site.keys, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
