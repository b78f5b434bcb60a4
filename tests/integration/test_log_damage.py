"""Whoever has the database's password changes something at random: `log check` finds it and names it, every time.

CUSTODOCK_DAMAGE_RUNS=1000 makes as many random changes, and as many checks of a log that nobody touched; the default is
enough for every run here. A run is repeated by its number. `NOT_HELD` is what the log does not hold.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Table, and_, select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from custody.checkpoint import SigningKey
from custody.cosignature import CosigningKey
from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.stationevents import CameraDocked, CameraLeft, CameraOverdue, CameraUnlocked
from custody.tiles import Tile
from hub.audit.readers import add_reader, revoke_reader
from hub.errors import LogUntrusted
from hub.logcheck import check_log, check_start
from hub.logfaults import FAULTS, INDEX_FAULTS, IndexWrong
from hub.logwalk import plain
from hub.opening import draft_of
from hub.tables import (
    account,
    camera,
    camera_event,
    checkpoint,
    docking,
    hub_subject,
    log_entry,
    log_reader,
    log_state,
    log_tile,
    refused,
    segment,
    station,
    unprojected,
    witness,
    witness_policy,
)
from hub.witnesses.service import add_witness, set_policy
from tests.integration.hubs import drop_triggers
from tests.integration.site_data import Hub, Story, tell_story

RUNS = int(os.environ.get("CUSTODOCK_DAMAGE_RUNS", "40"))
LOG_TABLES = (log_entry, log_tile, checkpoint, log_state)
ROW_TABLES = (station, account, log_reader, refused, witness, witness_policy)
INDEX_TABLES = (segment, docking, camera, camera_event, unprojected, hub_subject)
NOT_HELD = {
    (account, "password_hash"),
    (account, "must_change_password"),
    (account, "disabled_at"),
    (refused, "minute"),
    (refused, "first_at"),
    (refused, "last_at"),
    (refused, "id"),
    (log_state, "id"),
    (
        log_state,
        "read_only",
    ),  # set, it stops the hub and shows; taken away, `hub/mark.py` sets it again where it was due
}
INDEX_NAMES = {table.name for table in INDEX_TABLES} | {"segment_text"}
START_NAMES = {table.name for table in (*LOG_TABLES, segment, camera_event, unprojected, hub_subject)}
OFFSET = 480


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with everything in it: 300 entries and some, a fork, refusals, accounts, readers, unreadable events."""
    made = Hub(tmp_path_factory.mktemp("hub"))
    tell_story(made)
    made.account("shenji", "auditor")
    add_reader(made.db, made.keys, "monitor")
    add_reader(made.db, made.keys, "monitor-2")
    revoke_reader(made.db, made.keys, "monitor-2")
    leader = CosigningKey(SigningKey.from_seed("office.example/leader", bytes(32)))
    add_witness(made.db, made.keys, leader.public.line, "tester", url="http://127.0.0.1:9")
    set_policy(made.db, made.keys, 1, "tester")
    story = made.station("dock-9")
    for camera_id in ("DSJ-1", "DSJ-2"):
        made.take("dock-9", *cameras(story, camera_id))
        sent = [story.dock(f"019c5a10-9999-7000-8000-00000000000{camera_id[-1]}", camera_id, "1", 120, 1)]
        sent += [story.file(camera_id, "1", f"DCIM/{camera_id}/{i:04}.MP4", story.at) for i in range(120)]
        for i in range(0, len(sent), 7):
            made.take("dock-9", *sent[i : i + 7])
        made.take("dock-9", story.close(camera_id, "1", 120, 1))
    unknown = b'{"type":"camera.sang.v1","id":"x","source":"dock-9","seq":%d,"previous":"%s"}'
    payload = unknown % (story.seq + 1, story.previous.encode())
    made.take("dock-9", story.seal_raw("application/vnd.custodock.event+json", payload))
    made.take("dock-9", b"no envelope")
    fork = story.fork()
    made.take("dock-9", story.file("DSJ-2", "1", "DCIM/a.MP4", story.at))
    made.take("dock-9", fork.started())
    with made.db.begin() as tx:
        tx.execute(refused.update().values(minute="2026-01-01T00:00"))  # their minute is over
        drop_triggers(tx)
    made.intake.tick()
    yield made
    made.close()


def cameras(story: Story, camera_id: str) -> list[bytes]:
    """What a station states of a camera besides its footage."""
    return [
        story.seal(
            CameraUnlocked,
            bay="1",
            usb_id="1234:5678",
            usb_serial="1",
            serial=camera_id,
            profile="zfy-dsj",
            clock_was=None,
            clock_error_seconds=None,
            clock_set=True,
            clock_left_seconds=None,
            faults=1,
        ),
        story.seal(
            CameraDocked,
            camera_id=camera_id,
            bay="1",
            usb_id="1234:5678",
            usb_serial="1",
            volume_ids=(),
            profile="generic",
            disputed=camera_id == "DSJ-2",
        ),
        story.seal(CameraLeft, camera_id=camera_id, bay="1", offload="safe", verdict="ready", officer=None),
        story.seal(CameraOverdue, camera_id=camera_id, officer="110042", due_at=story.at),
    ]


# --- one change ---


@dataclass(frozen=True)
class Change:
    """What was done, and the items of which one must be named."""

    told: str
    items: frozenset[str]
    tables: frozenset[str]


class Vandal:
    """Makes one random change in the caller's transaction; draws again what the database refuses."""

    def __init__(self, tx: Connection, chance: random.Random) -> None:
        self._tx, self._chance = tx, chance

    def change(self) -> Change:
        while True:
            table = self._chance.choice((*LOG_TABLES, *LOG_TABLES, *ROW_TABLES, *INDEX_TABLES))
            act = self._chance.choice((self.edit, self.edit, self.delete, self.cut, self.swap, self.insert, self.text))
            savepoint = self._tx.begin_nested()
            try:
                done = act(table)
            except DBAPIError:  # a constraint of the database itself
                done = None
            if done is not None:
                savepoint.commit()
                return done
            savepoint.rollback()

    def edit(self, table: Table) -> Change | None:
        """Another value in one column of one row."""
        row, column = self._row(table), self._column(table)
        old = row[column.name]
        new = self._other(old)
        self._set(table, row, {column.name: new})
        return self._done(f"edit {column.name}: {old!r:.60} -> {new!r:.60}", table, row, row | {column.name: new})

    def delete(self, table: Table) -> Change | None:
        """One row, or all from one on."""
        if table is refused:
            return None  # the oldest are dropped anyhow; the log keeps that they were there
        rows, at = self._rows(table), self._chance.randrange(2)
        first = self._chance.randrange(len(rows))
        gone = rows[first:] if at else [rows[first]]
        for row in gone:
            self._tx.execute(table.delete().where(self._is(table, row)))
        return self._done(f"delete {len(gone)}", table, *(gone if table in ROW_TABLES + INDEX_TABLES else gone[:1]))

    def cut(self, table: Table) -> Change | None:
        """The end of a value."""
        row, column = self._row(table), self._column(table)
        old = row[column.name]
        if not isinstance(old, str | bytes) or not old:
            return None
        new = old[: self._chance.randrange(len(old))]
        self._set(table, row, {column.name: new})
        return self._done(f"cut {column.name} to {len(new)}", table, row, row | {column.name: new})

    def swap(self, table: Table) -> Change | None:
        """Two rows change places, whole or in one column."""
        rows = self._rows(table)
        if len(rows) < 2:
            return None
        one, other = self._chance.sample(rows, 2)
        keys = {c.name for c in table.primary_key}
        names = [c.name for c in table.c if c.name not in keys and (table, c.name) not in NOT_HELD]
        if self._chance.random() < 0.5:
            names = [self._chance.choice(names)]
        if all(one[name] == other[name] for name in names):
            return None
        unique = {"first_index": -1, "seq": -1, "token_sha256": "-"}  # out of each other's way first
        away = {name: value for name, value in unique.items() if name in names}
        if away:
            self._set(table, one, away)
        self._set(table, other, {name: one[name] for name in names})
        self._set(table, one, {name: other[name] for name in names})
        return self._done(f"swap {names}", table, one, other)

    def insert(self, table: Table) -> Change | None:
        """A row under another key."""
        row = dict(self._row(table))
        for column in table.primary_key:
            row[column.name] = self._other(row[column.name])
        for name in ("first_index", "seq", "token_sha256"):
            if name in row:
                row[name] = self._other(row[name])
        if table is refused and row["log_index"] is None:
            return None
        self._tx.execute(table.insert().values(row))
        return self._done("insert", table, row)

    def text(self, table: Table) -> Change | None:
        """A word of the full text, taken out or put in."""
        row = self._row(segment)
        envelope = parse_envelope(self._envelope(row["log_index"]))
        draft, _ = draft_of(decode_event(envelope.payload_type, envelope.payload), OFFSET)
        assert draft is not None
        if self._chance.random() < 0.5:
            sql = "INSERT INTO segment_text (segment_text, rowid, grams) VALUES ('delete', ?, ?)"
            self._tx.exec_driver_sql(sql, (row["log_index"], draft[2]))
        else:
            self._tx.exec_driver_sql("INSERT INTO segment_text (rowid, grams) VALUES (?, 'zz')", (row["log_index"],))
        return Change("text", frozenset({f"text/{row['log_index']}", "text"}), frozenset({"segment_text"}))

    # --- what the acts share ---

    def _rows(self, table: Table) -> list[dict[str, Any]]:
        query = select(*plain(table)).order_by(*table.primary_key)
        if table is refused:
            query = query.where(refused.c.log_index.is_not(None))
        return [dict(row) for row in self._tx.execute(query).mappings()]

    def _row(self, table: Table) -> dict[str, Any]:
        return self._chance.choice(self._rows(table))

    def _column(self, table: Table) -> Column[Any]:
        return self._chance.choice([c for c in table.c if (table, c.name) not in NOT_HELD])

    def _envelope(self, index: int) -> bytes:
        query = select(log_entry.c.envelope).where(log_entry.c.idx == index)
        return bytes(self._tx.execute(query).scalar_one())

    def _is(self, table: Table, row: dict[str, Any]) -> Any:
        return and_(*(type_coerce(c, NullType()) == row[c.name] for c in table.primary_key))

    def _set(self, table: Table, row: dict[str, Any], values: dict[str, Any]) -> None:
        # as the driver takes it: what is put there need not be of the column's kind
        names = ", ".join(f"{name} = ?" for name in values)
        keys = " AND ".join(f"{c.name} = ?" for c in table.primary_key)
        given = (*values.values(), *(row[c.name] for c in table.primary_key))
        self._tx.exec_driver_sql(f"UPDATE {table.name} SET {names} WHERE {keys}", given)  # noqa: S608

    def _other(self, value: Any) -> Any:
        """Another value, mostly of the same kind and near by."""
        chance = self._chance
        if value is None:
            return chance.choice(["x", 7])
        if isinstance(value, bytes):
            if not value or chance.random() < 0.1:
                return value + b"\0"
            at = chance.randrange(len(value))
            return value[:at] + bytes([value[at] ^ 1 << chance.randrange(8)]) + value[at + 1 :]
        if chance.random() < 0.05:
            return chance.choice(["x", b"x", 1.5])  # SQLite takes a value of any kind
        if isinstance(value, int):
            return value + chance.choice([-1, 1, 2, 1000, -value - 1])
        if not value or chance.random() < 0.1:
            return value + chance.choice(" x\n0")
        at = chance.randrange(len(value))
        return value[:at] + chance.choice([c for c in "0123456789abcdefxZ" if c != value[at]]) + value[at + 1 :]

    def _done(self, told: str, table: Table, *rows: dict[str, Any]) -> Change | None:
        if table is checkpoint and told.startswith(("edit signed_at", "cut signed_at")) and rows[0]["size"] == 0:
            return None  # no entry is under it that could tell when it was signed
        items = {item for row in rows for item in self._items(table, row)}
        return Change(f"{table.name}: {told}", frozenset(items), frozenset({table.name}))

    def _items(self, table: Table, row: dict[str, Any]) -> set[str]:
        if table is log_entry:
            return {f"entry/{row['idx']}"}
        if table is log_tile:
            level, index = row["level"], row["idx"]
            named = {f"tile/{level}/{index}"}
            if isinstance(level, int) and isinstance(index, int) and level >= 0 and index >= 0:
                named |= {Tile(level, index).path}
            return named
        if table is checkpoint:
            # where a checkpoint covers one entry, nothing tells which of their two times was changed
            return {f"checkpoint/{row['size']}", f"entry/{row['size'] - 1}"}
        if table is log_state:
            return {"log_state"}
        if table is hub_subject:
            return {f"hub_subject/{row['log_index']}"}
        if table is docking:
            return {f"docking/{row['station']}/{row['id']}"}
        key = next(iter(table.primary_key)).name
        return {f"{table.name}/{row[key]}"}


@pytest.mark.parametrize("tenth", range(10))
def test_every_change_is_found_and_the_first_wrong_item_named(hub: Hub, tenth: int) -> None:
    with hub.db.writer.connect() as tx:
        tx.begin()
        assert fault(check_log, tx, hub) is None
        for run in range(tenth * RUNS // 10, (tenth + 1) * RUNS // 10):
            savepoint = tx.begin_nested()
            change = Vandal(tx, random.Random(run)).change()
            found = fault(check_log, tx, hub)
            assert found is not None, f"run {run}: {change.told} was not found"
            assert found.item in change.items, f"run {run}: {change.told} was named {found.item}, not {change.items}"
            known = FAULTS if isinstance(found, LogUntrusted) else INDEX_FAULTS
            assert found.fault in known
            assert isinstance(found, LogUntrusted) != (change.tables <= INDEX_NAMES), f"run {run}: {change.told}"
            if change.tables <= START_NAMES:  # all of this small log is within what a start looks at
                assert fault(check_start, tx, hub) is not None, f"run {run}: {change.told} let the hub start"
            savepoint.rollback()
        assert fault(check_log, tx, hub) is None, "the changes were taken back"
        tx.rollback()


@pytest.mark.parametrize("tenth", range(10))
def test_a_log_that_nobody_touched_raises_no_alarm(hub: Hub, tmp_path: Path, tenth: int) -> None:
    """Each run takes in a few more events of random stations and is checked at once."""
    source = Path(hub.db.writer.url.database or "").parent
    with hub.db.begin() as tx:
        tx.exec_driver_sql("SELECT 1")
        shutil.copytree(source, tmp_path / "copy")  # the writer is ours: nobody writes meanwhile
    copy = Hub(tmp_path / "copy")
    chance = random.Random(tenth)
    stories = [copy.station(f"dock-{tenth}-{i}") for i in range(3)]
    try:
        for run in range(RUNS // 10):
            story = chance.choice(stories)
            sent = random_events(story, chance)
            copy.take(story.name, *sent[: chance.randrange(len(sent))])
            copy.take(story.name, *sent)  # again in part: duplicates are normal
            copy.take(story.name, b"no envelope")
            copy.intake.tick()
            with copy.db.read() as connection:
                for check in (check_start, check_log):
                    found = fault(check, connection, copy)
                    assert found is None, f"run {run} of {tenth}: {found}"
    finally:
        copy.close()


def random_events(story: Story, chance: random.Random) -> list[bytes]:
    camera_id = f"DSJ-{chance.randrange(5)}"
    kind = chance.randrange(4)
    if kind == 0:
        return cameras(story, camera_id)
    if kind == 1:
        return [story.started("9"), *cameras(story, camera_id)]
    files = chance.randrange(1, 4)
    sent = [story.dock(f"{chance.getrandbits(64):x}", camera_id, "1", files, files)]
    sent += [story.file(camera_id, "1", f"执法记录/{chance.getrandbits(32):x}.MP4", story.at) for _ in range(files)]
    return [*sent, story.close(camera_id, "1", files, files)] if kind == 2 else sent


def fault(check: Callable[..., object], connection: Connection, hub: Hub) -> LogUntrusted | IndexWrong | None:
    try:
        check(connection, hub.keys, OFFSET)
    except (LogUntrusted, IndexWrong) as error:
        return error
    return None
