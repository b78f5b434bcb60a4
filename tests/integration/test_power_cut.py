"""The power goes at any moment of an offload: what was announced is there, the next run ends well, nothing is doubled.

A disk of ours logs every write and flush of `dock-agent offload` (power_disk.py); a cut is what a disk may hold of the
log (power_log.py); each is mounted, judged, and the agent started on it again (power_judge.py). Needs root, FUSE and
loop devices.   CUSTODOCK_POWER_CUTS=1000 CUSTODOCK_POWER_SEED=7 for more and other cuts.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cards import fat_card, needs
from tests.integration.power_disk import Kind, blank_disk, in_namespace
from tests.integration.power_judge import AGAIN_BYTES_MAX, MIB, PROOF_BYTES_MAX
from tests.integration.power_log import SECTOR_BYTES, SUPERBLOCK_OFFSET, Cut, Log, choose_cuts
from tests.integration.power_replay import Order

CUTS = int(os.environ.get("CUSTODOCK_POWER_CUTS", "60"))
SEED = int(os.environ.get("CUSTODOCK_POWER_SEED", "20261124"))
CONTROL_CUTS = 12
LONG = (MIB + 1, 3 * MIB, 3 * MIB + 5, 8 * MIB, 12 * MIB + 77, 40 * MIB)
SHORT = (0, *(1, 700, 4096, 4097, 20_000, 60_000, 60_000, 200_000, MIB) * 6)
DISK_MIB = 640  # the agent keeps a reserve
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]


def make_card(path: Path, seed: int) -> dict[str, Any]:
    """A FAT card with 61 files; what is on it, and where on it the long files lie."""
    chance = random.Random(seed)
    sizes = [*LONG, *SHORT]
    chance.shuffle(sizes)
    # one name in twenty is a video's, so that the media parser, which runs between copy and seal, has its turn
    names = [f"DCIM/10{n % 3}MEDIA/REC{n:04}.{'BIN' if n % 20 else 'MP4'}" for n in range(len(sizes))]
    tree = {name: chance.randbytes(size) for name, size in zip(names, sizes, strict=True)}
    raw = fat_card(path, tree, size_mib=160, cluster_sectors=4).read_bytes()
    truth = {}
    for name, content in tree.items():
        at = raw.find(content) if len(content) > MIB else 0
        assert at >= 0, "a long file lies in pieces"
        truth[Path(name).name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "at": at}
    path.with_suffix(".json").write_text(json.dumps(truth))
    return truth


class Bench:
    """Card, blank disk and recordings."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.card = folder, folder / "card.img"
        self.truth = make_card(self.card, SEED)
        self.blank = blank_disk(folder / "blank.img", DISK_MIB)

    def record(self, name: str, base: Path, *prefix: str) -> Path:
        out = self.folder / name
        argv = in_namespace("power_record", base, self.card, out, *prefix)
        ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, ended.stderr
        return out

    def judge(self, out: Path, orders: list[Order]) -> list[dict[str, Any]]:
        """Verdicts in two processes, because a machine has that many cores."""
        argv = in_namespace("power_replay", out, self.card)
        running = [
            (part, subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for part in (orders[::2], orders[1::2])
            if part
        ]
        verdicts: list[dict[str, Any]] = []
        for part, process in running:
            assert process.stdin is not None
            process.stdin.write("".join(f"{order.dump()}\n" for order in part))
            process.stdin.close()
            process.stdin = None  # communicate would flush it
        for part, process in running:
            said, _ = process.communicate(timeout=60 + 30 * len(part))
            assert process.returncode == 0
            verdicts += map(json.loads, said.splitlines())
        assert len(verdicts) == len(orders)
        return verdicts


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Bench]:
    needs("mkfs.ext4", "mkfs.vfat", "mcopy", "unshare", root=True, fuse=True)
    probed = subprocess.run(in_namespace("power_disk"), cwd=ROOT, capture_output=True, text=True, check=False)
    if probed.returncode:
        pytest.skip(f"this machine cannot mount FUSE, loop or tmpfs: {probed.stderr.strip().splitlines()[-1:]}")
    failed_before = request.session.testsfailed
    folder = tmp_path_factory.mktemp("power")
    yield Bench(folder)
    if request.session.testsfailed == failed_before:  # else the recordings are needed to see why
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def first(bench: Bench) -> Path:
    """An offload that nothing disturbed."""
    return bench.record("first", bench.blank)


def faults(verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [verdict for verdict in verdicts if verdict["fault"]]


def test_no_cut_loses_what_was_announced(bench: Bench, first: Path) -> None:
    """Cuts of the first offload, of the one that goes on after a cut, and of the one after that."""
    chance = random.Random(SEED)
    verdicts: list[dict[str, Any]] = []
    out = first
    for number in range(3):
        log = Log(out / "log")
        cuts = choose_cuts(log, CUTS // 3 + (number < CUTS % 3), chance.getrandbits(32))
        orders = [Order(cut) for cut in cuts]
        if number < 2:  # go on from the middle of the long copies
            base = bench.folder / f"base-{number}.img"
            going_on = len(cuts) // (3 - number)
            orders[going_on] = replace(orders[going_on], keep=str(base))
        verdicts += bench.judge(out, orders)
        log.close()
        if number < 2:
            out = bench.record(f"after-{number}", base)
    assert not faults(verdicts), f"recordings in {bench.folder}: {faults(verdicts)}"
    assert len(verdicts) == CUTS
    again = max(v["again_bytes"] for v in verdicts)
    print(
        f"{CUTS} cuts, seed {SEED}: {sum(v['lost_bytes'] > 0 for v in verdicts)} lost unflushed writes, "
        f"{len({v['seals'] for v in verdicts})} numbers of seals, copied again at most {again / MIB:.1f} MiB, "
        f"{sum(v['seconds'] for v in verdicts) / CUTS:.2f} s each"
    )
    # the harness reached what it is for
    assert sum(v["lost_bytes"] > 0 for v in verdicts) > CUTS / 4
    assert sum(v["seals"] > 0 for v in verdicts) > CUTS / 4
    assert sum(v["seals"] < len(bench.truth) for v in verdicts) > CUTS / 4
    assert MIB < again <= AGAIN_BYTES_MAX + PROOF_BYTES_MAX


def test_without_a_cut_nothing_is_copied_again(bench: Bench, first: Path) -> None:
    """Positive control: the whole log, and the log up to its last flush, hold everything."""
    log = Log(first / "log")
    whole = len(log.records)
    verdicts = bench.judge(first, [Order(Cut(whole, keep, 0, 0)) for keep in (1.0, 0.0)])
    log.close()
    assert not faults(verdicts)
    assert [(v["seals"], v["copied"]) for v in verdicts] == [(len(bench.truth), 0)] * 2


def test_no_cut_is_one_that_ext4_itself_does_not_survive(bench: Bench, first: Path) -> None:
    """Right after each write of the superblock, with half of the sectors there: the disk mounts."""
    log = Log(first / "log")
    writes = [n for n, r in enumerate(log.records) if r.kind is Kind.WRITE and r.offset <= SUPERBLOCK_OFFSET]
    log.close()
    assert len(writes) >= 2  # mounting and unmounting write it
    orders = [Order(Cut(n + 1, 0.5, SECTOR_BYTES, seed), restart=False) for n in writes for seed in range(6)]
    assert not faults(bench.judge(first, orders))


def test_a_disk_that_lies_about_flushes_is_caught(bench: Bench, first: Path) -> None:
    """Negative control of restoring: where a flush writes nothing, every cut behind the first announcement loses it."""
    log = Log(first / "log")
    cuts = [replace(cut, keep=0.0, flushes_lie=True) for cut in choose_cuts(log, CONTROL_CUTS, SEED)]
    log.close()
    verdicts = bench.judge(first, [Order(cut, restart=False) for cut in cuts])
    assert [v["fault"] is not None for v in verdicts] == [v["announced"] > 0 for v in verdicts]
    assert sum(v["announced"] > 0 for v in verdicts) > CONTROL_CUTS / 2


@pytest.mark.parametrize("calls", ["fsync,fdatasync,syncfs,sync_file_range", "fdatasync"])
def test_an_agent_that_does_not_sync_is_caught(bench: Bench, calls: str) -> None:
    """Negative control of judging: the same agent, but these calls succeed without doing anything."""
    needs("strace")
    injected = ["-e", f"trace={calls}", "-e", f"inject={calls}:retval=0"]
    out = bench.record(f"unsynced-{calls}", bench.blank, "strace", "-f", "-qq", "-o", "/dev/null", *injected)
    log = Log(out / "log")
    verdicts = bench.judge(out, [Order(cut, restart=False) for cut in choose_cuts(log, CONTROL_CUTS, SEED)])
    log.close()
    announced = [v for v in verdicts if v["announced"]]
    assert len(announced) > CONTROL_CUTS / 2
    assert len(faults(announced)) > len(announced) * 3 / 4, Counter(v["stage"] for v in verdicts)


def test_copying_more_again_is_caught(bench: Bench, first: Path) -> None:
    """Negative control of the 16 MiB: without its journal a long copy begins anew."""
    log = Log(first / "log")
    longest = max(bench.truth.values(), key=lambda file: file["size"])
    end = longest["at"] + longest["size"]
    last = max(n for n, r in enumerate(log.records) if r.kind is Kind.READ and r.offset < end <= r.offset + r.length)
    log.close()
    orders = [Order(Cut(last, 1.0, 0, 0), forget_leaves=forget) for forget in (False, True)]
    with_journal, without = sorted(bench.judge(first, orders), key=lambda v: json.loads(v["order"])["forget_leaves"])
    assert with_journal["fault"] is None
    assert "read again" in without["fault"]
