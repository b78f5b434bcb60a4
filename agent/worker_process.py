"""The agent's side of one worker process: start it, speak frames with it, and be rid of it whatever it does."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from pathlib import Path

from agent import wire
from agent.errors import SourceGone

KILL_WAIT_SECONDS = 2.0
PIPE_BYTES = 64 << 10  # what is read ahead of us: a worker that is faster waits, and memory stays flat


class WorkerProcess:
    """One camera's worker. A card that hangs in the kernel hangs only this process."""

    def __init__(self, process: Process) -> None:
        """Wrap a started process; use `start`."""
        self._process = process
        self._lines: deque[bytes] = deque()
        self._begun = bytearray()  # of a frame that has not ended

    @classmethod
    async def start(cls, source: Path, vault: Path, settle_seconds: float) -> WorkerProcess:
        """Start a worker on `source`."""
        argv: list[str | Path] = [source, vault, str(settle_seconds), str(os.getpid())]
        # -P: the working directory is never a place to import from. TZ: a camera's wall clock is kept as it is.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "agent.worker", *argv,
            stdin=PIPE, stdout=PIPE, limit=PIPE_BYTES, env={**os.environ, "TZ": "UTC"},
            start_new_session=True,
        )  # fmt: skip
        return cls(process)

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
        """The next frame. Raises the worker's own error, or SourceGone when it died without one."""
        while not self._lines:
            await self._read_on()
        frame = wire.decode_frame(self._lines.popleft())
        if frame["t"] == "error":
            raise wire.error_from_json(frame)
        return frame

    async def _read_on(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - started with PIPE
        piece = await self._process.stdout.read(PIPE_BYTES)
        if not piece:
            raise worker_died(await self._process.wait())
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._lines.append(bytes(self._begun) + end)
            self._begun.clear()
        self._begun += rest
        if len(self._begun) > wire.FRAME_BYTES_MAX:
            raise wire.nonsense()

    async def kill(self) -> None:
        """End it and wait a little; one that hangs in the kernel dies when the kernel lets go."""
        if self._process.returncode is not None:
            return
        try:
            self._process.kill()
        except ProcessLookupError:
            return
        try:
            await asyncio.wait_for(self._process.wait(), KILL_WAIT_SECONDS)
        except TimeoutError:
            return


def worker_died(code: int) -> SourceGone:
    """The worker ended without a word: killed, or brought down by the card it was reading."""
    error = SourceGone()
    error.en = (
        f"The process that reads this camera ended unexpectedly ({code}). Files already reported are safe. Connect the "
        "camera again: copying goes on where it stopped."
    )
    error.zh = f"读取该记录仪的进程意外结束（{code}）。已报告的文件均安全。请重新连接记录仪，将从中断处继续复制。"
    error.args = (error.en,)
    return error
