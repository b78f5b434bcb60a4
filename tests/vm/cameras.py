"""Card images with footage on them, and the truth about what they hold."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from tests.vm.image import run
from tests.vm.lab import Lab

PROGRAMS = ("ffmpeg", "mkfs.vfat", "mcopy", "mkfs.exfat", "mkfs.ext4", "sfdisk")
START = datetime(2026, 3, 1, 8, 0, 0, tzinfo=UTC)
CLIP_SECONDS = 2
MIB = 1 << 20
FileSystem = Literal["vfat", "exfat", "ext4"]
Table = Literal["mbr", "gpt", "none"]
_KINDS = {"vfat": ("c", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"), "exfat": ("7", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"),
          "ext4": ("83", "0FC63DAF-8483-4772-8E79-3D69D8477DE4")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Card:
    """An image, and the SHA-256 of every file on it by its path."""

    image: Path
    truth: Mapping[str, str]


def footage(clips: int = 3) -> dict[str, bytes]:
    """A take of so many clips with their tracks, a log, an empty and a cut file, and names that are not ASCII."""
    files = {}
    for number in range(1, clips + 1):
        at = START + timedelta(seconds=CLIP_SECONDS * (number - 1))
        stem = f"DCIM/100MEDIA/{at:%Y%m%d_%H%M%S}_{number:04}"
        files[f"{stem}.MP4"] = clip(number, at)
        files[f"{stem}.GPS"] = f"$GPRMC,{at:%H%M%S},A,3112.0000,N,12128.0000,E,1.2,90.0,{at:%d%m%y},,,A\r\n".encode()
    whole = clip(clips + 1, START)
    files |= {
        "DCIM/100MEDIA/CUT_OFF.MP4": whole[: len(whole) * 2 // 3],  # the battery died before the index was written
        "DCIM/100MEDIA/EMPTY.MP4": b"",
        "行车记录/前摄像头 第1段.MP4": clip(clips + 2, START),
        "LOG/a/b/c/d/e/CAMERA.LOG": b"power on\npower off\n",
    }
    return files | {f"TINY/{number:03}.TXT": f"{number}\n".encode() for number in range(20)}


@functools.cache
def clip(number: int, at: datetime) -> bytes:
    """One encoded segment: a test picture and a tone, with its time of creation; needs ffmpeg."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "clip.mp4"
        made = f"creation_time={at:%Y-%m-%dT%H:%M:%SZ}"
        run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc=s=160x120:r=10:d={CLIP_SECONDS}",
            "-f", "lavfi", "-i", f"sine=f={300 + 10 * number}:d={CLIP_SECONDS}", "-c:v", "libx264", "-preset",
            "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest", "-metadata", made, out)  # fmt: skip
        return out.read_bytes()


def make_card(
    image: Path,
    files: Mapping[str, bytes],
    *,
    file_system: FileSystem = "vfat",
    table: Table = "mbr",
    lab: Lab | None = None,
    free_mib: int = 0,
) -> Card:
    """Write the files onto a new card image. exFAT is filled by the kernel of `lab`, through its slot 8.

    `free_mib`: how much room is left on it, about, beyond the little that there always is.
    """
    need = sum(len(content) + 8192 for content in files.values())
    size_mib = max(64, need // MIB * 5 // 4 + 32) + free_mib
    with tempfile.TemporaryDirectory(dir=image.parent) as work:
        root, volume = Path(work) / "root", Path(work) / "volume"
        _plant(root, files)
        volume.touch()
        os.truncate(volume, size_mib * MIB)
        _format(volume, root, file_system)
        _partition(image, volume, table, file_system)
        if file_system == "exfat":
            assert lab is not None, "exFAT needs a lab"
            _fill_in(lab, image, root, table)
    return Card(image, {name: hashlib.sha256(content).hexdigest() for name, content in files.items()})


def _plant(root: Path, files: Mapping[str, bytes]) -> None:
    for number, (name, content) in enumerate(files.items()):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        when = START.timestamp() + 2 * number  # FAT keeps even seconds
        os.utime(target, (when, when))


def _format(volume: Path, root: Path, file_system: FileSystem) -> None:
    if file_system == "vfat":
        run("mkfs.vfat", "-F", "32", "-s", "1", "-n", "CAMERA", volume)
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
        copy = ["mcopy", "-i", str(volume), "-s", "-Q", "-m", *map(str, sorted(root.iterdir())), "::"]
        subprocess.run(copy, env=environment, check=True, capture_output=True)
    elif file_system == "exfat":
        run("mkfs.exfat", "-L", "CAMERA", volume)
    else:
        run("mkfs.ext4", "-q", "-F", "-L", "CAMERA", "-d", root, volume)


def _partition(image: Path, volume: Path, table: Table, file_system: FileSystem) -> None:
    if table == "none":
        shutil.move(volume, image)
        return
    size = volume.stat().st_size
    image.touch()
    os.truncate(image, size + 2 * MIB)
    label, kind = ("gpt", _KINDS[file_system][1]) if table == "gpt" else ("dos", _KINDS[file_system][0])
    layout = f"label: {label}\nstart=2048, size={size // 512}, type={kind}\n"
    subprocess.run(["sfdisk", "-q", image], input=layout.encode(), check=True, capture_output=True)
    run("dd", f"if={volume}", f"of={image}", "bs=1M", "seek=1", "conv=sparse,notrunc")


def _fill_in(lab: Lab, image: Path, root: Path, table: Table) -> None:
    """On a dock that has our rules the flag they set is taken back first."""
    card = lab.plug(image, slot=8, serial="FILLING")
    device = card.disk if table == "none" else f"{card.disk}-part1"
    lab.run(
        f"blockdev --setrw {card.disk} {device} && mkdir -p /run/fill && mount -o iocharset=utf8 {device} /run/fill"
    )
    lab.put(root, "/run/fill")
    lab.run("umount /run/fill")
    lab.unplug(card)


def truth_on(lab: Lab, folder: str, names: str = "") -> dict[str, str]:
    """The SHA-256 of every file below a folder of the dock whose name begins so, by its path; no hidden ones."""
    program = (
        "import hashlib, json, os, sys\n"
        "root, wanted = sys.argv[1:]\n"
        "paths = [os.path.join(d, n) for d, _, names in os.walk(root) for n in names if n.startswith(wanted)]\n"
        "sums = {os.path.relpath(p, root): hashlib.sha256(open(p, 'rb').read()).hexdigest() for p in paths}\n"
        "print(json.dumps({p: s for p, s in sums.items() if not p.startswith('.')}))\n"
    )
    answer: dict[str, str] = json.loads(lab.run(f"python3 - {folder} '{names}'", stdin=program.encode()).out)
    return answer
