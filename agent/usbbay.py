"""A bay that is a USB port: takes cameras, refuses what is none, waits out loose plugs. One task per bay."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any

from agent.baystate import BayState
from agent.settings import BaySettings
from agent.station import Station, sign_events
from agent.stay import Grounds, Stay
from agent.store import Store
from agent.usbports import REFUSED, Attached, Kind, ReplugLimit, classify
from agent.waiting import happened
from custody.events import DeviceRefused, Event

log = logging.getLogger("agent.usbbay")

PENDING_SECONDS = 10.0  # the kernel has read a device's descriptors long before


class UsbBay:
    """Follows what `see` tells of its ports."""

    def __init__(self, grounds: Grounds, bay: BaySettings) -> None:
        """Nothing is plugged in, as far as we know."""
        self._grounds, self._bay = grounds, bay
        self._device: Attached | None = None
        self._news = asyncio.Event()
        self._limit = ReplugLimit()
        self._stay: Stay | None = None

    def see(self, devices: tuple[Attached, ...]) -> None:
        """What is at this machine's ports now."""
        found = next((one for one in devices if one.port in self._bay.ports), None)
        if found == self._device:
            return
        before, self._device = self._device, found
        if found is not None and (before is None or before.stay != found.stay):
            self._arrived()
        if self._stay is not None and before is not None:
            if found is None or found.stay != before.stay:
                self._stay.leave()
            else:
                self._stay.see(found)
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled. Raises AgentError only for what must stop the station."""
        while True:
            self._news.clear()
            device = self._device
            if device is None:
                self._show("empty")
                await self._news.wait()
            elif not self._limit.settled(time.monotonic()):
                self._show("storm")
                await happened(self._news, self._limit.wait_seconds(time.monotonic()))
            elif (kind := classify(device)) is Kind.PENDING:
                self._show("recognising")
                await happened(self._news, PENDING_SECONDS)
                if self._device == device and not self._news.is_set():
                    await self._refuse(device, Kind.UNKNOWN)
            elif kind in REFUSED:
                await self._refuse(device, kind)
            else:
                await self._take(device)

    async def _take(self, device: Attached) -> None:
        self._stay = Stay(self._grounds, self._bay, device)
        try:
            await self._stay.run()
        finally:
            self._stay = None

    async def _refuse(self, device: Attached, kind: Kind) -> None:
        self._show("refused", reason=kind.value)
        await state_refused(self._grounds, device, self._bay.name, kind.value, 1)
        while self._device is not None and self._device.stay == device.stay:
            self._news.clear()
            await self._news.wait()

    def _arrived(self) -> None:
        """Count an arrival; a storm is stated once, when it begins."""
        device = self._device
        if self._limit.arrived(time.monotonic()) and device is not None:
            task = asyncio.ensure_future(
                state_refused(self._grounds, device, self._bay.name, "replug_storm", self._limit.storm_arrivals)
            )
            self._storm_statement = task  # kept: the loop holds tasks only weakly

    def _show(self, state: str, **facts: Any) -> None:
        self._grounds.board.show(BayState(self._bay.name, state, datetime.now(UTC), **facts))


async def state_refused(grounds: Grounds, device: Attached, bay: str, reason: str, count: int) -> None:
    """State in the chain that a device was not taken; nothing was read from it."""
    log.warning("device_refused bay=%s port=%s usb_id=%s reason=%s", bay, device.port, device.usb_id, reason)
    await grounds.dock.store.call(_state_refused, grounds.dock.station, device, bay, reason, count)


def _state_refused(store: Store, station: Station, device: Attached, bay: str, reason: Any, count: int) -> None:
    def event(common: dict[str, Any]) -> Event:
        return DeviceRefused(
            **common, bay=bay, port=device.port, usb_id=device.usb_id, usb_serial=device.serial,
            product=" ".join((device.manufacturer, device.product)).strip(), reason=reason, count=count,
        )  # fmt: skip

    with store.begin():
        sign_events(store, station, [event])
