"""`dock-agent run`: one process that owns store, key, outbox and uplink, and one task per bay."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from importlib.metadata import version
from typing import Any

import psutil

from agent.bays import Bay
from agent.notify import Notifier
from agent.opening import Opened
from agent.settings import Settings
from agent.station import Station, clock_quality, sign_events
from agent.store import Store
from agent.uplink import Uplink
from custody.events import StationStarted

STATUS_SECONDS = 0.5


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
        settings = self._settings
        if settings.link is not None:
            self._uplink = Uplink(settings.link, self._station, self._dock.store, self._describe)
        await self._dock.store.call(_state_started, self._station)
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        tasks = [asyncio.create_task(stop.wait(), name="stop"), asyncio.create_task(self._keep_status(), name="status")]
        if self._uplink is not None:
            tasks.append(asyncio.create_task(self._uplink.run(), name="uplink"))
        for bay in settings.bays:
            work = Bay(bay, settings.settle_seconds, self._dock, self._show_bay)
            tasks.append(asyncio.create_task(work.run(), name=f"bay-{bay.name}"))
        systemd = Notifier.from_environment(os.environ, os.getpid())
        tasks.append(asyncio.create_task(systemd.keep_alive(), name="watchdog"))
        systemd.ready()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            systemd.stopping()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._write_status()
        for task in done:
            task.result()

    def _describe(self) -> dict[str, Any]:
        state = {"station": self._station.id, "software": version("custodock"), "clock": clock_quality()}
        try:
            disk = psutil.disk_usage(str(self._settings.vault))
        except OSError:  # the vault's disk left: the hub sees that its figures are missing, the bays say why
            return state
        # whole MiB: the retained state changes when it means something
        return state | {"disk_free_bytes": disk.free >> 20 << 20, "disk_total_bytes": disk.total}

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
