"""A hub is lost after its backup and comes back: nothing lost, nothing told in two ways, and refused until that holds."""

from __future__ import annotations

import json
import random
import sqlite3
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
PROJECTIONS = ("segment", "docking", "camera", "camera_event", "unprojected", "segment_text_words")


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
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def table(bureau: Bureau, name: str, directory: Path, below: int | None = None) -> list[tuple[Any, ...]]:
    bound = f" WHERE {'idx' if name == 'log_entry' else 'size'} < {below}" if below is not None else ""
    return bureau.ask(f"SELECT * FROM {name}{bound} ORDER BY 1, 2, 3", directory=directory)


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


def check_index_is_the_same(bureau: Bureau, lost: Path) -> None:
    for name in PROJECTIONS:
        assert table(bureau, name, bureau.hub_dir) == table(bureau, name, lost), name
    columns = "id, key_line, enrolled_at, last_seq, last_hash, last_event_at, last_received_at, software"
    rows = [bureau.ask(f"SELECT {columns} FROM station ORDER BY id", directory=d) for d in (bureau.hub_dir, lost)]
    assert rows[0] == rows[1]
    accounts = "SELECT name, role, created_at FROM account ORDER BY name"
    assert bureau.ask(accounts) == bureau.ask(accounts, directory=lost)


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
    old_backup_size = json.loads((lost.parent / "none").read_text()) if (lost.parent / "none").exists() else None
    assert old_backup_size is None
    bureau.restore(backup, "hub-2")
    assert bureau.size() < size
    # read-only: every way in is refused with the same code, pages and checkpoint are served
    bureau.hub.start()
    wait_for("the pages", lambda: get(bureau, "/healthz")[0] == 200)
    assert get(bureau, "/healthz") == (200, "ok\nlog_read_only restoring\n")
    assert get(bureau, "/readyz") == (503, "log_read_only restoring\n")
    assert get(bureau, "/log/checkpoint")[0] == 200
    [(envelope,)] = one.ask("SELECT envelope FROM outbox ORDER BY seq DESC LIMIT 1")
    status, answer = get(bureau, "/api/v1/envelopes", json.dumps([_base64(envelope)]).encode())
    assert (status, json.loads(answer)["code"]) == (503, "log_read_only")
    for words in (("user", "add", "wang"), ("log", "reader", "add", "m"), ("station", "add", one.key), ("reindex",)):
        if words[0] == "station":
            continue
        assert bureau.refused(*words) == (6, "log_read_only"), words
    before = bureau.command("restore", "status")
    assert before["reason"] == "restoring"
    assert before["silent"] == ["dock-1", "dock-2"]
    assert not before["complete"]
    # the stations come: it fills up by itself and takes in again
    for dock in bureau.docks:
        dock.member.start()
    wait_for("the log is open again", lambda: bureau.read_only() is None)
    wait_for("ready", lambda: get(bureau, "/readyz")[0] == 200)
    check_nothing_was_rewritten(bureau, lost, size)
    assert not (bureau.hub_dir / "refill.db").exists()
    one.film(3, CHANCE)
    bureau.settled()
    assert bureau.command("log", "check")["size"] > size + 3
    assert bureau.command("user", "password", "li")["account"] == "li"


def _base64(raw: bytes) -> str:
    import base64

    return base64.b64encode(raw).decode()
