"""The process that serves footage, and the agent's side of it, which keeps it running.

It has neither the station's key nor a camera: what reaches it from the network can, at worst, read the vault and the
station's database.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
from pathlib import Path

import uvicorn

from agent.commands import Trust
from agent.settings import Settings, load_settings
from agent.store import Store
from agent.store_thread import StoreThread
from agent.viewing.offer import load_or_create_certificate
from agent.viewing.server import Ground, ViewingApp

log = logging.getLogger("agent.viewing")

RESTART_SECONDS = 5.0
_STOP_SECONDS = 5.0
_NICE = 10  # docking goes first


async def keep_serving(settings: Settings, station: str) -> None:
    """Run the process until cancelled; one that ends is started again. A dock docks on without it."""
    words = [sys.executable, "-P", "-m", "agent.viewing", str(settings.directory), station, str(os.getpid())]
    while True:
        child = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL)
        try:
            code = await child.wait()
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.terminate()
                await _ended(child)
        log.error("viewing_ended code=%d again_in_seconds=%.0f", code, RESTART_SECONDS)
        await asyncio.sleep(RESTART_SECONDS)


async def _ended(child: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_STOP_SECONDS + 1):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


def make_ground(settings: Settings, station: str, store: Store) -> Ground:
    """What the server works with. Raises ValueError for a station whose enrolment pinned no command key."""
    link = settings.link
    if link is None or link.command_key is None:
        raise ValueError("without the hub's command key nobody can ask for footage")
    return Ground(
        station, settings.vault, StoreThread(store), Trust(link.command_key, link.log_key, {}, link.receipt_key)
    )


async def serve(directory: Path, station: str) -> None:
    """Serve until SIGTERM. Raises OSError when the address cannot be listened on."""
    settings = load_settings(directory)
    host, port = settings.viewing_address()
    path, _ = load_or_create_certificate(directory, station)
    ground = make_ground(settings, station, Store(directory / "station.db"))
    app = ViewingApp(ground)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", ws="none", ssl_certfile=path, ssl_keyfile=path,
        timeout_graceful_shutdown=int(_STOP_SECONDS), timeout_keep_alive=30, limit_concurrency=64,
    )  # fmt: skip
    config.load()
    assert config.ssl is not None  # noqa: S101 - by the files above
    config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    with contextlib.suppress(OSError):  # a sandbox may refuse it
        os.nice(_NICE)
    listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # accepted sockets inherit it; asyncio sets it only where a socket names its protocol. Else every answer waits 40 ms
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    clock = asyncio.create_task(app.keep_clock(), name="clock")
    serving = asyncio.create_task(uvicorn.Server(config).serve(sockets=[listening]), name="serve")
    log.info("viewing_serves address=%s", settings.viewing)
    done, _ = await asyncio.wait([clock, serving], return_when=asyncio.FIRST_COMPLETED)
    clock.cancel()
    await asyncio.wait([clock])
    app.close()
    ground.store.close()
    for task in done:
        task.result()
