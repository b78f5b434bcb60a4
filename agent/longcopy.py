"""The copy of one file of more than one chunk, resumable: a crash costs at most 16 MiB.

source lane   read a chunk, others ahead of it
write lanes   into the part, past the page cache ─┬─▶ whole lane   whole-file SHA-256
                                                  └─▶ leaf lane    chunk leaf;  then its mark (marks.py)
commit lane   every 8 chunks: data durable, then gaps, then leaves; at the end time stamp and mode with them
check lane    read back from the disk, mend (longcheck.py)
publish lane  final names, durable; then report

A chunk is hashed after it was written and marked after it was hashed, all out of one buffer. So when the disk gives
back what the mark says, both digests are of the bytes that lie there: were memory to alter the buffer between any two
of these steps, the mark would not fit the disk.
"""

import hashlib
import os
import threading
from contextlib import closing

from agent.ahead import chunks
from agent.copies import CopyItem, Failed, Gap, Known
from agent.disk import vault_error
from agent.errors import SourceError, SourceGone, SourceUnreadable, TargetTaken, VaultError, VaultUnwritable
from agent.journal import Part, SyncFailed, prove
from agent.longcheck import Sealed, check, give_up
from agent.run import Progress, Run
from agent.salvage import Salvage
from agent.source import Reader
from custody.digest import CHUNK_BYTES, HASH_BYTES, leaf_hash

STRETCH_CHUNKS = 8
OPEN_CHUNKS = 16  # of one file, read and not yet journalled: what a crash costs of copying again


class Chunk:
    """One chunk on its way; its buffer is free again when all `tasks` are done."""

    __slots__ = ("buffer", "error", "gaps", "index", "leaf", "length", "mark", "tasks", "written")

    def __init__(self, index: int, buffer: memoryview, length: int, gaps: tuple[Gap, ...]) -> None:
        self.index, self.buffer, self.length, self.gaps = index, buffer, length, gaps
        self.leaf = self.mark = b""
        self.written = threading.Event()
        self.error: OSError | None = None
        self.tasks = 2


class LongCopy:
    """One file under way. Each group of methods runs in the lane that its heading names, so only `_lock` is shared."""

    def __init__(self, run: Run, item: CopyItem) -> None:
        self._run, self._item = run, item
        self._lock = threading.Lock()
        self._window = threading.Semaphore(OPEN_CHUNKS)
        self._sha256 = hashlib.sha256()
        self._part: Part
        self._size_bytes = 0
        self._resumed_at_bytes = 0
        self._changed = False
        # the commit lane's
        self._landed_chunks: dict[int, Chunk] = {}
        self._next = 0  # the first chunk that has not landed
        self._end: int | None = None  # how many chunks there are, once the source lane knows
        self._stopped = False
        self._stretch = bytearray()
        self._marks = bytearray()
        self._stretch_gaps: list[Gap] = []
        self._failure: VaultError | None = None
        self._refusal: SourceError | None = None
        self._poisoned = False

    # --- source lane ---

    def read(self) -> None:
        """Read the file and send its chunks on."""
        run = self._run
        if run.halted:
            run.done()
            return
        try:
            with run.source_lock:
                reader = run.source.open(self._item.entry)
            try:
                self._read_from(reader)
            finally:
                with run.source_lock:
                    reader.close()
        except SourceGone as gone:
            run.fail(gone)
            run.done()
        except SourceError as error:
            run.done(Failed(self._item.n, error.code, str(error)))
        except OSError as error:
            run.fail(vault_error(error))
            run.done()

    def _read_from(self, reader: Reader) -> None:
        run, item = self._run, self._item
        if self._is_known(reader):
            run.done(Known(item.n))
            return
        if run.vault.taken(item.target):
            taken = TargetTaken(os.fsdecode(item.target))
            run.done(Failed(item.n, taken.code, taken.en))
            return
        self._part = Part(run.vault, item.key, item.entry.size_bytes)
        end, trouble = -1, None
        try:
            index = self._next = self._take_over(reader)
            self._resumed_at_bytes = self._size_bytes = min(index * CHUNK_BYTES, item.entry.size_bytes)
            end = self._read_chunks(reader, index)
            with run.source_lock:
                self._changed = self._size_bytes != item.entry.size_bytes or _changed(reader)
        except BaseException as error:  # noqa: BLE001 - chunks are under way: the commit lane closes the part, then reacts
            trouble = error
        run.commit_lane.submit(self._ended, end, trouble)

    def _is_known(self, reader: Reader) -> bool:
        if self._item.known_leaf is None:
            return False
        buffer = self._run.pool.take()
        try:
            with self._run.source_lock:
                length, gaps = Salvage(reader).read(buffer, 0)
            return not gaps and leaf_hash(buffer[:length]) == self._item.known_leaf
        finally:
            self._run.pool.give(buffer)

    def _take_over(self, reader: Reader) -> int:
        """Chunks of an interrupted copy that their leaves prove; the hash of the whole file goes on behind them."""
        leaves, gaps = self._part.journalled()
        buffer = self._run.pool.take()
        index = 0
        try:
            if not self._continues(reader, leaves, gaps, buffer):
                leaves, gaps = b"", []
            while index * HASH_BYTES < len(leaves) and index * CHUNK_BYTES < self._item.entry.size_bytes:
                chunk = None if self._run.abandoned else prove(self._part, leaves, index, buffer)
                if chunk is None:
                    break
                self._sha256.update(chunk)
                self._marks += self._run.marker.mark(chunk)
                index += 1
                self._run.events.put(Progress(self._item.n, min(index * CHUNK_BYTES, self._item.entry.size_bytes)))
        finally:
            self._run.pool.give(buffer)
        if not self._run.abandoned:
            self._part.resume(index, leaves, gaps)
        return index

    def _continues(self, reader: Reader, leaves: bytes, gaps: list[Gap], buffer: memoryview) -> bool:
        """Whether the source's file is the one that the part was copied from, by its first chunk and the last proven.

        A camera that lost its clock gives a new file the name, size and time of an old one: the two must not be mixed.
        A leaf that does not fit the part says nothing of the source: a power cut may have torn it (`Part.commit`).
        """
        size_bytes = self._item.entry.size_bytes
        last = min(len(leaves) // HASH_BYTES, -(-size_bytes // CHUNK_BYTES)) - 1
        while last > 0 and not self._run.abandoned and prove(self._part, leaves, last, buffer) is None:
            last -= 1
        for index in sorted({0, last} if last >= 0 else ()):
            start, end = index * CHUNK_BYTES, min((index + 1) * CHUNK_BYTES, size_bytes)
            if any(gap.offset_bytes < end and start < gap.offset_bytes + gap.length_bytes for gap in gaps):
                continue  # holds zeros that the source never gave
            with self._run.source_lock:
                length, unread = Salvage(reader).read(buffer[: end - start], start)
            if not unread and leaf_hash(buffer[:length]) != leaves[index * HASH_BYTES : (index + 1) * HASH_BYTES]:
                return False
        return True

    def _read_chunks(self, reader: Reader, index: int) -> int:
        """Read from chunk `index` on; how many chunks there are, or -1 when reading was stopped."""
        run, size_bytes = self._run, self._item.entry.size_bytes
        with closing(chunks(run, reader, size_bytes, index, self._window)) as reads:
            while index * CHUNK_BYTES < size_bytes:
                if run.halted or self._failure is not None:
                    return -1
                index, buffer, length, gaps = next(reads)
                if length == 0:
                    run.pool.give(buffer)
                    return index
                self._send(Chunk(index, buffer, length, gaps))
                self._size_bytes = index * CHUNK_BYTES + length
                index += 1
                run.events.put(Progress(self._item.n, self._size_bytes))
                if length < CHUNK_BYTES:
                    return index
        return index

    def _send(self, chunk: Chunk) -> None:
        run = self._run
        run.whole_lane.submit(self._hash_whole, chunk)
        run.leaf_lane.submit(self._hash_leaf, chunk)
        run.write_lanes[chunk.index % len(run.write_lanes)].submit(self._write, chunk)

    # --- write, whole and leaf lanes ---

    def _write(self, chunk: Chunk) -> None:
        try:
            self._part.write(chunk.buffer, chunk.length, chunk.index * CHUNK_BYTES)
        except OSError as error:
            chunk.error = error
        finally:
            chunk.written.set()

    def _hash_whole(self, chunk: Chunk) -> None:
        chunk.written.wait()
        self._sha256.update(chunk.buffer[: chunk.length])
        self._task_done(chunk)

    def _hash_leaf(self, chunk: Chunk) -> None:
        chunk.written.wait()
        chunk.leaf = leaf_hash(chunk.buffer[: chunk.length])
        self._task_done(chunk)

    def _task_done(self, chunk: Chunk) -> None:
        with self._lock:
            chunk.tasks -= 1
            landed = chunk.tasks == 0
        if landed:
            chunk.mark = self._run.marker.mark(chunk.buffer[: chunk.length])
            self._run.pool.give(chunk.buffer)  # here: the commit lane may be waiting for the disk
            self._run.commit_lane.submit(self._landed, chunk)

    # --- commit lane ---

    def _landed(self, chunk: Chunk) -> None:
        if chunk.error is not None:
            self._fail(chunk.error)
        self._landed_chunks[chunk.index] = chunk
        while (ready := self._landed_chunks.pop(self._next, None)) is not None:
            self._next += 1
            self._stretch += ready.leaf
            self._marks += ready.mark
            self._stretch_gaps += ready.gaps
            if len(self._stretch) >= STRETCH_CHUNKS * HASH_BYTES and self._next != self._end:
                self._commit()
        self._close_when_complete()

    def _ended(self, end: int, trouble: BaseException | None) -> None:
        """The source lane sent its last chunk; -1 chunks: it was stopped, or had `trouble`."""
        self._stopped = end < 0 or trouble is not None
        self._end = end
        if isinstance(trouble, OSError | SyncFailed):
            self._fail(trouble)
        elif isinstance(trouble, SourceError) and not isinstance(trouble, SourceGone):
            self._refusal = trouble
        elif trouble is not None:
            self._run.fail(trouble)
        self._close_when_complete()

    def _fail(self, error: OSError | SyncFailed) -> None:
        """A full or read-only disk keeps the part for later; any other failure leaves pages in doubt: poison."""
        cause = error.cause if isinstance(error, SyncFailed) else error
        if self._failure is None:
            self._failure = vault_error(cause)
        self._poisoned = self._poisoned or isinstance(error, SyncFailed) or isinstance(self._failure, VaultUnwritable)

    def _commit(self) -> None:
        if self._failure is None:
            try:
                self._part.commit(bytes(self._stretch), self._stretch_gaps)
            except (OSError, SyncFailed) as error:
                self._fail(error)
        if self._stretch:  # in any case: the source lane may wait for it
            self._window.release(len(self._stretch) // HASH_BYTES)
        self._stretch.clear()
        self._stretch_gaps = []

    def _close_when_complete(self) -> None:
        """Once every chunk that was sent has landed: make the rest durable and hand over to the check lane."""
        if self._end is None or self._landed_chunks or self._next < self._sent():
            return
        if not self._stopped and self._failure is None:
            try:
                self._part.seal(self._size_bytes, self._item.entry.modified_ns)
            except OSError as error:
                self._fail(error)
        self._commit()
        if self._failure is not None:
            give_up(self._run, self._item, self._part, self._failure, poison=self._poisoned)
        elif self._stopped:
            self._part.close()
            refusal = self._refusal
            self._run.done(*([Failed(self._item.n, refusal.code, refusal.en)] if refusal else []))
        else:
            sealed = Sealed(
                self._item, self._part, self._size_bytes, self._sha256.digest(), bytes(self._marks), self._changed,
                self._resumed_at_bytes,
            )  # fmt: skip
            self._run.check_lane.submit(check, self._run, sealed)

    def _sent(self) -> int:
        return -(-self._size_bytes // CHUNK_BYTES)


def _changed(reader: Reader) -> bool:
    try:
        return reader.changed()
    except SourceUnreadable:  # it can no longer be looked at: not what was listed
        return True
