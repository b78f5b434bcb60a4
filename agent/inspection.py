"""What a card says before it is docked, asked of a separate, limited process: believed in the types of its answer only.

A card that hangs or crashes that process costs it alone and is one error here.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import wire
from agent.errors import InspectionFailed, SourceError
from agent.freespace import Space
from agent.profiles.globs import Glob
from agent.source import SourceFacts

TIMEOUT_SECONDS = 60.0
WALK_SECONDS = 30.0  # a walk that takes longer ends there: the sample is what was met so far
KILL_WAIT_SECONDS = 2.0
ANSWER_BYTES_MAX = 32 << 20
_NUMBER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Sampled:
    """One file of the sample."""

    path: tuple[bytes, ...]
    size_bytes: int
    modified_ns: int | None  # in the source's `time_basis`


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a source said of itself. `spaces`: one per volume, in the order of `facts`; () for folders.

    `whole`: all files were counted. `newest_ns`: the latest modification time of them, in the source's `time_basis`.
    """

    facts: SourceFacts
    spaces: tuple[Space, ...]
    files: int
    size_bytes: int
    findings: int
    newest_ns: int | None
    whole: bool
    sample: tuple[Sampled, ...]  # breadth first, at most 20 of a folder, 200 of a top folder, 2000 in all
    contents: dict[tuple[bytes, ...], bytes] = field(default_factory=dict)  # of wanted files up to 64 KiB

    @property
    def paths(self) -> list[tuple[bytes, ...]]:
        """The paths of the sample, for recognition."""
        return [sampled.path for sampled in self.sample]

    @property
    def free_bytes(self) -> int | None:
        """Free space of the largest volume, where a camera records; None: unknown."""
        largest = max(self.spaces, key=lambda space: space.total_bytes, default=None)
        return largest.free_bytes if largest else None


def inspect_source(source: Path, wanted: Iterable[Glob] = (), timeout_seconds: float = TIMEOUT_SECONDS) -> Inspection:
    """Look at a folder, card image or block device in a process of its own. Blocks: call it in a thread.

    Raises SourceUnreadable, NotAFileSystem, SourceGone as `card.open_source` does, and InspectionFailed when the
    process hangs, crashes or answers nonsense.
    """
    return Inspector().look(source, wanted, timeout_seconds)


class Inspector:
    """The process, for one source; started at once. Whoever does not `look` calls `end`."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        self._ours, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "agent.inspector", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={"LC_ALL": "C.UTF-8", "TZ": "UTC"},  # nothing of ours: settings may name secrets
            )

    def look(self, source: Path, wanted: Iterable[Glob], timeout_seconds: float = TIMEOUT_SECONDS) -> Inspection:
        """See `inspect_source`; the process ends with it."""
        try:
            request = {
                "t": "inspect", "source": os.fsencode(source).decode("latin-1"),
                "wanted": [glob.text for glob in wanted], "seconds": min(WALK_SECONDS, timeout_seconds / 2),
            }  # fmt: skip
            line = _exchange(self._ours, wire.encode_frame(request), time.monotonic() + timeout_seconds)
        finally:
            self.end()
        return parse_answer(line)

    def loaded(self, timeout_seconds: float = TIMEOUT_SECONDS) -> bool:
        """Wait until it has loaded; whether it has. Never beside `look` in another thread."""
        self._ours.settimeout(timeout_seconds)
        try:
            return self._ours.recv(1, socket.MSG_PEEK) == wire.LOADED
        except OSError:
            return False

    def end(self) -> None:
        """Be rid of it; one that hangs in the kernel dies when the kernel lets go."""
        self._ours.close()
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(KILL_WAIT_SECONDS)


class Inspectors:
    """Keeps some inspectors loaded and idle, as `worker_process.Workers` does. For any thread."""

    def __init__(self, spares: int = 1) -> None:
        """No process is started before `refill`, which keeps so many `spares`."""
        self._lock = threading.Lock()
        self._wanted = spares
        self._spares: deque[Inspector] = deque()

    def look(self, source: Path, wanted: Iterable[Glob]) -> Inspection:
        """See `inspect_source`. A spare that died meanwhile is no verdict on the card: a fresh one looks then."""
        with self._lock:
            spare = self._spares.popleft() if self._spares else None
        if spare is None:
            return inspect_source(source, wanted)
        wanted = list(wanted)
        try:
            return spare.look(source, wanted)
        except InspectionFailed:
            return inspect_source(source, wanted)

    def refill(self) -> None:
        """Start what is missing. Raises OSError."""
        with self._lock:
            while len(self._spares) < self._wanted:
                self._spares.append(Inspector())

    def warm(self) -> None:
        """`refill`, but wait until they are loaded; one that cannot be is replaced when it is needed."""
        fresh = [Inspector() for _ in range(self._wanted)]
        for one in fresh:
            one.loaded()
        with self._lock:
            while fresh and len(self._spares) < self._wanted:
                self._spares.append(fresh.pop())
        for one in fresh:
            one.end()

    def close(self) -> None:
        """End the spares; none is started any more."""
        with self._lock:
            self._wanted = 0
            while self._spares:
                self._spares.pop().end()


def parse_answer(line: bytes) -> Inspection:
    """The inspector's answer. Pure. Raises the error that it says, or InspectionFailed for nonsense."""
    try:
        frame = wire.decode_frame(line)
    except SourceError as error:
        raise _nonsense() from error
    if frame["t"] == "error":
        said = wire.error_from_json(frame)
        raise said if isinstance(said, SourceError) else _nonsense()  # it has no vault that could fail
    try:
        return _inspection(frame)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _nonsense() from error


def _exchange(ours: socket.socket, request: bytes, deadline: float) -> bytes:
    """Raises InspectionFailed."""
    pieces, size = [], 0
    try:
        ours.settimeout(max(0.001, deadline - time.monotonic()))
        ours.sendall(request)
        if ours.recv(1) != wire.LOADED:
            raise InspectionFailed("the reading process broke off", "读取进程中断")
        while True:
            ours.settimeout(max(0.001, deadline - time.monotonic()))
            piece = ours.recv(1 << 20)
            pieces.append(piece)
            size += len(piece)
            if piece.endswith(b"\n"):
                return b"".join(pieces)
            if not piece:
                raise InspectionFailed("the reading process broke off", "读取进程中断")
            if size > ANSWER_BYTES_MAX:
                raise _nonsense()
    except TimeoutError as error:
        raise InspectionFailed("the card did not answer in time", "存储卡未在限定时间内应答") from error
    except OSError as error:
        raise InspectionFailed("the reading process broke off", "读取进程中断") from error


def _inspection(frame: dict[str, Any]) -> Inspection:
    """Raises what wrong types raise."""
    if frame["t"] != "inspection":
        raise ValueError("not an inspection")
    facts = wire.facts_from_json(frame["facts"])
    _maybe(facts.size_bytes)
    if not all(isinstance(text, str) for text in (*facts.file_systems, *facts.labels, *facts.volume_ids)):
        raise ValueError("not text")
    return Inspection(
        facts,
        tuple(Space(_count(total), _maybe(free), bool(exact)) for total, free, exact in frame["spaces"]),
        _count(frame["files"]),
        _count(frame["size_bytes"]),
        _count(frame["findings"]),
        _maybe(frame["newest_ns"], -_NUMBER_MAX),
        bool(frame["whole"]),
        tuple(
            Sampled(wire.path_from_text(path), _count(size), _maybe(modified, -_NUMBER_MAX))
            for path, size, modified in frame["sample"]
        ),
        {wire.path_from_text(path): base64.b64decode(content, validate=True) for path, content in frame["contents"]},
    )


def _count(value: Any, low: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= _NUMBER_MAX:
        raise ValueError("not a number")
    return value


def _maybe(value: Any, low: int = 0) -> int | None:
    return None if value is None else _count(value, low)


def _nonsense() -> InspectionFailed:
    return InspectionFailed("the reading process answered nonsense", "读取进程应答异常")
