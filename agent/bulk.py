"""The copy of many files of at most one chunk each: one syncfs for a batch, one fsync for a folder.

    source lane   read a group of files into one buffer ─┬─▶ leaf lane
                                                         ├─▶ whole lane
                                     both done ──────────┴─▶ write lane   into <key>.part each
    commit lane   all groups written: one syncfs
    check lane    read back from the disk
    publish lane  rename, fsync each folder once, report

A crash before the renames leaves parts without a journal: such a file is simply copied again, it is short.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from agent.copies import Copied, CopyItem, Failed, Gap, Known, Result
from agent.disk import BLOCK_BYTES, rename_new, sync_file_system, vault_error
from agent.errors import (
    AgentError,
    ReadbackMismatch,
    ReadFault,
    SourceError,
    SourceGone,
    SourceUnreadable,
    TargetTaken,
    VaultError,
    VaultFull,
    VaultReadOnly,
)
from agent.readback import gives_back
from agent.run import RING_DEPTH, Again, Run
from agent.salvage import Salvage
from agent.source import BulkSource, Entry, WholeRead
from custody.digest import CHUNK_BYTES, EMPTY_ROOT, leaf_hash

_T = TypeVar("_T")
_Answer = tuple[WholeRead | SourceError, tuple[Gap, ...]]
_PART = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Small:
    """One file of a group."""

    item: CopyItem
    view: memoryview  # its bytes, until the group's buffer is given back
    length: int
    changed: bool
    gaps: tuple[Gap, ...]
    leaf: bytes = b""
    sha256: bytes = b""

    @property
    def part(self) -> bytes:
        return self.item.key.encode() + b".part"

    def copied(self) -> Copied:
        chunks = 1 if self.length else 0
        return Copied(
            self.item.n, self.length, self.sha256, self.leaf if chunks else EMPTY_ROOT, self.leaf, chunks, self.gaps,
            self.changed, self.length, 0,
        )  # fmt: skip


class Group:
    """Files that share one buffer; `tasks` hashes are to be done before it is written."""

    __slots__ = ("buffer", "files", "tasks")

    def __init__(self, buffer: memoryview, files: list[Small]) -> None:
        self.buffer, self.files, self.tasks = buffer, files, 2


class BulkCopy:
    """One batch under way. Each group of methods runs in the lane that its heading names; only `_lock` is shared."""

    def __init__(self, run: Run, items: list[CopyItem]) -> None:
        self._run, self._items = run, items
        self._lock = threading.Lock()
        # the commit lane's
        self._written: list[Small] = []
        self._groups_written = 0
        self._groups: int | None = None  # how many there are, once the source lane knows

    # --- source lane ---

    def read(self) -> None:
        """Read all files, group by group, and send the groups on."""
        run, sent = self._run, 0
        for items in _grouped(self._items, lambda item: item.entry.size_bytes):
            if run.halted:
                break
            buffer = run.pool.take()
            try:
                with run.source_lock:
                    files = self._read_group(items, buffer)
            except BaseException as error:  # noqa: BLE001 - files under way are finished first, then the caller gets it
                run.pool.give(buffer)
                run.fail(error)
                break
            group = Group(buffer, files)
            run.leaf_lane.submit(self._hash_leaves, group)
            run.whole_lane.submit(self._hash_wholes, group)
            sent += 1
        run.commit_lane.submit(self._all_read, sent)

    def _read_group(self, items: Sequence[CopyItem], buffer: memoryview) -> list[Small]:
        run = self._run
        slots = _slots(buffer, [item.entry.size_bytes for item in items])
        files: list[Small] = []
        for item, slot, (answer, gaps) in zip(items, slots, self._read_slots(items, slots), strict=True):
            if isinstance(answer, SourceError):
                run.done(Failed(item.n, answer.code, answer.en), over=False)
                continue
            length = min(answer.length_bytes, item.entry.size_bytes)
            changed = answer.changed or length != item.entry.size_bytes
            files.append(Small(item, slot[:length], length, changed, gaps))
        return files

    def _read_slots(self, items: Sequence[CopyItem], slots: Sequence[memoryview]) -> list[_Answer]:
        source, entries = self._run.source, [item.entry for item in items]
        if not isinstance(source, BulkSource):
            return [self._read_one(entry, slot) for entry, slot in zip(entries, slots, strict=True)]
        return [
            self._read_one(entry, slot) if isinstance(answer, ReadFault) else (answer, ())
            for entry, slot, answer in zip(entries, slots, source.read_whole(entries, slots), strict=True)
        ]

    def _read_one(self, entry: Entry, slot: memoryview) -> _Answer:
        try:
            reader = self._run.source.open(entry)
        except SourceGone:
            raise
        except SourceError as error:
            return error, ()
        try:
            try:
                length, gaps = Salvage(reader).read(slot[: entry.size_bytes], 0)
            except SourceUnreadable as error:  # it was removed meanwhile
                return error, ()
            try:
                changed = reader.changed()
            except SourceUnreadable:  # it can no longer be looked at: not what was listed
                changed = True
            return WholeRead(length, changed), gaps
        finally:
            reader.close()

    # --- leaf, whole and write lanes ---

    def _hash_leaves(self, group: Group) -> None:
        for file in group.files:
            if file.length:
                file.leaf = leaf_hash(file.view)
        self._hashed(group)

    def _hash_wholes(self, group: Group) -> None:
        for file in group.files:
            file.sha256 = hashlib.sha256(file.view).digest()
        self._hashed(group)

    def _hashed(self, group: Group) -> None:
        with self._lock:
            group.tasks -= 1
            ready = group.tasks == 0
        if ready:
            self._run.write_lanes[0].submit(self._write, group)

    def _write(self, group: Group) -> None:
        run = self._run
        known: list[Result | Again] = []
        written: list[Small] = []
        try:
            for file in group.files:
                if file.item.known_leaf is not None and file.leaf == file.item.known_leaf and not file.gaps:
                    known.append(Known(file.item.n))
                elif self._write_part(file):
                    written.append(file)
                file.view.release()
        finally:
            run.pool.give(group.buffer)
            if known:
                run.done(*known, over=False)
            run.commit_lane.submit(self._group_written, written)

    def _write_part(self, file: Small) -> bool:
        staging = self._run.vault.staging_fd
        try:
            try:
                fd = os.open(file.part, _PART, 0o400, dir_fd=staging)
            except FileExistsError:  # left by an interrupted copy, without a journal to prove it
                os.unlink(file.part, dir_fd=staging)
                fd = os.open(file.part, _PART, 0o400, dir_fd=staging)
            try:
                done = 0
                while done < file.length:
                    done += os.write(fd, file.view[done:])
                if (modified_ns := file.item.entry.modified_ns) is not None:
                    os.utime(fd, ns=(modified_ns, modified_ns))
            finally:
                os.close(fd)
        except OSError as error:
            self._refused(file, vault_error(error))
            return False
        return True

    def _refused(self, file: Small, error: VaultError) -> None:
        """The disk did not take a part: full or read-only ends the run, anything else is tried anew."""
        run = self._run
        if isinstance(error, VaultReadOnly):
            run.fail(error)
            return
        run.vault.remove_staged(file.part)
        if isinstance(error, VaultFull):
            run.fail(error)
        else:
            run.done(Again(file.item, error), over=False)

    # --- commit lane ---

    def _group_written(self, files: list[Small]) -> None:
        self._written += files
        self._groups_written += 1
        self._sync_when_complete()

    def _all_read(self, groups: int) -> None:
        self._groups = groups
        self._sync_when_complete()

    def _sync_when_complete(self) -> None:
        run = self._run
        if self._groups_written != self._groups:
            return
        try:
            sync_file_system(run.vault.root_fd)
        except OSError as error:
            # Which of the parts suffered is unknown, and a second sync would claim success: none is kept.
            for file in self._written:
                self._poison(file, vault_error(error))
            self._written = []
        run.check_lane.submit(self._check)

    def _poison(self, file: Small, error: AgentError) -> None:
        self._run.vault.remove_staged(file.part)
        self._run.done(Again(file.item, error), over=False)

    # --- check lane ---

    def _check(self) -> None:
        try:
            proven = list(self._read_back())
        except OSError as error:
            self._run.fail(vault_error(error))
            proven = []
        self._run.publish_lane.submit(self._publish, proven)

    def _read_back(self) -> Iterator[Small]:
        buffer = self._run.check_buffers.take()
        try:
            for files in _grouped(self._written, lambda file: file.length):
                if self._run.abandoned:
                    return
                yield from self._read_back_group(files, buffer)
        finally:
            self._run.check_buffers.give(buffer)

    def _read_back_group(self, files: Sequence[Small], buffer: memoryview) -> Iterator[Small]:
        run = self._run
        slots = _slots(buffer, [file.length for file in files])
        fds: list[int] = []
        try:
            fds += (run.vault.open_for_readback(file.part) for file in files)
            answers = run.ring.read_all(list(zip(fds, slots, strict=True)))
            lengths = [os.fstat(fd).st_size for fd in fds]
        finally:
            for fd in fds:
                os.close(fd)
        for file, slot, answer, length in zip(files, slots, answers, lengths, strict=True):
            empty = file.length == 0
            if length == file.length and (empty or gives_back(slot, answer, file.length, file.leaf)):
                yield file
            else:
                self._poison(file, ReadbackMismatch(0))

    # --- publish lane ---

    def _publish(self, proven: list[Small]) -> None:
        """1. Rename. 2. fsync folders. 3. Report: durable and proven first, then announced."""
        run = self._run
        outcomes: list[Result | Again] = []
        try:
            outcomes += [self._name(file) for file in proven if not run.abandoned]  # 1
            run.vault.folders.sync()  # 2
        except OSError as error:
            # Crash window and this failure alike: names that may not last are not reported; recovery stages them again.
            run.fail(vault_error(error))
            outcomes = []
        run.done(*outcomes)  # 3

    def _name(self, file: Small) -> Result:
        run, item = self._run, file.item
        run.vault.folders.prepare(item.target)
        try:
            rename_new(run.vault.staging_fd, file.part, run.vault.root_fd, item.target)
        except FileExistsError:
            run.vault.remove_staged(file.part)
            taken = TargetTaken(os.fsdecode(item.target))
            return Failed(item.n, taken.code, taken.en)
        return file.copied()


def _grouped(many: Sequence[_T], size: Callable[[_T], int]) -> Iterator[list[_T]]:
    """Runs of files that fit together into one buffer and one ring."""
    group: list[_T] = []
    used = 0
    for one in many:
        room = _block(size(one))
        if group and (used + room > CHUNK_BYTES or len(group) == RING_DEPTH):
            yield group
            group, used = [], 0
        group.append(one)
        used += room
    if group:
        yield group


def _block(length: int) -> int:
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES


def _slots(buffer: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    """Page-aligned pieces of one buffer, whole blocks each."""
    slots, at = [], 0
    for size in sizes:
        slots.append(buffer[at : at + _block(size)])
        at += _block(size)
    return slots
