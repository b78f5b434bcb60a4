"""Many small files of a folder read at once, past the page cache: neighbours on the disk become one request."""

import errno
import os
from collections.abc import Callable, Sequence

from agent.aio import Answer, ReadRing
from agent.errors import ReadFault, SourceError
from agent.source import Entry, WholeRead

RING_DEPTH = 256
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class BulkReader:
    """Reads small files below one folder. Used by one thread."""

    def __init__(
        self,
        root: int,
        is_listed: Callable[[int, Entry], bool],
        unreadable: Callable[[Entry, OSError | None], SourceError],
    ) -> None:
        """`is_listed` compares an open file with its entry; `unreadable` makes the error, or raises SourceGone."""
        self._root, self._is_listed, self._unreadable = root, is_listed, unreadable
        self._ring = ReadRing(RING_DEPTH)
        self._direct = os.O_DIRECT

    def read(self, entries: Sequence[Entry], slots: Sequence[memoryview]) -> list[WholeRead | SourceError]:
        """See `BulkSource.read_whole`; at most `RING_DEPTH` entries."""
        opened = self._open_all(entries)
        try:
            reads = [(fd, slot) for fd, slot in zip(opened, slots, strict=True) if isinstance(fd, int)]
            answers = iter(self._ring.read_all(reads))
            return [
                fd if isinstance(fd, SourceError) else self._answer(entry, fd, slot, next(answers))
                for entry, fd, slot in zip(entries, opened, slots, strict=True)
            ]
        finally:
            for fd in opened:
                if isinstance(fd, int):
                    os.close(fd)

    def close(self) -> None:
        """Give the ring back."""
        self._ring.close()

    def _open_all(self, entries: Sequence[Entry]) -> list[int | SourceError]:
        """Descriptors in order; each folder is opened once, component by component, for the files in it that follow."""
        opened: list[int | SourceError] = []
        folder: tuple[bytes, ...] = ()
        at = os.dup(self._root)
        try:
            for entry in entries:
                try:
                    if entry.path[:-1] != folder:
                        below = self._open_folder(entry.path[:-1])
                        os.close(at)
                        at, folder = below, entry.path[:-1]
                    opened.append(self._open_file(at, entry))
                except OSError as error:
                    opened.append(self._unreadable(entry, error))
        except BaseException:
            for fd in opened:
                if isinstance(fd, int):
                    os.close(fd)
            raise
        finally:
            os.close(at)
        return opened

    def _open_folder(self, path: tuple[bytes, ...]) -> int:
        at = os.dup(self._root)
        for component in path:
            try:
                below = os.open(component, DIRECTORY, dir_fd=at)
            finally:
                os.close(at)
            at = below
        return at

    def _open_file(self, at: int, entry: Entry) -> int | SourceError:
        try:
            fd = os.open(entry.path[-1], FILE | self._direct, dir_fd=at)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
            self._direct = 0  # this file system has no O_DIRECT
            fd = os.open(entry.path[-1], FILE, dir_fd=at)
        if self._is_listed(fd, entry):
            return fd
        os.close(fd)
        return self._unreadable(entry, None)

    def _answer(self, entry: Entry, fd: int, slot: memoryview, answer: Answer) -> WholeRead | SourceError:
        if isinstance(answer, OSError):
            if answer.errno in (errno.EINVAL, errno.EIO):  # EINVAL: O_DIRECT in name only. Both: slowly, one by one
                return ReadFault(0, entry.size_bytes)
            return self._unreadable(entry, answer)
        if answer < entry.size_bytes and self._is_listed(fd, entry):
            return ReadFault(0, entry.size_bytes)  # cut short without a reason: asked again, one by one
        return WholeRead(min(answer, entry.size_bytes), not self._is_listed(fd, entry))
