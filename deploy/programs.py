"""The programs that `deploy/try` starts, as children of its process, and the questions it asks them."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub.broker import die_with_parent

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180  # a program that cannot start ends, and is told at once; a busy machine only takes long
STOP_SECONDS = 15


class TrialError(Exception):
    """The trial cannot go on; the message says what happened and what to do."""


def tool(name: str, *arguments: str | Path) -> list[str]:
    """The command line of one of our programs, from this checkout and with this Python."""
    module = {"dock-hub": "hub.app", "dock-agent": "agent.app", "custody": "custody.cli"}[name]
    return [sys.executable, "-m", module, *map(str, arguments)]


def answer(command: list[str]) -> Any:
    """Run a command that prints JSON. Raises TrialError with its own words when it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TrialError(f"{' '.join(command[2:])} ended with {done.returncode}:\n{done.stderr.strip()}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def free_port(wanted: int) -> int:
    """`wanted` when it is free, else one above it: a trial keeps its port, so none that the system gives to others."""
    for port in range(wanted, wanted + 1000, 10):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            number: int = probe.getsockname()[1]
            return number
    raise TrialError("No free TCP port on 127.0.0.1.")


class Programs:
    """The running children, in the order of their start."""

    def __init__(self, logs: Path) -> None:
        """Each program's output goes to `logs`/NAME.log, appended."""
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._began: dict[str, int] = {}  # bytes that each log held before this start

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def start(self, name: str, command: list[str]) -> None:
        """Start one program, its output going to its log. A session of its own keeps the terminal's Ctrl-C from it."""
        with self._log(name).open("ab") as log:
            self._began[name] = log.tell()
            self._running[name] = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 (this process has one thread)
            )  # fmt: skip

    def check(self) -> None:
        """Raise TrialError with the last words of a program that has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                said = self._log(name).read_bytes()[self._began[name] :].decode(errors="replace")
                tail = said.splitlines()[-15:]
                raise TrialError(f"{name} ended with {process.returncode}. {self._log(name)}:\n" + "\n".join(tail))

    def stop(self) -> None:
        """End all, the last started first, so that each can still say goodbye to the one before."""
        for name, process in reversed(self._running.items()):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                print(f"{name} did not end within {STOP_SECONDS} s and was killed", file=sys.stderr)
                process.kill()
                process.wait()


def wait_for(what: str, programs: Programs, is_there: Callable[[], bool]) -> None:
    """Poll `is_there` until it is true. Raises TrialError when a program ends or START_SECONDS pass."""
    deadline = time.monotonic() + START_SECONDS
    while not is_there():
        programs.check()
        if time.monotonic() > deadline:
            raise TrialError(f"{what} did not answer within {START_SECONDS} s; see the log directory.")
        time.sleep(0.1)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_ready(url: str) -> bool:
    """Whether the hub's readiness page answers 200."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as reply:  # noqa: S310 (always our own http address)
            return int(reply.status) == 200
    except (urllib.error.URLError, OSError):
        return False
