"""The unfinished copy of one long file, durable step by step: <key>.part, <key>.leaves and <key>.gaps in staging.

The leaves file is the journal: leaf i stands in it only after chunk i is durable in the part, and a gap stands in the
gaps file only before any leaf that covers it. So whatever a crash leaves behind, a resumed copy goes on at the first
chunk that its leaf does not prove, and no gap ever turns into silent zeros.
"""

import errno
import os
import stat

from agent.copies import Gap
from agent.disk import BLOCK_BYTES, Vault, allocate, rename_new, start_writeback
from agent.errors import ReadbackMismatch
from custody.digest import CHUNK_BYTES, HASH_BYTES, leaf_hash

_NEW = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class SyncFailed(Exception):
    """An fsync failed: what of the file reached the disk is unknown, and a second fsync would claim success."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Part:
    """One part and its journal, open. `write` from any thread, everything else from one thread at a time.

    `leaves` and `gaps` hold what the journal holds. Methods raise OSError and SyncFailed for the vault's disk.
    """

    def __init__(self, vault: Vault, key: str, size_bytes: int) -> None:
        """Open or begin the part; `size_bytes` are reserved on the disk now."""
        self._vault = vault
        self.name = key.encode() + b".part"
        self._leaves_name = key.encode() + b".leaves"
        self._gaps_name = key.encode() + b".gaps"
        self.size_bytes = size_bytes
        self.leaves = bytearray()
        self.gaps: list[Gap] = []
        self._sealed = False
        self._fds: list[int] = []
        try:
            self._open()
            self._reserve()
        except OSError:
            self.close()
            raise

    def _open(self) -> None:
        staging = self._vault.staging_fd
        fresh = _make_writable(staging, self.name)
        if fresh:  # gaps and leaves without a part are leftovers of a copy that was finished
            self._vault.remove_staged(self._leaves_name)
            self._vault.remove_staged(self._gaps_name)
        direct = os.O_DIRECT if self._vault.direct else 0
        self._fd = self._keep(os.open(self.name, _NEW | direct, 0o600, dir_fd=staging))
        _make_writable(staging, self._leaves_name)
        self._leaves_fd = self._keep(os.open(self._leaves_name, _NEW, 0o600, dir_fd=staging))
        self._gaps_fd = -1
        self._entered = not fresh  # whether the names are durable in the staging folder

    def _reserve(self) -> None:
        try:
            allocate(self._fd, self.size_bytes)
        except OSError:  # it may have taken what was left of the disk: give that back, keep what is proven
            journalled_bytes = os.fstat(self._leaves_fd).st_size // HASH_BYTES * CHUNK_BYTES
            os.ftruncate(self._fd, min(journalled_bytes, os.fstat(self._fd).st_size))
            if not journalled_bytes:
                self.discard()
            raise

    def _keep(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    # --- resume ---

    def journalled(self) -> tuple[bytes, list[Gap]]:
        """Whole leaves and whole gap lines that an interrupted copy left; half ones at the end are dropped."""
        leaves = _read_all(self._leaves_fd)
        gaps: list[Gap] = []
        try:
            fd = os.open(self._gaps_name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._vault.staging_fd)
        except FileNotFoundError:
            return leaves[: len(leaves) // HASH_BYTES * HASH_BYTES], gaps
        try:
            for line in _read_all(fd).split(b"\n")[:-1]:
                offset, length = map(int, line.split(b" "))
                gaps.append(Gap(offset, length))
        except ValueError:
            pass  # sectors reached the disk out of order: from here on nothing was synced, so no leaf covers it
        finally:
            os.close(fd)
        return leaves[: len(leaves) // HASH_BYTES * HASH_BYTES], gaps

    def read_chunk(self, index: int, buffer: memoryview) -> memoryview:
        """Chunk `index` as it stands in the part, shorter where the part ends."""
        got = os.preadv(self._fd, [buffer], index * CHUNK_BYTES)
        return buffer[: max(0, min(got, self.size_bytes - index * CHUNK_BYTES))]

    def resume(self, proven: int, leaves: bytes, gaps: list[Gap]) -> None:
        """Keep the first `proven` chunks and forget what the journal says beyond them."""
        self.leaves[:] = leaves[: proven * HASH_BYTES]
        os.ftruncate(self._leaves_fd, len(self.leaves))
        self.gaps = [gap for gap in gaps if gap.offset_bytes < proven * CHUNK_BYTES]
        if len(self.gaps) < len(gaps):
            # The chunk of a forgotten gap is read again and may be whole now: the old line must not outlive its leaf.
            self._open_gaps()
            os.ftruncate(self._gaps_fd, len(_gap_lines(self.gaps)))
            _sync(self._gaps_fd)

    # --- copy ---

    def write(self, buffer: memoryview, length: int, offset: int) -> None:
        """Write `length` bytes from the start of `buffer`; its rest up to a whole block is overwritten with zeros."""
        wanted = length
        if self._vault.direct:  # `seal` cuts the file to its true length again
            wanted = -(-length // BLOCK_BYTES) * BLOCK_BYTES
            buffer[length:wanted] = bytes(wanted - length)
        done = 0
        while done < wanted:
            done += os.pwrite(self._fd, buffer[done:wanted], offset + done)
        if not self._vault.direct:
            start_writeback(self._fd, offset, length)

    def commit(self, leaves: bytes, gaps: list[Gap]) -> None:
        """Make the chunks behind `leaves`, which follow those journalled, durable and then proven.

        1. data  2. gaps  3. leaves. A crash after 1 or 2 leaves chunks unproven: they are copied again.
        A crash within 3 may leave zeros where leaves were due, which prove nothing: ext4 commits the new length of a
        file with any other file's sync, and what was appended inside a block that the file already has only later.
        """
        _sync(self._fd, whole=self._sealed)  # 1
        if gaps:  # 2
            self._open_gaps()
            kept = len(_gap_lines(self.gaps))
            os.ftruncate(self._gaps_fd, kept)  # a torn end that is longer than what follows must not outlive it
            _append(self._gaps_fd, kept, _gap_lines(gaps))
            _sync(self._gaps_fd)
            self.gaps += gaps
        _append(self._leaves_fd, len(self.leaves), leaves)  # 3
        _sync(self._leaves_fd, whole=self._sealed)
        self.leaves += leaves
        if not self._entered:
            _sync(self._vault.staging_fd)
            self._entered = True

    def _open_gaps(self) -> None:
        if self._gaps_fd < 0:
            self._gaps_fd = self._keep(os.open(self._gaps_name, _NEW, 0o600, dir_fd=self._vault.staging_fd))
            _sync(self._vault.staging_fd)

    # --- finish ---

    def seal(self, length_bytes: int, modified_ns: int | None) -> None:
        """Cut to the true length, take over the source's time, drop the right to write; the last `commit` follows."""
        self.size_bytes = length_bytes
        os.ftruncate(self._fd, length_bytes)
        if modified_ns is not None:
            os.utime(self._fd, ns=(modified_ns, modified_ns))
        for fd in (self._fd, self._leaves_fd):
            os.fchmod(fd, 0o400)
        self._sealed = True

    def check_leaves(self) -> None:
        """Read the leaves file back. Raises ReadbackMismatch."""
        os.posix_fadvise(self._leaves_fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if _read_all(self._leaves_fd) != self.leaves:
            raise ReadbackMismatch(0)

    def mend(self, index: int, buffer: memoryview, length: int) -> None:
        """Write a chunk anew that read back wrong, durably, at the same time stamp."""
        before = os.fstat(self._fd)
        self.write(buffer, length, index * CHUNK_BYTES)
        os.ftruncate(self._fd, self.size_bytes)
        os.utime(self._fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        _sync(self._fd, whole=True)

    def publish(self, target: bytes, leaves_target: bytes | None) -> None:
        """Move leaves and copy under their final names and make that durable. Raises FileExistsError.

        The gaps file stays: should the agent stop before the seal is committed, the copy comes back to staging and its
        gaps must still be known. It goes when the same key begins anew.
        """
        if self._vault.taken(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(target))
        folders = self._vault.folders
        if leaves_target is not None:
            folders.prepare(leaves_target)
            rename_new(self._vault.staging_fd, self._leaves_name, self._vault.root_fd, leaves_target)
        else:
            self._vault.remove_staged(self._leaves_name)
        # Crash window: leaves in place, copy still staged; recovery takes the leaves back (closing.recover).
        folders.prepare(target)
        rename_new(self._vault.staging_fd, self.name, self._vault.root_fd, target)
        folders.sync()
        os.fsync(self._vault.staging_fd)

    def discard(self) -> None:
        """Remove part and journal: after a failed sync nothing tells which pages reached the disk."""
        self.close()
        for name in (self._leaves_name, self.name, self._gaps_name):
            self._vault.remove_staged(name)

    def close(self) -> None:
        """Close the files; closing twice does nothing."""
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)


def prove(part: Part, leaves: bytes, index: int, buffer: memoryview) -> memoryview | None:
    """Chunk `index` of the part if its journalled leaf proves it whole, else None."""
    expected = min(CHUNK_BYTES, part.size_bytes - index * CHUNK_BYTES)
    try:
        chunk = part.read_chunk(index, buffer)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None  # the disk lost it: copied again, and refused if writing fails too
    if len(chunk) != expected or leaf_hash(chunk) != leaves[index * HASH_BYTES : (index + 1) * HASH_BYTES]:
        return None
    return chunk


def _make_writable(dir_fd: int, name: bytes) -> bool:
    """Give us back the right to write a staged file; True when there is none."""
    try:
        mode = os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISREG(mode) and not mode & stat.S_IWUSR:
        os.chmod(name, 0o600, dir_fd=dir_fd)
    return False


def _sync(fd: int, *, whole: bool = False) -> None:
    """fdatasync; `whole`: with times and mode. Raises SyncFailed."""
    try:
        if whole:
            os.fsync(fd)
        else:
            os.fdatasync(fd)
    except OSError as error:
        raise SyncFailed(error) from error


def _gap_lines(gaps: list[Gap]) -> bytes:
    return b"".join(b"%d %d\n" % (gap.offset_bytes, gap.length_bytes) for gap in gaps)


def _append(fd: int, offset: int, data: bytes) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)


def _read_all(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)
