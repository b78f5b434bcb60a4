"""Killed between keeping a checkpoint and cosigning it, on both sides: nothing is cosigned that is not kept."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from custody.checkpoint import Checkpoint, sign_checkpoint
from custody.cosignature import CosigningKey, take_cosignature
from custody.digest import leaf_hash, tree_root
from custody.merkle import consistency_proof
from custody.witness import AddCheckpoint, parse_answer
from custody.witnessdir import WitnessDir, create
from tests.integration.hubs import test_keys as fixed_keys
from tests.integration.witness_scene import Dock

LEAVES = [leaf_hash(b"%d" % n) for n in range(40)]
LOG = fixed_keys().log


def note(size: int, leaves: list[bytes] = LEAVES) -> str:
    return sign_checkpoint(Checkpoint(LOG.name, size, tree_root(leaves[:size])), LOG)


def request(old: int, new: int) -> bytes:
    def subtree(level: int, index: int) -> bytes:
        return tree_root(LEAVES[index << level : (index + 1) << level])

    proof = consistency_proof(old, new, subtree) if 0 < old < new else []
    return AddCheckpoint(old, tuple(proof), note(new)).raw


def child(role: str, directory: Path, moment: str, raw: bytes) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.witness_child", role, str(directory), moment],
        input=raw,
        capture_output=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode, done.stdout.decode()


@pytest.fixture
def station(tmp_path: Path) -> Path:
    dock = Dock(tmp_path / "dock-1", fixed_keys(), "dock-1")
    assert dock.answer(request(0, 7)).type == "cosigned.v1"
    dock.close()
    return tmp_path / "dock-1"


def known(station: Path) -> int:
    dock = Dock(station, fixed_keys(), "dock-1")
    size = dock.memory().size
    dock.close()
    return size


def test_a_station_killed_before_the_commit_has_seen_nothing(station: Path) -> None:
    assert child("station", station, "before", request(7, 20)) == (-signal.SIGKILL, "")
    assert known(station) == 7
    code, said = child("station", station, "never", request(7, 20))
    assert (code, parse_answer(said.encode()).type, known(station)) == (0, "cosigned.v1", 20)


def test_a_station_killed_after_the_commit_holds_to_it_and_cosigns_it_when_asked_again(station: Path) -> None:
    """The hub still believes that it stands at 7: it is told 20, asks for 20 from 20, and has its cosignature."""
    assert child("station", station, "after", request(7, 20)) == (-signal.SIGKILL, "")
    assert known(station) == 20
    dock = Dock(station, fixed_keys(), "dock-1")
    conflict = dock.answer(request(7, 20))
    assert (conflict.type, conflict.size) == ("conflict.v1", 20)
    answer = dock.answer(request(20, 20))
    assert take_cosignature(note(20), answer.cosignature, dock.witness.key.public)
    other = [*LEAVES[:8], *(leaf_hash(b"x%d" % n) for n in range(32))]
    assert dock.answer(AddCheckpoint(7, (), note(20, other)).raw).code == "fork"
    dock.close()


@pytest.mark.parametrize(("moment", "size"), [("before", 7), ("after", 20)])
def test_a_computer_killed_on_either_side_of_the_rename(tmp_path: Path, moment: str, size: int) -> None:
    directory = tmp_path / "w"
    key: CosigningKey = create(directory, "office.example/leader", [LOG.verify_key])
    assert child("computer", directory, "never", request(0, 7))[0] == 0
    assert child("computer", directory, moment, request(7, 20)) == (-signal.SIGKILL, "")
    witness = WitnessDir(directory)
    assert witness.memory(LOG.name).size == size
    assert take_cosignature(note(20), witness.add_checkpoint(request(size, 20)).body, key.public)
    witness.close()


def test_a_disk_that_fails_gives_no_cosignature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "w"
    create(directory, "office.example/leader", [LOG.verify_key])
    witness = WitnessDir(directory)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        witness.add_checkpoint(request(0, 7))
    monkeypatch.undo()
    assert witness.memory(LOG.name).size == 0
    assert sorted(p.name for p in directory.iterdir()) == [".lock", "logs", "witness.key"]
    assert witness.add_checkpoint(request(0, 7)).status == 200
    witness.close()
