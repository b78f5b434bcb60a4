"""Hubs for tests: a migrated database, keys, an empty log, and an intake over them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from custody.checkpoint import SigningKey, open_checkpoint
from custody.digest import EMPTY_ROOT, leaf_hash, node_hash
from custody.receipt import Receipt, ResendRequest, open_receipt
from custody.topics import station_topic
from hub import log
from hub.answers import Answer
from hub.db import Database
from hub.intake import Intake
from hub.keys import ROLES, HubKeys
from hub.opening import received
from hub.stations.service import enrol_station
from hub.tables import log_entry
from hub.times import now_utc
from tests.bench.stations import SigningStation
from tests.integration.schema import open_migrated


@dataclass
class TestHub:
    """Everything of a hub but its processes."""

    __test__ = False
    db: Database
    keys: HubKeys
    intake: Intake

    def enrol(self, name: str = "dock-1") -> SigningStation:
        station = SigningStation(name)
        enrol_station(self.db, self.keys, station.key.verify_key.line)
        return station

    def take(self, station: str, *raws: bytes) -> list[Receipt | ResendRequest]:
        """Deliver on the station's topic; the verified answers to this station."""
        topic = station_topic(station, "events")
        return self.opened(station, self.intake.take([received(topic, raw, station) for raw in raws]))

    def opened(self, station: str, answers: list[Answer]) -> list[Receipt | ResendRequest]:
        keys = self.keys.receipts.verify_key, self.keys.log.verify_key
        return [open_receipt(a.raw, station, *keys)[0] for a in answers if a.station == station]

    def entries(self) -> list[tuple[int, str, int, str]]:
        """Index, source, seq and type of all entries."""
        with self.db.read() as connection:
            rows = connection.execute(select(log_entry).order_by(log_entry.c.idx))
            return [(r.idx, r.source, r.seq, r.event_type) for r in rows]

    def types(self) -> list[str]:
        return [kind for _, _, _, kind in self.entries()]

    def root_is_naive_root(self) -> bool:
        """Whether the signed root is that of a tree built the simplest way from the stored envelopes."""
        with self.db.read() as connection:
            raws = connection.execute(select(log_entry.c.envelope).order_by(log_entry.c.idx)).scalars()
            leaves = [leaf_hash(bytes(raw)) for raw in raws]
            signed = open_checkpoint(log.newest_note(connection), self.keys.log.verify_key)
        return (signed.size, signed.root) == (len(leaves), naive_root(leaves))


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(naive_root(leaves[:k]), naive_root(leaves[k:]))


def drop_triggers(tx: Connection) -> None:
    """What somebody with the database's password does first: then rows can be changed."""
    if tx.dialect.name == "sqlite":
        for name in tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all():
            tx.exec_driver_sql(f"DROP TRIGGER {name}")
    else:
        tx.exec_driver_sql("SET session_replication_role = replica")


def test_keys() -> HubKeys:
    """Fixed keys; never used outside tests."""
    return HubKeys(
        *(SigningKey.from_seed(f"hub.test/{role}", hashlib.sha256(role.encode()).digest()) for role in ROLES)
    )


test_keys.__test__ = False  # type: ignore[attr-defined]


def make_hub(url: str) -> TestHub:
    """A new hub in an empty database."""
    db, keys = open_migrated(url), test_keys()
    with db.begin() as tx:
        log.create(tx, keys, now_utc())
    return TestHub(db, keys, Intake(db, keys, 480))


def sqlite_hub(directory: Path) -> TestHub:
    """A new hub in an SQLite file."""
    return make_hub(f"sqlite:///{directory / 'hub.db'}")
