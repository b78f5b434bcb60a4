"""A folder as a source: surveillance exports, card readers that only mount, another program's output.

Every step goes from a directory descriptor with O_NOFOLLOW and without blocking, so nothing that somebody swaps in
meanwhile (link, FIFO, device, mount) is ever followed or waited for.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from agent.errors import ReadFault, SourceError, SourceGone, SourceUnreadable
from agent.folderbulk import BulkReader
from agent.source import Entry, Finding, FindingKind, SourceFacts, SourceKind, TimeBasis, WholeRead

DEPTH_MAX = 1000  # of folders below the source; deeper is a finding
FAULT_BYTES = 4096  # a page: the finest that a read through a file system tells
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ENOTCONN, errno.ESTALE})


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one state of a file from another."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def render(self) -> str:
        return f"{self.device}:{self.inode}:{self.size_bytes}:{self.mtime_ns}:{self.ctime_ns}"


class FolderSource:
    """A folder and everything below it on the same file system."""

    def __init__(self, path: bytes, settle_ns: int = 0, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Files modified less than `settle_ns` before `now_ns` are findings, not entries. Raises SourceUnreadable."""
        self._settle_ns, self._now_ns = settle_ns, now_ns
        try:
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(path, error) from error
        self._device = os.fstat(self._root).st_dev
        self._bulk: BulkReader | None = None

    @property
    def facts(self) -> SourceFacts:
        """A folder says little about itself."""
        return SourceFacts(SourceKind.FOLDER, ("folder",), ("",), ("",), None, TimeBasis.UTC)

    def entries(self) -> Iterator[Entry | Finding]:
        """Everything below the folder, sorted within each directory; memory holds one directory and its ancestors'.

        Raises SourceGone.
        """
        pending: list[tuple[bytes, ...]] = [()]
        while pending:
            path = pending.pop()
            below: list[tuple[bytes, ...]] = []
            try:
                fd = self._descend(path)
            except OSError as error:
                yield self._directory_fault(path, error)
                continue
            try:
                yield from self._directory(path, fd, below)
            finally:
                os.close(fd)
            pending += reversed(below)

    def open(self, entry: Entry) -> "FolderReader":
        """Open one listed file, component by component. Raises SourceUnreadable, SourceGone."""
        try:
            folder = self._descend(entry.path[:-1])
            try:
                fd = os.open(entry.path[-1], _FILE, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise_if_gone(error)
            raise _unreadable(b"/".join(entry.path), error) from error
        return FolderReader(fd, entry.handle)

    def read_whole(self, entries: Sequence[Entry], slots: Sequence[memoryview]) -> list[WholeRead | SourceError]:
        """Read small files together (`BulkSource`). Raises SourceGone."""
        if self._bulk is None:
            self._bulk = BulkReader(self._root, _is_listed, _bulk_error)
        return self._bulk.read(entries, slots)

    def close(self) -> None:
        """Release the folder; closing twice does nothing."""
        if self._bulk is not None:
            self._bulk.close()
            self._bulk = None
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def _descend(self, path: tuple[bytes, ...]) -> int:
        """A descriptor of a directory below the root, reached without following anything. Raises OSError."""
        at = os.open(b".", _DIRECTORY, dir_fd=self._root)  # a position of its own, unlike dup
        for component in path:
            try:
                below = os.open(component, _DIRECTORY, dir_fd=at)
            finally:
                os.close(at)
            at = below
        return at

    def _directory(self, path: tuple[bytes, ...], fd: int, below: list[tuple[bytes, ...]]) -> Iterator[Entry | Finding]:
        try:
            with os.scandir(fd) as listing:
                names = sorted(os.fsencode(entry.name) for entry in listing)
        except OSError as error:
            yield self._directory_fault(path, error)
            return
        for name in names:
            yield from self._name((*path, name), name, fd, below)

    def _name(
        self, path: tuple[bytes, ...], name: bytes, parent: int, below: list[tuple[bytes, ...]]
    ) -> Iterator[Entry | Finding]:
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, "it was removed while the folder was listed")
            return
        except OSError as error:
            raise_if_gone(error)
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, f"it cannot be looked at: {error.strerror}")
            return
        if stat.S_ISLNK(status.st_mode):
            yield Finding(FindingKind.SKIPPED_SYMLINK, path, "a link to another place: not followed")
        elif stat.S_ISDIR(status.st_mode):
            if status.st_dev != self._device:
                detail = "another file system is mounted here: not entered"
                yield Finding(FindingKind.UNREADABLE_DIRECTORY, path, detail)
            elif len(path) > DEPTH_MAX:
                yield Finding(FindingKind.UNREADABLE_DIRECTORY, path, f"deeper than {DEPTH_MAX} folders: not entered")
            else:
                below.append(path)
        elif not stat.S_ISREG(status.st_mode):
            yield Finding(FindingKind.SKIPPED_SPECIAL, path, "a FIFO, socket or device node: not opened")
        # ctime: our own kernel's clock. A file's mtime may be any time its camera believed in, the future included.
        elif 0 <= self._now_ns() - status.st_ctime_ns < self._settle_ns:
            yield Finding(FindingKind.STILL_BEING_WRITTEN, path, "modified a moment ago: taken when it rests")
        else:
            yield Entry(path, status.st_size, status.st_mtime_ns, Identity.of(status).render())

    def _directory_fault(self, path: tuple[bytes, ...], error: OSError) -> Finding:
        raise_if_gone(error)
        detail = f"this directory cannot be read ({error.strerror}): files in it are missing from this list"
        return Finding(FindingKind.UNREADABLE_DIRECTORY, path, detail)


class FolderReader:
    """One opened file of a folder."""

    def __init__(self, fd: int, handle: str) -> None:
        """Takes over `fd`. Raises SourceUnreadable when it is not the file that was listed."""
        self._fd, self._direct_fd = fd, -1
        status = os.fstat(fd)
        self._listed = Identity.of(status)
        if not stat.S_ISREG(status.st_mode) or self._listed.render() != handle:
            self.close()
            raise _not_as_listed()

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; 0 at the end. Raises ReadFault, SourceGone."""
        wanted = max(0, min(len(buffer), self._listed.size_bytes - offset))
        done = 0
        while done < wanted:
            try:
                count = os.preadv(self._fd, [buffer[done:wanted]], offset + done)
            except OSError as error:
                raise_if_gone(error)
                return self._salvage(buffer[:wanted], offset, done)
            if count == 0:  # it became shorter; `changed` says so
                break
            done += count
        return done

    def changed(self) -> bool:
        """Whether the open file is no longer what was listed. Raises SourceGone."""
        try:
            return Identity.of(os.fstat(self._fd)) != self._listed
        except OSError as error:
            raise_if_gone(error)
            return True

    def direct_fd(self) -> int | None:
        """See `DirectReader`: the very file that is open, whatever its name stands for now."""
        if self._direct_fd < 0:
            try:
                self._direct_fd = os.open(b"/proc/self/fd/%d" % self._fd, _FILE & ~os.O_NOFOLLOW | os.O_DIRECT)
            except OSError:  # no O_DIRECT here, or no /proc: the page cache serves
                return None
        return self._direct_fd

    def close(self) -> None:
        """Release the file; closing twice does nothing."""
        for fd in (self._fd, self._direct_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._direct_fd = -1

    def _salvage(self, buffer: memoryview, offset: int, done: int) -> int:
        """Go on page by page; raises ReadFault with the whole bad stretch inside `buffer`."""
        bad_from = -1
        while done < len(buffer):
            room = min(FAULT_BYTES - (offset + done) % FAULT_BYTES, len(buffer) - done)
            try:
                count = os.preadv(self._fd, [buffer[done : done + room]], offset + done)
            except OSError as error:
                raise_if_gone(error)
                bad_from = done if bad_from < 0 else bad_from
                done += room
                continue
            if bad_from >= 0 or count == 0:
                break
            done += count
        if bad_from >= 0:
            raise ReadFault(offset + bad_from, done - bad_from, exact=True)
        return done


def raise_if_gone(error: OSError) -> None:
    """Raises SourceGone if the file system below left."""
    if error.errno in _GONE:
        raise SourceGone from error


def _is_listed(fd: int, entry: Entry) -> bool:
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and Identity.of(status).render() == entry.handle


def _bulk_error(entry: Entry, error: OSError | None) -> SourceError:
    """Raises SourceGone."""
    if error is None:
        return _not_as_listed()
    raise_if_gone(error)
    return _unreadable(b"/".join(entry.path), error)


def _not_as_listed() -> SourceUnreadable:
    return SourceUnreadable(
        "This file is no longer the one that was listed; another program changes the folder. "
        "It is listed again at the next offload.",
        "该文件已与列出时不同，其他程序正在改动此文件夹。下次采集时将重新列出。",
    )


def _unreadable(path: bytes, error: OSError) -> SourceUnreadable:
    name = os.fsdecode(path)
    return SourceUnreadable(
        f"{name} cannot be opened: {error.strerror}. Nothing was changed. Check that it exists and may be read.",
        f"无法打开 {name}：{error.strerror}。未作任何改动。请检查其是否存在以及读取权限。",
    )
