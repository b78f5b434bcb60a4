"""One sequencer and no fork: failures at every statement, kills at any moment, several workers, changes beside us."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError

from custody.checkpoint import parse_checkpoint
from hub import log, migrations
from hub.db import Database, open_database
from hub.errors import LogUntrusted
from hub.logcheck import check_log, check_start
from hub.reindex import reindex
from hub.tables import checkpoint, log_entry, station
from hub.times import now_utc
from tests.integration.hubs import TestHub, drop_triggers, make_hub, test_keys

OFFSET = 480


def sound(hub: TestHub) -> int:
    """Both checks pass; the number of entries."""
    with hub.db.read() as connection:
        check_start(connection, hub.keys, OFFSET)
        return check_log(connection, hub.keys, OFFSET).size


class Power(OSError):
    """What the database says when it is cut off."""


@contextmanager
def cut_at(db: Database, statement: int, when: str) -> Iterator[list[str]]:
    """The writer's connection breaks before or after its n-th statement; COMMIT counts. Yields what was reached."""
    seen: list[str] = []

    def count(words: str) -> None:
        seen.append(words)
        if len(seen) == statement + 1:
            raise Power

    def on_statement(_c: object, _cursor: object, words: str, *_: object) -> None:
        count(words)

    name = f"{when}_cursor_execute"
    event.listen(db.writer, name, on_statement)
    if when == "before":
        event.listen(db.writer, "commit", on_commit := lambda _: count("COMMIT"))
    copy = psycopg.Cursor.copy  # PostgreSQL's COPY is no statement to SQLAlchemy, so the driver says when

    @contextmanager
    def counted(cursor: psycopg.Cursor[Any], sql: str) -> Iterator[psycopg.Copy]:
        if when == "before":
            count(sql)
        with copy(cursor, sql) as rows:
            yield rows
        if when == "after":
            count(sql)

    psycopg.Cursor.copy = counted  # type: ignore[assignment,method-assign]
    try:
        yield seen
    finally:
        psycopg.Cursor.copy = copy  # type: ignore[method-assign]
        event.remove(db.writer, name, on_statement)
        if when == "before":
            event.remove(db.writer, "commit", on_commit)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failure_at_any_statement_leaves_the_log_as_it_was(hub: TestHub, when: str) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.started(), dock.docking_started(), *(dock.segment() for _ in range(250)))
    held = [dock.segment() for _ in range(20)]  # fills tile 0 of level 0, so that level 1 begins
    reached: set[str] = set()
    for statement in range(100):
        before = hub.entries()
        with cut_at(hub.db, statement, when) as seen:
            try:
                hub.take("dock-1", *held)
            except Power:
                pass
            else:
                break
        reached.add(seen[-1].split(" (")[0][:40])
        assert hub.entries() == before
        with hub.db.read() as connection:
            assert check_start(connection, hub.keys, OFFSET).size == len(before)
    else:
        raise AssertionError("a commit does not take a hundred statements")
    for part in ("log_entry", "log_tile", "log_state", "checkpoint", "segment", *(["COMMIT"] * (when == "before"))):
        assert any(part in words for words in reached), (part, reached)
    assert sound(hub) == len(before) + 20
    assert hub.take("dock-1", *held), "given again, they are duplicates with a receipt"
    assert sound(hub) == len(before) + 20
    assert hub.root_is_naive_root()


def test_a_failure_after_the_commit_is_a_duplicate_when_given_again(hub: TestHub) -> None:
    dock = hub.enrol()
    raws = [dock.started(), dock.segment()]
    hub.take("dock-1", *raws)  # committed; that the answer was lost is what the station sees
    size = sound(hub)
    [receipt] = hub.take("dock-1", *raws)
    assert [entry.log_index for entry in receipt.entries] == [1, 2]  # type: ignore[union-attr]
    assert sound(hub) == size


class Worker:
    """A hub worker process and what it has shown to others."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name, self.shown = url, name, dict[int, str]()

    def start(self, db: Database) -> None:
        self.first = self.seq(db) + 1
        command = [sys.executable, "-m", "tests.integration.log_child", self.url, self.name, str(self.first)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def seq(self, db: Database) -> int:
        with db.read() as connection:
            row = connection.execute(select(station.c.last_seq).where(station.c.id == self.name))
            return int(row.scalar_one())

    def wait_for_two_commits(self, db: Database) -> None:
        """Then it has shown one at least. A batch has at most 39 entries."""
        until = time.monotonic() + 60
        while self.seq(db) < self.first + 78:
            assert time.monotonic() < until, f"{self.name} does not get on"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9; then read the whole lines that it got out."""
        self.process.kill()
        told, _ = self.process.communicate()
        for line in told.splitlines(keepends=True):
            if line.endswith("\n"):
                size, root = line.split()
                assert self.shown.setdefault(int(size), root) == root


def test_workers_that_are_killed_at_any_moment_never_fork_the_log(database_url: str) -> None:
    hub = make_hub(database_url)
    workers = [Worker(database_url, f"dock-{n}") for n in range(2)]
    for worker in workers:
        hub.enrol(worker.name)
        worker.start(hub.db)
    chance = random.Random(7)
    for _ in range(4):
        victim = chance.choice(workers)
        victim.wait_for_two_commits(hub.db)
        time.sleep(chance.uniform(0, 0.5))
        victim.kill()
        sound(hub)
        victim.start(hub.db)
    for worker in workers:
        worker.wait_for_two_commits(hub.db)
    for worker in workers:
        worker.kill()
    assert sound(hub) > 100
    with hub.db.read() as connection:
        notes = connection.execute(select(checkpoint.c.note)).scalars().all()
    stored = {c.size: c.root.hex() for c in (parse_checkpoint(note.partition("\n\n")[0] + "\n") for note in notes)}
    for worker in workers:
        assert worker.shown, "every worker had its turn"
        assert worker.shown.items() <= stored.items(), "what was shown to a station is in the one history"
    assert not workers[0].shown.keys() & workers[1].shown.keys(), "each checkpoint was signed once"
    hub.db.close()


# --- compare and swap ---


def spoil(hub: TestHub, sql: str) -> None:
    with hub.db.begin() as tx:
        drop_triggers(tx)
        tx.execute(text(sql))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE log_state SET size = 2, roots = (SELECT hashes FROM log_tile WHERE level = 0)",
        "UPDATE log_state SET size = 4",
        "UPDATE log_state SET own_hash = 'x', roots = zeroblob(64)",
        "UPDATE checkpoint SET note = replace(note, 'hub.test', 'hub.tesu') WHERE size = 3",
        "UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 1) WHERE size = 3",
        "DELETE FROM checkpoint WHERE size = 3",
        "UPDATE log_tile SET hashes = zeroblob(32)",
        "DELETE FROM log_tile",
        "DELETE FROM log_state",
    ],
)
def test_nothing_is_signed_on_top_of_what_was_changed_beside_us(small_hub: TestHub, sql: str) -> None:
    dock = small_hub.enrol()
    small_hub.take("dock-1", dock.started(), dock.segment())
    spoil(small_hub, sql)
    with small_hub.db.read() as connection:
        before = connection.execute(select(checkpoint)).all(), connection.execute(select(log_entry)).all()
    with pytest.raises(LogUntrusted, match="日志不可信"):
        small_hub.take("dock-1", dock.segment())
    with pytest.raises(LogUntrusted):
        small_hub.enrol("dock-2")
    with small_hub.db.read() as connection:
        assert before == (connection.execute(select(checkpoint)).all(), connection.execute(select(log_entry)).all())


def test_a_worker_with_an_older_head_cannot_write(hub: TestHub) -> None:
    with hub.db.read() as connection:
        old = log.read_head(connection)
    hub.enrol("dock-1")
    appender = log.Appender(hub.keys, old, now_utc())  # as if the lock had not held
    appender.add("dock-1", 1, b"x", "x", "x")
    with hub.db.begin() as tx, pytest.raises(LogUntrusted, match="state_altered"):
        appender.flush(tx)


def test_the_database_refuses_changes_to_tiles_and_checkpoints(hub: TestHub) -> None:
    dock = hub.enrol()
    hub.take("dock-1", dock.started(), *(dock.segment() for _ in range(300)))
    sqlite = hub.db.is_sqlite
    zeros = "zeroblob(32)" if sqlite else "'\\x00'::bytea"
    refused = [
        "UPDATE log_tile SET hashes = ZEROS",
        "UPDATE log_tile SET hashes = hashes || ZEROS WHERE level = 0 AND idx = 0",  # full
        "UPDATE log_tile SET hashes = ZEROS || hashes WHERE level = 0 AND idx = 1",  # grown, but not a prefix
        "UPDATE log_tile SET idx = 7 WHERE level = 1",
        "DELETE FROM log_tile",
        "UPDATE checkpoint SET signed_at = 'x' WHERE size = 1",
        "DELETE FROM checkpoint WHERE size = 0",
        "UPDATE log_entry SET source = 'x' WHERE idx = 0",
        "DELETE FROM log_entry",
    ]
    refused += [] if sqlite else ["TRUNCATE log_tile", "TRUNCATE checkpoint", "TRUNCATE log_entry"]
    for sql in refused:
        with pytest.raises(DBAPIError, match="append-only"), hub.db.begin() as tx:
            tx.exec_driver_sql(sql.replace("ZEROS", zeros))
    assert sound(hub) == 302


# --- an older database ---


def test_a_database_of_the_last_release_is_checked_like_a_new_one(tmp_path: Path, small_hub: TestHub) -> None:
    dock = small_hub.enrol()
    for count in (1, 300, 5):
        small_hub.take("dock-1", *(dock.segment() for _ in range(count)))
    old = open_database(f"sqlite:///{tmp_path / 'old.db'}")
    with old.begin() as tx:
        command.upgrade(migrations._config(tx), "0003")
    with old.writer.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("ATTACH ? AS new", (small_hub.db.writer.url.database,))
        for table in ("log_entry", "log_tile", "station", "segment", "camera", "docking"):
            columns = ", ".join(row[1] for row in raw.execute(f"PRAGMA main.table_info({table})"))  # those it had then
            raw.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM new.{table}")  # noqa: S608
        raw.execute("INSERT INTO log_state SELECT id, size, roots, own_seq, own_hash FROM new.log_state")
        raw.execute("INSERT INTO checkpoint SELECT size, note, signed_at FROM new.checkpoint")
        raw.execute("DETACH new")
    migrations.migrate(old)
    copy = TestHub(old, test_keys(), small_hub.intake)
    with old.begin() as tx:  # the text index is no table to copy: rebuilt, as an operator would
        assert tx.execute(select(checkpoint.c.previous_size).order_by(checkpoint.c.size)).scalars().all() == [
            None,
            0,
            1,
            2,
            302,
        ]
    reindex(old, OFFSET)
    with old.begin() as tx:
        log.keep_key_set(tx, test_keys())  # as each start does; no older version stated it
    assert sound(copy) == 307
    old.close()
