"""Copying files into the vault: durable, hashed in the same pass, read back from the disk, then announced.

A file of at most one chunk travels in a batch (bulk.py), a longer one alone and resumable (longcopy.py). Several jobs
are under way at once: while one is read back, the next is copied.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from agent.bulk import BulkCopy
from agent.copies import Copied, CopyItem, Failed, Gap, Known, Result
from agent.disk import Vault
from agent.longcopy import LongCopy
from agent.run import Again, Done, Halted, Progress, Run
from agent.source import Source
from custody.digest import CHUNK_BYTES

__all__ = ["Copied", "CopyItem", "Failed", "Gap", "Known", "Result", "copy_items"]

BATCH_FILES = 1024
BATCH_BYTES = 256 << 20
JOBS_UNDER_WAY = 3
ATTEMPTS = 3  # of one file, when the vault's disk fails it; then the disk is not trusted


def copy_items(
    source: Source, items: Iterable[CopyItem], vault: Path, on_progress: Callable[[int, int], None]
) -> Iterator[Result]:
    """Copy `items`; results come in any order, each once, as soon as its file is safe to announce.

    `on_progress(n, bytes read)` is called in the caller's thread. `items` is drawn as fast as copying goes on.
    Raises SourceGone, VaultFull, VaultReadOnly, VaultUnwritable or ReadbackMismatch, after the results of everything
    that could still be finished; parts of unfinished files stay staged and are resumed by the same key.
    Closing the iterator stops at the next chunk.
    """
    disk = Vault(os.fsencode(vault))
    try:
        run = Run(source, disk)
        driver = _Driver(run, on_progress)
        try:
            yield from driver.copy(items)
        except BaseException:
            run.abandoned = True
            raise
        finally:
            run.finish()
        yield from driver.rest()
        if run.failure is not None:
            raise run.failure
    finally:
        disk.close()


class _Driver:
    """Feeds jobs into the run and hands results out, in the caller's thread."""

    def __init__(self, run: Run, on_progress: Callable[[int, int], None]) -> None:
        self._run = run
        self._on_progress = on_progress
        self._jobs_open = 0
        self._again: list[CopyItem] = []
        self._attempts: Counter[int] = Counter()

    def copy(self, items: Iterable[CopyItem]) -> Iterator[Result]:
        """Until every item is done or the run has failed."""
        for job in _jobs(items):
            yield from self._start(job)
            if self._run.failure is not None:
                return
        while self._jobs_open or self._again:
            again, self._again = self._again, []
            for job in _jobs(again):
                yield from self._start(job)
            if self._jobs_open:
                yield from self._take()
            if self._run.failure is not None:
                return

    def rest(self) -> Iterator[Result]:
        """What the lanes reported while they ended."""
        while not self._run.events.empty():
            yield from self._take()

    def _start(self, job: list[CopyItem]) -> Iterator[Result]:
        run = self._run
        self._jobs_open += 1
        task = BulkCopy(run, job).read if _is_short(job[0]) else LongCopy(run, job[0]).read
        run.source_lane.submit(task)
        while run.failure is None and (self._jobs_open >= JOBS_UNDER_WAY or not run.events.empty()):
            yield from self._take()

    def _take(self) -> Iterator[Result]:
        match self._run.events.get():
            case Progress(n, bytes_done):
                self._on_progress(n, bytes_done)
            case Halted():
                pass
            case Done(outcomes, over):
                self._jobs_open -= over
                for outcome in outcomes:
                    if isinstance(outcome, Again):
                        self._retry(outcome)
                    else:
                        yield outcome

    def _retry(self, again: Again) -> None:
        self._attempts[again.item.n] += 1
        if self._attempts[again.item.n] >= ATTEMPTS:
            self._run.fail(again.error)
        else:
            self._again.append(again.item)


def _is_short(item: CopyItem) -> bool:
    return item.entry.size_bytes <= CHUNK_BYTES


def _jobs(items: Iterable[CopyItem]) -> Iterator[list[CopyItem]]:
    """Short files in batches, each long one alone."""
    batch: list[CopyItem] = []
    batch_bytes = 0
    for item in items:
        if not _is_short(item):
            yield [item]
            continue
        batch.append(item)
        batch_bytes += item.entry.size_bytes
        if len(batch) >= BATCH_FILES or batch_bytes >= BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch
