"""The agent's side of one worker process: start it, speak frames with it, and be rid of it whatever it does."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agent import wire
from agent.errors import SourceError, SourceGone, SourceStalled
from agent.source import SourcePlace

KILL_WAIT_SECONDS = 2.0
STALL_SECONDS = 200.0  # the kernel gives a bad sector up to five tries of 30 s each before it answers
SILENCE_SECONDS = 60.0  # without even an "alive": the process itself hangs
DISMISS_WAIT_SECONDS = 2.0
PIPE_BYTES = 64 << 10  # what is read ahead of us: a worker that is faster waits, and memory stays flat


def _ignore(_seconds: float) -> None:
    return


class WorkerProcess:
    """One camera's worker. A card that hangs in the kernel hangs only this process."""

    def __init__(self, process: Process) -> None:
        """Wrap a started process; use `start`."""
        self._process = process
        self._killed = asyncio.Event()
        self.on_waiting: Callable[[float], None] = _ignore  # told for how long the card has kept a read waiting
        self._lines: deque[bytes] = deque()
        self._begun = bytearray()  # of a frame that has not ended

    @classmethod
    async def start(cls, vault: Path, module: str = "agent.worker") -> WorkerProcess:
        """Start a worker that has no source yet, and wait until it is loaded. Raises SourceGone, SourceStalled.

        `module`: `agent.worker`, or `agent.secretworker`, which speaks other frames.
        """
        argv: list[str | Path] = [vault, str(os.getpid())]
        # -P: the working directory is never a place to import from. TZ: a camera's wall clock is kept as it is.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", module, *argv,
            stdin=PIPE, stdout=PIPE, limit=PIPE_BYTES, env={**os.environ, "TZ": "UTC"},
            start_new_session=True,
        )  # fmt: skip
        worker = cls(process)
        try:
            await worker._until_loaded()
        except BaseException:
            await worker.kill()
            raise
        return worker

    async def _until_loaded(self) -> None:
        if (await self.receive())["t"] != "loaded":
            raise wire.nonsense()

    async def open(self, source: SourcePlace, settle_seconds: float) -> None:
        """Give it its source; once."""
        place = str(source.absolute() if isinstance(source, Path) else source)  # see `parse_place`
        await self.send({"t": "open", "place": place, "settle_seconds": settle_seconds})

    @property
    def alive(self) -> bool:
        """Whether the process has not ended, as far as is known."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """For `doctor` and tests that measure memory."""
        return self._process.pid

    async def send(self, frame: wire.Frame) -> None:
        """Send one command; waits while the worker is behind. A worker that died is found by `receive`."""
        assert self._process.stdin is not None  # noqa: S101 - started with PIPE
        try:
            self._process.stdin.write(wire.encode_frame(frame))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return

    async def receive(self) -> wire.Frame:
        """The next frame. Raises the worker's own error, SourceStalled, or SourceGone when it died without a word."""
        while True:
            while not self._lines:
                try:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        await self._read_on()
                except TimeoutError:
                    raise SourceStalled from None
            frame = wire.decode_frame(self._lines.popleft())
            if frame["t"] == "error":
                raise wire.error_from_json(frame)
            if frame["t"] != "alive":
                return frame
            waiting_seconds = wire.seconds_from_json(frame)
            self.on_waiting(waiting_seconds)
            if waiting_seconds > STALL_SECONDS:
                raise SourceStalled

    async def _read_on(self) -> None:
        piece = await self._piece()
        if not piece:
            with suppress(TimeoutError):
                async with asyncio.timeout(KILL_WAIT_SECONDS):
                    await self._process.wait()
            raise worker_died(self._process.returncode)
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._lines.append(bytes(self._begun) + end)
            self._begun.clear()
        self._begun += rest
        if len(self._begun) > wire.FRAME_BYTES_MAX:
            raise wire.nonsense()

    async def _piece(self) -> bytes:
        """Some bytes; b"" at the end, and after `kill` even where the kernel does not let the process die."""
        assert self._process.stdout is not None  # noqa: S101 - started with PIPE
        reading = asyncio.ensure_future(self._process.stdout.read(PIPE_BYTES))
        killed = asyncio.ensure_future(self._killed.wait())
        try:
            await asyncio.wait((reading, killed), return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else b""
        finally:
            reading.cancel()
            killed.cancel()

    async def dismiss(self) -> None:
        """Nothing is under way: let it close its source, as a camera that keeps a session expects, or else kill it."""
        assert self._process.stdin is not None  # noqa: S101 - started with PIPE
        self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(DISMISS_WAIT_SECONDS):
                await self._process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it and wait a little; one that hangs in the kernel dies when the kernel lets go."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(KILL_WAIT_SECONDS):
                await self._process.wait()
        self._killed.set()
        # asyncio closes a pipe only when it was read to its end, and we may have stopped reading
        self._process._transport.close()  # type: ignore[attr-defined]  # there is no public way
        await asyncio.sleep(0)


class Workers:
    """Where dockings get their worker. Once `warm` was called some more are always loaded and idle: starting Python
    costs a small computer a second that the person at the dock would wait for."""

    def __init__(self, vault: Path) -> None:
        """No process is started."""
        self._vault = vault
        self._wanted = 0
        self._spares: deque[asyncio.Task[WorkerProcess]] = deque()

    async def warm(self, spares: int) -> None:
        """Keep so many from now on; returns when they are loaded, or have failed to load."""
        self._wanted = spares
        self._refill()
        await asyncio.wait([*self._spares])

    async def take(self, source: SourcePlace, settle_seconds: float) -> WorkerProcess:
        """A worker on `source`, the caller's to end. Raises SourceGone, SourceStalled when none can be loaded."""
        worker = None
        if self._spares:
            with suppress(SourceError, OSError):  # a spare that was lost says nothing of this camera
                worker = await self._spares.popleft()
        if worker is None or not worker.alive:
            worker = await WorkerProcess.start(self._vault)
        self._refill()
        await worker.open(source, settle_seconds)
        return worker

    async def close(self) -> None:
        """End the spares."""
        self._wanted = 0
        while self._spares:
            spare = self._spares.popleft()
            spare.cancel()  # while it loads, it ends itself
            await asyncio.wait([spare])
            if not spare.cancelled() and spare.exception() is None:
                await spare.result().kill()

    def _refill(self) -> None:
        while len(self._spares) < self._wanted:
            self._spares.append(asyncio.ensure_future(WorkerProcess.start(self._vault)))


def worker_died(code: int | None) -> SourceGone:
    """The worker ended without a word: killed, or brought down by the card it was reading."""
    error = SourceGone()
    error.en = (
        f"The process that reads this camera ended unexpectedly ({code}). Files already reported are safe. Connect the "
        "camera again: copying goes on where it stopped."
    )
    error.zh = f"读取该记录仪的进程意外结束（{code}）。已报告的文件均安全。请重新连接记录仪，将从中断处继续复制。"
    error.args = (error.en,)
    return error
