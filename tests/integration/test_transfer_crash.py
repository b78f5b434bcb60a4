"""Every durable step of a transfer failed, and the process killed before it: nothing announced is lost or untrue.

strace fails or kills at the Nth such call of a thread. A kill on entering call N+1 is a kill after call N.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.copies import Copied, CopyItem
from agent.folder import FolderSource
from tests.integration.transfer_cases import MIB, items_of, judge, staged, write_files

SIZES = [18 * MIB, 2 * MIB + 5, 0, 100, 5000, MIB]
STEPS = (
    "fallocate", "pwrite64", "fdatasync", "fsync", "syncfs", "ftruncate", "fchmod", "utimensat", "mkdirat", "renameat2",
)  # fmt: skip
ROOT = Path(__file__).parents[2]

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@dataclass
class Told:
    """What a child announced before it ended."""

    copied: dict[int, Copied] = field(default_factory=dict)
    progress: dict[int, int] = field(default_factory=dict)
    end: str | None = None

    def add(self, output: bytes) -> None:
        for raw in output.split(b"\n")[:-1]:  # a torn last line was not announced
            line = json.loads(raw)
            if "progress" in line:
                self.progress[line["n"]] = line["progress"]
            elif "copied" in line:
                n = line["copied"]
                assert n not in self.copied, "announced twice"
                self.copied[n] = Copied(
                    n, line["size"], bytes.fromhex(line["sha256"]), bytes.fromhex(line["root"]),
                    bytes.fromhex(line["leaf"]), line["chunks"], (), line["changed"], line["copied_bytes"],
                    line["resumed_at"],
                )  # fmt: skip
            elif "end" in line:
                self.end = line["end"]
            else:
                raise AssertionError(line)


class Scene:
    """A camera folder, a vault, and what must be true of them after any crash."""

    def __init__(self, base: Path, sizes: list[int]) -> None:
        self.camera, self.vault = base / "camera", base / "vault"
        self.vault.mkdir()
        self.contents = write_files(self.camera, sizes)
        source = FolderSource(os.fsencode(self.camera))
        self.items = {item.n: item for item in items_of(source)}
        source.close()
        self.announced: dict[int, Copied] = {}

    def argv(self) -> list[str]:
        done = ",".join(map(str, self.announced))
        return [sys.executable, "-m", "tests.integration.transfer_child", str(self.camera), str(self.vault), done]

    def run(self, *prefix: str) -> Told:
        ended = subprocess.run([*prefix, *self.argv()], cwd=ROOT, capture_output=True, timeout=120, check=False)
        return self.told(ended.stdout)

    def told(self, output: bytes) -> Told:
        told = Told()
        told.add(output)
        self.announced.update(told.copied)
        return told

    def content(self, item: CopyItem) -> bytes:
        return self.contents[b"/".join(item.entry.path)]

    def judge_announced(self) -> None:
        for n, copied in self.announced.items():
            judge(self.vault, self.items[n], copied, self.content(self.items[n]))

    def recover(self) -> None:
        """What `closing.recover` does: files that stand under a final name unannounced go back to staging."""
        for n, item in self.items.items():
            for target, suffix in ((item.target, "part"), (item.leaves_target, "leaves")):
                if n not in self.announced and target and (path := self.vault / os.fsdecode(target)).exists():
                    path.replace(self.vault / ".staging" / f"{item.key}.{suffix}")

    def finish(self) -> None:
        """Run once more undisturbed: everything is there, once, and nothing else."""
        self.judge_announced()
        self.recover()
        assert self.run().end == "complete"
        assert set(self.announced) == set(self.items)
        self.judge_announced()
        assert staged(self.vault) == set()
        targets = {item.target for item in self.items.values()} | {i.leaves_target for i in self.items.values()}
        files = {os.fsencode(p.relative_to(self.vault)) for p in self.vault.rglob("*") if p.is_file()}
        assert files == targets - {None}


def strace(step: str, fault: str, when: int) -> list[str]:
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={step}", "-e", f"inject={step}:{fault}:when={when}"]


@needs_strace
def test_undisturbed_under_strace(tmp_path: Path) -> None:
    """Positive control: being traced alone breaks nothing, and each step that we fail does happen."""
    scene = Scene(tmp_path, SIZES)
    log = tmp_path / "calls"
    told = scene.run("strace", "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(STEPS)}")
    assert told.end == "complete"
    scene.finish()
    calls = log.read_text()
    assert all(f" {step}(" in calls for step in STEPS)


@needs_strace
@pytest.mark.parametrize("when", [1, 2, 3, 5])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO", "error=ENOSPC"])
def test_a_failed_step_loses_nothing(tmp_path: Path, step: str, fault: str, when: int) -> None:
    scene = Scene(tmp_path, SIZES)
    told = scene.run(*strace(step, fault, when))
    # pwrite64 happens in several threads, each of which fails once: that may be a disk too bad to go on with.
    if fault == "error=EIO" and step in ("fdatasync", "syncfs"):
        assert told.end == "complete"  # poisoned and copied anew
    scene.finish()


@needs_strace
@pytest.mark.parametrize("step", ["fdatasync", "syncfs"])
def test_a_disk_that_keeps_failing_is_not_trusted(tmp_path: Path, step: str) -> None:
    """Negative control: with no sync that works, nothing of its kind is ever announced."""
    scene = Scene(tmp_path, SIZES)
    told = scene.run(*strace(step, "error=EIO", 1)[:-1], f"inject={step}:error=EIO")
    assert told.end == "vault_unwritable"
    short = step == "syncfs"
    assert not [n for n in told.copied if (scene.items[n].entry.size_bytes <= MIB) == short]
    scene.finish()


@needs_strace
def test_a_small_file_altered_after_its_sync_is_found(tmp_path: Path) -> None:
    """Between syncfs and read-back, which strace holds apart, the disk alters one byte."""
    scene = Scene(tmp_path, [5000, 6000, 7000])
    prefix = strace("syncfs", "delay_exit=6000000", 1)
    child = subprocess.Popen([*prefix, *scene.argv()], cwd=ROOT, stdout=subprocess.PIPE)
    part = scene.vault / ".staging" / f"{scene.items[1].key}.part"
    deadline = time.monotonic() + 60
    while not part.exists() or part.stat().st_size < 6000:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    fd = os.open(part, os.O_RDONLY)
    inode = os.fstat(fd).st_ino
    part.chmod(0o600)
    with part.open("r+b") as file:
        file.seek(3000)
        byte = file.read(1)[0]
        file.seek(3000)
        file.write(bytes([byte ^ 1]))
        file.flush()
        os.fsync(file.fileno())
    part.chmod(0o400)
    told = scene.told(child.communicate(timeout=60)[0])
    assert told.end == "complete"
    assert (scene.vault / os.fsdecode(scene.items[1].target)).stat().st_ino != inode  # that copy was thrown away
    os.close(fd)
    scene.finish()


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments(tmp_path: Path, seed: int) -> None:
    """kill -9 again and again: each time at most 16 MiB of a file are read again."""
    chance = random.Random(seed)
    scene = Scene(tmp_path, [90 * MIB + 7, 70 * MIB, 3000, 0, MIB + 1])
    reached: dict[int, int] = {}
    for _ in range(40):
        child = subprocess.Popen(scene.argv(), cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        wanted = sum(reached.values()) + chance.randint(1, 40) * MIB
        output = b""
        while line := child.stdout.readline():
            output += line
            told = Told()
            told.add(output)
            if sum(told.progress.values()) > wanted:
                break
        child.kill()
        output += child.communicate()[0]
        told = scene.told(output)
        for n, copied in told.copied.items():
            if n in reached:
                assert reached[n] - copied.resumed_at_bytes <= 16 * MIB
        scene.judge_announced()
        scene.recover()
        reached = {n: p for n, p in told.progress.items() if n not in scene.announced and scene.items[n].leaves_target}
        if told.end is not None:
            break
    scene.finish()
