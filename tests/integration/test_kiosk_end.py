"""The agent stops while its screen is open in a browser."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from agent.opening import open_dock
from tests.e2e.kiosk_scene import kiosk, scene
from tests.ports import free_port


async def _follow(port: int, first: asyncio.Event) -> bytes:
    """Everything that the live connection gives until the dock ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    got = await reader.readuntil(b"data: ")
    first.set()
    got += await reader.read()
    writer.close()
    return got


async def test_stopping_ends_the_screens_connection_at_once_and_without_a_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    port, first = free_port(), asyncio.Event()
    with open_dock(tmp_path / "vault", tmp_path) as opened:
        async with kiosk(opened, port, scene()):
            following = asyncio.create_task(_follow(port, first))
            async with asyncio.timeout(30):
                await first.wait()
        assert (await following).endswith(b"0\r\n\r\n")  # the stream came to its end
    assert [record.getMessage() for record in caplog.records] == []  # such as that it broke off a connection
