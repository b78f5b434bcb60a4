"""A camera's card as a USB disk in software, on QEMU's `usb-redir`: it hangs, fails and leaves at an exact place.

    disk = UsbDisk(image, serial="CAM0001")
    plugged = lab.plug_soft(disk, slot=4)
    disk.hangs = True                    # no read is answered any more; everything else is
    disk.hangs = False                   # … and what waits gets its answer
    disk.bad = range(2048, 2056)         # sectors that end in MEDIUM ERROR
    disk.leave_after(100_000)            # so many bytes from now it is gone, in the middle of a transfer

QEMU's own disk cannot hang: when the kernel's 30 seconds are over it resets the device, and QEMU then waits for the
read it still owes with the whole machine standing still. Speaks Bulk-Only Transport 1.0 and what Linux asks of SCSI.
"""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import Container
from pathlib import Path

from tests.ptp.responder import Unplugged

SECTOR_BYTES = 512
BULK_ONLY_RESET, MAX_LUN = 0xFF, 0xFE
_IN, _OUT, _PACKET = 0x81, 0x02, 512
_PASSED, _FAILED = 0, 1
# sense key, additional code
_NOTHING, _MEDIUM_ERROR, _UNKNOWN, _PROTECTED = (0, 0), (3, 0x11), (5, 0x20), (7, 0x27)


class UsbDisk:
    """One disk, write-protected; plug it once at a time."""

    interface = (8, 6, 0x50)
    usb_id = (0x46F4, 0x0001)
    ends = ((_IN, 2, _PACKET), (_OUT, 2, _PACKET))

    def __init__(self, image: Path, *, serial: str = "CAM0001") -> None:
        """`read_bytes`: what the host was given so far of the image."""
        self.strings = ("QEMU", "QEMU USB HARDDRIVE", serial)
        self.hangs = False
        self.bad: Container[int] = ()
        self.bytes_per_second = 0  # 0: as fast as it goes
        self.read_bytes = 0
        self.left = False  # it went by itself
        self._leave_at: int | None = None
        self._file = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
        self._sectors = os.fstat(self._file).st_size // SECTOR_BYTES
        self._answers: deque[bytes] = deque()
        self._reading = False  # the first answer is content of the medium
        self._swallow = 0  # bytes that the host still sends for a refused write
        self._sense = _NOTHING

    def leave_after(self, more_bytes: int) -> None:
        """Be pulled out once so many more bytes of content were sent; some later byte never arrives."""
        self._leave_at = self.read_bytes + more_bytes

    def stay(self) -> None:
        """Forget `leave_after`: it is plugged in again."""
        self._leave_at, self.left = None, False
        self.reset()

    def close(self) -> None:
        """Let go of the image."""
        os.close(self._file)

    # --- what `UsbRedir` asks -----------------------------------------------------------------------------------------

    def descriptors(self) -> bytes:
        """Device and configuration descriptor."""
        ends = b"".join(struct.pack("<BBBBHB", 7, 5, address, kind, size, 0) for address, kind, size in self.ends)
        interface = struct.pack("<9B", 9, 4, 0, 0, 2, *self.interface, 0) + ends
        whole = struct.pack("<BBHBBBBB", 9, 2, 9 + len(interface), 1, 1, 0, 0xC0, 50) + interface
        return struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 64, *self.usb_id, 0x0100, 1, 2, 3, 1) + whole

    def control(self, kind: int, request: int, length: int) -> bytes | None:
        """The two requests of the class."""
        if (kind, request) == (0xA1, MAX_LUN):
            return b"\0"[:length]
        if (kind, request) == (0x21, BULK_ONLY_RESET):
            self.reset()
            return b""
        return None

    def reset(self) -> None:
        """Forget the command under way."""
        self._answers.clear()
        self._swallow, self._reading = 0, False

    def send(self, data: bytes) -> None:
        """A command block, or content that we refuse."""
        if self._swallow:
            self._swallow = max(0, self._swallow - len(data))
            return
        signature, tag, length, flags, _, _ = struct.unpack_from("<IIIBBB", data)
        if signature != 0x43425355:
            raise ValueError("no command block")
        content, self._reading = self._command(data[15:31])
        status = _PASSED if self._sense == _NOTHING or data[15] == 0x03 else _FAILED
        if data[15] == 0x03:
            self._sense = _NOTHING
        self._answers.clear()
        if length and flags & 0x80:
            self._answers.append(content[:length])
            length -= len(content[:length])
        elif length:
            self._swallow = length
        self._answers.append(struct.pack("<IIIB", 0x53425355, tag, length, status))

    def receive(self, length: int) -> bytes | None:
        """The next piece of what there is to say."""
        if not self._answers or self._swallow or (self._reading and self.hangs):
            return None
        data, rest = self._answers[0][:length], self._answers[0][length:]
        if self._reading:
            self._count(len(data))
        if rest:
            self._answers[0] = rest
        else:
            self._answers.popleft()
            self._reading = False
        return data

    # --- SCSI ---------------------------------------------------------------------------------------------------------

    def _count(self, length: int) -> None:
        if self._leave_at is not None and self.read_bytes + length > self._leave_at:
            self.left = True
            raise Unplugged
        self.read_bytes += length
        if self.bytes_per_second:
            time.sleep(length / self.bytes_per_second)

    def _command(self, block: bytes) -> tuple[bytes, bool]:
        """The data of an answer, and whether it is content of the medium; sets the sense."""
        if block[0] == 0x03:
            return struct.pack(">BBBIB4xBB4x", 0x70, 0, self._sense[0], 0, 10, *(self._sense[1], 0)), False
        self._sense = _NOTHING
        match block[0]:
            case 0x00 | 0x1B | 0x1E | 0x35 | 0x2F:  # ready, start, prevent removal, synchronise, verify
                return b"", False
            case 0x12 if not block[1] & 1:
                return struct.pack("4B4s8s16s4s", 0, 0x80, 5, 2, b"\x1f\0\0\0", b"QEMU".ljust(8),
                                   b"QEMU HARDDISK".ljust(16), b"2.5+"), False  # fmt: skip
            case 0x1A:
                return bytes([3, 0, 0x80, 0]), False  # write-protected
            case 0x5A:
                return bytes([0, 6, 0, 0x80, 0, 0, 0, 0]), False
            case 0x25:
                return struct.pack(">II", self._sectors - 1, SECTOR_BYTES), False
            case 0x9E if block[1] & 0x1F == 0x10:
                return struct.pack(">QI20x", self._sectors - 1, SECTOR_BYTES), False
            case 0x28:
                first, count = struct.unpack(">I", block[2:6])[0], struct.unpack(">H", block[7:9])[0]
                return self._read(first, count)
            case 0x88:
                return self._read(*struct.unpack(">QI", block[2:14]))
            case 0x2A | 0x8A:
                self._sense = _PROTECTED
            case _:
                self._sense = _UNKNOWN
        return b"", False

    def _read(self, first: int, count: int) -> tuple[bytes, bool]:
        if any(sector in self.bad for sector in range(first, first + count)):
            self._sense = _MEDIUM_ERROR
            return b"", True
        return os.pread(self._file, count * SECTOR_BYTES, first * SECTOR_BYTES), True
