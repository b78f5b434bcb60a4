"""What the agent takes from a worker: its own words only, whatever the worker became."""

import asyncio
import sys

import pytest

from agent import wire
from agent.copies import Failed
from agent.errors import AgentError, SourceError, SourceUnreadable, VaultFull
from agent.worker_process import WorkerProcess


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
