"""How fast an offload is beside the tools people use today: ``python tests/bench/offload.py --help``.

Each round times a pair, `dock-agent offload` and one other tool, in turn first, from a cold source on the same disk.
What counts is the ratio within a pair: it survives a disk whose speed drifts. Ours lists, copies, hashes twice (file
and chunk tree), fsyncs, reads back from the disk, seals and signs; what the others leave out stands in the table.
The cases `many` and `huge` run ours alone, once, and tell how much memory it took.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Case:
    """A source to copy: `count` files of `size_bytes`, 100 in a folder."""

    name: str
    count: int
    size_bytes: int
    memory_only: bool = False  # run only when asked for, and ours alone


@dataclass(frozen=True)
class Tool:
    """Another way to copy: a shell command over $SRC and $OUT, and how much faster than it we mean to be, by case."""

    name: str
    needs: tuple[str, ...]
    command: str
    target: dict[str, float]
    proves: str


@dataclass
class Pair:
    """The times of one tool and of ours beside it, in seconds."""

    ours: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [other / ours for ours, other in zip(self.ours, self.other, strict=True)]


@dataclass
class Peak:
    """Most memory seen, in MiB."""

    main: float = 0.0
    worker: float = 0.0


_FTYP = (24).to_bytes(4) + b"ftypisom" + (512).to_bytes(4) + b"isommp42"
CASES = (
    Case("large", 40, 64 * MIB),
    Case("small", 20_000, 16 * 1024),
    Case("many", 100_000, 4096, memory_only=True),
    Case("huge", 1, 10 << 30, memory_only=True),
)
MEMORY_MIB_MAX = 80  # of each process, for any number and length of files
_HASH = "find . -type f -print0 | sort -z | xargs -0 openssl dgst -sha256 -r"
_DC3DD = (
    'mkdir -p "$2/$(dirname "$1")"; dc3dd if="$1" hof="$2/$1" hash=sha256 log=/dev/null >/dev/null 2>&1 || exit 255'
)
_FIO = (
    'mkdir "$OUT" && fio --output-format=terse --direct=1 --ioengine=libaio --bs=1M --iodepth=8 '
    '--file_service_type=sequential --name=read --opendir="$SRC" --rw=read '
    '--name=again --opendir="$SRC" --rw=read '
    '--name=write --filename="$OUT/all" --rw=write --size=$(du -sb "$SRC" | cut -f 1) --fallocate=none --end_fsync=1'
)
TOOLS = (
    Tool(
        "cp -r; sync -f", ("cp", "sync"), 'cp -r "$SRC" "$OUT" && sync -f "$OUT"',
        {"large": 1.3, "small": 0.7}, "nothing",
    ),
    Tool(
        "cp + openssl", ("cp", "openssl"),
        'cp -r "$SRC" "$OUT" && sync -f "$OUT" && '
        f'a=$(cd "$SRC" && {_HASH}) && b=$(cd "$OUT" && {_HASH}) && test "$a" = "$b"',
        {"large": 2.5, "small": 1.0}, "both sides, the copy from the page cache",
    ),
    Tool(
        "rsync + -c", ("rsync",),
        'rsync -r "$SRC/" "$OUT/" && sync -f "$OUT" && test -z "$(rsync -rncO --out-format=%n "$SRC/" "$OUT/")"',
        {"large": 2.5, "small": 1.0}, "both sides, the copy from the page cache",
    ),
    Tool(
        "dc3dd", ("dc3dd",),
        f"cd \"$SRC\" && find . -type f -print0 | xargs -0 -I% sh -c '{_DC3DD}' - % \"$OUT\" && sync -f \"$OUT\"",
        {"large": 4.0, "small": 1.0}, "both sides, the copy from the page cache",
    ),
    # not a copy: the same bytes read, written and read again by a program that does nothing else, so what any copy
    # that reads its work back from this disk must take
    Tool(
        "disk alone (fio)", ("fio",), _FIO, {"large": 0.8}, "nothing; reads all twice, writes all once",
    ),
)  # fmt: skip


def make_source(case: Case, scale: float, folder: Path) -> int:
    """Write the case's files, no two alike; the bytes written.

    Long ones are MP4s whose index was never written, so their media facts are looked for; short ones are snapshots.
    """
    count = max(1, round(case.count * scale))
    generator = random.Random(case.name)
    for number in range(count):
        place = (
            folder / f"{number // 100:03}" / (f"VID{number:05}.MP4" if case.size_bytes > MIB else f"IMG{number:05}.JPG")
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        media_bytes = case.size_bytes - len(_FTYP)
        with place.open("wb") as file:
            file.write(_FTYP + (1).to_bytes(4) + b"mdat" + media_bytes.to_bytes(8))
            for start in range(16, media_bytes, MIB):
                file.write(generator.randbytes(min(MIB, media_bytes - start)))
    return count * case.size_bytes


def make_cold(source: Path) -> None:
    """Let nothing of the source be in the page cache: all of it as root, else what the kernel drops when asked."""
    os.sync()
    with suppress(PermissionError):
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return
    for path in source.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def time_ours(source: Path, out: Path, peak: Peak) -> float:
    """Seconds of one offload by the installed program, with state of its own. Raises RuntimeError when it fails."""
    out.mkdir()
    argv = [sys.executable, "-m", "agent.app", "offload", str(source), "--vault", str(out), "--camera", "BENCH"]
    began = time.perf_counter()
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None:
        watch(process.pid, peak)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        assert process.stderr is not None
        raise RuntimeError(f"dock-agent ended with {process.returncode}: {process.stderr.read().decode()}")
    return seconds


def watch(pid: int, peak: Peak) -> None:
    """Note the high-water marks of the agent and of its worker."""
    peak.main = max(peak.main, peak_mib(pid))
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"agent.worker" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                peak.worker = max(peak.worker, peak_mib(int(child)))


def peak_mib(pid: int) -> float:
    """VmHWM of a process; 0 once it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def time_tool(tool: Tool, source: Path, out: Path) -> float:
    """Seconds of one run of another tool. Raises CalledProcessError when it fails."""
    began = time.perf_counter()
    subprocess.run(
        ["sh", "-c", tool.command], env={**os.environ, "SRC": str(source), "OUT": str(out)}, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - began


class Scratch:
    """Folders for outputs. Long files are deleted at once to spare the disk; small ones when the case is over: ext4
    slows the making of files for minutes after many were deleted, which would fall on whoever comes next."""

    def __init__(self, base: Path, case: Case) -> None:
        self._base, self._at_once = base, case.size_bytes > MIB
        self._number = 0

    def fresh(self) -> Path:
        """A path that does not exist yet."""
        self._number += 1
        return self._base / f"out{self._number}"

    def done(self, out: Path) -> None:
        """The output was measured."""
        if self._at_once:
            shutil.rmtree(out)


def run_case(case: Case, tools: list[Tool], rounds: int, scale: float, base: Path) -> tuple[dict[str, Pair], Peak, int]:
    """Time every pair of one case; deletes what it made."""
    source = base / f"{case.name}-source"
    total_bytes = make_source(case, scale, source)
    scratch, peak = Scratch(base, case), Peak()
    pairs = {tool.name: Pair() for tool in tools}
    try:
        for number, tool in ((number, tool) for number in range(rounds) for tool in tools):
            for turn in ("ours", "other") if number % 2 == 0 else ("other", "ours"):
                out = scratch.fresh()
                make_cold(source)
                seconds = time_ours(source, out, peak) if turn == "ours" else time_tool(tool, source, out)
                getattr(pairs[tool.name], turn).append(seconds)
                scratch.done(out)
            print(f"  {case.name} round {number + 1}: {tool.name}", file=sys.stderr)
    finally:
        for path in base.iterdir():
            shutil.rmtree(path, ignore_errors=True)
    return pairs, peak, total_bytes


def run_memory(case: Case, scale: float, base: Path) -> tuple[Peak, float, int]:
    """Offload one case once; most memory of both processes, seconds, bytes. Deletes what it made."""
    source, peak = base / f"{case.name}-source", Peak()
    total_bytes = make_source(case, scale, source)
    make_cold(source)
    try:
        return peak, time_ours(source, base / "out", peak), total_bytes
    finally:
        for path in base.iterdir():
            shutil.rmtree(path, ignore_errors=True)


def memory_line(case: Case, peak: Peak, seconds: float, total_bytes: int) -> str:
    """The case's result as a line of text."""
    files, met = max(1, total_bytes // case.size_bytes), max(peak.main, peak.worker) <= MEMORY_MIB_MAX
    return (
        f"{case.name}: {files} files, {total_bytes / MIB:,.0f} MiB in {seconds:.0f} s; peak memory: "
        f"agent {peak.main:.0f} MiB, worker {peak.worker:.0f} MiB   target {MEMORY_MIB_MAX} {'ok' if met else 'miss'}"
    )


def table(case: Case, tools: list[Tool], pairs: dict[str, Pair], peak: Peak, total_bytes: int) -> Iterator[str]:
    """The case's result as lines of text."""
    files = max(1, total_bytes // case.size_bytes)
    ours = statistics.median(seconds for pair in pairs.values() for seconds in pair.ours)
    yield f"{case.name}: {files} files, {total_bytes / MIB:,.0f} MiB"
    yield f"{'':16}{'seconds':>9}{'MiB/s':>8}   ours is faster by (pairs)   target   its proof"
    yield f"{'dock-agent':16}{ours:9.2f}{total_bytes / MIB / ours:8.0f}{'':39}both sides, copy from the disk; signed"
    for tool in tools:
        pair = pairs[tool.name]
        other, ratios = statistics.median(pair.other), sorted(pair.ratios)
        ratio, target = statistics.median(ratios), tool.target[case.name]
        spread = f"{ratio:.2f} x  ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        yield (
            f"{tool.name:16}{other:9.2f}{total_bytes / MIB / other:8.0f}   {spread:26}"
            f"{target:5.1f} {'ok  ' if ratio >= target else 'miss'}{tool.proves}"
        )
    yield f"peak memory: agent {peak.main:.0f} MiB, worker {peak.worker:.0f} MiB"


def main() -> int:
    """Parse, run, print. Exit code 0 when every target was met, 1 when one was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--case", choices=[case.name for case in CASES], action="append", help="default: large and small"
    )
    parser.add_argument("--tool", choices=[tool.name for tool in TOOLS], action="append", help="default: all installed")
    parser.add_argument("--rounds", type=int, default=5, help="pairs per tool (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the files, such as 0.1 for a first look")
    parser.add_argument(
        "--dir", type=Path, help="where to work, on a disk like the vault's (default: temporary folder)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made is deleted then too
    tools = []
    for tool in (tool for tool in TOOLS if not options.tool or tool.name in options.tool):
        missing = [program for program in tool.needs if shutil.which(program) is None]
        if missing:
            print(f"left out: {tool.name} (not installed: {shlex.join(missing)})", file=sys.stderr)
        else:
            tools.append(tool)
    report: dict[str, object] = {}
    met = True
    with tempfile.TemporaryDirectory(prefix="custodock-bench-", dir=options.dir) as base:
        wanted = options.case or [case.name for case in CASES if not case.memory_only]
        for case in (case for case in CASES if case.name in wanted):
            if case.memory_only:
                peak, seconds, total_bytes = run_memory(case, options.scale, Path(base))
                met = met and max(peak.main, peak.worker) <= MEMORY_MIB_MAX
                report[case.name] = {
                    "bytes": total_bytes, "main_peak_mib": peak.main, "worker_peak_mib": peak.worker,
                    "seconds": seconds,
                }  # fmt: skip
                if not options.json:
                    print(memory_line(case, peak, seconds, total_bytes), end="\n\n")
                continue
            beside = [tool for tool in tools if case.name in tool.target]
            pairs, peak, total_bytes = run_case(case, beside, options.rounds, options.scale, Path(base))
            met = met and all(statistics.median(pairs[t.name].ratios) >= t.target[case.name] for t in beside)
            report[case.name] = {
                "bytes": total_bytes, "main_peak_mib": peak.main, "worker_peak_mib": peak.worker,
                "pairs": {name: {"ours": p.ours, "other": p.other, "ratios": p.ratios} for name, p in pairs.items()},
            }  # fmt: skip
            if not options.json:
                print("\n".join(table(case, beside, pairs, peak, total_bytes)), end="\n\n")
    if options.json:
        print(json.dumps(report, indent=2))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
