"""How fast the log itself is, without stations, signatures of envelopes or index.

    python -m tests.bench.log [--entries N] [--proof-entries N] [--database URL]

Appends entries of a realistic size in batches of 100, each batch one transaction with its tiles and signed checkpoint
(synchronous=FULL on SQLite); then proves inclusion in a log of ten million entries. Of that one only hashes exist:
its tiles and state are written straight into the tables, and a proof is verified against their root.
Targets: 20,000 entries a second at batch 100; a proof in 5 ms, 99 of 100. Ends with 1 when one is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.digest import HASH_BYTES
from custody.merkle import consistency_proof, verify_consistency, verify_inclusion
from custody.tiles import TILE_BYTES, range_of, root_of, split_hashes, tile_hash
from hub import log
from hub.db import Database, insert_rows, open_database
from hub.keys import ROLES, HubKeys
from hub.logcheck import open_newest
from hub.logqueries import make_proof
from hub.migrations import migrate
from hub.times import now_utc, to_text

TARGET_PER_SECOND = 20_000
TARGET_PROOF_MS = 5.0
ENTRY_BYTES = 1900  # an envelope of segment.sealed
PROOFS = 300


def bench_keys() -> HubKeys:
    """Keys for this bench only."""
    return HubKeys(*(SigningKey.from_seed(f"bench/{role}", hashlib.sha256(role.encode()).digest()) for role in ROLES))


def new_log(url: str, keys: HubKeys) -> Database:
    """An empty log."""
    db = open_database(url)
    migrate(db)
    with db.begin() as tx:
        log.create(tx, keys, now_utc())
    return db


def measure_append(db: Database, keys: HubKeys, entries: int, batch: int) -> tuple[float, float]:
    """Entries per second by the wall and by this process's CPU."""
    body = random.Random(1).randbytes(ENTRY_BYTES - 8)
    raws = [i.to_bytes(8, "big") + body for i in range(entries)]
    digests = [hashlib.sha256(raw).hexdigest() for raw in raws]  # intake has them already
    seq = log_size(db)
    cpu, started = time.process_time(), time.perf_counter()
    for start in range(0, entries, batch):
        with db.begin() as tx, log.appending(tx, keys, now_utc()) as appender:
            for i in range(start, min(entries, start + batch)):
                appender.add("bench", seq + i + 1, raws[i], digests[i], "segment.sealed.v1")
    return entries / (time.perf_counter() - started), entries / (time.process_time() - cpu)


def log_size(db: Database) -> int:
    """Entries in the log."""
    with db.read() as connection:
        return log.read_head(connection).size


def fill(db: Database, keys: HubKeys, size: int) -> float:
    """Give the log `size` leaves without entries, and a checkpoint; how many seconds it took."""
    started = time.perf_counter()
    with db.begin() as tx:
        level, hashes = 0, size
        above = b""
        while hashes:
            tiles, above = (_leaf_tiles(size), b"") if level == 0 else (_cut(above), b"")
            rows, lifted = [], []
            for index, raw in enumerate(tiles):
                rows.append((level, index, raw))
                if len(raw) == TILE_BYTES:
                    lifted.append(tile_hash(raw))
            insert_rows(tx, "log_tile", ("level", "idx", "hashes"), rows)
            above = b"".join(lifted)
            level, hashes = level + 1, hashes // 256
        tree = range_of(size, log.stored_subtrees(tx))
        tx.exec_driver_sql(*_state_statement(db, size, b"".join(tree.roots)))
        note = sign_checkpoint(Checkpoint(keys.log.name, size, tree.root()), keys.log)
        insert_rows(
            tx, "checkpoint", ("size", "note", "signed_at", "previous_size"), [(size, note, to_text(now_utc()), 0)]
        )
    return time.perf_counter() - started


def _state_statement(db: Database, size: int, roots: bytes) -> tuple[str, tuple[int, bytes]]:
    mark = "?" if db.is_sqlite else "%s"
    return f"UPDATE log_state SET size = {mark}, roots = {mark}", (size, roots)  # noqa: S608


def _leaf_tiles(size: int) -> Iterator[bytes]:
    """Leaves nobody could tell from real ones: 32 bytes each, all different."""
    for first in range(0, size, 256):
        width = min(256, size - first) * HASH_BYTES
        yield hashlib.shake_128(first.to_bytes(8, "big")).digest(width)


def _cut(raw: bytes) -> Iterator[bytes]:
    for i in range(0, len(raw), TILE_BYTES):
        yield raw[i : i + TILE_BYTES]


def measure_proofs(db: Database, keys: HubKeys) -> dict[str, list[float]]:
    """Milliseconds of each proof, made as the pages make it (checkpoint, tiles, path), each one verified afterwards."""
    chance, taken = random.Random(2), {"inclusion": [], "consistency": []}  # type: dict[str, list[float]]
    with db.read() as connection:
        size, root = open_newest(connection, keys)
        assert root == root_of(size, log.stored_subtrees(connection))
    for _ in range(PROOFS):
        index = chance.randrange(size)
        with db.read() as connection:
            started = time.perf_counter()
            proof = make_proof(connection, index)
            taken["inclusion"].append((time.perf_counter() - started) * 1000)
            leaf = split_hashes(log.read_tile(connection, 0, index // 256))[index % 256]
        verify_inclusion(leaf, index, size, proof.hashes, root)
    for _ in range(PROOFS):
        old = chance.randrange(1, size)
        with db.read() as connection:
            started = time.perf_counter()
            path = consistency_proof(old, size, log.stored_subtrees(connection))
            taken["consistency"].append((time.perf_counter() - started) * 1000)
            old_root = root_of(old, log.stored_subtrees(connection))
        verify_consistency(old, old_root, size, root, path)
    return {name: sorted(each) for name, each in taken.items()}


def main() -> None:
    """Measure, print a table, exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=60_000, help="appended in batches of 100 (default 60000)")
    parser.add_argument("--proof-entries", type=int, default=10_000_000, help="of the log that is proved from")
    parser.add_argument("--database", help="PostgreSQL URL of an empty database; appends only")
    asked = parser.parse_args()
    keys, good = bench_keys(), True
    with tempfile.TemporaryDirectory() as scratch:
        db = new_log(asked.database or f"sqlite:///{Path(scratch) / 'append.db'}", keys)
        print(
            f"{os.cpu_count()} cores, {db.writer.dialect.name}, entries of {ENTRY_BYTES} bytes; "
            "tiles and signed checkpoint in each batch"
        )
        for batch in (100, 1000, 10):
            wall, cpu = measure_append(db, keys, asked.entries if batch >= 100 else asked.entries // 10, batch)
            print(f"append, batch {batch:5}   {wall:10,.0f} entries/s   {cpu:10,.0f} per CPU second")
            good = good and (batch != 100 or wall >= TARGET_PER_SECOND)
        db.close()
        if not asked.database:
            db = new_log(f"sqlite:///{Path(scratch) / 'proofs.db'}", keys)
            print(f"{asked.proof_entries:,} leaves written in {fill(db, keys, asked.proof_entries):.1f} s")
            for name, each in measure_proofs(db, keys).items():
                p50, p99 = each[len(each) // 2], each[int(len(each) * 0.99)]
                print(
                    f"{name + ' proof':19}   {p50:10.2f} ms median   "
                    f"{p99:10.2f} ms 99 of 100   {each[-1]:8.2f} ms worst"
                )
                good = good and p99 <= TARGET_PROOF_MS
            db.close()
    print("targets met" if good else "TARGET MISSED: 20,000 entries/s at batch 100, proofs within 5 ms")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
