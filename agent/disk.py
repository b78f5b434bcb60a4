"""The vault's disk at the edge to the kernel: what Python's os module lacks, and errors turned into ours."""

import ctypes
import errno
import mmap
import os
import queue
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from agent.errors import VaultError, VaultFull, VaultReadOnly, VaultUnwritable
from custody.digest import CHUNK_BYTES

BLOCK_BYTES = 4096  # O_DIRECT wants offsets, lengths and addresses in these units
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_SYNC_FILE_RANGE_WRITE = 2
_libc = ctypes.CDLL(None, use_errno=True)
_sync_file_range = getattr(_libc, "sync_file_range", None)
_renameat2 = getattr(_libc, "renameat2", None)
_fallocate = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
_NOT_OFFERED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def vault_error(error: OSError) -> VaultError:
    """Our error for a failed call on the vault's disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return VaultFull()
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return VaultReadOnly()
    return VaultUnwritable(str(error))


@contextmanager
def vault_errors() -> Iterator[None]:
    """Inside, an OSError concerns the vault and leaves as a VaultError."""
    try:
        yield
    except OSError as error:
        raise vault_error(error) from error


def allocate(fd: int, size_bytes: int) -> None:
    """Reserve the blocks of a file, so that a full disk shows before hours of copying. Raises OSError (ENOSPC).

    Not posix_fallocate: the C library imitates it by writing where the file system lacks it.
    """
    if _fallocate is None or size_bytes == 0:
        return
    if _fallocate(fd, 0, ctypes.c_int64(0), ctypes.c_int64(size_bytes)) != 0:
        code = ctypes.get_errno()
        if code not in _NOT_OFFERED:
            raise OSError(code, os.strerror(code))


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Let the kernel start writing a range now. For speed only: errors show with fdatasync."""
    if _sync_file_range is not None:
        _sync_file_range(fd, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE)


def sync_file_system(fd: int) -> None:
    """Make everything written to the file system of `fd` durable. Raises OSError, also for lost earlier writes."""
    if _libc.syncfs(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def rename_new(from_dir: int, old: bytes, to_dir: int, new: bytes) -> None:
    """Rename, never replacing. Raises FileExistsError when `new` exists, else OSError."""
    if _renameat2 is not None:
        if _renameat2(from_dir, old, to_dir, new, _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NOT_OFFERED:
            raise OSError(code, os.strerror(code), os.fsdecode(new))
    # Crash window between the two calls: both names stand; the next docking finds the target taken by its own file.
    os.link(old, new, src_dir_fd=from_dir, dst_dir_fd=to_dir, follow_symlinks=False)
    os.unlink(old, dir_fd=from_dir)


class Vault:
    """The vault folder and its staging folder, held open. `direct`: its file system does O_DIRECT."""

    def __init__(self, path: bytes) -> None:
        """Open, creating `.staging`. Raises VaultError."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        with vault_errors(), ExitStack() as opened:
            self.root_fd = os.open(path, flags)
            opened.callback(os.close, self.root_fd)
            if not _exists(self.root_fd, b".staging"):
                os.mkdir(b".staging", 0o700, dir_fd=self.root_fd)
                os.fsync(self.root_fd)
            self.staging_fd = os.open(b".staging", flags | os.O_NOFOLLOW, dir_fd=self.root_fd)
            opened.callback(os.close, self.staging_fd)
            self.direct = self._probe_direct()
            self._opened = opened.pop_all()
        self.folders = Folders(self.root_fd)

    def _probe_direct(self) -> bool:
        """Tried on a file without a name: some file systems take the flag and refuse the write."""
        with mmap.mmap(-1, BLOCK_BYTES) as page:
            try:
                fd = os.open(b".", os.O_RDWR | os.O_TMPFILE | os.O_DIRECT | os.O_CLOEXEC, 0o600, dir_fd=self.staging_fd)
            except OSError as error:
                if error.errno not in (*_NOT_OFFERED, errno.EISDIR, errno.ENOSPC, errno.EDQUOT):
                    raise
                return False
            try:
                return os.pwrite(fd, page, 0) == BLOCK_BYTES and os.preadv(fd, [page], 0) == BLOCK_BYTES
            except OSError as error:
                if error.errno not in (*_NOT_OFFERED, errno.ENOSPC, errno.EDQUOT):
                    raise
                return False
            finally:
                os.close(fd)

    def taken(self, target: bytes) -> bool:
        """Whether something stands under a final name."""
        return _exists(self.root_fd, target)

    def remove_staged(self, name: bytes) -> None:
        """Remove a staging file, if it is there."""
        if _exists(self.staging_fd, name):
            os.unlink(name, dir_fd=self.staging_fd)

    def open_for_readback(self, name: bytes) -> int:
        """Open a staged file whose pages were synced so that reading reaches the disk and not the page cache."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags | (os.O_DIRECT if self.direct else 0), dir_fd=self.staging_fd)
        if not self.direct:
            # Only after fsync: before it, dirty pages would stay cached and be "read back" (field notes, Disk).
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return fd

    def close(self) -> None:
        """Close both folders."""
        self._opened.close()


class Folders:
    """Makes folders below the vault and syncs every one that changed. Used by one thread."""

    REMEMBERED = 4096

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._made: set[bytes] = set()  # known to exist, durable or in `_touched`
        self._touched: set[bytes] = set()

    def prepare(self, target: bytes) -> None:
        """Make the folders above `target` and note that its folder changes. Raises OSError."""
        folder = os.path.dirname(target)
        self._touched.add(folder)
        if folder in self._made:
            return
        if len(self._made) > self.REMEMBERED:
            self._made.clear()
        missing = []
        while folder and folder not in self._made and not _exists(self._root_fd, folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            os.mkdir(path, 0o750, dir_fd=self._root_fd)
            self._touched.add(os.path.dirname(path))
        self._made.add(os.path.dirname(target))

    def sync(self) -> None:
        """fsync each folder that changed since the last time. Raises OSError; then the changes count as lost."""
        touched, self._touched = self._touched, set()
        for path in touched:
            fd = os.open(path or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root_fd)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _exists(dir_fd: int, path: bytes) -> bool:
    try:
        os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


class BufferPool:
    """Page-aligned buffers of one chunk each: what bounds the memory of a copy."""

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, count * CHUNK_BYTES)
        whole = memoryview(self._memory)
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for number in range(count):
            self._free.put(whole[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES])

    def take(self) -> memoryview:
        """A buffer; waits for one."""
        return self._free.get()

    def take_free(self) -> memoryview | None:
        """A buffer, if one is free now."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return None

    def give(self, buffer: memoryview) -> None:
        """Take a buffer back."""
        self._free.put(buffer)
