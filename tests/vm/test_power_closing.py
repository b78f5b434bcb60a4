"""The dock's power fails at the steps of sealing and closing, one after the other, and unflushed writes are lost.

A permission event of the kernel holds the agent at the step (hold.py), while another camera's copy goes on writing what
nobody has flushed yet. The judge and its control are those of test_power.py.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import cameras
from tests.vm.bay_station import STATE, BayStation, bay_station
from tests.vm.cameras import Card
from tests.vm.hold import Hold
from tests.vm.test_power import judge, sealed_of

FILES = 40
COMMIT_SECONDS = 0.15  # what the emulated dock takes from the parser's answer over the seal's commit to the next step


@dataclass(frozen=True, slots=True)
class Step:
    """Where the agent is held: the last of these opens. `goes_on`: it is let go, and cut off within a commit's time."""

    name: str
    opened: Sequence[str]
    goes_on: bool = False


STEPS = (
    Step("first file named, not sealed", [".MP4"]),
    Step("twentieth file named, not sealed", [".MP4"] * 20),
    Step("first seals being committed", [".MP4"], goes_on=True),
    Step("later seals being committed", [".MP4"] * 17, goes_on=True),
    Step("last seals being committed", [".MP4"] * FILES, goes_on=True),
    Step("all sealed, nothing closed", [".station.vkey.new"]),
    Step("manifest begun", [".manifest.jsonl.new"]),
    Step("manifest written, sums begun", [".SHA256SUMS.new"]),
    Step("lists named, folder not synced", [".SHA256SUMS.new", "/.custody"]),
    Step("docking.closed being committed", [".SHA256SUMS.new", "/.custody"], goes_on=True),
    Step("docking.closed committed, its envelope begun", [".completed.dsse.json.new"]),
    Step("its envelope named, folder not synced", [".completed.dsse.json.new", "/.custody"]),
)


@pytest.mark.slow_vm
def test_a_power_cut_while_sealing_and_closing_loses_nothing_and_the_restart_finishes(tmp_path: Path) -> None:
    chance = random.Random(12)
    with bay_station(tmp_path) as station:
        station.lab.run("sync")
        for number, step in enumerate(STEPS):
            short, long = two_cards(tmp_path, number)
            mark = station.screen.mark()
            slow = station.lab.plug(long.image, 2, serial=f"LONG{number}", wait=False)
            station.lab.throttle(slow, bytes_per_second=2 << 20)
            station.screen.until("2", lambda bay: bay["state"] == "copying", since=mark)
            with Hold(station.lab, f"{STATE}/vault", step.opened, 0.3 if step.goes_on else 600) as hold:
                station.lab.plug(short.image, 1, serial=f"SHORT{number}", wait=False)
                path = hold.until_held()
                time.sleep(0.3 + chance.uniform(0, COMMIT_SECONDS) if step.goes_on else chance.uniform(1.0, 2.5))
                cut = station.power_cut(keep=chance.choice((0.0, 0.5)), seed=chance.randrange(1 << 30))
            time.sleep(1)  # what was under way reaches the hub
            promised = station.acknowledged()
            station.boot(really=number == 0)
            seals = judge(station, promised)
            mark = station.screen.mark()
            for slot, card in enumerate((short, long), 1):
                station.lab.plug(card.image, slot, serial=("SHORT", "LONG")[slot - 1] + str(number), wait=False)
            for bay in ("1", "2"):
                station.screen.until(bay, lambda bay: bay["state"] == "safe", since=mark, seconds=300)
            made = [short, long]
            assert sorted(sealed_of(station, made)) == sorted(digest for card in made for digest in card.truth.values())
            station.until_receipted()
            station.lab.unplug_all()
            print(
                f"cut at “{step.name}” ({path.rpartition('/')[2]}): {cut.lost} of {cut.unflushed} unflushed writes "
                f"lost, {len(promised)} envelopes and {seals} seals acknowledged, all there; finished after the restart"
            )
        assert not unfinished(station)
        station.lab.run(f"cd {STATE}/vault && for f in */*/*/*/*/SHA256SUMS; do (cd ${{f%/*}} && sha256sum -c --quiet "
                        "--strict SHA256SUMS) || exit 1; done", timeout=300)  # fmt: skip


def unfinished(station: BayStation) -> list[str]:
    """Dockings that were begun and are not closed, in the chain or in the vault."""
    begun = {event["docking_id"] for event in station.events("docking.started.v1")}
    closed = {event["docking_id"] for event in station.events("docking.closed.v1")}
    without = station.lab.run(
        f"cd {station.vault} && for d in */*/*/*/*/.custody; do [ -e $d/completed.dsse.json ] || echo $d; done"
    ).out.split()
    return [*(begun - closed), *without]


def two_cards(folder: Path, number: int) -> tuple[Card, Card]:
    """Forty short files, and a long one that outlasts them."""
    chance = random.Random(7000 + number)
    short = {f"DCIM/{number}S{n:04}.MP4": chance.randbytes(100_000) for n in range(FILES)}
    long = {f"DCIM/{number}L.MP4": chance.randbytes(40 << 20)}
    return (cameras.make_card(folder / f"s{number}.img", short, table="none"),
            cameras.make_card(folder / f"l{number}.img", long, table="none"))  # fmt: skip
