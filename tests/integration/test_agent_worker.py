"""What the agent hears from a process that is no worker of ours any more."""

import asyncio
import sys

import pytest

from agent.errors import AgentError, SourceError
from agent.worker_process import WorkerProcess


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
