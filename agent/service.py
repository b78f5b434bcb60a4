"""`dock-agent run`: one process that owns store, key, outbox, uplink and screen, and one task per bay."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.metadata import version
from typing import Any

from agent import dispositionbook, duty
from agent.bays import Bay
from agent.baystate import BayState
from agent.board import Board
from agent.commands import Handler
from agent.desk import Desk
from agent.devices import DeviceWatch
from agent.disposing import Disposing, disposition_sources
from agent.dockcare import DockCare
from agent.inspection import Inspectors
from agent.leds import BayLeds, led_state
from agent.notify import Notifier
from agent.opening import Opened
from agent.profiles.loading import load_profiles
from agent.releasebook import keep_order
from agent.releasing import Releasing, release_sources
from agent.settings import Settings
from agent.station import Station, sign_events
from agent.status import process_birth
from agent.stay import Grounds
from agent.store import Store
from agent.uplink import Uplink
from agent.usbbay import UsbBay
from agent.usbports import Attached
from agent.viewing.offer import load_or_create_certificate, state_offer
from agent.waiting import happened
from agent.witness import Witness, load_or_create_witness_key, offer_key
from custody.commandbody import Disposition
from custody.commands import Command
from custody.releasebody import Release
from custody.stationevents import StationStarted

log = logging.getLogger("agent.service")

STATUS_SECONDS = 0.5
OVERDUE_SECONDS = 60.0
DISPOSITION_SECONDS = 60.0  # between two looks at orders that wait
HUB_AWAY = ["暂时连不上中心；记录照常保存，恢复后自动上报", "The hub is away: everything is kept and sent later"]
LOG_REFUSED = [
    "中心的审计日志前后矛盾，本站已停止采信其回执；录像安全，请继续接入，并立即通知管理员",
    "The hub's audit log contradicts itself; its receipts are not believed. Footage is safe, go on docking. Call the "
    "administrator now",
]
SPARES = 2  # inspectors and workers kept loaded, 13 MiB each: cameras come back in pairs, one socket after the other
THREADS = 64  # each bay may have one waiting for a card that hangs; the rest of the station must not wait behind them


class Service:
    """The running agent: what its bays show, to hub, screen, lights and `status`."""

    def __init__(self, settings: Settings, opened: Opened) -> None:
        """Nothing starts before `run`. Raises ProfileInvalid for a site's own profile that is wrong."""
        self._settings, self._dock, self._station = settings, opened.dock, opened.station
        self._board = Board(tuple(bay.name for bay in settings.bays))
        self._care = DockCare(settings.vault, opened.dock.store)
        self._lights = ThreadPoolExecutor(1, "lights")  # one: each look after the one before
        self._leds = {bay.name: BayLeds(bay.leds) for bay in settings.bays if bay.leds}
        self._inspectors = Inspectors(SPARES)
        profiles = load_profiles(settings.directory / "profiles")
        self._releasing = Releasing(opened.dock, release_sources(settings))
        self._disposing = Disposing(opened.dock, disposition_sources(settings))
        grounds = Grounds(settings, opened.dock, self._board, profiles, self._inspectors, self._releasing)
        self._usb_bays = [UsbBay(grounds, bay) for bay in settings.bays if bay.ports]
        self._uplink: Uplink | None = None
        self._screen_up = asyncio.Event()
        self._birth, self._written = process_birth(os.getpid()), ""

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT. Raises AgentError when the station must stop."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.set_default_executor(ThreadPoolExecutor(THREADS, "waiting"))
        if self._settings.link is not None:
            key = load_or_create_witness_key(self._settings.directory, self._station)
            witness = Witness(self._station, key, self._settings.link.log_key)
            self._uplink = Uplink(self._settings.link, witness, self._dock.store, self._describe, self._handlers())
            await self._dock.store.call(_state_started, self._station)
            await self._dock.store.call(offer_key, self._station, key)
            await self._offer_viewing()
        else:
            await self._dock.store.call(_state_started, self._station)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        systemd = Notifier.from_environment(os.environ, os.getpid())
        work = self._work() | {"stop": stop.wait(), "watchdog": systemd.keep_alive()}
        tasks = [asyncio.create_task(one, name=name) for name, one in work.items()]
        self._write_status()
        ready = asyncio.create_task(self._until_prompt(), name="prompt")
        try:
            await asyncio.wait([*tasks, ready], return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                ready.result()
                systemd.ready()
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            systemd.stopping()
            self._board.close()
            for task in (*tasks, ready):
                task.cancel()
            await asyncio.wait([*tasks, ready])
            await self._dock.workers.close()
            await asyncio.to_thread(self._inspectors.close)
            await asyncio.to_thread(self._lights_out)
            self._write_status()
        for task in done:
            task.result()

    async def _until_prompt(self) -> None:
        """Until whoever plugs a camera in gets an answer at once. The bays do not wait for it: they look already."""
        if self._usb_bays:
            await asyncio.gather(self._dock.workers.warm(SPARES), asyncio.to_thread(self._inspectors.warm))
        if self._settings.kiosk_port:
            await self._screen_up.wait()

    async def _offer_viewing(self) -> None:
        """Tell the hub where footage can be viewed by grant, or that it cannot any more."""
        digest = None
        if self._settings.viewing:
            try:
                _, digest = load_or_create_certificate(self._settings.directory, self._station.id)
            except (OSError, ValueError) as error:  # the dock docks on, and nothing can be viewed
                log.error("viewing_without_certificate why=%s", error)  # noqa: TRY400 - a file, no fault of ours
                return
        await self._dock.store.call(state_offer, self._station, self._settings.viewing, digest)

    async def _serve_viewing(self) -> None:
        process = await asyncio.to_thread(import_module, "agent.viewing.process")
        await process.keep_serving(self._settings, self._station.id)

    def _handlers(self) -> dict[str, Handler]:
        """Kinds of commands that this station takes only where an operator has switched them on."""
        loop = asyncio.get_running_loop()

        def keep(store: Store, command: Command, now: datetime) -> None:
            keep_order(store, command, now)
            loop.call_soon_threadsafe(self._releasing.stir)  # what it looks for comes after this commit

        def keep_disposition(store: Store, command: Command, now: datetime) -> None:
            dispositionbook.keep_order(store, command, now)
            loop.call_soon_threadsafe(self._disposing.stirred.set)

        handlers: dict[str, Handler] = {Release.KIND: keep} if self._settings.release else {}
        return handlers | ({Disposition.KIND: keep_disposition} if self._settings.disposition else {})

    def _work(self) -> dict[str, Coroutine[Any, Any, Any]]:
        """Everything that runs as long as the agent does, by name."""
        settings = self._settings
        self._board.changed.append(self._on_bay)
        work: dict[str, Coroutine[Any, Any, Any]] = {
            "status": self._keep_status(), "care": self._care.run(), "overdue": self._look_for_overdue(),
            "dispositions": self._dispose(),
        }  # fmt: skip
        if self._uplink is not None:
            work["uplink"] = self._uplink.run()
        for bay in settings.bays:
            if not bay.ports:
                work[f"bay-{bay.name}"] = Bay(bay, settings.settle_seconds, self._dock, self._board.show).run()
        for bay, usb in zip([bay for bay in settings.bays if bay.ports], self._usb_bays, strict=True):
            work[f"bay-{bay.name}"] = usb.run()
        if self._usb_bays:
            work["devices"] = DeviceWatch(self._on_devices).run()
        if settings.kiosk_port:
            work["kiosk"] = self._kiosk()
        if settings.viewing and settings.link is not None and settings.link.command_key is not None:
            work["viewing"] = self._serve_viewing()
        return work

    async def _kiosk(self) -> None:
        """The screen. Without its port the dock works on: this task then waits, for an end would end the agent."""
        # 30 MiB that a dock without screen does not spend; a second on a small computer, which the bays do not wait for
        pages = await asyncio.to_thread(import_module, "agent.kiosk.pages")
        server = await asyncio.to_thread(import_module, "agent.kiosk.server")
        desk = Desk(self._dock, self._board, timedelta(hours=self._settings.duty_hours))
        app = pages.make_kiosk(self._board, desk, self._describe_dock)
        try:
            await server.serve_kiosk(app, self._settings.kiosk_port, self._screen_up)
        finally:
            self._screen_up.set()  # without its port the dock is as ready as it gets
        await asyncio.Event().wait()

    async def _look_for_overdue(self) -> None:
        while True:
            for late in await self._dock.store.call(duty.state_overdue, self._station, datetime.now(UTC)):
                log.warning("camera_overdue camera=%s due_at=%s", late.camera, late.due_at.isoformat())
            await self._releasing.end_expired()
            if forgotten := await self._dock.store.call(duty.forget_officers, datetime.now(UTC)):
                log.info("openings_forgotten count=%d", forgotten)
            await asyncio.sleep(OVERDUE_SECONDS)  # before the first look at the bays, so that they know what they hold
            if (at_hand := self._board.cameras()) is not None:
                for camera in await self._dock.store.call(duty.left_unseen, self._station, at_hand, datetime.now(UTC)):
                    log.warning("camera_left_unseen camera=%s", camera)

    async def _dispose(self) -> None:
        while True:
            await self._disposing.attend()
            await happened(self._disposing.stirred, DISPOSITION_SECONDS)

    # --- what others are told ---

    def _on_devices(self, devices: tuple[Attached, ...]) -> None:
        for bay in self._usb_bays:
            bay.see(devices)

    def _on_bay(self, state: BayState) -> None:
        if state.bay in self._leds:
            self._lights.submit(self._leds[state.bay].show, led_state(state))
        if self._uplink is not None:
            self._uplink.poke()

    def _lights_out(self) -> None:
        """No light says anything that nobody looks after."""
        for leds in self._leds.values():
            self._lights.submit(leds.show, "empty")
        self._lights.shutdown()

    def _describe(self) -> dict[str, Any]:
        """The station's retained state, without outbox figures."""
        release = {"release": self._settings.release, "release_keep_days": self._settings.release_keep_days}
        release["disposition"] = self._settings.disposition
        return {"station": self._station.id, "software": version("custodock")} | release | self._care.describe()

    def _describe_dock(self) -> dict[str, Any]:
        """The head of the screen: the dock's name and what is wrong with it, in Chinese and English."""
        remarks = [[finding.zh, finding.en] for finding in self._care.findings()]
        if self._uplink is not None and not self._uplink.online:
            remarks.append(HUB_AWAY)
        if self._uplink is not None and self._uplink.log_refused is not None:
            remarks.insert(0, LOG_REFUSED)
        return {"name": self._station.id, "remarks": remarks}

    async def _keep_status(self) -> None:
        while True:
            self._write_status()
            if self._uplink is not None:
                for state in self._board.states():
                    self._uplink.publish_bay(state.bay, state.public())
            await asyncio.sleep(STATUS_SECONDS)

    def _write_status(self) -> None:
        """`DIR/status.json`: what `dock-agent status` shows; not evidence, so not fsynced."""
        online = self._uplink.online if self._uplink else None
        bays = [state.public() for state in self._board.states()]
        body = {"pid": os.getpid(), "birth": self._birth, "uplink": online, "bays": bays}
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
