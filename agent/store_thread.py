"""The one thread that the store belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from agent.store import Store

T_ = TypeVar("T_")


class StoreThread:
    """The one thread that the store belongs to; the event loop awaits its answers and never blocks on a disk."""

    def __init__(self, store: Store) -> None:
        """Take over `store`."""
        self._store = store
        self._pool = ThreadPoolExecutor(1, "store")

    async def call(self, function: Callable[..., T_], *args: Any) -> T_:
        """Run ``function(store, *args)`` in the store's thread, in the order of the calls. Raises StoreUntrusted."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, function, *args)

    def _run(self, function: Callable[..., T_], *args: Any) -> T_:
        with self._store.translated():
            return function(self._store, *args)

    def close(self) -> None:
        """Let queued work finish, then close the store."""
        self._pool.submit(self._store.close).result()
        self._pool.shutdown()
