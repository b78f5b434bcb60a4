"""Opening in a process of its own: it checks signatures and makes index rows while ours commits.

Threads would share the interpreter lock: they gave it away and took it back at every signature, and the committing
thread at every statement, and each waited for the other. Nothing depends on the process: whatever it was asked and did
not answer when it ends or hangs is opened here, and another one is started. It answers in the order asked, over two
pipes, in `marshal` (it is our own process; plain tuples cost a third of pickled objects). It ends when its pipe does,
hence with us, however we end.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import marshal
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from hub.opening import Link, Message, Opened, Refused, StationKeys, open_all
from hub.states import State
from hub.stationkeys import station_key

logger = logging.getLogger("hub.opener")

PATIENCE_SECONDS = 10.0  # an answer takes milliseconds
RESTART_SECONDS = 1.0
_SMALLEST = 16  # fewer are opened at once: the way there and back would take longer
_HEADER_BYTES = 4
_PIPE_BYTES = 1 << 20  # nobody moves anything while we commit: so much is in the pipe for it to go on with


class Opening:
    """Messages that are being opened, in the order given."""

    def __init__(self, opener: Opener, messages: Sequence[Message], keys: StationKeys) -> None:
        """`keys` as known when this began."""
        self.messages, self.keys = messages, keys
        self.opened: list[Opened] | None = None
        self._opener = opener

    def done(self) -> bool:
        """Whether `result` would return at once."""
        if self.opened is None:
            self._opener.move(0.0)
        return self.opened is not None

    def result(self) -> list[Opened]:
        """What became of the messages; waits for it, but no longer than `PATIENCE_SECONDS`."""
        until = time.monotonic() + PATIENCE_SECONDS  # from now: a slow commit of ours is no delay of the opener
        while self.opened is None:
            self._opener.move(until - time.monotonic())
        return self.opened


class Opener:
    """The process, started by `start` or when first needed. Belongs to one thread."""

    def __init__(self, utc_offset_minutes: int) -> None:
        """`utc_offset_minutes`: see `hub.projections.project`."""
        self._offset = utc_offset_minutes
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: deque[Opening] = deque()
        self._unsent, self._unread = bytearray(), bytearray()
        self._ready = False  # it has greeted; until then, about a second, everything is opened here
        self._told: StationKeys = {}  # the keys that the process knows
        self._start_at = 0.0

    def start(self) -> bool:
        """Start the process unless it runs; whether it is up."""
        if self._process is None and time.monotonic() >= self._start_at:
            command = [sys.executable, "-m", "hub.opener", str(self._offset)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            for end in _ends(self._process):
                os.set_blocking(end, False)
                with suppress(OSError):  # where the system allows less, it only waits for us more often
                    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            self._told = {}
        if self._process and not self._ready:
            self.move(0.0)
        return self._ready

    def begin(self, messages: Sequence[Message], keys: StationKeys) -> Opening:
        """Begin to open messages; few of them are opened before this returns."""
        opening = Opening(self, messages, keys)
        if len(messages) < _SMALLEST or not self.start():
            opening.opened = open_all(messages, keys, self._offset)
            return opening
        lines = {} if keys is self._told else {name: [key.line for key in had] for name, had in keys.items()}
        self._told = keys
        self._asked.append(opening)
        self._unsent += _frame((lines, [(m.topic, m.raw, m.station, m.opening) for m in messages]))
        self.move(0.0)
        return opening

    def move(self, seconds: float) -> None:
        """Send and receive what can be within so long; no time left or the process lost: it is opened here."""
        if self._process is None or seconds < 0:
            self._give_up("no answer")
            return
        to_it, from_it = _ends(self._process)
        try:
            readable, writable, _ = select.select([from_it], [to_it] if self._unsent else [], [], seconds)
            if writable:
                del self._unsent[: os.write(to_it, self._unsent)]
            if readable:
                self._receive(from_it)
        except (OSError, EOFError, ValueError, TypeError) as error:
            self._give_up(repr(error))

    def close(self) -> None:
        """End the process."""
        if self._process:
            self._process.kill()
            with self._process:  # closes the pipes and waits
                pass
        self._process, self._ready = None, False

    def _receive(self, from_it: int) -> None:
        part = os.read(from_it, _PIPE_BYTES)
        if not part:
            raise EOFError("it ended")
        self._unread += part
        while len(self._unread) >= _HEADER_BYTES:
            end = _HEADER_BYTES + int.from_bytes(self._unread[:_HEADER_BYTES])
            if len(self._unread) < end:
                return
            answers = marshal.loads(memoryview(self._unread)[_HEADER_BYTES:end].tobytes())  # noqa: S302 (our process)
            del self._unread[:end]
            if not self._ready:
                self._ready = True
                continue
            opening = self._asked[0]
            opening.opened = [_from_plain(m, a) for m, a in zip(opening.messages, answers, strict=True)]
            self._asked.popleft()

    def _give_up(self, reason: str) -> None:
        logger.error("opener_lost reason=%r asked=%d", reason, len(self._asked))
        self.close()
        self._start_at = time.monotonic() + RESTART_SECONDS
        self._unsent.clear()
        self._unread.clear()
        while self._asked:
            opening = self._asked.popleft()
            opening.opened = open_all(opening.messages, opening.keys, self._offset)


def _ends(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Where to write to it and where to read from it."""
    assert process.stdin is not None  # noqa: S101 - made with both pipes
    assert process.stdout is not None  # noqa: S101
    return process.stdin.fileno(), process.stdout.fileno()


def _frame(value: Any) -> bytes:
    body = marshal.dumps(value)
    return len(body).to_bytes(_HEADER_BYTES) + body


def _to_plain(opened: Opened) -> tuple[Any, ...]:
    match opened:
        case Link(_, station, seq, previous, sha256, kind, at, draft, unread, line, next_line, shown, signals, wrong):
            lines = line, next_line
            return "link", station, seq, previous, sha256, kind, at, draft, unread, *lines, shown, signals, wrong
        case State(station, bay, json, online):
            return "state", station, bay, json, online
        case Refused(_, reason):
            return "refused", reason


def _from_plain(message: Message, plain: tuple[Any, ...]) -> Opened:
    kind, *values = plain
    if kind == "link":
        return Link(message, *values)
    return State(*values) if kind == "state" else Refused(message, *values)


def serve(asked: BinaryIO, answers: BinaryIO, utc_offset_minutes: int) -> None:
    """The process: answer until the other end goes."""
    keys: StationKeys = {}
    answers.write(_frame("ready"))
    answers.flush()
    while header := asked.read(_HEADER_BYTES):
        lines, messages = marshal.loads(asked.read(int.from_bytes(header)))  # noqa: S302 (the process that made us)
        if lines:
            keys = {name: [station_key(line) for line in had] for name, had in lines.items()}
        opened = open_all([Message(*m) for m in messages], keys, utc_offset_minutes)
        answers.write(_frame([_to_plain(one) for one in opened]))
        answers.flush()


def main() -> None:
    """Started by `Opener` with pipes as standard input and output."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # they go to the whole group; the hub ends us when it is done
    gc.freeze()
    gc.disable()  # envelopes hold no cycles
    with suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))


if __name__ == "__main__":
    main()
