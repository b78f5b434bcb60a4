"""The way of one docking: list, plan, reserve, copy, seal, close. Read it top to bottom to follow one segment.

The worker process reads the camera and writes the vault; this side owns store, key and outbox. What is sealed is saved:
fsynced, read back, named, and committed with its signed event.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent import wire
from agent.closing import STAGING, Closed, close_docking, recover
from agent.copies import Copied
from agent.copies import Result as CopyResult
from agent.disk import vault_error
from agent.errors import AgentError, SettingsInvalid, SourceEmpty, SourceGone, VaultFull
from agent.media import MediaProbe, is_media
from agent.offload import DockingPlan, Names, copy_item, path_key, plan_entry, space_needed, statable
from agent.progress import Progress, ProgressMeter
from agent.sealing import Outcome, save_outcomes
from agent.source import Entry, Finding, SourceFacts, SourcePlace
from agent.station import Station, sign_events
from agent.store import DockingRow, EntryRow, FindingRow, Store, facts_json
from agent.store_thread import StoreThread
from agent.vault import docking_path
from agent.worker_process import WorkerProcess, Workers
from custody.event import Event
from custody.stationevents import DockingStarted

log = logging.getLogger("agent.pipeline")

ROUNDS_MAX = 3  # a file that still changes after this many copies is left as it is, and said to be so
STILL_WRITTEN = "still_being_written"
PROBED_AT_ONCE = 16  # files in one call of a thread: a call each costs as much as the look, all would outlast a stop


@dataclass
class Dock:
    """What all bays of this station share. `reserved` maps dockings to bytes promised to them and not yet used.

    `active` holds the dockings under way; any other open one is closed before the next begins. A camera is in one
    docking at a time, whatever bays name it: two would stage the same files under the same keys.
    """

    vault: Path
    station: Station
    store: StoreThread
    probe: MediaProbe
    workers: Workers
    reserved: dict[str, int] = field(default_factory=dict)
    active: set[str] = field(default_factory=set)
    cameras: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))


@dataclass(frozen=True, slots=True)
class Order:
    """One offload to do. `quiet`: finding nothing new is no docking. `trust_times`: see `DockingPlan`.

    `gone` is set when the camera was taken out: a card that hangs in the kernel would not say so by itself.
    """

    source: SourcePlace
    camera: str
    bay: str
    settle_seconds: float = 0.0
    quiet: bool = False
    trust_times: bool = False
    gone: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How an offload ended: `closed` is None when nothing new was found in quiet mode. `error` is what stopped it."""

    docking_id: str
    closed: Closed | None
    still_written: bool
    error: AgentError | None = None


async def offload(dock: Dock, order: Order, on_progress: Callable[[Progress], None]) -> Result:
    """Copy everything new from one source into the vault and state it.

    Raises AgentError when nothing was begun (unreadable or empty source, no space, vault not writable). Once files
    were copied an error closes the docking as interrupted and comes back in the result.
    """
    if isinstance(order.source, Path):
        _check_apart(order.source, dock.vault)
    async with dock.cameras[order.camera]:
        await dock.store.call(recover, dock.vault, dock.station, frozenset(dock.active))
        docking = await _open_docking(dock, order)
        try:
            return await _offload(dock, order, docking, ProgressMeter(on_progress))
        finally:
            dock.reserved.pop(docking.id, None)
            dock.active.discard(docking.id)


async def _offload(dock: Dock, order: Order, docking: DockingRow, meter: ProgressMeter) -> Result:
    run = _Run(dock, order, docking, meter)
    worker = await dock.workers.take(order.source, order.settle_seconds)
    worker.on_waiting = meter.waiting
    leaving = asyncio.create_task(_kill_when_gone(order, worker))
    try:
        error = None
        try:
            await run.rounds(worker)
        except AgentError as caught:
            error = SourceGone() if order.gone is not None and order.gone.is_set() else caught
        except asyncio.CancelledError:
            await worker.kill()
            await asyncio.shield(run.close("agent_stopped"))
            raise
        except Exception:  # what the worker says is hostile input: whatever it breaks here ends this docking alone
            log.exception("docking_failed docking=%s", docking.id)
            error = wire.nonsense()
        if error is None:
            await worker.dismiss()
        else:
            await worker.kill()
        closed = await run.close(error.code if error else "complete")
        if error is not None and closed is None:
            raise error
        return Result(docking.id, closed, run.still_written, error)
    finally:
        leaving.cancel()
        await worker.kill()


async def _kill_when_gone(order: Order, worker: WorkerProcess) -> None:
    if order.gone is not None:
        await order.gone.wait()
        await worker.kill()


def _check_apart(source: Path, vault: Path) -> None:
    """Raises SettingsInvalid: a vault inside its source would be copied into itself, more at every docking."""
    inner, outer = Path(os.path.realpath(vault)), Path(os.path.realpath(source))
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise SettingsInvalid(
            "The source lies in the vault, or the vault in the source. Nothing was begun. Name a source and a vault "
            "that lie apart.",
            "来源位于存证库之内，或存证库位于来源之内。尚未开始。请使用互不包含的来源和存证库。",
        )


async def _open_docking(dock: Dock, order: Order) -> DockingRow:
    now = datetime.now(UTC)
    docking_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    folder = docking_path(order.camera, now.astimezone().date(), docking_id)
    row = DockingRow(docking_id, order.camera, order.bay, folder, "{}", now, False, None, None)

    def add(store: Store) -> None:
        with store.begin():
            store.add_docking(row)

    dock.active.add(docking_id)
    await dock.store.call(add)
    return row


class _Run:
    """One docking under way: the state that its rounds share."""

    def __init__(self, dock: Dock, order: Order, docking: DockingRow, meter: ProgressMeter) -> None:
        self.dock, self.order, self.docking, self.meter = dock, order, docking, meter
        self.facts: SourceFacts | None = None
        self.announced = False
        self.found_any = False
        self.still_written = False
        self.ordered: dict[int, EntryRow] = {}  # given to the worker, not yet answered
        self.changed: set[bytes] = set()  # path keys to copy once more
        self.names = Names()
        self.left = (0, 0)  # files and bytes that disk space is still promised to

    async def rounds(self, worker: WorkerProcess) -> None:
        """List and copy; files that changed meanwhile are listed and copied again, as new versions."""
        self.meter.listing()
        for number in range(ROUNDS_MAX):
            again = self.changed if number else None
            self.changed = set()
            first, last = await self._list(worker, again)
            if number == 0:
                await self._begin()
            await self._copy(worker, first, last)
            if not self.changed:
                return

    async def close(self, reason: str) -> Closed | None:
        """Close the docking, or forget it when it was never announced."""
        dock = self.dock
        if self.announced:
            closed = await dock.store.call(close_docking, dock.vault, dock.station, self.docking.id, reason)
            self.meter.ended(complete=closed.complete, reason=closed.reason)
            return closed

        def forget(store: Store) -> None:
            with store.begin():
                store.forget_docking(self.docking.id)

        await dock.store.call(forget)
        self.meter.ended(complete=reason == "complete", reason=reason)
        return None

    # --- list ---

    async def _list(self, worker: WorkerProcess, again: set[bytes] | None) -> tuple[int, int]:
        """Plan what the worker lists (only paths in `again`, where given); the entry numbers added."""
        await worker.send({"t": "list"})
        first = n = await self.dock.store.call(Store.last_entry, self.docking.id)
        plan = DockingPlan(self.docking.camera, self.docking.folder, self.order.trust_times)
        self.names.begin_round()
        while (frame := await worker.receive())["t"] != "listed":
            if frame["t"] == "facts":
                self.facts = wire.facts_from_json(frame["facts"])
                continue
            listed = [statable(wire.entry_from_json(e)) for e in frame["entries"]]
            entries = [met for met in listed if isinstance(met, Entry)]
            met = [met for met in listed if isinstance(met, Finding)]
            met += [wire.finding_from_json(f) for f in frame["findings"]]
            if again is not None:
                entries = [e for e in entries if path_key(wire.path_to_text(e.path)) in again]
            findings = [] if again is not None else self._findings(met)
            n = await self.dock.store.call(_add_listing, self.docking, plan, n, entries, findings, self.names)
            self.found_any = self.found_any or bool(entries or findings)
        return first, n

    def _findings(self, met: list[Finding]) -> list[FindingRow]:
        self.still_written = self.still_written or any(f.kind == STILL_WRITTEN for f in met)
        return [
            FindingRow(f.kind.value, wire.path_to_text(f.path), f.detail, f.offset_bytes, f.length_bytes)
            for f in map(statable, met)
            if isinstance(f, Finding) and f.kind != STILL_WRITTEN
        ]

    async def _begin(self) -> None:
        """Reserve disk space, then announce the docking. Raises SourceEmpty, VaultFull."""
        assert self.facts is not None  # noqa: S101 - the protocol sends facts before anything else
        counts = await self.dock.store.call(Store.state_counts, self.docking.id)
        new_files, new_bytes = counts.get("planned", (0, 0))
        known = counts.get("known", (0, 0))[0]
        if not self.found_any or not new_files + known:
            if self.order.quiet:
                return
            if not self.found_any:
                raise source_empty()
        if not new_files and self.order.quiet:
            return
        self._reserve(*await self.dock.store.call(Store.surely_new, self.docking.id))
        self.meter.copying(new_files, new_bytes)
        await self.dock.store.call(_announce, self.dock.station, self.docking, self.facts, new_files, new_bytes)
        self.announced = True
        try:  # before any footage: what is verified meanwhile, or after a stop, is "not closed" and not "removed"
            (self.dock.vault / os.fsdecode(self.docking.folder) / ".custody").mkdir(parents=True)
        except OSError as error:
            raise vault_error(error) from error

    def _reserve(self, new_files: int, new_bytes: int) -> None:
        """Files that are probably saved already need no space; should one be new after all, the disk itself says so."""
        dock, needed = self.dock, space_needed(new_bytes, new_files)
        promised = sum(dock.reserved.values())
        try:
            free = _free_bytes(dock.vault) - promised + (0 if dock.reserved else _staged_bytes(dock.vault / STAGING))
        except OSError as error:
            raise vault_error(error) from error
        if needed > free:
            raise vault_too_small(needed, max(0, free))
        dock.reserved[self.docking.id] = needed
        self.left = (new_files, new_bytes)

    def _use_reserved(self, rows: list[EntryRow]) -> None:
        """What these rows needed lies on the disk now: the promise shrinks, so that no other docking is turned away."""
        new = [row.size_bytes for row in rows if row.known_leaf is None]
        files, size_bytes = self.left
        self.left = (max(0, files - len(new)), max(0, size_bytes - sum(new)))
        self.dock.reserved[self.docking.id] = space_needed(self.left[1], self.left[0])

    # --- copy ---

    async def _copy(self, worker: WorkerProcess, first: int, last: int) -> None:
        """Order rows first+1…last and save results as they come."""
        if last == first or not self.announced:
            return
        await worker.send({"t": "copy", "items": []})
        ordering = asyncio.create_task(self._order_copies(worker, first))
        try:
            while (frame := await worker.receive())["t"] != "copied_all":
                if frame["t"] == "progress":
                    self.meter.partial(dict(frame["items"]))
                else:
                    await self._save([wire.result_from_json(item) for item in frame["items"]])
        except SourceGone:
            if ordering.done() and not ordering.cancelled() and (failure := ordering.exception()):
                raise failure from None  # which is why `_order_copies` ended the worker
            raise
        finally:
            ordering.cancel()
            await asyncio.wait([ordering])
        if not ordering.cancelled() and (failure := ordering.exception()):
            raise failure

    async def _order_copies(self, worker: WorkerProcess, after: int) -> None:
        try:
            while rows := await self.dock.store.call(Store.entries, self.docking.id, "planned", after, wire.BATCH):
                self.ordered.update((row.n, row) for row in rows)  # as many as the worker looks ahead, no more
                await worker.send({"t": "copy", "items": [wire.item_to_json(copy_item(row)) for row in rows]})
                after = rows[-1].n
            await worker.send({"t": "end"})
        except Exception:  # nobody else would tell the worker that no more items come
            await worker.kill()
            raise

    async def _save(self, results: list[CopyResult]) -> None:
        assert self.facts is not None  # noqa: S101 - as above
        dock, outcomes = self.dock, list[Outcome]()
        rows = [self.ordered.pop(result.n) for result in results]
        for start in range(0, len(rows), PROBED_AT_ONCE):
            some = slice(start, start + PROBED_AT_ONCE)
            outcomes += await asyncio.to_thread(_outcomes, dock, rows[some], results[some])
        await dock.store.call(save_outcomes, dock.station, self.docking, self.facts.time_basis, outcomes)
        self._use_reserved(rows)
        for outcome in outcomes:
            if isinstance(outcome.result, Copied) and outcome.result.changed:
                self.changed.add(outcome.row.path_key)
            self.meter.saved(outcome.row.n, outcome.row.size_bytes)
        self.meter.report()


def _outcomes(dock: Dock, rows: list[EntryRow], results: list[CopyResult]) -> list[Outcome]:
    """Results with the media facts of their copies; waits for the media parser."""
    vault = os.fsencode(dock.vault)
    outcomes = []
    for row, result in zip(rows, results, strict=True):
        probed = isinstance(result, Copied) and is_media(row.target)
        media = dock.probe.facts(os.path.join(vault, row.target)) if probed else None
        outcomes.append(Outcome(row, result, media))
    return outcomes


def _add_listing(
    store: Store,
    docking: DockingRow,
    plan: DockingPlan,
    n: int,
    entries: list[Entry],
    findings: list[FindingRow],
    names: Names,
) -> int:
    """Plan one batch and keep it; the highest entry number."""
    keys = [path_key(wire.path_to_text(e.path)) for e in entries]
    saved = store.saved_copies(docking.camera, keys)
    rows: list[EntryRow] = []
    for entry, key in zip(entries, keys, strict=True):
        n += 1
        rows.append(plan_entry(plan, n, entry, saved.get(key, ()), *names.place(entry.path, key)))
    with store.begin():
        store.add_entries(docking.id, docking.camera, rows)
        store.add_findings(docking.id, findings)
    return n


def _announce(
    store: Store, station: Station, docking: DockingRow, facts: SourceFacts, new_files: int, new_bytes: int
) -> None:
    def started(common: dict[str, Any]) -> Event:
        return DockingStarted(
            **common, docking_id=docking.id, camera_id=docking.camera, bay=docking.bay, source_kind=facts.kind.value,
            file_systems=facts.file_systems, labels=facts.labels, volume_ids=facts.volume_ids,
            source_bytes=facts.size_bytes, new_files=new_files, new_bytes=new_bytes,
        )  # fmt: skip

    with store.begin():
        store.set_source(docking.id, facts_json(wire.facts_to_json(facts)))
        sign_events(store, station, [started])
        store.mark_announced(docking.id)


def _free_bytes(vault: Path) -> int:
    disk = os.statvfs(vault)
    return disk.f_bavail * disk.f_frsize


def _staged_bytes(staging: Path) -> int:
    """What unfinished copies hold; they are resumed. Only while no docking is under way, for its parts come and go."""
    with os.scandir(staging) as parts:
        return sum(part.stat(follow_symlinks=False).st_blocks * 512 for part in parts)


def source_empty() -> SourceEmpty:
    """The source was read and holds nothing."""
    return SourceEmpty(
        "The source holds no files: nothing was copied and nothing was changed. If you expected footage, check that "
        "this is the right card and keep it as it is.",
        "来源中没有任何文件：未复制，也未改动任何内容。如果其中本应有录像，请确认是否插错存储卡，并保持原样。",
    )


def vault_too_small(needed: int, free: int) -> VaultFull:
    """Nothing was begun because it would not fit."""
    error = VaultFull()
    gib = 1 << 30
    error.en = (
        f"The vault has {free / gib:.1f} GiB free and this offload needs {needed / gib:.1f} GiB: nothing was begun, "
        "the camera is untouched. Free or add disk space and dock the camera again."
    )
    error.zh = (
        f"存证库剩余 {free / gib:.1f} GiB，本次导出需要 {needed / gib:.1f} GiB：尚未开始，记录仪未被改动。"
        "请扩充磁盘空间后重新接入。"
    )
    error.args = (error.en,)
    return error
