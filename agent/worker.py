"""The process of one docked camera: lists its source and copies what the agent asks for.

``python -m agent.worker VAULT PARENT_PID``; frames of `wire` on stdin and stdout:

    worker: {"t":"loaded"}                   first, once; it may wait a long time for what follows
    agent: {"t":"open","place":…,"settle_seconds":…}     once
    agent: {"t":"list"}                      worker: facts, entries…, findings…, listed
    agent: {"t":"copy","items":[…]}… , end   worker: results…, progress…, copied_all
    both may repeat; the worker ends when stdin does. "alive" comes every `ALIVE_SECONDS` and says for how long the
    card has kept a read waiting.

It holds no key and no database. What it reports as copied is fsynced, read back from the disk and under its final name.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from agent.card import open_source
from agent.copies import CopyItem, Result
from agent.errors import AgentError
from agent.medium import ReadClock
from agent.source import Entry, Source, SourcePlace, parse_place
from agent.transfer import copy_items
from agent.wire import (
    BATCH,
    Frame,
    decode_frame,
    encode_frame,
    entry_to_json,
    error_to_json,
    facts_to_json,
    finding_to_json,
    item_from_json,
    result_to_json,
)

REPORT_SECONDS = 0.2
ALIVE_SECONDS = 1.0
BATCH_NAME_BYTES = 1 << 20  # a frame stays far below `wire.FRAME_BYTES_MAX`, as JSON too
PR_SET_PDEATHSIG = 1


class Reporter:
    """Sends results in batches and progress at most every `REPORT_SECONDS`, from a thread of its own."""

    def __init__(self, out: BinaryIO, clock: ReadClock) -> None:
        """Start reporting to `out`; `clock` is that of the source."""
        self._out, self._clock = out, clock
        self._alive_at = 0.0
        self._lock = threading.Lock()
        self._results: list[list[object]] = []
        self._progress: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        """Send a frame now, after everything that was reported before it."""
        with self._lock:
            self._flush()
            self._out.write(encode_frame(frame))
            self._out.flush()

    def result(self, result: Result) -> None:
        """Queue one result."""
        with self._lock:
            self._results.append(result_to_json(result))
            self._progress.pop(result.n, None)
            if len(self._results) >= BATCH:
                self._flush()

    def progress(self, n: int, bytes_done: int) -> None:
        """Note how far item `n` is."""
        with self._lock:
            self._progress[n] = bytes_done

    def _run(self) -> None:
        while not self._stop.wait(REPORT_SECONDS):
            with self._lock:
                self._flush()
                self._say_alive()

    def _say_alive(self) -> None:
        now = time.monotonic()
        if now - self._alive_at >= ALIVE_SECONDS:
            self._alive_at = now
            self._out.write(encode_frame({"t": "alive", "waiting_seconds": round(self._clock.waiting_seconds(), 1)}))
            self._out.flush()

    def _flush(self) -> None:
        if self._results:
            self._out.write(encode_frame({"t": "results", "items": self._results}))
            self._results = []
        if self._progress:
            self._out.write(encode_frame({"t": "progress", "items": list(self._progress.items())}))
            self._progress.clear()
        self._out.flush()


def list_source(source: Source, report: Reporter) -> None:
    """Send everything the source lists, in batches: memory stays flat for any number of files and length of names."""
    report.send({"t": "facts", "facts": facts_to_json(source.facts)})
    entries: list[list[object]] = []
    findings: list[list[object]] = []
    name_bytes = 0
    for met in source.entries():
        name_bytes += sum(map(len, met.path))
        if isinstance(met, Entry):
            entries.append(entry_to_json(met))
        else:
            findings.append(finding_to_json(met))
        if len(entries) + len(findings) >= BATCH or name_bytes >= BATCH_NAME_BYTES:
            report.send({"t": "listing", "entries": entries, "findings": findings})
            entries, findings, name_bytes = [], [], 0
    report.send({"t": "listing", "entries": entries, "findings": findings})
    report.send({"t": "listed"})


def wanted_items(commands: BinaryIO) -> Iterator[CopyItem]:
    """Items that the agent asks for, until it says end."""
    for line in commands:
        frame = decode_frame(line)
        if frame["t"] == "end":
            return
        yield from map(item_from_json, frame["items"])


def serve(
    place: SourcePlace, vault: Path, settle_seconds: float, clock: ReadClock, commands: BinaryIO, report: Reporter
) -> None:
    """Answer the agent's commands until stdin ends. Raises AgentError for what ends this docking."""
    source = open_source(place, settle_ns=int(settle_seconds * 1e9), clock=clock)
    try:
        while line := commands.readline():
            match decode_frame(line):
                case {"t": "list"}:
                    list_source(source, report)
                case {"t": "copy", "items": items}:
                    first = [item_from_json(item) for item in items]
                    for result in copy_items(source, _chain(first, commands), vault, report.progress):
                        report.result(result)
                    report.send({"t": "copied_all"})
                case {"t": other}:
                    raise ValueError(f"unknown command {other!r}")
    finally:
        source.close()


def _chain(first: list[CopyItem], commands: BinaryIO) -> Iterator[CopyItem]:
    yield from first
    yield from wanted_items(commands)


def main() -> int:
    """Entry point of the worker process."""
    vault = Path(sys.argv[1])
    # A worker that outlived its agent could name a file in a docking that the next agent has closed already.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[2]):
        return 1
    # Frames own stdout: whatever a library prints must not land between them.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    out.write(encode_frame({"t": "loaded"}))
    out.flush()
    if not (first := sys.stdin.buffer.readline()):
        return 0
    order, clock = decode_frame(first), ReadClock()
    report = Reporter(out, clock)
    try:
        serve(parse_place(order["place"]), vault, order["settle_seconds"], clock, sys.stdin.buffer, report)
    except AgentError as error:
        report.send(error_to_json(error))
        return int(error.exit_code)
    except BrokenPipeError:  # the agent is gone; what is durable stays durable
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
