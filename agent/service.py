"""`dock-agent run`: one process that owns store, key, outbox and uplink, and one task per bay."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from agent.bays import Bay
from agent.closing import STAGING, recover, vault_error
from agent.errors import VaultLocked
from agent.media import MediaProbe
from agent.pipeline import Dock
from agent.settings import Settings
from agent.station import Station, clock_quality, load_or_create_station, sign_events
from agent.store import Store
from agent.store_thread import StoreThread
from agent.uplink import Uplink
from custody.events import StationStarted

STATUS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Opened:
    """What an opened station consists of."""

    dock: Dock
    station: Station


@contextmanager
def open_dock(vault: Path, directory: Path, station_id: str | None = None) -> Iterator[Opened]:
    """Lock the vault, open key and store, close what an earlier stop left open.

    Raises VaultLocked, VaultError, StoreUntrusted, KeyUnreadable.
    """
    try:
        (vault / STAGING).mkdir(parents=True, exist_ok=True)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(vault / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise vault_error(error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise vault_locked() from None
        station = load_or_create_station(directory, station_id)
        store = Store(directory / "station.db")
        recover(store, vault, station)
        thread, probe = StoreThread(store), MediaProbe()
        try:
            yield Opened(Dock(vault, station, thread, probe), station)
        finally:
            probe.close()
            thread.close()
    finally:
        os.close(lock)


def vault_locked() -> VaultLocked:
    """Another agent has the vault."""
    return VaultLocked(
        "Another dock-agent is working in this vault. Nothing was touched. Wait until it has ended, or let the running "
        "agent do the work.",
        "另一个 dock-agent 正在使用此存证库。未改动任何内容。请等待其结束，或交由正在运行的程序处理。",
    )


class Service:
    """The running agent: states of its bays for hub, kiosk and `status`."""

    def __init__(self, settings: Settings, opened: Opened) -> None:
        """Nothing starts before `run`."""
        self._settings, self._dock, self._station = settings, opened.dock, opened.station
        self._bays: dict[str, dict[str, Any]] = {}
        self._uplink: Uplink | None = None
        self._written = ""

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT. Raises AgentError when the station must stop."""
        await self._dock.store.call(_state_started, self._station)
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        settings = self._settings
        tasks = [asyncio.create_task(stop.wait(), name="stop"), asyncio.create_task(self._keep_status(), name="status")]
        if settings.link is not None:
            self._uplink = Uplink(settings.link, self._station, self._dock.store, self._describe)
            tasks.append(asyncio.create_task(self._uplink.run(), name="uplink"))
        for bay in settings.bays:
            work = Bay(bay, settings.settle_seconds, self._dock, self._show_bay)
            tasks.append(asyncio.create_task(work.run(), name=f"bay-{bay.name}"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._write_status()
        for task in done:
            task.result()

    def _describe(self) -> dict[str, Any]:
        disk = psutil.disk_usage(str(self._settings.vault))
        return {
            "station": self._station.id,
            "software": version("custodock"),
            "clock": clock_quality(),
            "disk_free_bytes": disk.free >> 20 << 20,  # whole MiB: the retained state changes when it means something
            "disk_total_bytes": disk.total,
        }

    def _show_bay(self, state: dict[str, Any]) -> None:
        self._bays[state["bay"]] = state
        if self._uplink is not None:
            self._uplink.poke()

    async def _keep_status(self) -> None:
        while True:
            self._write_status()
            if self._uplink is not None:
                for name, state in self._bays.items():
                    self._uplink.publish_bay(name, state)
            await asyncio.sleep(STATUS_SECONDS)

    def _write_status(self) -> None:
        """`DIR/status.json`: what `dock-agent status` shows; not evidence, so not fsynced."""
        online = self._uplink.online if self._uplink else None
        body = {"pid": os.getpid(), "uplink": online, "bays": list(self._bays.values())}
        text = json.dumps(body, ensure_ascii=False)
        if text == self._written:
            return
        aside = self._settings.directory / ".status.json.new"
        with contextlib.suppress(OSError):  # a full disk must not stop the copying; status then shows its age
            aside.write_text(text, "utf-8")
            os.replace(aside, self._settings.directory / "status.json")
            self._written = text


def _state_started(store: Store, station: Station) -> None:
    with store.begin():
        sign_events(store, station, [lambda common: StationStarted(**common, software=version("custodock"))])
