"""A station or a computer as a witness that is killed at one exact moment of answering, by the kernel.

    python -m tests.integration.witness_child station|computer DIR before|after
The add-checkpoint body comes on standard input; the answer, if there is one, goes to standard output.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from agent.witness import answer_request
from custody.cosignature import CosigningKey
from custody.witnessdir import WitnessDir
from tests.integration.hubs import test_keys as fixed_keys
from tests.integration.witness_scene import Dock


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class LastWords(CosigningKey):
    """The state is durable, the cosignature not made yet: power goes."""

    def cosign(self, note: str, at: datetime) -> str:
        die()
        return super().cosign(note, at)


def station(directory: Path, moment: str, raw: bytes) -> str:
    dock = Dock(directory, fixed_keys(), directory.name)
    witness = dock.witness
    if moment == "before":

        def watch(statement: str) -> None:
            if statement == "COMMIT":
                die()

        dock.store._db.set_trace_callback(watch)  # SQLite tells a statement before it runs it
    elif moment == "after":
        witness = type(witness)(witness.station, LastWords(witness.key.key), witness.log_key)
    return answer_request(dock.store, witness, raw, datetime.now(UTC)).raw.decode()


def computer(directory: Path, moment: str, raw: bytes) -> str:
    def clock() -> datetime:  # asked when all is durable and only the cosignature is missing
        if moment == "after":
            die()
        return datetime.now(UTC)

    if moment == "before":
        os.replace = lambda *_: die()  # type: ignore[assignment]  # the new state lies aside, synced, without its name
    return WitnessDir(directory, clock).add_checkpoint(raw).body


if __name__ == "__main__":
    role = station if sys.argv[1] == "station" else computer
    print(role(Path(sys.argv[2]), sys.argv[3], sys.stdin.buffer.read()), end="")
