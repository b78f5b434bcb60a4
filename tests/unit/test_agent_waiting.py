"""Waiting for an event never loses a cancellation, whatever comes together."""

from __future__ import annotations

import asyncio

import pytest

from agent.waiting import happened


async def test_it_says_whether_the_event_came() -> None:
    event = asyncio.Event()
    assert not await happened(event, 0.001)
    event.set()
    assert await happened(event, 0.0)
    assert await happened(event, None)


async def test_a_cancellation_that_comes_with_the_event_is_not_lost() -> None:
    """With `asyncio.wait_for` the task would go on for ever."""
    event = asyncio.Event()

    async def loop() -> None:
        while True:
            await happened(event, 10)
            event.clear()

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    event.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
