"""Bays fed from the file system: a watched folder of footage, or a folder in which card images appear.

Real USB bays come with devices.py; what they do after recognising a camera is the same `pipeline.offload`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from agent.errors import AgentError, Reaction
from agent.pipeline import Dock, Order, Result, offload
from agent.progress import Progress
from agent.settings import BaySettings, check_camera

log = logging.getLogger("agent.bays")

RESCAN_SECONDS = 300.0  # a network share tells inotify nothing
READ_EVENTS = ("opened", "closed_no_write")


class Bay:
    """One bay: waits until its folder is quiet, offloads, shows its state."""

    def __init__(
        self, settings: BaySettings, settle_seconds: float, dock: Dock, show: Callable[[dict[str, Any]], None]
    ):
        """`show` gets the bay's state, as the hub's pages and `dock-agent status` present it, on every change."""
        self._settings, self._settle, self._dock, self._show = settings, settle_seconds, dock, show
        self._stirred = asyncio.Event()
        self._cards_done: dict[str, tuple[int, int]] = {}
        self._camera: str | None = settings.camera

    async def run(self) -> None:
        """Work until cancelled. Raises AgentError only for what must stop the station."""
        folder = self._settings.folder or self._settings.cards
        assert folder is not None  # noqa: S101 - settings guarantee one of the two
        folder.mkdir(parents=True, exist_ok=True)
        observer = Observer()
        observer.schedule(_Stir(asyncio.get_running_loop(), self._stirred), str(folder), recursive=True)
        observer.start()
        self._report(Progress("empty"))
        try:
            while True:
                again = await self._visit()
                wait = self._settle if again else RESCAN_SECONDS
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stirred.wait(), wait)
                await self._until_quiet()
        finally:
            observer.stop()

    async def _until_quiet(self) -> None:
        while self._stirred.is_set():
            self._stirred.clear()
            await asyncio.sleep(self._settle)

    async def _visit(self) -> bool:
        """Offload what is new; whether something was still being written."""
        if self._settings.folder is not None:
            if not await asyncio.to_thread(_has_entries, self._settings.folder):
                return False
            order = Order(
                self._settings.folder, self._settings.camera or "", self._settings.name, self._settle,
                quiet=True, trust_times=True,
            )  # fmt: skip
            return await self._offload(order) is None
        assert self._settings.cards is not None  # noqa: S101 - settings guarantee one of the two
        again = False
        for card in await asyncio.to_thread(lambda folder: sorted(folder.glob("*.img")), self._settings.cards):
            again = await self._dock_card(card) or again
        return again

    async def _dock_card(self, card: Path) -> bool:
        try:
            facts = await asyncio.to_thread(card.stat)
            camera = self._settings.camera or check_camera(card.stem)
        except OSError:
            return False  # taken away between listing and docking
        except AgentError as error:
            self._failed(error)
            return False
        mark = (facts.st_size, facts.st_mtime_ns)
        if self._cards_done.get(card.name) == mark:
            return False
        self._camera = camera
        if await self._offload(Order(card, camera, self._settings.name, quiet=True)) is not None:
            self._cards_done[card.name] = mark
        return False

    async def _offload(self, order: Order) -> Result | None:
        """One offload; None when it should be tried again soon."""
        try:
            result = await offload(self._dock, order, self._report)
        except AgentError as error:
            self._failed(error)
            if error.reaction is Reaction.STOP and error.code in ("store_untrusted", "key_unreadable"):
                raise
            return None if error.reaction is Reaction.RETRY else Result("", None, False, error)
        if result.error is not None:
            self._failed(result.error)
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
            {
                "bay": self._settings.name,
                "camera": self._camera,
                "state": progress.state,
                "files_done": progress.files_done,
                "files_total": progress.files_total,
                "bytes_done": progress.bytes_done,
                "bytes_total": progress.bytes_total,
                "seconds_left": progress.seconds_left,
                "reason": progress.reason,
                "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            }
        )


class _Stir(FileSystemEventHandler):
    """Sets an event of the loop, from watchdog's thread, for everything but our own reading."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stirred: asyncio.Event) -> None:
        self._loop, self._stirred = loop, stirred

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in READ_EVENTS:
            with contextlib.suppress(RuntimeError):  # the loop has closed: we are going down
                self._loop.call_soon_threadsafe(self._stirred.set)


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return True  # let the offload find out and say it
