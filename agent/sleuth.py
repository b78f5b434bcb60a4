"""The Sleuth Kit on top of our own medium: partition tables, and reading one file of ext2/3/4 or NTFS.

The library gets zeros for bad sectors, so that the rest of a directory is still found; every such range is remembered,
and file content is checked against them before it is given out, by the file's own runs: zeros never pass as footage.
The library calls back into Python while it holds its own mutexes: one thread at a time, as agent/source.py says anyway.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pytsk3

from agent.errors import ReadFault, SourceGone, SourceUnreadable
from agent.extents import ZEROS
from agent.medium import Medium

FAILURES = (OSError, RuntimeError)  # what the library raises for anything
Runs = list[tuple[int, int, int]]  # (offset in the file, offset on the medium, length)
Identity = tuple[int, int, int]  # size, mtime and ctime in nanoseconds


class Image(pytsk3.Img_Info):  # type: ignore[misc]  # the wheel has no type information
    """Our medium as the library wants it: zeros for bad sectors, all of them remembered in `bad`."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self.bad: dict[tuple[int, int], None] = {}  # (offset, length), in the order they were met
        self._gone: SourceGone | None = None
        super().__init__(url="", type=pytsk3.TSK_IMG_TYPE_EXTERNAL)

    def read(self, offset: int, size: int) -> bytes:
        """Called by the library."""
        try:
            data, bad = self._medium.read_metadata(offset, max(0, min(size, self._medium.size_bytes - offset)))
        except SourceGone as error:
            self._gone = error
            raise
        self.bad |= dict.fromkeys(bad)
        return data

    def get_size(self) -> int:
        """Called by the library."""
        return self._medium.size_bytes

    def close(self) -> None:
        """The medium belongs to the source."""

    def raise_if_gone(self) -> None:
        """Raises SourceGone if that is why the library failed."""
        if self._gone:
            raise self._gone


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry of a partition table, in bytes of the medium."""

    number: int
    start: int
    length: int


def read_partitions(medium: Medium) -> list[Partition]:
    """The partitions of a GPT or MBR (with its extended ones); none if there is no table. Raises SourceGone."""
    image = Image(medium)
    for kind in (pytsk3.TSK_VS_TYPE_GPT, pytsk3.TSK_VS_TYPE_DOS):
        try:
            table = pytsk3.Volume_Info(image, kind)
            size = int(table.info.block_size)
            used = [part for part in table if part.flags == pytsk3.TSK_VS_PART_FLAG_ALLOC]
        except FAILURES:
            image.raise_if_gone()
            continue
        return [Partition(i, int(p.start) * size, int(p.len) * size) for i, p in enumerate(used, 1)]
    return []


@dataclass(frozen=True, slots=True)
class Content:
    """One file as the library knows it."""

    file: pytsk3.File
    identity: Identity
    runs: Runs
    structures: Runs  # blocks that say where it lies
    compressed: bool


class SleuthReader:
    """A `Reader` through the library: it knows holes, unwritten extents, resident and compressed content."""

    def __init__(self, image: Image, load: Callable[[], Content], listed: Identity, size_bytes: int) -> None:
        """`load` asks the library for the file anew. Raises SourceUnreadable, SourceGone."""
        self._image, self._load, self._listed = image, load, listed
        self._size_bytes = size_bytes
        before = len(image.bad)
        self._content = self._loaded()
        unread = len(image.bad) > before
        if unread or any(_overlaps(image.bad, at, length) for _, at, length in self._content.structures):
            raise SourceUnreadable(
                "The card cannot read the structures that say where this file lies. The rest of the card is copied. "
                "Keep the card and do not record on it again.",
                "存储卡无法读取该文件的位置信息。其余内容照常复制。请保留该卡，勿再用于录制。",
            )

    @property
    def is_inline(self) -> bool:
        """Whether its content may lie in its own entry and not in blocks."""
        return not self._content.runs and self._size_bytes > 0

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Where the file lies, for `ExtentReader`; what no run covers is a hole."""
        end = 0
        for start, at, length in sorted(self._content.runs):
            if start > end:
                yield start - end, ZEROS
            yield length, at
            end = start + length
        if end < self._size_bytes:
            yield self._size_bytes - end, ZEROS

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; 0 at the end. Raises ReadFault for the first bad range inside it, SourceGone."""
        wanted = max(0, min(len(buffer), self._size_bytes - offset))
        if not wanted:
            return 0
        try:
            data = self._content.file.read_random(offset, wanted)
        except FAILURES as error:
            self._image.raise_if_gone()
            raise ReadFault(offset, wanted) from error
        self._check(offset, wanted)
        buffer[: len(data)] = data
        if len(data) < wanted:
            raise ReadFault(offset + len(data), wanted - len(data))
        return wanted

    def changed(self) -> bool:
        """Whether size, mtime or ctime are no longer what was listed. Raises SourceUnreadable, SourceGone."""
        return self._loaded().identity != self._listed

    def close(self) -> None:
        """Nothing to release: the library's objects belong to the source."""

    def _loaded(self) -> Content:
        try:
            return self._load()
        except FAILURES as error:
            self._image.raise_if_gone()
            raise SourceUnreadable(
                "The card cannot read this file's entry. The rest of the card is copied.",
                "存储卡无法读取该文件的目录项。其余内容照常复制。",
            ) from error

    def _check(self, offset: int, wanted: int) -> None:
        """Raises ReadFault where a bad range of the medium lies under these bytes of the file."""
        faults = []
        for start, at, length in self._content.runs if self._image.bad else ():
            if start >= offset + wanted or start + length <= offset:
                continue
            for bad_at, bad_length in self._image.bad:
                first = max(offset, start + max(bad_at - at, 0))
                end = min(offset + wanted, start + min(bad_at + bad_length - at, length))
                if first < end:
                    faults.append((first, end - first))
        if faults:  # in compressed content one bad sector spoils what is unpacked from it
            raise ReadFault(offset, wanted) if self._content.compressed else ReadFault(*min(faults), exact=True)


def _overlaps(bad: Iterable[tuple[int, int]], at: int, length: int) -> bool:
    return any(start < at + length and at < start + size for start, size in bad)
