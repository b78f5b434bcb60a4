"""Agent and clearing process are killed at random moments; the next agent finishes, and says the truth.

More: CUSTODOCK_RELEASE_KILLS=100 python -m pytest -s tests/integration/test_release_kill.py
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.card import open_source
from agent.commands import Trust, take_command
from agent.opening import open_dock
from agent.proved import keep_proved
from agent.releasebook import keep_order
from agent.source import FindingKind
from agent.store import Store
from custody.checkpoint import open_checkpoint
from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.releasebody import Release
from custody.stationevents import ReleaseFinished, ReleaseIntended
from tests.integration.cards import digests, expected, fat_card, listing
from tests.integration.clearer import Clearer
from tests.release_case import COMMAND_KEY, LOG_KEY, docked

KILLS = int(os.environ.get("CUSTODOCK_RELEASE_KILLS", "6"))
CHANCE = random.Random(13)
TREE = {f"DCIM/Recording number {n:04}.MP4": CHANCE.randbytes(20_000 + n) for n in range(40)}
FILES = len(TREE) - 1


@dataclass
class Prepared:
    """A station whose card is authorised to be cleared of all files but one, and nothing has begun."""

    home: Path
    clearer: Clearer
    card: Path
    kept: str

    def start(self) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "tests.integration.release_child", self.home / "station", self.card,
                self.clearer.pins, self.clearer.used]  # fmt: skip
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


async def prepare(home: Path) -> Prepared:
    (home / "cards").mkdir(parents=True)
    card = fat_card(home / "cards/card.img", TREE, 12, 8, 8)
    with open_dock(home / "station/vault", home / "station") as opened:
        case = await docked(opened, card, [(1, FILES)])

        def take(store: Store) -> Any:
            trust = Trust(COMMAND_KEY.verify_key, LOG_KEY.verify_key, {Release.KIND: keep_order})
            with store.begin():
                keep_proved(store, open_checkpoint(case.body.checkpoint, LOG_KEY.verify_key))
            return take_command(store, opened.station, trust, case.command, datetime.now(UTC), "synchronised")

        assert (await opened.dock.store.call(take)).result == "accepted"
        clearer = Clearer(home, card.parent, opened.station.id)
        (kept,) = [path for path, (entry, _) in case.seals().items() if entry > FILES]
    return Prepared(home, clearer, card, kept)


def run_until(child: subprocess.Popen[str], chance: random.Random) -> tuple[str, str]:
    """Kill the agent or the clearing process at a random file, a little later; what was killed, and where."""
    victim, stop = chance.choice(("agent", "clearing")), chance.randrange(FILES)
    clearing, where = 0, "before the first file"
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            word, _, value = line.strip().partition(" ")
            if word == "clearing":
                clearing = int(value)
            if word == "file":
                where = f"file {value}"
                if int(value) >= stop:
                    break
        time.sleep(chance.uniform(0, 0.02))  # somewhere within a file
        os.kill(child.pid if victim == "agent" else clearing, signal.SIGKILL)
        child.stdout.read()
    wait_for_end(clearing)
    return victim, where


def wait_for_end(pid: int) -> None:
    """The clearing process ends by itself once the agent is gone."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.01)
                continue
        return
    raise AssertionError("the clearing process goes on")


def finish(prepared: Prepared) -> None:
    """The next agent, as often as it takes: after a kill of the clearing process alone the order waits."""
    for _ in range(3):
        with prepared.start() as child:
            out, _ = child.communicate(timeout=120)
        assert child.returncode == 0
        if "ended None" not in out or not waits(prepared):
            return
    raise AssertionError(out)


def waits(prepared: Prepared) -> bool:
    store = Store(prepared.home / "station/station.db")
    try:
        return bool(store.execute("SELECT 1 FROM release_order WHERE state <> 'over'").fetchone())
    finally:
        store.close()


def judge(prepared: Prepared) -> None:
    """One intent, one end, both true; the card holds the one file that was not authorised."""
    store = Store(prepared.home / "station/station.db")
    envelopes = [parse_envelope(row.envelope) for row in store.outbox_from(1, 100_000)]
    store.close()
    events = [decode_event(envelope.payload_type, envelope.payload) for envelope in envelopes]
    (intent,) = [event for event in events if isinstance(event, ReleaseIntended)]
    (end,) = [event for event in events if isinstance(event, ReleaseFinished)]
    assert intent.files == FILES
    assert (end.outcome, end.rule, end.cleared, end.kept, end.unknown) == ("cleared", "complete", FILES, 0, 0), end
    (certificate,) = prepared.home.glob("station/vault/*/*/*/*/*/.custody/release-*.jsonl")
    lines = [json.loads(line) for line in certificate.read_bytes().splitlines()[1:]]
    assert {line["outcome"] for line in lines} <= {"cleared", "gone"}
    source = open_source(prepared.card)
    _, findings = listing(source)
    assert {one.kind for one in findings} <= {FindingKind.DELETED_ENTRY, FindingKind.ORPHAN}
    assert digests(source) == expected({prepared.kept: TREE[prepared.kept]})
    source.close()


async def test_killed_at_any_moment_a_release_is_finished_by_the_next_agent(tmp_path: Path) -> None:
    original = await prepare(tmp_path / "original")
    killed = []
    for number in range(KILLS):
        chance = random.Random(number)
        copy = shutil.copytree(original.home, tmp_path / "copy")
        # places are named absolutely in pins and vault: the copy takes the original's place
        shutil.rmtree(original.home)
        copy.rename(original.home)
        shutil.copytree(original.home, tmp_path / "copy")
        killed.append(run_until(original.start(), chance))
        finish(original)
        judge(original)
        shutil.rmtree(original.home)
        (tmp_path / "copy").rename(original.home)
    print(f"{KILLS} kills: {killed}")


async def test_what_a_kill_left_is_stated_when_the_authorisation_is_over(tmp_path: Path) -> None:
    """The control of the judge: a release that may not go on ends as stopped, with what is gone and what is there."""
    prepared = await prepare(tmp_path / "one")
    run_until(prepared.start(), random.Random(5))
    source = open_source(prepared.card)
    left = len(digests(source))
    source.close()
    store = Store(prepared.home / "station/station.db")
    with store.begin():
        store.execute("UPDATE docking SET left_at = ? WHERE left_at IS NULL", (datetime.now(UTC).isoformat(),))
    store.close()
    finish(prepared)
    with pytest.raises(AssertionError, match="stopped"):
        judge(prepared)
    store = Store(prepared.home / "station/station.db")
    envelope = parse_envelope(store.outbox_from(1, 100_000)[-1].envelope)
    store.close()
    end = decode_event(envelope.payload_type, envelope.payload)
    assert isinstance(end, ReleaseFinished)
    assert (end.outcome, end.rule, end.unknown) == ("stopped", "camera_left_since", 0)
    assert (end.cleared, end.kept) == (len(TREE) - left, left - 1)
    assert 0 < end.cleared < FILES
