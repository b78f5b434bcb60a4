"""What the agent hears from a process that is no worker of ours any more."""

import asyncio
import sys
from pathlib import Path

import pytest

from agent import wire
from agent.errors import AgentError, SourceError, SourceUnreadable
from agent.worker_process import PIPE_BYTES, WorkerProcess


@pytest.mark.parametrize("says", ["nonsense\n", "[1]\n", '{"t":5}\n', "x" * 5000, "[" * 3000 + "\n"])
def test_nonsense_of_any_kind_is_an_error_of_the_source(says: str) -> None:
    async def ask() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", f"import sys; sys.stdout.write({says!r})",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1000,
        )  # fmt: skip
        worker = WorkerProcess(process)
        try:
            await worker.receive()
        finally:
            await process.communicate()

    with pytest.raises(AgentError) as caught:
        asyncio.run(ask())
    assert isinstance(caught.value, SourceError)


async def _worker(program: str) -> WorkerProcess:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdin=pipe, stdout=pipe, limit=PIPE_BYTES
    )
    return WorkerProcess(process)


def test_a_worker_that_is_faster_than_we_are_waits(tmp_path: Path) -> None:
    """What it says before we listen stays with it: else a card of many files would fill our memory."""
    said = tmp_path / "said"
    program = (
        "import json\n"
        f"with open({str(said)!r}, 'w', buffering=1) as said:\n"
        "    for n in range(4000):\n"
        "        print(json.dumps({'t': 'results', 'n': n, 'items': 'x' * 5000}), flush=True)\n"
        "        print(n, file=said)\n"
    )

    async def listen() -> list[int]:
        worker = await _worker(program)
        try:
            numbers = [(await worker.receive())["n"]]
            await asyncio.sleep(1)
            assert len(said.read_text().split()) * 5000 < 1 << 20
            return numbers + [(await worker.receive())["n"] for _ in range(3999)]
        finally:
            await worker.kill()

    assert asyncio.run(listen()) == list(range(4000))


def test_frames_of_any_length_up_to_the_greatest_arrive_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FRAME_BYTES_MAX", 1 << 20)
    sizes = (10, 3 * PIPE_BYTES, 0, (1 << 20) - 100, 2 << 20)
    program = f"import json\nfor size in {sizes}: print(json.dumps({{'t': 'x', 'text': 'y' * size}}))"

    async def listen() -> None:
        worker = await _worker(program)
        try:
            for size in sizes[:-1]:
                assert len((await worker.receive())["text"]) == size
            with pytest.raises(SourceUnreadable):
                await worker.receive()
        finally:
            await worker.kill()

    asyncio.run(listen())
