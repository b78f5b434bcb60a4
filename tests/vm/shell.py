"""The dock's shell over ssh: commands, and files in both directions."""

from __future__ import annotations

import shlex
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.vm.image import LabError


@dataclass(frozen=True, slots=True)
class Said:
    """What a command in the dock answered."""

    code: int
    out: str
    err: str


class Shell:
    """root's shell, one connection shared by all commands."""

    def __init__(self, key: Path, control: Path) -> None:
        """`control`: a path for the socket of the shared connection. `port` is set when the dock listens."""
        self._key, self._control = key, control
        self.port = 0

    def run(self, command: str, *, check: bool = True, timeout: float = 120, stdin: bytes = b"") -> Said:
        """Run a shell command as root. Raises LabError when it fails, unless `check` is off."""
        done = subprocess.run([*self._ssh(), command], input=stdin, capture_output=True, timeout=timeout, check=False)
        said = Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        if check and said.code != 0:
            raise LabError(f"{command!r} ended with {said.code}:\n{said.out[-3000:]}{said.err[-3000:]}")
        return said

    def spawn(self, command: str) -> subprocess.Popen[str]:
        """Start a command and leave it running; its output, both streams, is `.stdout`."""
        return subprocess.Popen(
            [*self._ssh(), command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def put(self, source: Path, target: str) -> None:
        """Copy the content of a host folder, or one file, into a folder of the dock."""
        what = ["-C", str(source), "."] if source.is_dir() else ["-C", str(source.parent), source.name]
        packed = subprocess.run(["tar", "--owner=0", "--group=0", "-cf", "-", *what], capture_output=True, check=True)
        folder = shlex.quote(target)
        self.run(f"mkdir -p {folder} && tar -C {folder} -xf -", stdin=packed.stdout, timeout=300)

    def get(self, source: str, target: Path) -> None:
        """Copy a file or folder of the dock into a host folder."""
        target.mkdir(parents=True, exist_ok=True)
        folder, name = source.rsplit("/", 1)
        command = [*self._ssh(), f"tar -C {shlex.quote(folder or '/')} -cf - {shlex.quote(name)}"]
        packed = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-C", str(target), "-xf", "-"], input=packed.stdout, check=True)

    def _ssh(self) -> list[str]:
        options = {
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "BatchMode": "yes",
            "ControlMaster": "auto", "ControlPersist": "600", "ControlPath": str(self._control),
        }  # fmt: skip
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-q", "-F", "none", "-i", str(self._key), "-p", str(self.port), *words, "root@127.0.0.1"]

    def forward_loopback(self, port: int) -> int:
        """The port of the host's 127.0.0.1 that leads to this one of the dock's own loopback; through the shell."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ours: int = probe.getsockname()[1]
        tunnel = ["-O", "forward", "-L", f"127.0.0.1:{ours}:127.0.0.1:{port}"]
        self.run("true")  # there must be a connection to lead it through
        subprocess.run([*self._ssh(), *tunnel], capture_output=True, check=True)
        return ours

    def hang_up(self) -> None:
        """End the shared connection; the next command makes a new one."""
        subprocess.run([*self._ssh(), "-O", "exit"], capture_output=True, check=False)
