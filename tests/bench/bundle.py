"""Verifying a bundle beside `sha256sum` over the same files: ``python -m tests.bench.bundle [--gib 3] [--rounds 3]``.

Makes footage in a vault, a hub that took its seals in, and a bundle by the hub's own export; then verifies it by the
one-file verifier that lies in it, in turn with ``sha256sum -c``. Both read from the page cache after the first round,
which is not counted: this compares computing, not disks. Also prints the largest memory of verifiers of a small and of
the whole bundle.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from custody import manifest
from custody.digest import CHUNK_BYTES
from custody.disk import Hasher
from custody.event import Event, Sha256Hex
from custody.stationevents import Media, SegmentSealed
from hub.bundles.selection import find_recordings
from hub.bundles.service import export_bundle
from hub.bundles.work import Order
from hub.recordings.queries import RecordingFilter
from hub.stations.service import enrol_station
from tests.integration.approved_exports import approved
from tests.integration.hubs import TestHub, sqlite_hub
from tests.vectors.dockings import STATION_KEY, Station

PLACE = "cam-7/2026/03/01/0195f000-d0c1"


@dataclass(frozen=True)
class Run:
    """One program's run."""

    seconds: float
    cpu_seconds: float


def make_footage(vault: Path, files: int, file_bytes: int, station: Station, hasher: Hasher) -> list[bytes]:
    """Files of noise in a vault, and the envelopes of their seals."""
    block, envelopes = bytearray(random.Random(1).randbytes(CHUNK_BYTES)), []
    folder = vault / PLACE / "DCIM"
    folder.mkdir(parents=True)
    for number in range(1, files + 1):
        path = folder / f"VID{number:05d}.MP4"
        with path.open("wb") as out:
            for start in range(0, file_bytes, CHUNK_BYTES):
                block[:16] = start.to_bytes(8) + number.to_bytes(8)
                out.write(block[: min(CHUNK_BYTES, file_bytes - start)])
        envelopes.append(_seal(path, number, file_bytes, station, hasher))
    return envelopes


def _seal(path: Path, number: int, size: int, station: Station, hasher: Hasher) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    digests = hasher.digest(descriptor, size, lambda _: None)
    os.close(descriptor)

    def make(**common: object) -> Event:
        return SegmentSealed(
            **common,  # type: ignore[arg-type]
            docking_id="0195f000-d0c1",
            camera_id="cam-7",
            bay="1",
            entry=number,
            path=f"DCIM/{path.name}",
            path_raw=manifest.raw_path((b"DCIM", path.name.encode())),
            version=1,
            vault_path=f"{PLACE}/DCIM/{path.name}",
            size_bytes=size,
            sha256=Sha256Hex(digests.sha256.hex()),
            tree_root=Sha256Hex(digests.tree_root.hex()),
            chunk_bytes=CHUNK_BYTES,
            chunk_count=-(-size // CHUNK_BYTES),
            modified_at="2026-03-01T08:00:00",
            time_basis="camera_local",
            gaps=(),
            gap_count=0,
            gap_bytes=0,
            changed_while_copied=False,
            media=Media(container="MPEG-4", duration_ms=600_000),
        )

    return station.seal(make)[1]


def run(command: list[str], folder: Path) -> Run:
    """Run to its good end."""
    started = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} ended {child.returncode}")
    return Run(time.perf_counter() - started, used.ru_utime + used.ru_stime)


# ru_maxrss of a child starts with what its parent held at the fork, so the verifier is asked itself, at its end
_TELL_PEAK = """
import re, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    sys.stderr.write(re.search(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1])
"""


def peak_mib(verify: list[str], folder: Path) -> float:
    """The largest memory of a verifier."""
    python, *words = verify
    command = [python, "-c", _TELL_PEAK, *words]
    told = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    return int(told.stderr.split()[-1]) / 1024


def make_bundles(scratch: Path, hub: TestHub, files: int, file_bytes: int) -> tuple[Path, Path, float]:
    """A bundle of one recording, one of all, and how long the latter's export took."""
    enrol_station(hub.db, hub.keys, STATION_KEY.verify_key.line)
    station, vault = Station(), scratch / "vault"
    with Hasher() as hasher:
        hub.take("dock-test", *make_footage(vault, files, file_bytes, station, hasher))
    found = find_recordings(hub.db, RecordingFilter())
    one, whole = scratch / "one-recording", scratch / "bundle"
    first, every = (
        approved(hub.db, hub.keys, Order(recordings, "some", "bench", "bench", "bench"))
        for recordings in ((found[0],), tuple(found))
    )
    export_bundle(hub.db, hub.keys, first, [vault], one)
    started = time.perf_counter()
    export_bundle(hub.db, hub.keys, every, [vault], whole)
    seconds = time.perf_counter() - started
    shutil.rmtree(vault)
    return one, whole, seconds


def main() -> None:
    """Make, verify in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=3, help="footage in all")
    parser.add_argument("--files", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--keep", type=Path, help="make the bundles here and measure nothing, or measure those made here"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = arguments.keep or Path(temporary)
        if not (scratch / "bundle").exists():
            scratch.mkdir(exist_ok=True)
            hub = sqlite_hub(scratch)
            size = int(arguments.gib * (1 << 30)) // arguments.files
            _, _, seconds = make_bundles(scratch, hub, arguments.files, size)
            (scratch / "log.vkey").write_text(f"{hub.keys.log.verify_key.line}\n")
            hub.intake.close()
            hub.db.close()
            print(f"export: {arguments.gib / seconds * 1.073741824:.2f} GB/s, copied, fsynced, read back")
            if arguments.keep:
                return
        measure(scratch, arguments.rounds)


def measure(scratch: Path, rounds: int) -> None:
    """Time both programs in turn."""
    verify = [sys.executable, "custody.pyz", "verify", ".", "--key", "../log.vkey", "--json"]
    sums = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    ours, theirs = [], []
    run(sums, scratch / "bundle")  # into the page cache
    for _ in range(rounds):
        theirs.append(run(sums, scratch / "bundle"))
        ours.append(run(verify, scratch / "bundle"))
    total = sum(f.stat().st_size for f in (scratch / "bundle/data").rglob("*") if f.is_file())
    for name, runs in (("sha256sum -c", theirs), ("custody.pyz verify", ours)):
        seconds = statistics.median(r.seconds for r in runs)
        cpu = statistics.median(r.cpu_seconds for r in runs)
        print(f"{name:<20} {seconds:6.2f} s  {total / seconds / 1e6:6.0f} MB/s  {cpu:6.2f} s CPU")
    speed = statistics.median(r.seconds for r in theirs) / statistics.median(r.seconds for r in ours)
    print(f"speed of the verifier: {speed:.2f} x sha256sum")
    one, whole = (peak_mib(verify, scratch / name) for name in ("one-recording", "bundle"))
    print(f"largest memory: {one:.0f} MiB for one recording, {whole:.0f} MiB for all")


if __name__ == "__main__":
    main()
