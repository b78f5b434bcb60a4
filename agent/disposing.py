"""Carries out a disposition: look, decide, state the intent, remove file by file, state the end.

One path for a disposition that begins and one that a stop cut short. The rules are in agent/disposition.py; here is
only the order of things, and nothing but `_remove` takes a file out of the vault.

Crash windows. Before the intent is committed nothing has left, and the order waits. After it the order is `intended`:
the next look writes the record beside the manifest (again, whole), and goes on with the files whose fate is not kept.
A file that is gone by then was removed by us, for the intent came before and nobody else may write there. Between the
last file and the end: all fates are kept, the end is stated.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from agent import dispositionbook as book
from agent.closing import STAGING, DurableFile
from agent.disk import vault_errors
from agent.disposition import Dispose, Facts, Refused, decide
from agent.dispositionbook import DISPOSED, Order
from agent.errors import VaultError
from agent.pipeline import Dock
from agent.proved import proved_root
from agent.release import Trust, VaultCopy
from agent.releasing import read_copy, release_sources, trusted_now
from agent.settings import Settings
from agent.station import clock_quality, sync_directory
from agent.store import Store
from custody.disposition import DispositionRefused, open_disposition, read_disposition, record_name
from custody.event import Clock

log = logging.getLogger("agent.disposing")

# Not fulfilled yet, and perhaps soon: the order waits until it expires. Any other refusal ends it.
WAITS = frozenset({
    "disposition_off", "not_enrolled", "clock_unsynchronised", "not_receipted", "seal_not_receipted",
    "checkpoint_not_proved", "offload_under_way", "clearing_under_way", "docking_incomplete",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sources:
    """What a disposition stands on besides the station's book."""

    disposition_on: bool
    trust: Trust | None
    now: Callable[[], tuple[datetime, Clock]] = lambda: (datetime.now(UTC), clock_quality())


def disposition_sources(settings: Settings) -> Sources:
    """Those of this station. A station that was enrolled without the hub's command key disposes of nothing."""
    return Sources(settings.disposition, release_sources(settings).trust)


class Disposing:
    """Of one station."""

    def __init__(self, dock: Dock, sources: Sources) -> None:
        """Nothing is under way."""
        self._dock, self._sources = dock, sources
        self.stirred = asyncio.Event()  # set: there is a new order

    async def attend(self) -> None:
        """Carry out every order that can be. A fault of one goes no further. Raises StoreUntrusted."""
        self.stirred.clear()
        for order in await self._dock.store.call(book.open_orders):
            try:
                if not order.intended:
                    await self._begin(order)
                await self._go_on(order)
            except DispositionRefused as error:
                await self._refused(order, error)
            except VaultError as error:  # our disk: the order stays as it is, the next look goes on
                log.error("disposition_postponed docking=%s code=%s", order.docking, error.code)  # noqa: TRY400

    async def _begin(self, order: Order) -> None:
        """Look, decide and state the intent. Raises DispositionRefused."""
        dispose = await self._decide(order)
        await self._dock.store.call(book.state_intent, self._dock.station, order, dispose)
        log.warning("disposition_begins docking=%s files=%d", order.docking, len(dispose.files))

    async def _decide(self, order: Order) -> Dispose:
        facts = await self._facts(order)
        if facts.trust is None:
            raise DispositionRefused("not_enrolled")
        _, body = read_disposition(order.command, facts.trust.command_key)
        wanted = frozenset(map(str, body.file_sha256s))
        saved = await self._dock.store.call(book.saved_files, order.docking, wanted)
        early = decide(
            order.command, facts, [replace(one, vault=VaultCopy(one.size_bytes, one.sha256)) for one in saved]
        )
        if isinstance(early, Refused):  # most end here, before gigabytes are read
            raise DispositionRefused(early.rule, _detail(early))
        files = [replace(one, vault=await asyncio.to_thread(read_copy, self._dock.vault, one.target)) for one in saved]
        decision = decide(order.command, await self._facts(order), files)
        if isinstance(decision, Refused):
            raise DispositionRefused(decision.rule, _detail(decision))
        return decision

    async def _facts(self, order: Order) -> Facts:
        call = self._dock.store.call
        trust, (now, clock) = await call(trusted_now, self._sources.trust), self._sources.now()
        roots: dict[int, bytes] = {}
        if self._sources.disposition_on and trust is not None and clock == "synchronised":
            opened = open_disposition(order.command, self._dock.station.id, trust.command_key, trust.pins, now, clock)
            for checkpoint in opened.checkpoints:
                root = await call(proved_root, trust.pins.log_key.name, checkpoint.size)
                roots |= {} if root is None else {checkpoint.size: root}
        return Facts(
            disposition_on=self._sources.disposition_on, station=self._dock.station.id, trust=trust, now=now,
            clock=clock, docking=await call(book.docking_facts, order.docking), proved_roots=roots,
            holds=tuple(await call(Store.holds)),
        )  # fmt: skip

    async def _go_on(self, order: Order) -> None:
        """From the intent on: the record, the files whose fate is not kept, the end. Raises VaultError."""
        call = self._dock.store.call
        folder = self._dock.vault / os.fsdecode(await call(book.docking_folder, order.docking))
        lines = await call(book.record_of, order)
        await asyncio.to_thread(write_record, self._dock.vault, folder, order, lines)
        for file in await call(book.leaving_files, order):
            rule = DISPOSED
            if await call(book.held_now, file):
                rule = "file_held"
            else:
                await asyncio.to_thread(remove, self._dock.vault, file.target)
            await call(book.keep_outcome, order, file, rule)
        await self._finish(order, "complete")

    async def _refused(self, order: Order, error: DispositionRefused) -> None:
        if error.rule in WAITS:
            if order.rule != error.rule:
                log.warning("disposition_waits docking=%s rule=%s why=%s", order.docking, error.rule, error.detail)
                await self._dock.store.call(book.note_waiting, order, error.rule)
            return
        await self._finish(order, error.rule)

    async def _finish(self, order: Order, rule: str) -> None:
        ended = await self._dock.store.call(book.state_finished, self._dock.station, order, rule)
        log.warning(
            "disposition_ends docking=%s outcome=%s rule=%s disposed=%d kept=%d", order.docking, ended.outcome,
            ended.rule, len(ended.disposed), len(ended.kept),
        )  # fmt: skip


def write_record(vault: Path, folder: Path, order: Order, lines: bytes) -> None:
    """What proves beside the manifest by whose authority files are gone; durable before the first is. VaultError."""
    name = os.fsdecode(record_name(order.command_sha256))
    with vault_errors():
        with DurableFile(folder / name, vault / STAGING / os.path.basename(name)) as record:
            record.write(lines)
        sync_directory((folder / name).parent)


def remove(vault: Path, target: bytes) -> None:
    """Take one file out of the vault, durably; one that is gone already stays so. Raises VaultError.

    Its folder is opened first and no link is followed on the way: the name that goes is the one that was sealed.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    *folders, name = target.split(b"/")
    with vault_errors():
        here = os.open(vault, flags)
        try:
            for folder in folders:
                below = os.open(folder, flags | os.O_NOFOLLOW, dir_fd=here)
                os.close(here)
                here = below
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=here)
            os.fsync(here)  # also after a stop between the two calls
        finally:
            os.close(here)


def _detail(refused: Refused) -> str:
    return refused.detail if refused.entry is None else f"entry {refused.entry}"
