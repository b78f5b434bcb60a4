"""A hub is lost after its backup and comes back: nothing lost, nothing rewritten, refused until that holds."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.checkpoint import open_checkpoint, parse_key_line
from custody.merkle import consistency_proof, verify_consistency
from hub import log
from hub.db import open_database, sqlite_url
from tests.e2e.processes import wait_for
from tests.e2e.restore_scene import Bureau

CHANCE = random.Random(20261124)
KILLS = int(os.environ.get("CUSTODOCK_RESTORE_KILLS", "6"))


@pytest.fixture
def bureau(tmp_path: Path) -> Iterator[Bureau]:
    made = Bureau(tmp_path)
    for dock in made.docks:
        made.enrol(dock)
    made.start()
    try:
        yield made
    except BaseException:
        print(made.logs())
        raise
    finally:
        made.stop()


def get(bureau: Bureau, path: str, body: bytes | None = None) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{bureau.http_port}{path}", body)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own hub
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def table(bureau: Bureau, name: str, directory: Path, below: int | None = None) -> list[tuple[Any, ...]]:
    bound = f" WHERE {'idx' if name == 'log_entry' else 'size'} < {below}" if below is not None else ""
    return bureau.ask(f"SELECT * FROM {name}{bound} ORDER BY 1, 2, 3", directory=directory)  # noqa: S608


def check_nothing_was_rewritten(bureau: Bureau, lost: Path, size: int) -> None:
    """Against the directory of the hub that was lost, which had `size` entries: same bytes, same times, same rows."""
    assert bureau.ask("SELECT event_type FROM log_entry WHERE idx = ?", size) == [("log.restored.v1",)]
    for name in ("log_entry", "checkpoint"):
        assert table(bureau, name, bureau.hub_dir, size) == table(bureau, name, lost, size), name
    assert bureau.ask("SELECT note FROM checkpoint WHERE size = ?", size) == bureau.ask(
        "SELECT note FROM checkpoint WHERE size = ?", size, directory=lost
    )
    check = bureau.command("log", "check")
    assert check["size"] > size
    key = parse_key_line(bureau.keys["log_key"])
    [(old_note,)] = bureau.ask("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1", directory=lost)
    [(new_note,)] = bureau.ask("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1")
    old, new = open_checkpoint(old_note, key), open_checkpoint(new_note, key)
    db = open_database(sqlite_url(bureau.hub_dir / "hub.db"))
    with db.read() as connection:
        proof = consistency_proof(old.size, new.size, log.stored_subtrees(connection))
    db.close()
    verify_consistency(old.size, old.root, new.size, new.root, proof)


def test_a_hub_that_was_lost_goes_on_where_it_was(bureau: Bureau) -> None:
    one, two = bureau.docks
    one.film(12, CHANCE)
    two.film(5, CHANCE)
    bureau.settled()
    backup = bureau.backup("backup.tar")
    one.film(8, CHANCE)
    bureau.command("user", "add", "li", "--role", "auditor")
    two.film(9, CHANCE)
    bureau.settled()
    bureau.kept()
    for dock in bureau.docks:
        assert dock.member.stop() == 0
    bureau.lose_hub()
    lost, size = bureau.hub_dir, bureau.size()
    bureau.restore(backup, "hub-2")
    base = bureau.size()
    assert base < size
    # 1. nobody has answered: every way in is refused with the same code; pages and checkpoint are served
    bureau.start_hub("restore_line_connected")
    wait_for("the pages", lambda: get(bureau, "/healthz")[0] == 200)
    assert get(bureau, "/healthz") == (200, "ok\nlog_read_only restoring\n")
    assert get(bureau, "/readyz") == (503, "log_read_only restoring\n")
    assert get(bureau, "/log/checkpoint")[0] == 200
    [(envelope,)] = one.ask("SELECT envelope FROM outbox ORDER BY seq DESC LIMIT 1")
    status, answer = get(bureau, "/api/v1/envelopes", json.dumps([_base64(envelope)]).encode())
    assert (status, json.loads(answer)["code"]) == (503, "log_read_only")
    for words in (("user", "add", "wang"), ("log", "reader", "add", "m"), ("station", "add", one.key), ("reindex",)):
        assert bureau.refused(*words) == (6, "log_read_only"), words
    assert bureau.refused("restore", "finish") == (1, "conflict")
    before = bureau.command("restore", "status")
    assert (before["reason"], before["silent"], before["complete"]) == ("restoring", ["dock-1", "dock-2"], False)
    assert all(station["asked_at"] for station in before["stations"]), "it says when it asked"
    with pytest.raises(AssertionError):  # the control: without refilling, this is what the checks below would see
        check_nothing_was_rewritten(bureau, lost, size)
    # 2. one of two has answered: what the other one alone holds is named
    one.member.start()
    wait_for("dock-1 through", lambda: bureau.command("restore", "status")["silent"] == ["dock-2"])
    status = bureau.command("restore", "status")
    assert status["target_size"] == size
    assert {lack["source"] for lack in status["lacking"]} == {"dock-2"}
    [(first, last)] = bureau.ask(
        "SELECT min(seq), max(seq) FROM log_entry WHERE source = 'dock-2' AND idx >= ?", base, directory=lost
    )
    assert min(lack["first_seq"] for lack in status["lacking"]) == first
    assert max(lack["last_seq"] for lack in status["lacking"]) == last
    assert (bureau.read_only(), bureau.size()) == ("restoring", base)
    # 3. the other one comes: it fills up by itself and takes in again
    two.member.start()
    wait_for("the log is open again", lambda: bureau.read_only() is None)
    wait_for("ready", lambda: get(bureau, "/readyz")[0] == 200)
    check_nothing_was_rewritten(bureau, lost, size)
    assert not (bureau.hub_dir / "refill.db").exists()
    one.film(3, CHANCE)
    bureau.settled()
    assert bureau.command("log", "check")["size"] > size + 3
    assert bureau.command("user", "password", "li")["account"] == "li"


def test_a_hub_killed_again_and_again_while_it_refills(bureau: Bureau) -> None:
    one, two = bureau.docks
    one.film(3, CHANCE)
    bureau.settled()
    backup = bureau.backup("backup")
    for _ in range(2):
        one.film(90, CHANCE)
        two.film(60, CHANCE)
        bureau.command("log", "reader", "add", f"monitor-{one.files}")
        bureau.settled()
    bureau.kept()
    for dock in bureau.docks:
        dock.member.kill()
    bureau.lose_hub()
    lost, size = bureau.hub_dir, bureau.size()
    bureau.restore(backup, "hub-2")
    base = bureau.size()
    for dock in bureau.docks:
        dock.member.start()
    kills = 0
    for _ in range(KILLS):
        bureau.start_hub("broker_connected" if bureau.read_only() is None else "restore_line_connected")
        time.sleep(CHANCE.uniform(0, 0.4))
        bureau.hub.kill()
        kills += 1
        if bureau.read_only() is None:
            break
        assert bureau.size() == base, "all or nothing"
        if CHANCE.random() < 0.3:
            victim = CHANCE.choice(bureau.docks)
            victim.member.kill()
            victim.member.start()
    bureau.hub.start()
    wait_for("the log is open again", lambda: bureau.read_only() is None)
    print(f"{kills} kills, {size - base} entries refilled")
    check_nothing_was_rewritten(bureau, lost, size)
    one.film(2, CHANCE)
    bureau.settled()
    assert bureau.command("log", "check")["size"] > size


def test_an_old_database_put_back_in_silence_signs_nothing(bureau: Bureau) -> None:
    one, two = bureau.docks
    one.film(4, CHANCE)
    two.film(4, CHANCE)
    bureau.settled()
    backup = bureau.backup("backup")
    one.film(6, CHANCE)
    two.film(6, CHANCE)
    bureau.settled()
    bureau.kept()
    assert bureau.hub.stop() == 0
    lost, size = bureau.hub_dir, bureau.size()
    # as somebody does who knows no `restore`: a new computer, settings, keys, the database of the backup
    bureau.hub_dir = bureau.root / "hub-2"
    bureau.hub_dir.mkdir(mode=0o700)
    shutil.copytree(lost / "keys", bureau.hub_dir / "keys", ignore=shutil.ignore_patterns("newest"))
    for name in ("hub.toml", "hub.db"):
        shutil.copyfile(backup / name, bureau.hub_dir / name)
    one.film(2, CHANCE)  # they wait in its outbox while nobody listens, and press as soon as somebody does
    base = bureau.size()
    bureau.use_directory()
    bureau.start_hub("outside_checkpoint who=dock-")
    wait_for("the log is open again", lambda: bureau.read_only() is None)
    check_nothing_was_rewritten(bureau, lost, size)
    assert base < size
    bureau.settled()
    assert bureau.command("log", "check")["size"] >= size + 3


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
