"""A bay that is a USB port: takes cameras, refuses what is none, waits out loose plugs. One task per bay."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.baystate import BayState
from agent.drivers.driver import REENUMERATION_SECONDS
from agent.errors import DriverFailed
from agent.profiles.profile import Profile
from agent.secretstay import SecretStay
from agent.settings import BaySettings
from agent.station import Station, sign_events
from agent.stay import Grounds, Stay
from agent.store import Store
from agent.unlocking import RecorderSaid, driver_profile, unlock
from agent.usbports import REFUSED, Attached, Kind, ReplugLimit, classify
from agent.waiting import happened
from custody.event import Event
from custody.stationevents import CameraUnlocked, DeviceRefused

log = logging.getLogger("agent.usbbay")

PENDING_SECONDS = 10.0  # the kernel has read a device's descriptors long before
MEDIUM_SECONDS = 5.0  # an ordinary disk has shown its medium by then: no driver speaks to it
CAME_BACK_SECONDS = 2 * REENUMERATION_SECONDS


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A recorder that was told to become a disk."""

    serial: str
    profile: Profile
    said: RecorderSaid
    at: float  # monotonic


class UsbBay:
    """Follows what `see` tells of its ports."""

    def __init__(self, grounds: Grounds, bay: BaySettings) -> None:
        """Nothing is plugged in, as far as we know."""
        self._grounds, self._bay = grounds, bay
        self._device: Attached | None = None
        self._news = asyncio.Event()
        self._limit = ReplugLimit()
        self._stay: Stay | None = None
        self._unlocked: Unlocked | None = None

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
            elif profile := driver_profile(self._grounds.profiles, device):
                await self._unlock(device, profile)
            elif kind in REFUSED:
                await self._refuse(device, kind)
            else:
                await self._take(device)

    async def _take(self, device: Attached) -> None:
        said, self._unlocked = self._heard_from(device), None
        kind = SecretStay if self._bay.secret else Stay
        self._stay = kind(self._grounds, self._bay, device, said)
        try:
            await self._stay.run()
        finally:
            self._stay = None

    async def _unlock(self, device: Attached, profile: Profile) -> None:
        """Make it a disk. Returns when it is one or has left; what failed stays on the screen until then."""
        self._show("recognising")
        if classify(device) is Kind.STORAGE and await self._changes(device, MEDIUM_SECONDS):
            return  # its disk was only slow to show
        try:
            await self._switch(device, profile)
        except DriverFailed as error:
            log.warning("recorder_not_unlocked bay=%s profile=%s why=%s", self._bay.name, profile.name, error.en)
            if self._is_still(device):
                self._show("failed", reason=error.code)
            await self._changes(device, None)

    async def _switch(self, device: Attached, profile: Profile) -> None:
        """Raises DriverFailed."""
        if self._heard_from(device) is not None:
            raise DriverFailed("it came back and is no disk yet", "重新连接后仍不是磁盘")
        said = await self._drive(device, profile)
        self._unlocked = Unlocked(device.serial, profile, said, time.monotonic())
        store, station = self._grounds.dock.store, self._grounds.dock.station
        await store.call(_state_unlocked, station, device, self._bay.name, profile.name, said)
        log.info("recorder_unlocked bay=%s profile=%s clock_set=%s", self._bay.name, profile.name, said.clock_set)
        for fault in said.faults:
            log.warning("recorder_command_failed bay=%s profile=%s why=%s", self._bay.name, profile.name, fault)
        if not await self._changes(device, REENUMERATION_SECONDS):
            raise DriverFailed("it did not become a disk", "未切换为磁盘")

    async def _drive(self, device: Attached, profile: Profile) -> RecorderSaid:
        gone = asyncio.Event()

        async def tell_gone() -> None:
            await self._changes(device, None)
            gone.set()

        watching = asyncio.create_task(tell_gone())
        try:
            return await unlock(profile, self._grounds.settings.directory / "profiles", device, gone)
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _changes(self, device: Attached, seconds: float | None) -> bool:
        """Whether a locked recorder leaves or shows a medium within `seconds`; None waits for it."""
        until = None if seconds is None else time.monotonic() + seconds
        while self._is_still(device):
            self._news.clear()
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            await happened(self._news, left)
        return True

    def _is_still(self, device: Attached) -> bool:
        """Whether this device is there and has nothing to read."""
        now = self._device
        return now is not None and now.stay == device.stay and not any(disk.size_bytes for disk in now.disks)

    def _heard_from(self, device: Attached) -> RecorderSaid | None:
        """What this device said when it was unlocked a moment ago, at this port."""
        before = self._unlocked
        if before is None or time.monotonic() - before.at > CAME_BACK_SECONDS:
            return None
        vendor, _, product = device.usb_id.partition(":")
        known = any(usb.vendor == vendor and usb.product in (None, product) for usb in before.profile.signs.usb)
        another = bool(before.serial and device.serial and before.serial != device.serial)
        return before.said if known and not another else None

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


def _state_unlocked(
    store: Store, station: Station, device: Attached, bay: str, profile: str, said: RecorderSaid
) -> None:
    def event(common: dict[str, Any]) -> Event:
        return CameraUnlocked(
            **common, bay=bay, usb_id=device.usb_id, usb_serial=device.serial, serial=said.serial, profile=profile,
            clock_was=said.clock_was, clock_error_seconds=_off(said.clock_error_seconds), clock_set=said.clock_set,
            clock_left_seconds=_off(said.clock_left_seconds), faults=len(said.faults),
        )  # fmt: skip

    with store.begin():
        sign_events(store, station, [event])


def _off(seconds: float | None) -> int | None:
    return None if seconds is None else round(abs(seconds))


def _state_refused(store: Store, station: Station, device: Attached, bay: str, reason: Any, count: int) -> None:
    def event(common: dict[str, Any]) -> Event:
        return DeviceRefused(
            **common, bay=bay, port=device.port, usb_id=device.usb_id, usb_serial=device.serial,
            product=" ".join((device.manufacturer, device.product)).strip(), reason=reason, count=count,
        )  # fmt: skip

    with store.begin():
        sign_events(store, station, [event])
