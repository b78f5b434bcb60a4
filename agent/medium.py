"""The bytes of a card: an image or block device, read-only, with bad sectors told apart from a device that left.

Reads go through the page cache; where one fails, the range is read again sector by sector past the cache (O_DIRECT), so
that one bad sector costs its own 512 bytes and not its whole page. Nothing here ever fills in zeros for file content.
"""

import errno
import fcntl
import mmap
import os
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from agent.errors import SourceGone

SECTOR_BYTES = 512
SALVAGE_BYTES = 64 * 1024  # a failed read is repeated in steps of this size before going sector by sector
_BLKSSZGET = 0x1268
_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ESHUTDOWN, errno.ESTALE})


class Device(Protocol):
    """The edge to the kernel; tests put one here that fails where they say."""

    sector_bytes: int

    def size_bytes(self) -> int:
        """How much it holds now; 0 when it left."""
        ...

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Read up to len(buffer) bytes at `offset`; 0 at the end. Raises OSError."""
        ...

    def read_into_direct(self, buffer: memoryview, offset: int) -> int:
        """The same, asking the medium and not the page cache."""
        ...

    def close(self) -> None:
        """Release it; closing twice does nothing."""
        ...


class ReadClock:
    """Since when the kernel has kept a read of ours waiting; another thread looks at it."""

    def __init__(self) -> None:
        """Nothing is being read."""
        self._since: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """The read is under way inside."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def waiting_seconds(self) -> float:
        """How long the read under way has taken; 0 when there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since


class FileDevice:
    """A card image or a block device behind a file descriptor that cannot write."""

    def __init__(self, path: bytes, clock: ReadClock | None = None) -> None:
        """Raises OSError. Never blocks on a FIFO and never becomes a controlling terminal."""
        self._path = path
        self._clock = clock or ReadClock()
        with self._clock.running():  # opening a card reads its partition table
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        self._direct_fd = -1
        self._bounce = mmap.mmap(-1, SALVAGE_BYTES + 2 * mmap.PAGESIZE)
        self.mode = os.fstat(self._fd).st_mode
        self.sector_bytes = SECTOR_BYTES
        if stat.S_ISBLK(self.mode):
            self.sector_bytes = struct.unpack("i", fcntl.ioctl(self._fd, _BLKSSZGET, bytes(4)))[0]

    def size_bytes(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_END)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        with self._clock.running():
            return os.preadv(self._fd, [buffer], offset)

    def read_into_direct(self, buffer: memoryview, offset: int) -> int:
        wanted = min(len(buffer), SALVAGE_BYTES)
        start = offset - offset % self.sector_bytes
        end = -(-(offset + wanted) // self.sector_bytes) * self.sector_bytes
        bounce = memoryview(self._bounce)
        try:
            if self._direct_fd < 0:
                self._direct_fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT | os.O_NONBLOCK)
            with self._clock.running():
                got = os.preadv(self._direct_fd, [bounce[: end - start]], start)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: this file system has no O_DIRECT
                raise
            return os.preadv(self._fd, [buffer[:wanted]], offset)
        count = max(0, min(wanted, got - (offset - start)))
        buffer[:count] = bounce[offset - start : offset - start + count]
        return count

    def close(self) -> None:
        for fd in (self._fd, self._direct_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._direct_fd = -1


class Medium:
    """Reads of a device, each either right, short before a bad sector, or SourceGone. For one thread at a time."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.size_bytes = device.size_bytes()
        self.sector_bytes = device.sector_bytes
        self._last_good = 0

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer`; a shorter count: there a bad sector begins or the medium ends.

        Raises SourceGone.
        """
        done = 0
        while done < len(buffer):
            try:
                count = self._device.read_into(buffer[done:], offset + done)
            except OSError as error:
                self._require_present(error)
                return done + self._salvage(buffer[done:], offset + done)
            if count == 0:
                if offset + done < self.size_bytes:
                    self._require_present(None)
                break
            done += count
        if done:
            self._last_good = offset
        return done

    def bad_bytes(self, offset: int, limit_bytes: int) -> int:
        """How much from `offset` on cannot be read, in whole sectors, at most `limit_bytes`. Raises SourceGone."""
        sector = memoryview(bytearray(self.sector_bytes))
        at = offset
        while at < offset + limit_bytes:
            room = min(self.sector_bytes - at % self.sector_bytes, offset + limit_bytes - at)
            if at >= self.size_bytes:  # an image that was cut: nothing lies out there
                return limit_bytes
            if self._salvage(sector[:room], at) == room:
                break
            at += room
        return min(at - offset, limit_bytes)

    def read_metadata(self, offset: int, length_bytes: int) -> tuple[bytes, list[tuple[int, int]]]:
        """For structures only, never for content: bytes with zeros where unreadable, and those (offset, length).

        Raises SourceGone.
        """
        data = bytearray(length_bytes)
        view, bad, done = memoryview(data), [], 0
        while done < length_bytes:
            done += self.read_into(view[done:], offset + done)
            if done < length_bytes:
                lost = self.bad_bytes(offset + done, length_bytes - done)
                if lost:
                    bad.append((offset + done, lost))
                done += lost
        return bytes(data), bad

    def blocks(self, extents: list[tuple[int, int]]) -> Iterator[tuple[int, bytes | None, int]]:
        """Structures in pieces of at most 64 KiB: (offset, bytes, length); bytes is None where unreadable."""
        for start, length in extents:
            for at in range(start, start + length, SALVAGE_BYTES):
                size = min(SALVAGE_BYTES, start + length - at)
                data, bad = self.read_metadata(at, size)
                done = at
                for bad_at, bad_length in bad:
                    if bad_at > done:
                        yield done, data[done - at : bad_at - at], bad_at - done
                    yield bad_at, None, bad_length
                    done = bad_at + bad_length
                if done < at + size:
                    yield done, data[done - at :], at + size - done

    def close(self) -> None:
        self._device.close()

    def _salvage(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` up to the first bad sector; a failing card is asked for that sector three times, not more."""
        done = 0
        for step in (SALVAGE_BYTES, self.sector_bytes):
            while done < len(buffer):
                at = offset + done
                room = min(step - at % step, len(buffer) - done)
                try:
                    count = self._device.read_into_direct(buffer[done : done + room], at)
                except OSError as error:
                    self._require_present(error)
                    break
                if count == 0:
                    break
                done += count
        return done

    def _require_present(self, error: OSError | None) -> None:
        """Tell a bad sector from a device that left. Raises SourceGone when the device left."""
        if error is not None and error.errno in _GONE:
            raise SourceGone from error
        try:
            left = self._device.size_bytes() == 0
        except OSError as gone:
            raise SourceGone from gone
        last = max(0, self.size_bytes - self.sector_bytes)
        if left or not any(self._answers(at) for at in (0, self._last_good, last)):
            raise SourceGone from error

    def _answers(self, offset: int) -> bool:
        """Whether the medium itself, not our page cache, still gives one sector."""
        start = offset - offset % self.sector_bytes
        sector = memoryview(bytearray(self.sector_bytes))
        try:
            return self._device.read_into_direct(sector, start) > 0
        except OSError:
            return False
