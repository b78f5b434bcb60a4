"""A hub and stations in one process, with the code of both sides and no broker: to lose and refill logs many times."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event, select

from agent import keeping
from agent.station import Station
from agent.store import OutboxRow, Store
from agent.witness import Witness, keep_checkpoint
from custody.checkpoint import SigningKey
from custody.commitments import detach
from custody.cosignature import CosigningKey
from custody.keeping import RefillRequest, open_keep
from custody.tiles import ENTRIES, TILE_WIDTH, Tile, encode_bundle
from hub import log
from hub.access import Actor, Role
from hub.accounts.service import create_account
from hub.audit.readers import add_reader, revoke_reader
from hub.backup import back_up
from hub.db import Database, open_database
from hub.errors import NotFound
from hub.intake import Intake
from hub.keeping import make_keep, read_span
from hub.keys import HubKeys, create_keys, load_keys
from hub.logcheck import check_log
from hub.opening import Message, received
from hub.openings.service import Choice, approve_removal, request_removal
from hub.readonly import why_read_only
from hub.restore.absorb import Absorber
from hub.restore.beginning import begin
from hub.restore.completing import complete
from hub.restore.scratch import Scratch, drop_scratch
from hub.restore.status import Status, read_status
from hub.settings import Settings, load_settings, make_settings, write_settings
from hub.stations.service import enrol_station
from hub.tables import log_entry, metadata
from hub.times import now_utc, to_text
from tests.bench.stations import SigningStation
from tests.integration.schema import open_migrated

OFFSET = 480
RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
COSIGNER = CosigningKey(SigningKey.from_seed("dock/witness", bytes(32)))
NOT_COMPARED = {"session", "sign_in_failure", "station_state", "bay_state", "log_state", "refused", "account"} | {
    "alert_repeat",
    "alert_message",
    "backup_made",
}  # in no event
DIGEST_ALONE = {"command.body", "command.envelope"}  # the log holds the digests of an order, not the order


@dataclass
class Dock:
    """A station: its real store and key; the envelopes are those of `SigningStation`."""

    name: str
    store: Store
    station: Station
    signer: SigningStation
    on_line: bool = True


class Site:
    """Everything in one directory."""

    def __init__(self, root: Path, url: str | None = None) -> None:
        self.root, directory = root, root / "hub"
        directory.mkdir()
        self.settings: Settings = make_settings(directory, {"hub_id": "h", **({"database": url} if url else {})})
        write_settings(self.settings)
        self.keys: HubKeys = create_keys(self.settings.keys_directory, "h")
        self.db: Database = open_migrated(self.settings.database_url)
        with self.db.begin() as tx:
            log.create(tx, self.keys, now_utc())
        self.intake = Intake(self.db, self.keys, OFFSET)
        self.docks: dict[str, Dock] = {}
        self._told = 0
        self._names = 0

    # --- daily work ---

    def enrol(self, name: str) -> Dock:
        home = self.root / name
        home.mkdir()
        signer = SigningStation(name)
        dock = Dock(name, Store(home / "station.db"), Station(name, signer.key), signer)
        self.docks[name] = dock
        enrol_station(self.db, self.keys, signer.key.verify_key.line)
        return dock

    def film(self, dock: Dock, count: int) -> None:
        """Events of a station: into its outbox, and to the hub if it is on line."""
        made = (dock.signer.docking_started, dock.signer.segment, dock.signer.segment, dock.signer.overdue)
        self._queue(dock, [made[dock.signer.seq % 4]() for _ in range(count)])

    def rotate(self, dock: Dock) -> None:
        """The station's key is replaced, as `agent.keyrotation` does it."""
        self._queue(dock, [dock.signer.rotate()])
        line = dock.signer.key.verify_key.line
        with dock.store.begin():
            dock.store.execute("INSERT INTO key_rotation (seq, new_line) VALUES (?, ?)", (dock.signer.seq, line))
        dock.station = Station(dock.name, dock.signer.key)

    def _queue(self, dock: Dock, raws: list[bytes]) -> None:
        first = dock.signer.seq - len(raws) + 1
        parts = [detach(raw) for raw in raws]
        rows = [OutboxRow(first + i, hashlib.sha256(raw).digest(), raw, o) for i, (raw, o) in enumerate(parts)]
        with dock.store.begin():
            dock.store.add_envelopes(rows, datetime.now(UTC))

    def deliver(self, *docks: Dock, receipts: bool = True, keepings: bool = True) -> None:
        """What waits in these outboxes, in one commit; keepings go out before the receipts."""
        messages = []
        for dock in docks:
            first = dock.store.first_unreceipted()
            rows = [] if first is None else dock.store.outbox_from(first, 500)
            messages += [received(f"custodock/1/{dock.name}/events", row.message, dock.name) for row in rows]
        taken = self.intake.commit(self.intake.open(messages))
        if keepings:
            self.hand_over()
        dock_of = self.docks
        for name, entries in taken.receipts.items():
            receipt = [(e.seq, bytes.fromhex(e.envelope_sha256), e.log_index) for e in entries.values()]
            if receipts:
                store = self.docks[name].store
                with store.begin():
                    store.set_receipted(receipt, datetime.now(UTC))
                witness = Witness(dock_of[name].station, COSIGNER, self.keys.log.verify_key)
                keep_checkpoint(store, witness, taken.note, datetime.now(UTC))

    def hand_over(self) -> None:
        """Keepings to every station that is on line."""
        with self.db.read() as connection:
            while span := read_span(connection, self._told):
                raw = make_keep(span, self.keys, now_utc())
                for dock in self.docks.values():
                    if dock.on_line:
                        keeping.keep(dock.store, open_keep(raw, self.keys.receipts.verify_key), raw)
                self._told = span.size

    def work(self, chance: random.Random, steps: int, *, keepings: bool = True) -> None:
        """Random work of stations and people, one commit or more a step."""
        for _ in range(steps):
            self._names += 1
            match chance.randrange(9):
                case 4:
                    self.remove_openings()
                case 0:
                    create_account(self.db, self.keys, f"li{self._names}", "auditor")
                case 1:
                    add_reader(self.db, self.keys, f"monitor{self._names}")
                    if chance.random() < 0.5:
                        revoke_reader(self.db, self.keys, f"monitor{self._names}")
                case 2 if len(self.docks) < 5:
                    self.enrol(f"late-{self._names}")
                case 3:
                    self.intake.take([Message("custodock/1/dock-9/events", b"nonsense", "dock-9")])
                case 4 if self.docks:
                    self.rotate(self.docks[chance.choice(sorted(self.docks))])
                case _ if self.docks:
                    docks = chance.sample(sorted(self.docks), chance.randrange(1, len(self.docks) + 1))
                    for name in docks:
                        self.film(self.docks[name], chance.randrange(1, 30))
                    self.deliver(*(self.docks[name] for name in docks), keepings=keepings)
        if keepings:
            self.hand_over()

    def remove_openings(self) -> None:
        """What is held of officers so far goes, by two people; nothing where nothing is held."""
        with suppress(NotFound):
            choice = Choice("officer", before=to_text(now_utc()))
            removal_id, _ = request_removal(self.db, self.keys, RECORDS, choice, "retention_over")
            approve_removal(self.db, self.keys, LEADER, removal_id)

    def size(self) -> int:
        with self.db.read() as connection:
            return log.read_head(connection).size

    # --- losing and refilling ---

    def backup(self, name: str) -> Path:
        target = self.root / name
        back_up(self.settings, self.db, self.keys, target, quick=True)
        return target

    def restored(self, backup: Path, name: str, database: str | None = None) -> Restored:
        """A new hub directory out of a backup."""
        directory = self.root / name
        begin(backup, directory, keys_from=self.settings.keys_directory, database=database)
        return Restored(self, directory)

    def close(self) -> None:
        self.intake.close()
        self.db.close()
        for dock in self.docks.values():
            dock.store.close()


class Restored:
    """A hub that came back, and its refilling, without a broker."""

    def __init__(self, site: Site, directory: Path) -> None:
        self.site, self.directory = site, directory
        self.settings = load_settings(directory)
        self.keys = load_keys(self.settings.keys_directory, self.settings.hub_id)
        self.db = open_database(self.settings.database_url)

    def ask(self, dock: Dock, most: int = 1_000_000) -> bool:
        """Ask a station page by page, as `RestoreLine` does; whether it is through. `most`: pages before a cut."""
        scratch = Scratch(self.directory)
        with self.db.read() as connection:
            absorber = Absorber(connection, self.keys, scratch)
        try:
            for number in range(1, most + 1):
                told = scratch.asked().get(dock.name)
                if told is not None and told.done:
                    return True
                seq = absorber.heads.get(dock.name, 0) + 1 if told is None else told.next_seq
                size = absorber.base if told is None else told.next_size
                request = RefillRequest(dock.name, number, seq, size)
                log_key = self.keys.log.verify_key
                absorber.page(dock.name, keeping.answer(dock.store, dock.station, log_key, request))
            told = scratch.asked().get(dock.name)
            return told is not None and told.done
        finally:
            scratch.close()

    def ask_all(self, *names: str) -> None:
        """Ask these stations, or all; a second time those whose key the first round told."""
        for _ in range(2):
            for name in names or sorted(self.site.docks):
                self.ask(self.site.docks[name])

    def status(self) -> Status:
        return read_status(self.db, self.keys, self.directory)[0]

    def complete(self) -> int:
        status, plan = read_status(self.db, self.keys, self.directory)
        assert status.complete, status
        assert plan is not None
        scratch = Scratch(self.directory)
        size = complete(self.db, self.keys, scratch, plan, OFFSET)
        scratch.close()
        drop_scratch(self.directory)
        return size

    def check(self) -> int:
        """The whole log and every row that follows from it."""
        with self.db.read() as connection:
            assert why_read_only(connection) is None
            return check_log(connection, self.keys, OFFSET).size

    def close(self) -> None:
        self.db.close()


def rows(db: Database, name: str, below: int | None = None) -> list[tuple[Any, ...]]:
    """Every row of a table, in an order of its own; of the log only entries and checkpoints before `below`."""
    table = metadata.tables[name]
    columns = [column for column in table.c if f"{name}.{column.name}" not in DIGEST_ALONE]
    with db.read() as connection:
        found = [tuple(row) for row in connection.execute(select(*columns))]
    if below is not None and name == "log_entry":
        found = [row for row in found if row[0] < below]
    if below is not None and name == "checkpoint":
        found = [row for row in found if row[0] <= below]
    return sorted(found, key=repr)


def differing_tables(lost: Database, restored: Database, size: int) -> set[str]:
    """Tables that do not hold the same, the restore's own entry aside."""
    names = {name for name, table in metadata.tables.items() if table.info.get("only") is None} - NOT_COMPARED
    return {name for name in names - {"log_tile"} if rows(lost, name, size) != rows(restored, name, size)}


def write_mirror(site: Site, folder: Path) -> None:
    """A mirror of the log as C2SP tlog-tiles clients make it: entry bundles of the present size."""
    with site.db.read() as connection:
        raws = [
            bytes(raw) for raw in connection.execute(select(log_entry.c.envelope).order_by(log_entry.c.idx)).scalars()
        ]
    for first in range(0, len(raws), TILE_WIDTH):
        part = raws[first : first + TILE_WIDTH]
        path = folder / Tile(ENTRIES, first // TILE_WIDTH, len(part)).path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_bundle(part))


@contextmanager
def cut_at(db: Database, statement: int) -> Iterator[list[str]]:
    """The writer's connection breaks before its n-th statement; COMMIT counts. Yields what was reached."""
    seen: list[str] = []

    def count(words: str) -> None:
        seen.append(words)
        if len(seen) == statement + 1:
            raise OSError("cut off")

    def on_statement(_c: object, _cursor: object, words: str, *_: object) -> None:
        count(words)

    def on_commit(_: object) -> None:
        count("COMMIT")

    event.listen(db.writer, "before_cursor_execute", on_statement)
    event.listen(db.writer, "commit", on_commit)
    try:
        yield seen
    finally:
        event.remove(db.writer, "before_cursor_execute", on_statement)
        event.remove(db.writer, "commit", on_commit)
