"""The dock's power fails while cameras are in it, and its disk loses what was not flushed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.stationevents import SegmentSealed
from tests.vm import cameras
from tests.vm.bay_station import STATE, BayStation, bay_station
from tests.vm.cameras import Card

SERIES, CUTS_EACH = range(6), 5
MOMENT_SECONDS = 6.0  # in the emulated dock, from the first "copying" of two cameras to both "safe"

KEPT = """
import hashlib, json, sqlite3, sys
paths = json.loads({paths!r})
def digest(path):
    try:
        with open({vault!r} + "/" + path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
db = sqlite3.connect("file:{state}/station.db?mode=ro", uri=True)
print(json.dumps({{
    "sound": db.execute("PRAGMA integrity_check").fetchall() == [("ok",)],
    "envelopes": {{n: hashlib.sha256(raw).hexdigest() for n, raw in db.execute("SELECT seq, envelope FROM outbox")}},
    "files": {{path: digest(path) for path in paths}},
}}))
"""


@pytest.mark.slow_vm
@pytest.mark.parametrize("series", SERIES)
def test_a_power_cut_loses_nothing_that_was_acknowledged(series: int, tmp_path: Path) -> None:
    """Acknowledged: in the hub's log when the power was gone. The first cut of a series is followed by a real boot."""
    chance = random.Random(series)
    with bay_station(tmp_path) as station:
        station.lab.run("sync")
        for number in range(CUTS_EACH):
            made = two_cards(tmp_path, number)
            mark = station.screen.mark()
            dock(station, made)
            until_any_copies(station, mark)
            time.sleep(chance.uniform(0, MOMENT_SECONDS))
            states = [(station.screen.now(bay) or {}).get("state") for bay in ("1", "2")]
            cut = station.power_cut(keep=chance.choice((0.0, 0.5, 0.9)), seed=chance.randrange(1 << 30))
            time.sleep(1)  # what was under way reaches the hub
            promised = station.acknowledged()
            station.boot(really=number == 0)
            seals = judge(station, promised)
            mark = station.screen.mark()
            dock(station, made)
            for bay in ("1", "2"):
                station.screen.until(bay, lambda bay: bay["state"] == "safe", since=mark, seconds=300)
            assert sorted(sealed_of(station, made)) == sorted(digest for card in made for digest in card.truth.values())
            station.until_receipted()
            station.lab.unplug_all()
            print(
                f"cut {series}.{number}: bays {states}, {cut.lost} of {cut.unflushed} unflushed writes lost, "
                f"{len(promised)} envelopes and {seals} seals acknowledged, all there"
            )
        station.lab.run(f"cd {STATE}/vault && for f in */*/*/*/*/SHA256SUMS; do (cd ${{f%/*}} && sha256sum -c --quiet "
                        "--strict SHA256SUMS) || exit 1; done", timeout=300)  # fmt: skip


@pytest.mark.slow_vm
def test_a_disk_that_lies_about_flushes_is_found_out(tmp_path: Path) -> None:
    """The control: the judge of the test above sees a loss where there is one."""
    with bay_station(tmp_path) as station:
        station.lab.run("sync")
        station.power_cut(keep=0, seed=0)
        station.boot(really=False)
        mark = station.screen.mark()
        dock(station, two_cards(tmp_path, 0))
        for bay in ("1", "2"):
            station.screen.until(bay, lambda bay: bay["state"] == "safe", since=mark, seconds=300)
        station.until_receipted()
        station.power_cut(keep=0, seed=0, lying=True)
        station.boot(really=False)
        with pytest.raises(AssertionError, match="lost"):
            judge(station, station.acknowledged())


def two_cards(folder: Path, number: int) -> list[Card]:
    """One with short files, one with a long one; no other number has the same."""
    chance = random.Random(number)
    short = {f"DCIM/{number}S{n:04}.MP4": chance.randbytes(200_000) for n in range(60)}
    long = {f"DCIM/{number}L{n:04}.MP4": chance.randbytes(20 << 20) for n in range(1)}
    return [cameras.make_card(folder / f"{number}{name}.img", files, table="none")
            for name, files in (("short", short), ("long", long))]  # fmt: skip


def dock(station: BayStation, made: Sequence[Card]) -> None:
    for slot, card in enumerate(made, 1):
        station.lab.plug(card.image, slot, serial=f"POWER{card.image.stem}", wait=False)


def until_any_copies(station: BayStation, since: int) -> None:
    deadline = time.monotonic() + 120
    while not any(station.screen.saw(bay, lambda bay: bay["state"] == "copying", since) for bay in ("1", "2")):
        assert time.monotonic() < deadline, station.screen.now("1")
        time.sleep(0.05)


def judge(station: BayStation, promised: dict[int, bytes]) -> int:
    """After the cut: every envelope that the hub has stands in the outbox, every file that one of them seals in the
    vault; how many seals there were."""
    sealed = {}
    for raw in promised.values():
        envelope = parse_envelope(raw)
        event = decode_event(envelope.payload_type, envelope.payload)
        if isinstance(event, SegmentSealed):
            sealed[event.vault_path] = str(event.sha256)
    program = KEPT.format(paths=json.dumps([*sealed]), vault=station.vault, state=STATE)
    kept = json.loads(station.lab.run("python3 -", stdin=program.encode(), timeout=300).out)
    assert kept["sound"]
    for seq, raw in promised.items():
        assert kept["envelopes"].get(str(seq)) == sha256(raw).hexdigest(), f"acknowledged envelope {seq} is lost"
    for path, digest in sealed.items():
        assert kept["files"][path] == digest, f"acknowledged and lost: {path}"
    return len(sealed)


def sealed_of(station: BayStation, made: Sequence[Card]) -> list[str]:
    truth = {digest for card in made for digest in card.truth.values()}
    return [one["sha256"] for one in station.events("segment.sealed.v1") if one["sha256"] in truth]
