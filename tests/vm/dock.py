"""Docks to start tests from: freshly booted, and with the agent of this checkout installed. Made once, then resumed."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from deploy.environment import LOCKS
from tests.vm.image import ROOT, build_image, cache_directory, forget_old, locked, run
from tests.vm.lab import Lab, Snapshot
from tests.vm.machine import DATA_BYTES, machine

CHECKOUT = "/usr/src/custodock"
WHEELS = "/usr/src/wheels"
DELIVERED = ("agent", "custody", "hub", "systemd")
BESIDE = ("pyproject.toml", "README.md", "LICENSE")
# what plugging a card will need, so that each test does not load it anew
WARM_UP = (
    "systemctl is-system-running --wait; modprobe -a usb-storage uas sd_mod vfat exfat nls_utf8 nls_cp437 nls_ascii; "
    "findmnt /var/lib/custodock"
)


def booted_dock() -> Snapshot:
    """Debian, up and idle, nothing of ours on it."""
    return _snapshot("booted", "", None, _warm_up)


@functools.cache
def installed_dock() -> Snapshot:
    """A dock on which `deploy/install agent` has run, offline; the service is active.

    Its first step, filling the program's environment, is run beforehand in a chroot of the same system: emulated, pip
    takes minutes. `test_install.py` has the whole of it.
    """
    return _snapshot("installed", _checkout_digest(), booted_dock, _install)


@functools.cache
def waiting_dock() -> Snapshot:
    """The installed dock with its service stopped and its data disk not mounted: for `Lab.resume`."""
    return _snapshot("waiting", _checkout_digest(), installed_dock, _put_down)


def take_up(lab: Lab) -> None:
    """What follows on a `waiting_dock`: mount the data disk, start the service."""
    lab.run("mount /var/lib/custodock && systemctl start custodock-agent", timeout=300)


def _put_down(lab: Lab) -> None:
    lab.run("systemctl stop custodock-agent && umount /var/lib/custodock")


def _warm_up(lab: Lab) -> None:
    lab.run(WARM_UP)


def install_hub(lab: Lab) -> str:
    """Make a booted dock a hub: `deploy/install hub`, its first step done as in `installed_dock`; what it said."""
    _unpack(lab, CHECKOUT, _packed_checkout())
    _unpack(lab, "/", _program_from_chroot("hub"))
    return lab.run(f"{CHECKOUT}/deploy/install hub", timeout=600).out


def put_checkout(lab: Lab) -> None:
    """What an operator would have on the dock: this checkout and the packages of its lock."""
    _unpack(lab, CHECKOUT, _packed_checkout())
    lab.put(wheelhouse("agent"), WHEELS)


def _unpack(lab: Lab, folder: str, packed: bytes) -> None:
    lab.run(f"mkdir -p {folder} && tar -C {folder} -xf -", stdin=packed, timeout=600)


def _packed_checkout() -> bytes:
    with tempfile.TemporaryDirectory() as work:
        packed = Path(work) / "checkout.tar"
        run("tar", "--exclude=__pycache__", "--owner=0", "--group=0", "-C", ROOT, "-cf", packed,
            *DELIVERED, *BESIDE, *_deploy_files())  # fmt: skip
        return packed.read_bytes()


def _install(lab: Lab) -> None:
    put_checkout(lab)
    _unpack(lab, "/", _program_from_chroot("agent"))
    lab.run(f"{CHECKOUT}/deploy/install agent --wheels {WHEELS}", timeout=600)


def _program_from_chroot(what: str) -> bytes:
    """/opt/custodock as the installer's own function fills it, by the dock's Python on this machine's processor."""
    tree = build_image() / "tree"
    places = [tree / path.lstrip("/") for path in (CHECKOUT, WHEELS, "/opt/custodock")]
    fill = f"from pathlib import Path; from deploy.environment import *; build_program(Path('{WHEELS}'), '{what}')"
    with locked(cache_directory() / "tree.lock"), tempfile.TemporaryDirectory() as work:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
        places[0].mkdir(parents=True)
        subprocess.run(["tar", "-C", str(places[0]), "-xf", "-"], input=_packed_checkout(), check=True)
        shutil.copytree(wheelhouse(what), places[1])
        run("chroot", tree, "env", "-i", f"PYTHONPATH={CHECKOUT}", "PYTHONDONTWRITEBYTECODE=1", "PATH=/usr/bin:/bin",
            "python3", "-P", "-c", fill)  # fmt: skip
        packed = Path(work) / "program.tar"
        run("tar", "-C", tree, "-cf", packed, "opt/custodock")
        for place in places:
            shutil.rmtree(place)
        return packed.read_bytes()


def _deploy_files() -> list[str]:
    names = [
        "install",
        "installing.py",
        "hubinstalling.py",
        "environment.py",
        "ownership.py",
        "places.py",
        "recorders.py",
        "system.py",
        "agent.lock",
        "runtime.lock",
    ]
    return [f"deploy/{name}" for name in names]


def wheelhouse(what: str) -> Path:
    """The packages of the agent's lock, or the hub's, for the dock's Python, from the index that pip is set up for."""
    lock = LOCKS[what]
    wheels = cache_directory() / f"wheels-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    with locked(cache_directory() / "wheels.lock"):
        if not wheels.exists():
            with tempfile.TemporaryDirectory(dir=cache_directory(), prefix="building.") as work:
                new = Path(work) / "wheels"
                run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--dest", new,
                    "--only-binary", ":all:", "--no-deps", "--require-hashes", "--python-version", "3.11",
                    "--requirement", lock)  # fmt: skip
                new.rename(wheels)
    return wheels


def _checkout_digest() -> str:
    total = hashlib.sha256()
    files = [path for name in DELIVERED for path in sorted((ROOT / name).rglob("*")) if path.is_file()]
    for path in [*files, *(ROOT / name for name in (*BESIDE, *_deploy_files())), Path(__file__)]:
        if "__pycache__" not in path.parts:
            total.update(f"{path.relative_to(ROOT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _snapshot(name: str, content: str, base: Callable[[], Snapshot] | None, prepare: Callable[[Lab], None]) -> Snapshot:
    """The snapshot of this name for this image, machine and content, made first where it is missing."""
    image = build_image()
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    key = repr((version, image.name, machine(Path("i"), Path("d")), DATA_BYTES, content, WARM_UP))
    directory = cache_directory() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with locked(cache_directory() / f"{name}.lock"):
        if not directory.exists():
            forget_old(name)
            with tempfile.TemporaryDirectory(dir=cache_directory(), prefix="building.") as work:
                new = Path(work) / name
                new.mkdir()
                with Lab(base() if base else None) as lab:
                    prepare(lab)
                    lab.save(new)
                new.rename(directory)
        directory.touch()
    return Snapshot(directory)
