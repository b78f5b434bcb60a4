"""A hub that was rolled back, or shows two faces: refused by every station that is ahead, in every one of many trials.

Real stores, databases and keys, in one process and without a broker. Two hubs stand behind each face: ours, which stops
by itself when a station shows it a checkpoint that its log does not give, and one whose programs its administrator
replaced, which sends whatever it likes (`forged`). More trials: ``CUSTODOCK_WITNESS_TRIALS=1000``.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.witness import contradictions
from custody.checkpoint import parse_checkpoint
from custody.digest import EMPTY_ROOT
from custody.merkle import consistency_proof, range_root
from custody.witness import Accepted, AddCheckpoint, Code, Memory, body_of, size_of
from hub import log
from hub.audit.readers import add_reader
from hub.witnesses.queries import load_witnesses, newest_witnessed
from hub.witnesses.service import set_policy
from tests.integration.hubs import TestHub, sqlite_hub
from tests.integration.witness_scene import OPERATOR, Dock, carry, enrolled, opened_hub, some

TRIALS = int(os.environ.get("CUSTODOCK_WITNESS_TRIALS", "100"))
SEED = int(os.environ.get("CUSTODOCK_WITNESS_SEED", "1"))
DOCKS = ("dock-1", "dock-2", "dock-3")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub with three stations that witness it, as files: copied for each trial, for migrations take their time."""
    directory = tmp_path_factory.mktemp("template")
    hub = sqlite_hub(directory)
    docks = [Dock(directory / name, hub.keys, name) for name in DOCKS]
    enrolled(hub, docks)
    set_policy(hub.db, hub.keys, 2, OPERATOR)
    close(hub, docks)
    return directory


class World:
    """One trial: a hub, its stations, and copies of the hub."""

    def __init__(self, template: Path, directory: Path, seed: int) -> None:
        shutil.copytree(template, directory)
        self.directory, self.chance, self._copies = directory, random.Random(seed), 0
        from tests.integration.hubs import test_keys  # noqa: PLC0415  (a name that pytest would collect)

        self.keys = test_keys()
        self.hub = opened_hub(f"sqlite:///{directory / 'hub.db'}", self.keys)
        self.hubs = [self.hub]
        self.docks = [Dock(directory / name, self.keys, name) for name in DOCKS]
        quick(self.hub)
        for dock in self.docks:
            dock.store.execute("PRAGMA synchronous=OFF")

    def copy(self, hub: TestHub) -> TestHub:
        """The same hub in another file, as a backup or a second face begins."""
        self._copies += 1
        target = self.directory / f"copy-{self._copies}.db"
        source = sqlite3.connect(str(hub.db.writer.url.database))
        made = sqlite3.connect(target)
        source.backup(made)
        source.close()
        made.close()
        self.hubs.append(opened_hub(f"sqlite:///{target}", self.keys))
        quick(self.hubs[-1])
        return self.hubs[-1]

    def live(self, hub: TestHub, docks: Sequence[Dock]) -> None:
        """Something happens: events of the hub, of stations, receipts, cosignatures."""
        for _ in range(some(self.chance, 4)):
            dock = self.chance.choice(docks)
            match self.chance.randrange(4):
                case 0:
                    add_reader(hub.db, hub.keys, f"r{self.chance.getrandbits(60)}")
                case 1:
                    dock.happen(some(self.chance, 5))
                case 2:
                    dock.happen()
                    assert all(isinstance(one, Accepted) for one in dock.deliver_all(hub))
                case 3:
                    carry(hub, self.chance.sample(docks, some(self.chance, len(docks))))

    def grow(self, hub: TestHub, number: int) -> None:
        """Other entries than the true hub has."""
        for _ in range(number):
            add_reader(hub.db, hub.keys, f"other{self.chance.getrandbits(60)}")

    def close(self) -> None:
        for hub in self.hubs:
            close(hub, [])
        close(None, self.docks)


def quick(hub: TestHub) -> None:
    """Commits that wait for no disk: durability is tested elsewhere (test_witness_crash)."""
    raw = hub.db.writer.raw_connection()
    raw.cursor().execute("PRAGMA synchronous=OFF")
    raw.close()


def close(hub: TestHub | None, docks: Sequence[Dock]) -> None:
    for dock in docks:
        dock.close()
    if hub is not None:
        hub.intake.close()
        hub.db.close()


def trials(template: Path, tmp_path: Path) -> Iterator[World]:
    for number in range(TRIALS):
        directory = tmp_path / str(number)
        world = World(template, directory, SEED * 100_000 + number)
        yield world
        world.close()
        shutil.rmtree(directory)


def newest(hub: TestHub) -> str:
    with hub.db.read() as connection:
        return log.newest_note(connection)


def root_at(hub: TestHub, size: int) -> bytes:
    with hub.db.read() as connection:
        return range_root(0, size, log.stored_subtrees(connection)) if size else EMPTY_ROOT


def knows_more(dock: Dock, hub: TestHub) -> bool:
    """Whether it knows a checkpoint that this hub's log does not give: by its own memory and our own trees."""
    memory = dock.memory()
    for note in (memory.cosigned, memory.newest):
        held = parse_checkpoint(body_of(note)) if note else None
        if held and (held.size > size_of(newest(hub)) or root_at(hub, held.size) != held.root):
            return True
    return False


def forged(chance: random.Random, hub: TestHub, dock: Dock) -> list[bytes]:
    """What a hub sends that was made to lie: right and wrong old sizes, its own proofs, rubbish, old checkpoints."""
    honest = honest_request(hub, dock)
    rubbish = tuple(chance.randbytes(32) for _ in range(chance.randrange(8)))
    tried = [
        honest,
        replace(honest, proof=rubbish),
        replace(honest, proof=honest.proof[:-1]),
        replace(honest, proof=()),
        replace(honest, old_size=0, proof=()),
        replace(honest, old_size=size_of(honest.note), proof=()),
    ]
    chance.shuffle(tried)
    return [one.raw for one in tried]


def honest_request(hub: TestHub, dock: Dock) -> AddCheckpoint:
    """For the newest checkpoint, with the proof that this hub's own tree gives."""
    note, known = newest(hub), dock.memory().size
    with hub.db.read() as connection:
        subtree = log.stored_subtrees(connection)
        proof = consistency_proof(known, size_of(note), subtree) if 0 < known <= size_of(note) else []
    return AddCheckpoint(known, tuple(proof), note)


def assert_refused(world: World, face: TestHub, dock: Dock) -> None:
    """Neither hub behind this face gets a cosignature or clears a row by a smaller or contradicting checkpoint."""
    before = dock.memory()
    assert "cosigned.v1" not in [answer.type for answer in carry(face, [dock], greet=True)]
    dock.happen()
    waiting = dock.store.outbox_depth()[0]
    if any(isinstance(outcome, Accepted) for outcome in dock.deliver(face)):  # for sending only: nothing is released
        assert size_of(dock.memory().newest) > size_of(before.largest)
    else:
        assert dock.store.outbox_depth()[0] == waiting
    for raw in forged(world.chance, face, dock):
        assert dock.answer(raw).type != "cosigned.v1"
    assert dock.memory().cosigned == before.cosigned


def test_a_hub_restored_from_an_old_backup_is_refused_by_every_station_that_is_ahead(
    template: Path, tmp_path: Path
) -> None:
    refused = alarmed = 0
    for world in trials(template, tmp_path):
        world.live(world.hub, world.docks)
        backup = world.copy(world.hub)
        carry(world.hub, world.docks)
        ahead_by = world.chance.sample(world.docks, some(world.chance, 3))
        for dock in ahead_by:  # time goes by; these see it
            dock.happen(some(world.chance))
            dock.deliver_all(world.hub)
            if world.chance.random() < 0.5:
                carry(world.hub, [dock])
        world.grow(backup, world.chance.choice([0, 0, 1, 3, 10, 40]))
        ahead = [dock for dock in world.docks if knows_more(dock, backup)]
        assert {dock.station.id for dock in ahead} >= {dock.station.id for dock in ahead_by}
        for dock in ahead:
            assert_refused(world, backup, dock)
        refused += 1
        alarmed += bool(load_witnesses(backup.db).alarms)
    assert (refused, alarmed) == (TRIALS, TRIALS)


def test_two_faces_of_a_forked_hub_are_refused_by_the_station_that_saw_the_other(
    template: Path, tmp_path: Path
) -> None:
    refused = alarmed = taken = stated = 0
    for world in trials(template, tmp_path):
        world.live(world.hub, world.docks)
        carry(world.hub, world.docks)
        one, two, third = world.docks
        faces = [world.hub, world.copy(world.hub)]
        for face, dock in zip(faces, (one, two), strict=True):
            world.grow(face, some(world.chance, 9))
            dock.happen(some(world.chance, 5))
            dock.deliver_all(face)
            if world.chance.random() < 0.7:
                carry(face, [dock])
            world.grow(face, world.chance.randrange(9))
        for face, dock in ((faces[1], one), (faces[0], two)):
            assert knows_more(dock, face)
            assert_refused(world, face, dock)
        refused += 1
        alarmed += all(load_witnesses(face.db).alarms for face in faces)
        for face, dock in (
            (faces[1], one),
            (faces[0], two),
        ):  # a smaller face may be a late one: see test_agent_witness
            told = contradictions(dock.store) and dock.events("log.refused.v1")
            late = size_of(newest(face)) < size_of(dock.memory().largest)
            demands = dock.answer(honest_request(face, dock).raw).code == Code.PROVE_FIRST  # what it cannot prove
            stated += bool(told or late or demands)
        # the control: who has seen no more than both faces share cannot tell them apart
        taken += "cosigned.v1" in [answer.type for answer in carry(world.chance.choice(faces), [third])]
    assert (refused, alarmed, stated, taken) == (TRIALS, TRIALS, 2 * TRIALS, TRIALS)


def test_an_honest_hub_is_never_refused(template: Path, tmp_path: Path) -> None:
    """Receipts, requests, answers that get lost, late and doubled receipts, stations that were away."""
    honest = 0
    for world in trials(template, tmp_path):
        for _ in range(some(world.chance, 6)):
            world.live(world.hub, world.docks)
            for dock in world.docks:  # an answer that never reached the hub, as after a kill
                if world.chance.random() < 0.2:
                    for raw in forged_by_nobody(world.hub, dock):
                        dock.answer(raw)
        for dock in world.docks:
            dock.deliver_all(world.hub)
        carry(world.hub, world.docks)
        assert not any(dock.memory().stopped or contradictions(dock.store) for dock in world.docks)
        found = load_witnesses(world.hub.db)
        assert not found.alarms
        assert [row.behind for row in found.current] == [0, 0, 0]
        with world.hub.db.read() as connection:
            witnessed = newest_witnessed(connection)
        assert witnessed is not None
        assert size_of(witnessed) == size_of(newest(world.hub))
        honest += 1
    assert honest == TRIALS


def forged_by_nobody(hub: TestHub, dock: Dock) -> list[bytes]:
    """The request that our hub would send."""
    with hub.db.read() as connection:
        memory, subtree = dock.memory(), log.stored_subtrees(connection)
        note = memory.pending or log.newest_note(connection)
        proof = consistency_proof(memory.size, size_of(note), subtree) if 0 < memory.size < size_of(note) else []
    return [AddCheckpoint(memory.size, tuple(proof), note).raw]


FORGETTING: dict[str, Callable[[Memory], Memory]] = {
    "nothing": lambda memory: memory,
    "everything": lambda _: Memory(),
}


@pytest.mark.parametrize("forgets", FORGETTING)
def test_it_is_what_a_station_remembers_that_catches_a_fork(template: Path, tmp_path: Path, forgets: str) -> None:
    """The harness's own control: a station that forgot would cosign the other face."""
    world = World(template, tmp_path / "one", SEED)
    carry(world.hub, world.docks)
    other, dock = world.copy(world.hub), world.docks[0]
    dock.happen(3)
    dock.deliver_all(world.hub)
    carry(world.hub, [dock])
    world.grow(other, 20)
    memory = FORGETTING[forgets](dock.memory())
    with dock.store.begin():
        dock.store.execute(
            "UPDATE witness SET cosigned = ?, pending = ?, newest = ?", (memory.cosigned, memory.pending, memory.newest)
        )
    answers = [dock.answer(raw).type for raw in forged(world.chance, other, dock)]
    assert ("cosigned.v1" in answers) == (forgets == "everything")
    world.close()
