"""A virtual docking station with cameras on USB.

QEMU stands in for the dock's computer. A plugged card image is a USB disk to its kernel, with udev events, drivers and
I/O errors as they are. Everything listens on loopback or on sockets in the lab's own directory.

    with Lab(installed_dock()) as lab:                       # up in seconds, killed at the end, whatever happens
        card = lab.plug(image, slot=3, serial="CAM0001")     # lab.run(f"ls {card.disk}"): …-usb-0:3:1.0-…
        lab.throttle(card, bytes_per_second=2_000_000)
        lab.limit_bus(4_000_000)                             # all cards plugged with on_bus=True share it
        lab.bad_sectors(card, [2048])                        # these now end in EIO
        lab.run("systemctl is-active custodock-agent").out
        lab.unplug(card)
        lab.put(host_folder, "/root/folder"); lab.get("/root/folder", host_folder)
        port = lab.forward_port(8180)                        # the guest's port, on the host's 127.0.0.1
        lab.power_cut(lose_unflushed=True); lab.boot()       # a real boot on the same disks

Disks   /dev/vda  root, an overlay that is thrown away; a power cut loses the page cache only
        /dev/vdb  the station's state and vault (/var/lib/custodock); a power cut can lose unflushed writes too
Network eth0 10.0.2.15: ssh and forwarded ports.  eth1 10.0.3.15: the uplink; 10.0.3.2 is the host's loopback
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.vm.image import LabError, build_image, run
from tests.vm.machine import DATA_BYTES, die_with_parent, machine
from tests.vm.qmp import Qmp
from tests.vm.slots import Slots
from tests.vm.writelog import Cut, drop_unflushed

BOOT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A dock at rest: root.qcow2, data.img and the memory of the running machine."""

    directory: Path


class Lab(Slots):
    """One dock. It belongs to the thread that boots it: QEMU is killed when that thread ends."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        """The first boot resumes `snapshot`; without one it is a real boot of the bare image."""
        self._temporary = tempfile.TemporaryDirectory(prefix="dock.")  # short: paths of sockets have 108 bytes
        self.directory = Path(self._temporary.name)
        self._image = build_image()
        super().__init__(self._image / "id_ed25519", self.directory / "ssh")
        self._snapshot = snapshot
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[int, int] = {}

    def __enter__(self) -> Lab:
        try:
            self.boot()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the machine and forget its disks."""
        self.power_cut()
        self._temporary.cleanup()

    # --- power ------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Switch on and wait for the shell. Raises LabError when it does not come."""
        assert self._process is None, "it is on"
        resumed = self._prepare_disks()
        log = self.directory / "qemu.log"
        argv = machine(self._image, self.directory)
        if resumed is not None:
            argv += ["-incoming", f"exec:cat {shlex.quote(str(resumed.directory / 'ram'))}"]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (only async-signal-safe work)
            )  # fmt: skip
        self._qmp = self._monitor()
        self._ports = {}
        self.forget_slots()
        self.port = self.forward_port(22)
        if resumed is not None:
            while self.qmp.call("query-status")["status"] == "inmigrate":
                time.sleep(0.05)
            self.qmp.call("cont")
        self._wait_for_shell()
        if resumed is not None:  # its clock stood still
            self.run(f"date --set=@{time.time():.2f}")

    def resume(self, snapshot: Snapshot) -> None:
        """Instead of a boot after a power cut: `snapshot`'s machine and root disk, before the data disk as it is now.

        The snapshot must not have /dev/vdb in use.
        """
        (self.directory / "root.qcow2").unlink()
        self._snapshot = snapshot
        self.boot()

    def power_cut(
        self, *, lose_unflushed: bool = False, keep: float = 0.0, seed: int = 0, lying: bool = False
    ) -> Cut | None:
        """Pull the plug: the page cache is lost, and with `lose_unflushed` what /dev/vdb had not been told to flush.

        `keep`: the share of those unflushed writes that survive, each on its own. `lying`: /dev/vdb is a disk that
        answers flushes and does nothing for them.
        """
        if self._process is None:
            return None
        self._process.kill()
        self._process.wait()
        if self._qmp is not None:
            self._qmp.close()
        self._process = self._qmp = None
        if not lose_unflushed:
            return None
        (self.directory / "data.base").replace(self.directory / "data.img")
        return drop_unflushed(self.directory / "data.img", self.directory / "data.log", keep, seed, lying=lying)

    def save(self, target: Path) -> None:
        """Make `target` a snapshot of the running machine, which ends here."""
        self.run("sync; echo 3 > /proc/sys/vm/drop_caches")
        self.hang_up()
        time.sleep(0.5)  # the dock ends its side of the connection
        self.qmp.call("migrate-set-parameters", max_bandwidth=1 << 40)
        self.qmp.call("stop")
        self.qmp.call("migrate", uri=f"exec:cat > {shlex.quote(str(self.directory / 'ram'))}")
        while (status := self.qmp.call("query-migrate")["status"]) != "completed":
            if status == "failed":
                raise LabError("the snapshot failed")
            time.sleep(0.1)
        self.power_cut()
        for name in ("root.qcow2", "data.img", "ram"):
            _copy_sparse(self.directory / name, target / name)

    def _prepare_disks(self) -> Snapshot | None:
        """The disks before this boot; the snapshot to resume when it is the first."""
        root, data = self.directory / "root.qcow2", self.directory / "data.img"
        resumed = None
        if not root.exists():
            resumed = self._snapshot
            below = resumed.directory / "root.qcow2" if resumed else self._image / "root.img"
            kind = "qcow2" if resumed else "raw"
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", below, root)
            if resumed and not data.exists():  # it does in `resume`
                _copy_sparse(resumed.directory / "data.img", data)
            elif not resumed:
                data.touch()
                os.truncate(data, DATA_BYTES)
                run("mkfs.ext4", "-q", "-F", "-L", "dockdata", data)
        # the data disk at boot, and a log of every write since: what power_cut() needs
        _copy_sparse(data, self.directory / "data.base")
        (self.directory / "data.log").write_bytes(b"")
        (self.directory / "qmp").unlink(missing_ok=True)
        return resumed

    def _monitor(self) -> Qmp:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                return Qmp(self.directory / "qmp")
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"QEMU did not start:\n{_tail(self.directory / 'qemu.log')}")
            time.sleep(0.05)

    # --- its network --------------------------------------------------------------------------------------------------

    def forward_port(self, port: int) -> int:
        """The port of the host's 127.0.0.1 that leads to this TCP port of the dock."""
        if port not in self._ports:
            self.qmp.human(f"hostfwd_add control tcp:127.0.0.1:0-:{port}")
            lines = self.qmp.human("info usernet")
            found = re.findall(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)", lines)
            self._ports = {int(guest): int(host) for host, guest in found}
        return self._ports[port]

    def uplink(self, up: bool) -> None:
        """Plug in or pull the cable of eth1; shell and forwarded ports stay."""
        self.qmp.call("set_link", name="uplink", up=up)

    def _wait_for_shell(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS
        self.hang_up()
        while True:
            # a banner means that sshd is up; only then is a handshake worth its time
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as probe:
                probe.settimeout(5)
                if probe.recv(4) == b"SSH-" and self.run("true", check=False, timeout=60).code == 0:
                    return
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"the dock did not come up:\n{_tail(self.directory / 'console.log')}")
            time.sleep(0.1)


def _copy_sparse(source: Path, target: Path) -> None:
    run("cp", "--sparse=always", "--reflink=auto", source, target)


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-2000:] if log.exists() else "(no log)"
