"""What the agent takes from a worker: its own words only, whatever the worker became."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.copies import Failed
from agent.errors import AgentError, SourceError, SourceUnreadable, VaultFull
from agent.worker_process import PIPE_BYTES, WorkerProcess


def test_an_error_comes_back_as_its_class() -> None:
    assert isinstance(wire.error_from_json(wire.error_to_json(VaultFull())), VaultFull)


@pytest.mark.parametrize("frame", [{"t": "error"}, {"t": "error", "code": "store_untrusted", "en": "x", "zh": "x"}])
def test_a_worker_cannot_say_that_the_station_is_broken(frame: wire.Frame) -> None:
    error = wire.error_from_json(frame)
    assert isinstance(error, SourceError)
    assert error.code == SourceUnreadable.code


def test_a_failure_is_told_in_a_manifest_line_whatever_its_length() -> None:
    failed = wire.result_from_json(["failed", 1, "c" * 10**6, "d" * 10**6])
    assert isinstance(failed, Failed)
    assert len(failed.code) + len(failed.detail) <= 2 * wire.TEXT_MAX


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


@given(st.lists(st.binary(max_size=8) | st.text(max_size=12).map(str.encode), max_size=5).map(tuple))
def test_a_path_has_one_text_and_comes_back(path: tuple[bytes, ...]) -> None:
    text = wire.path_to_text(path)
    assert text == json.dumps([component.decode("latin-1") for component in path], separators=(",", ":"))
    assert wire.path_from_text(text) == path


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
