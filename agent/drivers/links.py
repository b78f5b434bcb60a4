"""The two edges to the kernel for text commands: a serial line (ttyACM, ttyUSB) and a raw USB interface (usbfs)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import termios
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.drivers.driver import LinkGone
from agent.errors import DriverFailed

READ_BYTES = 4096
_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.EIO, errno.EPIPE, errno.ECONNRESET})
Ioctl = Callable[[int, int, Any], Any]


class SerialLink:
    """A serial line in raw mode at 115,200 baud; USB serial devices ignore the speed."""

    def __init__(self, path: Path) -> None:
        """Raises DriverFailed."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise cannot_open(path, error) from error
        try:
            tty.setraw(self._fd)
            settings = termios.tcgetattr(self._fd)
            settings[4] = settings[5] = termios.B115200
            termios.tcsetattr(self._fd, termios.TCSANOW, settings)
        except (OSError, termios.error) as error:
            self.close()
            raise DriverFailed(f"{path} is no serial line", f"{path} 不是串口") from error

    def write(self, data: bytes, timeout_seconds: float) -> None:
        """Send all of it. Raises DriverFailed, LinkGone."""
        deadline = time.monotonic() + timeout_seconds
        while data:
            if not select.select([], [self._fd], [], max(0.0, deadline - time.monotonic()))[1]:
                raise DriverFailed("it does not take commands", "设备不接收命令")
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise failure(error) from error

    def read(self, timeout_seconds: float) -> bytes:
        """What arrives first, b"" if nothing does in time. Raises DriverFailed, LinkGone."""
        if not select.select([self._fd], [], [], max(0.0, timeout_seconds))[0]:
            return b""
        try:
            data = os.read(self._fd, READ_BYTES)
        except OSError as error:
            raise failure(error) from error
        if not data:
            raise LinkGone
        return data

    def close(self) -> None:
        """Release the line; closing twice does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Bulk(ctypes.Structure):
    """struct usbdevfs_bulktransfer of linux/usbdevice_fs.h."""

    _fields_ = (
        ("endpoint", ctypes.c_uint),
        ("length", ctypes.c_uint),
        ("timeout_ms", ctypes.c_uint),
        ("data", ctypes.c_void_p),
    )


USBDEVFS_BULK = 0xC0005502 | ctypes.sizeof(_Bulk) << 16  # _IOWR('U', 2, struct)
USBDEVFS_CLAIM, USBDEVFS_RELEASE = 0x8004550F, 0x80045510


class UsbLink:
    """One interface of a USB device through /dev/bus/usb; never one that a kernel driver holds."""

    def __init__(
        self, path: Path, interface: int, endpoint_in: int, endpoint_out: int, ioctl: Ioctl = fcntl.ioctl
    ) -> None:
        """Claim the interface. Raises DriverFailed: also when a kernel driver (usb-storage, cdc_acm) holds it."""
        self._ioctl, self._in, self._out = ioctl, endpoint_in, endpoint_out
        self._interface = interface.to_bytes(4, "little")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise cannot_open(path, error) from error
        try:
            ioctl(self._fd, USBDEVFS_CLAIM, self._interface)
        except OSError as error:
            os.close(self._fd)
            raise cannot_open(path, error) from error

    def write(self, data: bytes, timeout_seconds: float) -> None:
        """Send all of it. Raises DriverFailed, LinkGone."""
        buffer = ctypes.create_string_buffer(data, len(data))
        if self._transfer(self._out, buffer, timeout_seconds) != len(data):
            raise DriverFailed("it does not take commands", "设备不接收命令")

    def read(self, timeout_seconds: float) -> bytes:
        """What arrives first, b"" if nothing does in time. Raises DriverFailed, LinkGone."""
        buffer = ctypes.create_string_buffer(READ_BYTES)
        count = self._transfer(self._in, buffer, timeout_seconds)  # `raw` copies: not before it is filled
        return buffer.raw[:count]

    def close(self) -> None:
        """Give the interface back; closing twice does nothing."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # the device may have left
                self._ioctl(self._fd, USBDEVFS_RELEASE, self._interface)
            os.close(self._fd)
            self._fd = -1

    def _transfer(self, endpoint: int, buffer: ctypes.Array[ctypes.c_char], timeout_seconds: float) -> int:
        """How many bytes went; 0 when the time was up."""
        timeout_ms = max(1, int(timeout_seconds * 1000))  # 0 would wait for ever
        bulk = _Bulk(endpoint, len(buffer), timeout_ms, ctypes.addressof(buffer))
        try:
            return int(self._ioctl(self._fd, USBDEVFS_BULK, bulk))
        except OSError as error:
            if error.errno == errno.ETIMEDOUT:
                return 0
            raise failure(error) from error


def failure(error: OSError) -> DriverFailed:
    """Our error for a failed transfer."""
    if error.errno in _GONE:
        return LinkGone()
    return DriverFailed(f"transfer failed: {error.strerror}", f"传输失败：{error.strerror}")


def cannot_open(path: Path, error: OSError) -> DriverFailed:
    """Our error for a device that cannot be opened or claimed."""
    return DriverFailed(f"{path} cannot be opened: {error.strerror}", f"无法打开 {path}：{error.strerror}")
