"""The log over real databases: its tree against a naive one, its proofs, and every kind of damage."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import random
from pathlib import Path

import pytest
from sqlalchemy import text

from custody.checkpoint import open_checkpoint
from custody.digest import leaf_hash
from custody.hubevents import AccountCreated
from custody.merkle import verify_inclusion
from hub import log
from hub.accounts.service import create_account
from hub.app import main
from hub.db import open_database
from hub.errors import LogUntrusted
from hub.intake import Intake
from hub.keys import load_keys
from hub.logcheck import check_log, check_start
from hub.logqueries import make_proof
from hub.opening import HTTP_TOPIC, Message
from hub.settings import load_settings
from hub.stations.service import enrol_station
from hub.times import now_utc
from tests.bench.stations import SigningStation
from tests.integration.hubs import TestHub, drop_triggers, naive_root, test_keys


def append(hub: TestHub, count: int, start: int = 0) -> list[bytes]:
    raws = [b"envelope %d" % (start + i) for i in range(count)]
    with hub.db.begin() as tx, log.appending(tx, hub.keys, now_utc()) as entries:
        for i, raw in enumerate(raws):
            digest = hashlib.sha256(raw).hexdigest()
            assert entries.add("free", start + i + 1, raw, digest, "test") == start + i
    return raws


def test_root_and_proofs_equal_a_naive_tree_at_every_batch_border(hub: TestHub) -> None:
    raws: list[bytes] = []
    for count in (1, 1, 2, 60, 191, 1, 1, 255, 256, 257, 513):
        raws += append(hub, count, len(raws))
        leaves = [leaf_hash(raw) for raw in raws]
        with hub.db.read() as connection:
            signed = open_checkpoint(log.newest_note(connection), hub.keys.log.verify_key)
            assert (signed.size, signed.root) == (len(leaves), naive_root(leaves))
            for index in {0, len(leaves) - 1, len(leaves) // 2, random.Random(1).randrange(len(leaves))}:
                proof = log.prove_inclusion(connection, index, len(leaves))
                verify_inclusion(leaves[index], index, len(leaves), proof, signed.root)
    with hub.db.read() as connection:  # an older tree's proofs too: tiles only ever grow
        proof = log.prove_inclusion(connection, 3, 300)
        verify_inclusion(leaves[3], 3, 300, proof, naive_root(leaves[:300]))
        assert make_proof(connection, 7).text.startswith("c2sp.org/tlog-proof@v1\nindex 7\n")


def test_nothing_is_written_when_the_block_raises(hub: TestHub) -> None:
    append(hub, 3)
    with (
        contextlib.suppress(ZeroDivisionError),
        hub.db.begin() as tx,
        log.appending(tx, hub.keys, now_utc()) as entries,
    ):
        entries.record(AccountCreated, account="a", role="auditor")
        _ = 1 / 0
    with hub.db.read() as connection:
        assert log.read_head(connection).size == 3


def test_the_hubs_own_events_chain(hub: TestHub) -> None:
    for name in ("a", "b"):
        create_account(hub.db, hub.keys, name, "auditor")
    dock = hub.enrol()
    hub.take("dock-1", dock.started(), dock.segment())
    with hub.db.read() as connection:
        assert check_log(connection, hub.keys, 480).checked == 5


DAMAGE = {
    "entry altered": "UPDATE log_entry SET envelope = {blob} WHERE idx = 4",
    "entry removed": "DELETE FROM log_entry WHERE idx = 4",
    "last entry removed": "DELETE FROM log_entry WHERE idx = 5",
    "state moved on": "UPDATE log_state SET size = 7",
    "root altered": "UPDATE log_state SET roots = {roots}",
    "tile altered": "UPDATE log_tile SET hashes = {roots}",
    "checkpoint removed": "DELETE FROM checkpoint WHERE size = 6",
    "own chain moved": "UPDATE log_state SET own_seq = 9",
    "other keys may sign": "UPDATE log_state SET key_set = 'x'",
    "any keys may sign": "UPDATE log_state SET key_set = NULL",
    "station moved": "UPDATE station SET last_seq = 1",
    "digest altered": "UPDATE log_entry SET envelope_sha256 = 'x' WHERE idx = 4",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("full", [False, True])
def test_damage_is_found_before_anything_is_signed(small_hub: TestHub, damage: str, full: bool) -> None:
    dock = small_hub.enrol()
    small_hub.take("dock-1", dock.started(), *(dock.segment() for _ in range(4)))
    with small_hub.db.begin() as tx:
        drop_triggers(tx)
        tx.execute(text(DAMAGE[damage].format(blob="x'00'", roots="zeroblob(64)")))
    with small_hub.db.read() as connection, pytest.raises(LogUntrusted, match="日志不可信"):
        check_log(connection, small_hub.keys, 480) if full else check_start(connection, small_hub.keys, 480)


def test_old_damage_is_found_by_the_full_check(small_hub: TestHub) -> None:
    dock = small_hub.enrol()
    for _ in range(3):
        small_hub.take("dock-1", *(dock.segment() for _ in range(480)))
    with small_hub.db.begin() as tx:
        drop_triggers(tx)
        tx.exec_driver_sql("UPDATE log_entry SET envelope = x'00' WHERE idx = 5")
    with small_hub.db.read() as connection:
        check_start(connection, small_hub.keys, 480)
        with pytest.raises(LogUntrusted, match="entry/5"):
            check_log(connection, small_hub.keys, 480)


def test_another_log_key_is_refused(small_hub: TestHub) -> None:
    small_hub.enrol()
    other = dataclasses.replace(test_keys(), log=test_keys().events)
    with small_hub.db.read() as connection, pytest.raises(LogUntrusted, match="checkpoint"):
        check_start(connection, other, 480)


def test_a_log_whose_checkpoints_are_gone_takes_nothing_more(hub: TestHub) -> None:
    dock = hub.enrol()
    with hub.db.begin() as tx:
        drop_triggers(tx)
        tx.execute(text("DELETE FROM checkpoint"))
        with pytest.raises(LogUntrusted, match="checkpoint_missing"):
            log.newest_note(tx)
    with pytest.raises(LogUntrusted, match="checkpoint_missing"):
        hub.take("dock-1", dock.started())
    assert len(hub.entries()) == 1


def test_what_a_script_and_a_person_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 4 and 5 with fault and item; a hub that cannot trust its log does not come up and signs nothing."""
    place = ["--dir", str(tmp_path / "hub")]
    main(["init", *place])
    main(["user", "add", "shenji", "--role", "auditor", *place])
    keys = load_keys(tmp_path / "hub/keys", load_settings(tmp_path / "hub").hub_id)
    db, dock = open_database(f"sqlite:///{tmp_path / 'hub/hub.db'}"), SigningStation("dock-1")
    enrol_station(db, keys, dock.key.verify_key.line)
    intake = Intake(db, keys, 480)
    intake.take([Message(HTTP_TOPIC, dock.segment(), None) for _ in range(3)])
    capsys.readouterr()

    def told(*words: str) -> tuple[int, dict[str, object], str]:
        try:
            main([*words, "--json", *place])
            code: object = 0
        except SystemExit as ended:
            code = ended.code
        out = capsys.readouterr()
        return int(str(code)), json.loads(out.out or "{}"), out.err

    assert told("log", "check")[:2] == (0, told("log", "check", "--quick")[1])
    with db.begin() as tx:
        drop_triggers(tx)
        tx.exec_driver_sql("UPDATE segment SET sha256 = 'x' WHERE log_index = 3")
    code, said, _ = told("log", "check")
    assert (code, said["error"], said["fault"], said["item"]) == (5, "index_wrong", "index_altered", "segment/3")
    code, _, err = told("run", "--port", "1")
    assert code == 5
    assert "dock-hub reindex" in err
    assert told("reindex")[0] == 0
    assert told("log", "check")[0] == 0
    with db.begin() as tx:
        tx.exec_driver_sql("UPDATE account SET role = 'administrator'")
    code, said, _ = told("log", "check")
    assert (code, said["error"], said["fault"], said["item"]) == (
        4,
        "log_untrusted",
        "account_altered",
        "account/shenji",
    )
    with db.begin() as tx:
        tx.exec_driver_sql("UPDATE account SET role = 'auditor'")
        tx.exec_driver_sql("UPDATE log_entry SET envelope = zeroblob(9) WHERE idx = 2")
        before = tx.exec_driver_sql("SELECT * FROM checkpoint").all()
    for words in (("log", "check"), ("log", "check", "--quick"), ("run", "--port", "1")):
        code, said, err = told(*words)
        assert (code, said["fault"], said["item"]) == (4, "entry_altered", "entry/2")
        assert "日志不可信" in err
        assert "The log cannot be trusted" in err
    with db.read() as connection:
        assert connection.exec_driver_sql("SELECT * FROM checkpoint").all() == before
    intake.close()
    db.close()


def test_the_start_check_of_a_big_log_reads_little(small_hub: TestHub) -> None:
    """Twice the log, the same number of rows looked at: what a start costs does not grow."""
    dock = small_hub.enrol()
    fetched = []
    for _ in range(2):
        for _ in range(4):
            small_hub.take("dock-1", *(dock.segment() for _ in range(480)))
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with small_hub.db.read() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.set_progress_handler(count, 100)  # each 100 instructions of SQLite's virtual machine
            assert check_start(connection, small_hub.keys, 480).checked <= 1000 + 255
            raw.set_progress_handler(None, 0)
        fetched.append(steps)
    assert fetched[1] < fetched[0] * 1.3
