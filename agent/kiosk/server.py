"""Serves the screen inside the agent's own event loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

log = logging.getLogger("agent.kiosk")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: stopping is the agent's business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_kiosk(app: FastAPI, port: int) -> None:
    """Serve on loopback until cancelled. A port that is taken costs the dock its screen, never its work."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off", ws="none",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    try:
        await _Server(config).serve()
    except SystemExit:  # how uvicorn says that it could not listen
        log.error("kiosk_without_port port=%d", port)  # noqa: TRY400 - uvicorn has logged the cause
