"""Bays fed from the file system: a watched folder of footage, or a folder in which card images appear.

USB bays are in usbbay.py; what they do after recognising a camera is the same `pipeline.offload`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from agent.baystate import BayState
from agent.errors import AgentError, KeyUnreadable, Reaction, StoreUntrusted
from agent.pipeline import Dock, Order, Result, offload
from agent.progress import Progress
from agent.settings import BaySettings, check_camera
from agent.waiting import happened

log = logging.getLogger("agent.bays")

RESCAN_SECONDS = 300.0  # a network share tells inotify nothing
RETRY_SECONDS = 10.0  # after what may pass by itself, and where nothing tells of changes
QUIET_WAITS_MAX = 10  # a program that never stops writing must not keep back the files that rest
SETTLE_MIN_SECONDS = 0.5
STATION_BROKEN = (StoreUntrusted.code, KeyUnreadable.code)
READ_EVENTS = ("opened", "closed_no_write")


class Bay:
    """One bay: waits until its folder is quiet, offloads, shows its state."""

    def __init__(self, settings: BaySettings, settle_seconds: float, dock: Dock, show: Callable[[BayState], None]):
        """`show` gets the bay's state, as the hub's pages and `dock-agent status` present it, on every change."""
        self._settings, self._settle, self._dock, self._show = settings, settle_seconds, dock, show
        self._stirred = asyncio.Event()
        self._cards_done: dict[str, tuple[int, int]] = {}
        self._camera: str | None = settings.camera

    async def run(self) -> None:
        """Work until cancelled. Raises AgentError only for what must stop the station."""
        folder = self._settings.folder or self._settings.cards
        assert folder is not None  # noqa: S101 - settings guarantee one of the two
        self._report(Progress("empty"))
        observer = await asyncio.to_thread(self._watch, folder, asyncio.get_running_loop())
        try:
            while True:
                wait = await self._visit()
                if observer is None:
                    wait = min(wait, RETRY_SECONDS)
                await happened(self._stirred, wait)
                await self._until_quiet()
        finally:
            if observer is not None:
                observer.stop()

    def _watch(self, folder: Path, loop: asyncio.AbstractEventLoop) -> BaseObserver | None:
        """None where the kernel cannot tell of changes (too many watches, no such folder): then the bay looks often."""
        observer = Observer()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            observer.schedule(_Stir(loop, self._stirred), str(folder), recursive=True)
            observer.start()
        except OSError as error:
            log.warning("bay_not_watched bay=%s why=%s", self._settings.name, error)
            return None
        return observer

    async def _until_quiet(self) -> None:
        for _ in range(QUIET_WAITS_MAX):
            if not self._stirred.is_set():
                return
            self._stirred.clear()
            await asyncio.sleep(self._settle)

    async def _visit(self) -> float:
        """Offload what is new; after how many seconds to look again where nothing stirs."""
        if self._settings.folder is not None:
            if not await asyncio.to_thread(_has_entries, self._settings.folder):
                return RESCAN_SECONDS
            order = Order(
                self._settings.folder, self._settings.camera or "", self._settings.name, self._settle,
                quiet=True, trust_times=True,
            )  # fmt: skip
            result = await self._offload(order)
            if result is None:
                return RETRY_SECONDS
            return max(self._settle, SETTLE_MIN_SECONDS) if result.still_written else RESCAN_SECONDS
        assert self._settings.cards is not None  # noqa: S101 - settings guarantee one of the two
        wait = RESCAN_SECONDS
        for card in await asyncio.to_thread(_cards, self._settings.cards):
            wait = min(wait, await self._dock_card(card))
        return wait

    async def _dock_card(self, card: Path) -> float:
        try:
            facts = await asyncio.to_thread(card.stat)
            camera = self._settings.camera or check_camera(card.stem)
        except OSError:
            return RESCAN_SECONDS  # taken away between listing and docking
        except AgentError as error:
            self._failed(error)
            return RESCAN_SECONDS
        mark = (facts.st_size, facts.st_mtime_ns)
        if self._cards_done.get(card.name) == mark:
            return RESCAN_SECONDS
        if 0 <= time.time() - facts.st_ctime < self._settle:  # still being written
            return max(self._settle, SETTLE_MIN_SECONDS)
        self._camera = camera
        result = await self._offload(Order(card, camera, self._settings.name, quiet=True))
        if result is None:
            return RETRY_SECONDS
        if result.error is None or result.error.reaction is Reaction.QUARANTINE:
            self._cards_done[card.name] = mark  # as read; a full disk or a camera that left is no verdict on the card
        return RESCAN_SECONDS

    async def _offload(self, order: Order) -> Result | None:
        """One offload; None when it should be tried again soon."""
        try:
            result = await offload(self._dock, order, self._report)
        except AgentError as error:
            self._failed(error)
            if error.code in STATION_BROKEN:
                raise
            return None if error.reaction is Reaction.RETRY else Result("", None, False, error)
        except Exception:  # a fault of ours ends this bay's docking, never the other bays
            log.exception("bay_failed bay=%s", self._settings.name)
            self._report(Progress("failed", reason="internal"))
            return None
        if result.error is not None:
            self._failed(result.error)
            if result.error.code in STATION_BROKEN:
                raise result.error
        if result.closed is not None:
            counts = result.closed.counts
            log.info(
                "docking_closed docking=%s complete=%s reason=%s copied=%d already_saved=%d",
                result.docking_id, result.closed.complete, result.closed.reason, counts.copied, counts.already_saved,
            )  # fmt: skip
        return None if result.still_written else result

    def _failed(self, error: AgentError) -> None:
        log.error("bay_failed bay=%s code=%s why=%s", self._settings.name, error.code, error.en)
        self._report(Progress("failed", reason=error.code))

    def _report(self, progress: Progress) -> None:
        if progress.state == "safe" and not self._camera:
            progress = replace(progress, state="empty")
        self._show(
            BayState(self._settings.name, progress.state, datetime.now(UTC), self._camera, progress, progress.reason)
        )


class _Stir(FileSystemEventHandler):
    """Sets an event of the loop, from watchdog's thread, for everything but our own reading."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stirred: asyncio.Event) -> None:
        self._loop, self._stirred = loop, stirred

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in READ_EVENTS:
            with contextlib.suppress(RuntimeError):  # the loop has closed: we are going down
                self._loop.call_soon_threadsafe(self._stirred.set)


def _cards(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.img"))
    except OSError:  # the folder's disk left; it is looked for again
        return []


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return True  # let the offload find out and say it
