"""Serves the screen inside the agent's own event loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

log = logging.getLogger("agent.kiosk")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: stopping is the agent's business."""

    def __init__(self, config: uvicorn.Config, up: asyncio.Event) -> None:
        super().__init__(config)
        self._up = up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_kiosk(app: FastAPI, port: int, up: asyncio.Event) -> None:
    """Serve on loopback until cancelled; `up` is set once it answers. Whoever cancels has closed the board.

    A port that is taken costs the dock its screen, never its work.
    """
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        log.error("kiosk_without_port port=%d why=%s", port, error)  # noqa: TRY400 - no fault of ours to trace
        return
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=5
    )
    server = _Server(config, up)
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await asyncio.wait([serving])
        raise
    finally:
        listening.close()
