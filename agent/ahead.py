"""The chunks of one long file in order, several reads of it under way: a disk gives more when it is asked for more.

Where the source offers a descriptor past the page cache, that is read: it costs a tenth of the CPU, and what is copied
comes from the medium and not from what this machine remembers of it.
"""

from collections.abc import Generator
from threading import Semaphore

from agent.aio import Answer
from agent.copies import Gap
from agent.readback import readback_bytes
from agent.run import AHEAD_CHUNKS, Run
from agent.salvage import Salvage
from agent.source import DirectReader, Reader
from custody.digest import CHUNK_BYTES

Read = tuple[int, memoryview, int, tuple[Gap, ...]]  # index, buffer of the pool, bytes in it, gaps among them


def chunks(run: Run, reader: Reader, size_bytes: int, index: int, window: Semaphore) -> Generator[Read, None, None]:
    """Chunks from `index` on, the last one perhaps empty; each buffer is the caller's to give back.

    Each takes one place of `window`; whoever journals it gives the place back. What a direct read does not give whole
    is asked for once more through `Salvage`. Raises SourceGone, SourceError.
    Used by the source lane alone; leaving it early waits for the reads under way and gives their buffers back.
    """
    fd = reader.direct_fd() if isinstance(reader, DirectReader) else None
    salvage, end, ahead = Salvage(reader), -(-size_bytes // CHUNK_BYTES), 1 if fd is None else AHEAD_CHUNKS
    taken: dict[int, memoryview] = {}
    answers: dict[int, Answer] = {}
    started = index
    try:
        while index < end:
            while started < min(end, index + ahead) and (buffer := _next_buffer(run, window, wait=not taken)):
                taken[started] = buffer
                if fd is not None:
                    offset = started * CHUNK_BYTES
                    run.source_ring.start([(started, fd, buffer[: readback_bytes(size_bytes - offset)], offset)])
                started += 1
            while fd is not None and index not in answers:
                answers.update(run.source_ring.collect())
            offset, buffer, answer = index * CHUNK_BYTES, taken[index], answers.pop(index, 0)
            wanted = min(CHUNK_BYTES, size_bytes - offset)
            gaps: tuple[Gap, ...] = ()
            if isinstance(answer, OSError) or answer < wanted:
                with run.source_lock:
                    length, gaps = salvage.read(buffer[:wanted], offset)
            else:
                length = wanted
            yield index, taken.pop(index), length, gaps
            index += 1
    finally:
        while run.source_ring.pending:
            run.source_ring.collect()
        for buffer in taken.values():
            run.pool.give(buffer)


def _next_buffer(run: Run, window: Semaphore, *, wait: bool) -> memoryview | None:
    if not window.acquire(blocking=wait):
        return None
    buffer = run.pool.take() if wait else run.pool.take_free()
    if buffer is None:
        window.release()
    return buffer
