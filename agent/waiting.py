"""Waiting for an event for so long, and no longer."""

from __future__ import annotations

import asyncio


async def happened(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether `event` was set within `seconds`; None waits for it.

    Not `asyncio.wait_for`: before Python 3.12 it loses a cancellation that comes together with the event, and a task
    of the agent that outlives its cancellation keeps the whole agent from ending.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
