"""Kernel drivers that a Raspberry Pi's kernel has and Debian's for amd64 leaves out, built once for the dock's."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from tests.vm.image import RELEASE, build_image, cache_directory, forget_old, locked, run

# the chip on a bay's current sensor, and lights without hardware
SOURCES = {"ina2xx": "drivers/hwmon/ina2xx.c", "uleds": "drivers/leds/uleds.c"}
SOURCE_PACKAGE = "linux-source-6.1"
BUILD = """\
set -eu
mkdir /build && cd /build
tar -xf /usr/src/{package}.tar.xz --strip-components=1 {members}
for source in {paths}; do cp "$source" .; done
printf '%s\\n' {makes} > Makefile
make -s -C /lib/modules/{kernel}/build M=/build modules
"""


def build_drivers() -> Path:
    """A folder with the `.ko` of each of SOURCES. Raises LabError, also when Debian's headers are newer."""
    image = build_image()
    [modules] = (image / "tree/lib/modules").iterdir()
    key = repr((image.name, modules.name, Path(__file__).read_bytes()))
    cache = cache_directory()
    drivers = cache / f"drivers-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with locked(cache / "drivers.lock"):
        if not drivers.exists():
            forget_old("drivers")
            with tempfile.TemporaryDirectory(dir=cache, prefix="building.") as work:
                new = Path(work) / "drivers"
                new.mkdir()
                _build(new, Path(work) / "tree", modules.name)
                new.rename(drivers)
        drivers.touch()
    return drivers


def _build(target: Path, tree: Path, kernel: str) -> None:
    packages = f"linux-headers-{kernel},{SOURCE_PACKAGE},gcc,make,xz-utils"
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    run("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={packages}",
        '--aptopt=APT::Install-Recommends "false"', RELEASE, tree,
        *([sources] if sources.exists() else []))  # fmt: skip
    script = BUILD.format(
        package=SOURCE_PACKAGE, kernel=kernel, paths=" ".join(SOURCES.values()),
        members=" ".join(f"{SOURCE_PACKAGE}/{path}" for path in SOURCES.values()),
        makes=" ".join(f"'obj-m += {name}.o'" for name in SOURCES),
    )  # fmt: skip
    run("chroot", tree, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", script)
    for name in SOURCES:
        shutil.copyfile(tree / f"build/{name}.ko", target / f"{name}.ko")
