"""One camera in one bay, from plugging to leaving: recognise, state, offload, judge, watch until it is taken.

Read `Stay.run` from top to bottom. Nothing here reads the camera itself: the inspector and the worker do, in processes
of their own, and both are given up when the camera leaves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from agent import duty
from agent.battery import Kept, Moment, battery_finding
from agent.baycharge import ChargeMeter
from agent.baystate import NO_PROGRESS, BayState
from agent.board import Board
from agent.charge_history import charge_history, keep_reading
from agent.errors import AgentError, KeyUnreadable, SourceEmpty, StoreUntrusted
from agent.inspection import Inspectors
from agent.judging import DockingFacts, Standing, camera_clock, docking_facts
from agent.pipeline import Dock, Order, Result, offload
from agent.policies import policy_in_force
from agent.profiles.profile import Profile
from agent.progress import Progress
from agent.readiness import CameraFacts, Policy, Verdict, check, stricter
from agent.recognise import (
    Recognised,
    as_known,
    ask_ptp,
    is_set_aside,
    look_at,
    recognise_cards,
    recognise_ptp,
    remember,
)
from agent.releasing import AtBay, Releasing
from agent.settings import BaySettings, Settings
from agent.source import PtpPort
from agent.station import Station, clock_quality, sign_events
from agent.store import Store
from agent.unlocking import RecorderSaid
from agent.usbfs import port_for
from agent.usbports import Attached, Kind, classify
from agent.waiting import happened
from custody.event import Event
from custody.stationevents import CameraChecked, CameraDocked, Charge

log = logging.getLogger("agent.stay")

DISKS_SECONDS = 30.0  # a camera shows its disks within some seconds of its own arrival
DISKS_QUIET_SECONDS = 0.3  # LUNs come one after the other
LOOK_SECONDS = 1.0
JUDGE_SECONDS = 15.0
ASK_PTP_SECONDS = 60.0
TRIES = 3  # of an offload that failed for a reason that may pass, while the camera stays
RETRY_SECONDS = 10.0
# Ends of an offload after which nothing more can be saved: the camera may be taken, and people look at its card.
SAVED_AS_FAR_AS_CAN_BE = frozenset(
    {"gaps", "unreadable_parts", "unreadable_files", "changed_while_copied", "secret_incomplete"}
)
STATION_BROKEN = (StoreUntrusted.code, KeyUnreadable.code)


@dataclass(frozen=True, slots=True)
class Grounds:
    """What all USB bays of this station share."""

    settings: Settings
    dock: Dock
    board: Board
    profiles: Sequence[Profile]
    inspectors: Inspectors
    releasing: Releasing | None = None

    def policy(self, day: date) -> Policy:
        """What this bureau asks of a camera; in force from `day` on, unless it was before."""
        return Policy(
            effective_from=day,
            charge_percent=self.settings.minimum_charge_percent,
            space_hours=self.settings.minimum_hours,
        )


class Stay:
    """One stay of one device. `device` is kept up to date from outside; `gone` is set when it left."""

    def __init__(self, grounds: Grounds, bay: BaySettings, device: Attached, said: RecorderSaid | None = None) -> None:
        """Nothing is done yet. `said`: what the device said when it was unlocked."""
        self._said = said
        self.gone = asyncio.Event()
        self._grounds, self._bay, self._device = grounds, bay, device
        self._dock, self._changed = grounds.dock, asyncio.Event()
        self._state = BayState(bay.name, "recognising", datetime.now(UTC))
        self._meter = ChargeMeter(bay, device)
        self._seen: Recognised | None = None
        self._verdict: Verdict | None = None
        self._stated: tuple[Any, ...] | None = None  # the verdict as last stated in an event
        self._results: list[Result] = []
        self._refilling: asyncio.Future[None] | None = None  # kept: the loop holds tasks only weakly
        self._left_in = ""  # the bay's state at the moment it left

    def see(self, device: Attached) -> None:
        """The device shows more or fewer disks."""
        if device != self._device:
            self._device = device
            self._changed.set()

    def leave(self) -> None:
        """The device is gone."""
        self._left_in = self._state.state
        self.gone.set()
        self._changed.set()

    async def run(self) -> None:
        """Until the device left. Raises AgentError only for what must stop the station."""
        self._show("recognising")
        sampling = asyncio.create_task(self._sample())
        try:
            if await self._recognise():
                await self._state_docked()
                await self._offload_all()
                if self._grounds.releasing is not None:
                    self._grounds.releasing.listeners.add(self._changed)
                await self._watch()
        finally:
            if self._grounds.releasing is not None:
                self._grounds.releasing.listeners.discard(self._changed)
            sampling.cancel()
            await asyncio.wait([sampling])
            await self._state_left()

    # --- recognise ---

    async def _recognise(self) -> bool:
        """Whether there is a camera to be offloaded; otherwise the bay has said why not, and the device is gone."""
        try:
            if classify(self._device) is Kind.PTP:
                port = port_for(self._device.bus_number, self._device.device_number)
                self._seen = await self._unless_gone(recognise_ptp(self._device, port, self._grounds.profiles))
            elif nodes := await self._disks():
                self._seen = await self._unless_gone(
                    recognise_cards(self._device, nodes, self._grounds.profiles, self._grounds.inspectors, self._said)
                )
        except AgentError as error:
            self._show("failed", reason=error.code)
            log.warning("camera_not_recognised bay=%s code=%s", self._bay.name, error.code)
            await self.gone.wait()
        if self._seen is not None and not self.gone.is_set():
            self._meter.heard(self._seen)
            return True
        return False

    async def _disks(self) -> list[str]:
        """The nodes of its disks with a medium, once no more come; none when it left first."""
        until = time.monotonic() + DISKS_SECONDS
        while not self.gone.is_set():
            nodes = [disk.node for disk in self._device.disks if disk.size_bytes]
            wait = DISKS_QUIET_SECONDS if nodes else max(0.0, until - time.monotonic()) or None
            if not nodes and wait is None:
                self._show("no_card")
            self._changed.clear()
            if not await happened(self._changed, wait) and nodes:
                return nodes
        return []

    async def _unless_gone(self, work: Any) -> Any:
        """The result of `work`, or None when the camera left meanwhile."""
        task, gone = asyncio.ensure_future(work), asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            gone.cancel()

    async def _state_docked(self) -> None:
        seen, officer = await self._dock.store.call(
            _docked, self._dock.station, self._bay.name, self._device, self._camera()
        )
        self._seen = seen
        self._refilling = asyncio.ensure_future(asyncio.to_thread(self._grounds.inspectors.refill))
        self._show("recognising", camera=seen.camera, officer=officer, disputed=seen.dispute is not None)
        await self._keep_reading(Moment.ARRIVED)
        log.info("camera_docked bay=%s camera=%s profile=%s", self._bay.name, seen.camera, seen.profile.name)

    # --- offload ---

    async def _offload_all(self) -> None:
        """Every card of the camera, one after the other; what may pass by itself is tried again."""
        for place in self._camera().places:
            for attempt in range(TRIES):
                if self.gone.is_set():
                    return
                order = Order(place, self._camera().camera, self._bay.name, gone=self.gone)
                error = await self._offload(order)
                if error is None or error.code not in ("source_gone", "source_stalled"):
                    break
                if attempt + 1 < TRIES:
                    await happened(self.gone, RETRY_SECONDS)
            if error is not None and error.code in STATION_BROKEN:
                raise error

    async def _offload(self, order: Order) -> AgentError | None:
        try:
            result = await offload(self._dock, order, self._progress)
        except SourceEmpty:
            self._show("safe", reason="source_empty", progress=NO_PROGRESS)
            return None
        except AgentError as error:
            self._failed(error)
            return error
        except Exception:  # a fault of ours ends this stay, never the other bays
            log.exception("offload_failed bay=%s", self._bay.name)
            self._show("failed", reason="internal")
            return None
        self._results.append(result)
        if result.error is not None:
            self._failed(result.error)
        return result.error

    def _progress(self, progress: Progress) -> None:
        reason = progress.reason if progress.state != "safe" else None
        over = progress.state == "attention" and reason not in SAVED_AS_FAR_AS_CAN_BE
        state = "failed" if over else progress.state
        self._show(state, progress=progress, reason=reason, waiting_seconds=progress.waiting_seconds)

    def _failed(self, error: AgentError) -> None:
        log.error("offload_failed bay=%s code=%s why=%s", self._bay.name, error.code, error.en)
        if not self.gone.is_set():
            self._show("failed", reason=error.code)

    # --- judge and watch ---

    async def _watch(self) -> None:
        """Judge the camera now and then until it is taken; state every verdict that differs from the last."""
        ask_at = time.monotonic() + ASK_PTP_SECONDS
        while True:
            self._changed.clear()  # before the look at `gone`: whatever sets it later ends the wait below
            if self.gone.is_set():
                return
            if self._camera().ptp is not None and time.monotonic() >= ask_at:
                ask_at = time.monotonic() + ASK_PTP_SECONDS
                await self._ask_again()
            await self._judge()
            if self._state.state == "safe" and self._grounds.releasing is not None:
                await self._release(self._grounds.releasing)
            await happened(self._changed, JUDGE_SECONDS)

    async def _release(self, releasing: Releasing) -> None:
        """Clear what is authorised; its card is then looked at anew, for it has more room."""
        camera = self._camera()
        at = AtBay(camera.camera, self._bay.name, camera.dispute is not None, camera.places, self.gone)

        def show(done: int, total: int) -> None:
            self._show("clearing", progress=Progress("clearing", files_done=done, files_total=total))

        ended = await releasing.attend(at, show)
        if self.gone.is_set() or (ended is None and self._state.state == "safe"):
            return
        self._show("safe", reason="released" if ended == "complete" else ended, progress=NO_PROGRESS)
        places = [place for place in camera.places if isinstance(place, Path)]
        looked = [await look_at(self._grounds.inspectors, place, ()) for place in places]
        self._seen = replace(camera, inspections=tuple(one for one in looked if one is not None), at=datetime.now(UTC))
        await self._judge()

    async def _ask_again(self) -> None:
        place = self._camera().places[0]
        assert isinstance(place, PtpPort)  # noqa: S101 - only such a camera has PTP facts
        try:
            facts = await self._unless_gone(ask_ptp(place.port))
        except AgentError:
            return  # its last word grows old and then no longer counts
        if facts is not None:
            self._seen = replace(self._camera(), ptp=facts, at=datetime.now(UTC))
            self._meter.heard(self._camera())

    async def _judge(self) -> None:
        facts = await self._facts()
        now = datetime.now(UTC)
        bureaus = await self._dock.store.call(policy_in_force, self._grounds.policy(now.astimezone().date()))
        profile = self._camera().profile
        policy = stricter(bureaus, profile.charge.minimum_percent, profile.minimum_free_hours)
        verdict = check(facts, policy, now)
        self._verdict = verdict
        await self._keep_reading(Moment.SEEN)
        current = (verdict.level, tuple(reason.code for reason in verdict.reasons))
        if current != self._stated:
            await self._dock.store.call(
                _state_checked, self._dock.station, self._camera().camera, self._bay.name, facts, verdict
            )
            self._stated = current
        self._show(self._state.state, verdict=verdict, charge=facts.charge)

    async def _facts(self) -> CameraFacts:
        seen = self._camera()
        dockings = [result.docking_id for result in self._results]
        history, known, standing = await self._dock.store.call(_known, seen.camera, self._bay.name, dockings)
        space = max(
            (space for one in seen.inspections for space in one.spaces), key=lambda s: s.total_bytes, default=None
        )
        unsafe = None if self._state.state == "failed" else known.unsafe_files
        return CameraFacts(
            charge=self._meter.reading(),
            battery=battery_finding(history),
            card_present=bool(seen.inspections) or seen.ptp is not None,
            free_bytes=space.free_bytes if space else None,
            total_bytes=space.total_bytes if space else None,
            bytes_per_second=known.bytes_per_second or seen.profile.bytes_per_hour / 3600,
            card_faults=known.card_faults,
            files_not_safe=unsafe,
            clock=camera_clock(seen),
            station_clock=clock_quality(),
            checked_at=seen.at if seen.ptp is None else datetime.now(UTC),
            disputed=seen.dispute is not None,
            open_loans=standing.open_loans,
            refused=standing.set_aside,
        )

    # --- all the time ---

    async def _sample(self) -> None:
        while True:
            await asyncio.to_thread(self._meter.sample, time.monotonic())
            await asyncio.sleep(LOOK_SECONDS)

    async def _state_left(self) -> None:
        """The camera was taken, or the agent stops: only the first is stated."""
        if self._seen is None or not self.gone.is_set():
            return
        await self._keep_reading(Moment.LEFT)
        done: Literal["safe", "copying", "incomplete"] = "copying"
        if self._left_in in ("safe", "clearing", "attention", "failed"):
            done = "safe" if self._left_in in ("safe", "clearing") else "incomplete"
        word: Any = self._verdict.level.word if self._verdict else "unchecked"
        camera, now = self._seen.camera, datetime.now(UTC)
        officer = await self._dock.store.call(
            duty.camera_left, self._dock.station, camera, self._bay.name, done, word, now
        )
        level = logging.INFO if done == "safe" and (word == "ready" or officer is None) else logging.WARNING
        log.log(level, "camera_left bay=%s camera=%s offload=%s verdict=%s", self._bay.name, camera, done, word)

    async def _keep_reading(self, moment: Moment) -> None:
        kept = Kept(moment, self._meter.reading(), self._meter.charged_mah)
        await self._dock.store.call(_keep, self._camera().camera, kept)

    def _camera(self) -> Recognised:
        assert self._seen is not None  # noqa: S101 - asked only after `_recognise`
        return self._seen

    def _show(self, state: str, **changes: Any) -> None:
        shown = self._grounds.board.state(self._bay.name)
        officer = shown.officer if shown is not None and shown.camera == self._state.camera else None
        facts = {"reason": None, "officer": officer} | changes
        if state in ("safe", "attention", "failed") and self._state.state == state and "reason" not in changes:
            facts["reason"] = self._state.reason
        self._state = replace(self._state, state=state, at=datetime.now(UTC), **facts)
        if not self.gone.is_set():
            self._grounds.board.show(self._state)


def _docked(
    store: Store, station: Station, bay: str, device: Attached, seen: Recognised
) -> tuple[Recognised, str | None]:
    """State the arrival, and that a duty ended with it. Returns who has checked the camera out.

    That is somebody after a restart, when the camera never left its bay since, and while its identity is disputed.
    """
    with store.begin():
        seen = as_known(store, seen)
        seen = replace(seen, dispute=remember(store, seen))

        def event(common: dict[str, Any]) -> Event:
            volumes = tuple(volume for one in seen.inspections for volume in one.facts.volume_ids)
            return CameraDocked(
                **common, camera_id=seen.camera, bay=bay, usb_id=device.usb_id, usb_serial=device.serial,
                volume_ids=volumes, profile=seen.profile.name, disputed=seen.dispute is not None,
            )  # fmt: skip

        sign_events(store, station, [event])
    if seen.dispute is None and duty.camera_returned(store, station, seen.camera, bay, seen.at):
        log.info("camera_returned camera=%s", seen.camera)
    checkout = duty.open_checkout(store, seen.camera)
    return seen, checkout.officer if checkout else None


def _state_checked(store: Store, station: Station, camera: str, bay: str, facts: CameraFacts, verdict: Verdict) -> None:
    reading, offset = facts.charge, facts.clock.offset_seconds
    assert reading is not None  # noqa: S101 - a meter always gives one
    level: Any = verdict.level.word

    def event(common: dict[str, Any]) -> Event:
        return CameraChecked(
            **common, camera_id=camera, bay=bay, verdict=level,
            reasons=tuple(str(reason.code) for reason in verdict.reasons),
            charge=Charge(
                percent=reading.percent, state=reading.state.value, origin=reading.origin.value,
                method=reading.source, read_at=reading.at,
            ),
            free_bytes=facts.free_bytes, total_bytes=facts.total_bytes,
            free_minutes=None if verdict.hours_left is None else round(verdict.hours_left * 60),
            clock_error_seconds=None if offset is None else round(abs(offset)),
            unsafe_files=facts.files_not_safe or 0, policy_from=verdict.policy_from.isoformat(),
        )  # fmt: skip

    with store.begin():
        sign_events(store, station, [event])


def _known(store: Store, camera: str, bay: str, dockings: Sequence[str]) -> tuple[list[Kept], DockingFacts, Standing]:
    standing = Standing(duty.loans(store, camera, bay), is_set_aside(store, camera))
    return charge_history(store, camera), docking_facts(store, camera, dockings), standing


def _keep(store: Store, camera: str, kept: Kept) -> None:
    with store.begin():
        keep_reading(store, camera, kept)
