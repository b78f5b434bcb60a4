"""Reading copies back from the disk and comparing them with what was read from the source."""

from collections.abc import Callable, Iterable

from agent.aio import Answer, ReadRing
from agent.marks import MARK_BYTES, Marker
from custody.digest import CHUNK_BYTES, leaf_hash

BLOCK_BYTES = 4096


def wrong_chunks(
    fd: int,
    size_bytes: int,
    marks: bytes,
    marker: Marker,
    indices: Iterable[int],
    ring: ReadRing,
    buffers: list[memoryview],
    stop: Callable[[], bool],
) -> list[int]:
    """Those of the chunks `indices` that the disk does not give back as `marks` say; reads ahead with all `buffers`.

    A read error counts as wrong. Returns early, with what it knows, when `stop` says so.
    """
    wrong: list[int] = []
    free = list(buffers)
    under_way: dict[int, memoryview] = {}
    waiting = iter(indices)
    while True:
        while free and not stop() and (index := next(waiting, None)) is not None:
            buffer = free.pop()
            under_way[index] = buffer
            ring.start([(index, fd, buffer[: readback_bytes(size_bytes - index * CHUNK_BYTES)], index * CHUNK_BYTES)])
        if not under_way:
            return sorted(wrong)
        for index, answer in ring.collect():
            buffer = under_way.pop(index)
            length = min(CHUNK_BYTES, size_bytes - index * CHUNK_BYTES)
            mark = marks[index * MARK_BYTES : (index + 1) * MARK_BYTES]
            if isinstance(answer, OSError) or answer != length or marker.mark(buffer[:length]) != mark:
                wrong.append(index)
            free.append(buffer)


def gives_back(buffer: memoryview, answer: Answer, length: int, leaf: bytes) -> bool:
    """Whether a finished read holds exactly the chunk of this length and leaf."""
    return not isinstance(answer, OSError) and answer == length and leaf_hash(buffer[:length]) == leaf


def readback_bytes(length: int) -> int:
    """How much to ask for at `length` bytes before the end: whole blocks, as O_DIRECT wants, at most a chunk."""
    return min(CHUNK_BYTES, -(-length // BLOCK_BYTES) * BLOCK_BYTES)
