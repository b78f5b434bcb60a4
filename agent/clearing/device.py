"""A card opened for writing whole sectors, read past the page cache: what is hashed is what the medium gives now.

udev makes every card read-only to the kernel (99-custodock.rules). That flag is the mark of a card: a disk without it,
the station's own included, is refused. It is lifted while this object lives and set again by `close`.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import struct
from contextlib import suppress

from agent.medium import SECTOR_BYTES
from custody.digest import CHUNK_BYTES
from custody.release import ReleaseRefused

_BLKROSET, _BLKROGET, _BLKFLSBUF, _BLKSSZGET = 0x125D, 0x125E, 0x1261, 0x1268
_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW


class CardDevice:
    """Fulfils `agent.medium.Device`; `write` besides. One thread."""

    def __init__(self, path: str) -> None:
        """Raises ReleaseRefused `not_a_card` for anything but a card, `card_busy` for one that is mounted."""
        self._locked_by_us = False
        self._write_fd = self._read_fd = -1
        self._buffer = mmap.mmap(-1, CHUNK_BYTES + 2 * mmap.PAGESIZE)
        try:
            self._read_fd = os.open(path, os.O_RDONLY | _FLAGS)
            self.sector_bytes = self._unlock(os.fstat(self._read_fd).st_mode)
            self._write_fd = self._open_direct(path)
        except OSError as error:
            self.close()
            raise ReleaseRefused("card_busy" if error.errno == 16 else "not_a_card", str(error.strerror)) from None
        except BaseException:
            self.close()
            raise

    def _unlock(self, mode: int) -> int:
        """The size of a sector; lifts the read-only flag of a block device."""
        if stat.S_ISREG(mode):  # an image; whether images may be cleared is for `Pins` to say
            return SECTOR_BYTES
        if not stat.S_ISBLK(mode) or not struct.unpack("i", fcntl.ioctl(self._read_fd, _BLKROGET, bytes(4)))[0]:
            raise ReleaseRefused("not_a_card", "udev has not marked it as a card")
        self._locked_by_us = True
        fcntl.ioctl(self._read_fd, _BLKROSET, struct.pack("i", 0))
        fcntl.ioctl(self._read_fd, _BLKFLSBUF, 0)
        return int(struct.unpack("i", fcntl.ioctl(self._read_fd, _BLKSSZGET, bytes(4)))[0])

    def _open_direct(self, path: str) -> int:
        """O_EXCL: the kernel refuses a disk that is mounted or in other hands. A file system may lack O_DIRECT."""
        exclusive = os.O_EXCL if self._locked_by_us else 0
        try:
            fd = os.open(path, os.O_RDWR | os.O_DIRECT | exclusive | _FLAGS)
        except OSError as error:
            if error.errno != 22:
                raise
            return os.open(path, os.O_RDWR | exclusive | _FLAGS)
        mine, theirs = os.fstat(fd), os.fstat(self._read_fd)
        if (mine.st_dev, mine.st_ino, mine.st_rdev) != (theirs.st_dev, theirs.st_ino, theirs.st_rdev):
            os.close(fd)
            raise ReleaseRefused("not_a_card", "it was exchanged while it was opened")
        return fd

    def size_bytes(self) -> int:
        """How much it holds; 0 when it left."""
        return os.lseek(self._read_fd, 0, os.SEEK_END)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Up to 1 MiB from the medium itself. Raises OSError."""
        wanted = min(len(buffer), CHUNK_BYTES)
        start = offset - offset % self.sector_bytes
        end = -(-(offset + wanted) // self.sector_bytes) * self.sector_bytes
        with memoryview(self._buffer) as whole:
            try:
                got = os.preadv(self._write_fd, [whole[: end - start]], start)
            except OSError as error:
                if error.errno != 22:  # EINVAL: an image on a disk with larger sectors
                    raise
                os.posix_fadvise(self._read_fd, start, end - start, os.POSIX_FADV_DONTNEED)
                got = os.preadv(self._read_fd, [whole[: end - start]], start)
            count = max(0, min(wanted, got - (offset - start)))
            buffer[:count] = whole[offset - start : offset - start + count]
        return count

    read_into_direct = read_into

    def write(self, offset: int, data: bytes) -> None:
        """Write whole sectors; they are durable after `flush`. Raises OSError."""
        if offset % self.sector_bytes or len(data) % self.sector_bytes or not 0 < len(data) <= CHUNK_BYTES:
            raise ValueError("whole sectors only")
        with memoryview(self._buffer) as whole:
            whole[: len(data)] = data
            try:
                done = os.pwritev(self._write_fd, [whole[: len(data)]], offset)
            except OSError as error:
                if error.errno != 22:
                    raise
                fcntl.fcntl(self._write_fd, fcntl.F_SETFL, 0)  # that disk has larger sectors: through the page cache
                done = os.pwritev(self._write_fd, [whole[: len(data)]], offset)
        if done != len(data):
            raise OSError(5, "a write to the card was cut short")

    def flush(self) -> None:
        """Everything written is durable, in the card too. Raises OSError."""
        os.fdatasync(self._write_fd)

    def close(self) -> None:
        """Make the card read-only again and let it go; closing twice does nothing."""
        if self._write_fd >= 0:
            with suppress(OSError):
                os.fdatasync(self._write_fd)
            os.close(self._write_fd)
        if self._read_fd >= 0:
            if self._locked_by_us:
                with suppress(OSError):  # the card left: nothing is there to protect
                    fcntl.ioctl(self._read_fd, _BLKROSET, struct.pack("i", 1))
            os.close(self._read_fd)
        self._write_fd = self._read_fd = -1
