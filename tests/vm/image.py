"""The virtual dock's root disk: a small Debian 12 with one USB stack, built once and kept in a cache directory."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELEASE = "bookworm"
KEPT_SECONDS = 3 * 86400.0
PROGRAMS = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mkfs.ext4", "ssh", "ssh-keygen", "tar")
PACKAGES = (
    "linux-image-amd64 initramfs-tools zstd systemd-sysv udev dbus openssh-server python3 python3-venv "
    "iproute2 procps kmod fdisk exfatprogs dosfstools usbutils gphoto2 libmtp-common libmtp-runtime"
)
INITRAMFS_MODULES = "virtio_pci virtio_blk ext4 crc32c_generic"
# what a dock never meets, so that the image stays small
UNUSED_DRIVERS = (
    "drivers/accel drivers/ata drivers/bluetooth drivers/crypto drivers/edac drivers/gpu drivers/iio "
    "drivers/infiniband drivers/isdn drivers/media drivers/mmc drivers/mtd drivers/net/ethernet drivers/net/wireless "
    "drivers/nvme drivers/staging net/bluetooth net/mac80211 net/wireless sound fs/btrfs fs/ceph fs/cifs fs/gfs2 "
    "fs/nfs fs/nfsd fs/ocfs2 fs/smb fs/xfs"
)
FSTAB = "LABEL=dockdata /var/lib/custodock ext4 nofail,x-systemd.device-timeout=90s 0 0\n"
# Two static addresses need no network manager, whose start takes seconds without hardware virtualisation. No default
# route: 10.0.3.2, the host's loopback, is all that the dock can reach.
NETWORK = """\
[Unit]
DefaultDependencies=no
Before=network.target ssh.service
After=systemd-udev-trigger.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'until [ -e /sys/class/net/eth1 ]; do sleep .1; done; \
ip addr add 10.0.2.15/24 dev eth0; ip addr add 10.0.3.15/24 dev eth1; \
ip link set eth0 up; ip link set eth1 up'
[Install]
WantedBy=multi-user.target
"""
MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer "
    "getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service systemd-networkd.service "
    "systemd-logind.service systemd-pstore.service"
)


class LabError(Exception):
    """The virtual dock could not be built, booted or used."""


def cache_directory() -> Path:
    """Where image and snapshots are kept: CUSTODOCK_VM_CACHE, else below XDG_CACHE_HOME, else /var/cache."""
    if chosen := os.environ.get("CUSTODOCK_VM_CACHE"):
        return Path(chosen)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "custodock-vm"
    return Path("/var/cache/custodock-vm")


def why_not() -> str | None:
    """Why no virtual dock can run on this machine, or None."""
    if os.uname().machine != "x86_64":
        return "the virtual dock is x86_64"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"needs the programs {', '.join(missing)}"
    if not (cache_directory() / _stamp() / "root.img").exists() and os.geteuid() != 0:
        return "building the virtual dock's image needs root"
    return None


def build_image() -> Path:
    """The directory with root.img, its content as `tree`, vmlinuz, initrd.img, id_ed25519; built where it is missing.

    Raises LabError with the last words of what failed.
    """
    cache = cache_directory()
    image = cache / _stamp()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "image.lock"):
        if not (image / "root.img").exists():
            forget_old("image")
            with tempfile.TemporaryDirectory(dir=cache, prefix="building.") as work:
                new = Path(work) / "image"
                new.mkdir()
                _build(new, new / "tree")
                new.rename(image)
        image.touch()
    return image


def forget_old(name: str) -> None:
    """Remove images or snapshots of earlier checkouts, save those that a test may still be using."""
    for old in cache_directory().glob(f"{name}-*"):
        if old.stat().st_mtime < time.time() - KEPT_SECONDS:
            shutil.rmtree(old)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one test run at a time build what this lock stands for."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stamp() -> str:
    return f"image-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]}"


def _build(image: Path, root: Path) -> None:
    _bootstrap(root)
    _trim_modules(root)
    _configure(root, image)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copyfile((root / name).resolve(), image / name)
    disk = image / "root.img"
    disk.touch()
    os.truncate(disk, 3 << 30)
    run("mkfs.ext4", "-q", "-F", "-L", "dockroot", "-E", "lazy_itable_init=1", "-d", root, disk)


def _bootstrap(root: Path) -> None:
    options = [f"--aptopt={o}" for o in ('Acquire::Check-Valid-Until "false"', 'APT::Install-Recommends "false"')]
    options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    hooks = [
        '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d"',
        '--essential-hook=printf "MODULES=list\\nCOMPRESS=zstd\\n" > "$1/etc/initramfs-tools/conf.d/dock"',
        f'--essential-hook=printf "%s\\n" {INITRAMFS_MODULES} > "$1/etc/initramfs-tools/modules"',
    ]
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    host = Path("/etc/os-release").read_text("utf-8")
    same = f"VERSION_CODENAME={RELEASE}" in host and sources.exists()
    run("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(PACKAGES.split())}",
        *options, *hooks, RELEASE, root, *([sources] if same else []))  # fmt: skip


def _trim_modules(root: Path) -> None:
    [kernel] = (root / "lib/modules").iterdir()
    for name in UNUSED_DRIVERS.split():
        shutil.rmtree(kernel / "kernel" / name, ignore_errors=True)
    run("chroot", root, "depmod", kernel.name)


def _configure(root: Path, image: Path) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "custodock-vm", "-f", image / "id_ed25519")
    keys = root / "root/.ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(image / "id_ed25519.pub", keys)
    for stale in (root / "etc/ssh").glob("ssh_host_*"):
        stale.unlink()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / "etc/ssh/ssh_host_ed25519_key")
    texts = {
        "etc/ssh/sshd_config.d/dock.conf": "UseDNS no\n",
        "etc/hostname": "dock\n",
        "etc/hosts": "127.0.0.1 localhost dock\n",
        "etc/fstab": FSTAB,
        "etc/machine-id": "",
        "etc/systemd/system/dock-network.service": NETWORK,
    }
    for name, text in texts.items():
        (root / name).write_text(text, "utf-8")
    (root / "var/lib/custodock").mkdir()
    journal = root / "etc/systemd/journald.conf"
    journal.write_text(re.sub(r"(?m)^#?Storage=.*$", "Storage=volatile", journal.read_text("utf-8")), "utf-8")
    run("chroot", root, "systemctl", "--quiet", "enable", "dock-network", "ssh")
    run("chroot", root, "systemctl", "--quiet", "mask", *MASKED.split())
    for name in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / name, ignore_errors=True)


def run(*argv: str | Path) -> str:
    """Run a program, its output. Raises LabError with its last words."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    words = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise LabError(f"{argv[0]} ended with {done.returncode}:\n{words[-3000:]}")
    return words
