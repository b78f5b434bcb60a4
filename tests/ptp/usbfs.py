"""A software camera as `/dev/bus/usb/BBB/DDD`: umockdev's preload library hands every usbfs call of a child to us.

    with UsbfsBed(UsbCamera(camera)) as bed:
        subprocess.run([...], env={**os.environ, **bed.environment})

Debian: umockdev, gir1.2-umockdev-1.0, python3-gi. The last serves the system's Python; it is loaded from there, which
works where its version is ours.
"""

from __future__ import annotations

import errno
import importlib
import os
import struct
import sys
import threading
import warnings
from types import TracebackType
from typing import Any, Self

import pytest

from tests.ptp.responder import Stalled, Unplugged
from tests.ptp.usb import UsbCamera

CONTROL, BULK, CLAIM, RELEASE, CLEAR_HALT = 0xC0185500, 0xC0185502, 0x8004550F, 0x80045510, 0x80045515
PRELOAD = "libumockdev-preload.so.0"
_SYSTEM_PACKAGES = "/usr/lib/python3/dist-packages"


def umockdev() -> Any:
    """The introspected module; skips the test where it is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.path.append(_SYSTEM_PACKAGES)
        try:
            gi = importlib.import_module("gi")
            gi.require_version("UMockdev", "1.0")
            return importlib.import_module("gi.repository.UMockdev")
        except (ImportError, ValueError) as error:
            pytest.skip(f"needs Debian's umockdev, gir1.2-umockdev-1.0 and python3-gi for this Python ({error})")
        finally:
            sys.path.remove(_SYSTEM_PACKAGES)


class UsbfsBed:
    """One camera at bus 1, device 4."""

    PORT = "usb:001,004"

    def __init__(self, usb: UsbCamera) -> None:
        self._usb, self._mock = usb, umockdev()
        self._lock = threading.Lock()
        self.claimed = False
        self.calls = 0

    def __enter__(self) -> Self:
        self._bed = self._mock.Testbed.new()
        contents = self._usb.descriptors().hex().upper()
        self._bed.add_from_string(
            "P: /devices/pci0000:00/usb1/1-1\n"
            f"N: bus/usb/001/004={contents}\n"
            "E: DEVNAME=/dev/bus/usb/001/004\nE: DEVTYPE=usb_device\nE: SUBSYSTEM=usb\nE: BUSNUM=001\nE: DEVNUM=004\n"
            "A: busnum=1\nA: devnum=4\n"
        )
        self._handler = self._mock.IoctlBase.new()
        self._handler.connect("handle-ioctl", self._handle)
        self._bed.attach_ioctl("/dev/bus/usb/001/004", self._handler)
        self.environment = {"LD_PRELOAD": PRELOAD, "UMOCKDEV_DIR": self._bed.get_root_dir()}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bed.detach_ioctl("/dev/bus/usb/001/004")
        del self._handler, self._bed
        os.environ.pop("UMOCKDEV_DIR", None)

    def _handle(self, _handler: object, client: Any) -> bool:
        with self._lock:
            self.calls += 1
            try:
                result, code = self._answer(client), 0
            except Unplugged:
                result, code = -1, errno.ENODEV
            except Stalled:
                result, code = -1, errno.EPIPE
            except TimeoutError:
                result, code = -1, errno.ETIMEDOUT
        client.complete(result, code)
        return True

    def _answer(self, client: Any) -> int:
        request, argument = client.get_request() & 0xFFFFFFFF, client.get_arg()
        if request == BULK:
            return self._bulk(argument)
        if request == CONTROL:
            return self._control(argument)
        if request in (CLAIM, RELEASE):
            self.claimed = request == CLAIM
        elif request == CLEAR_HALT:
            self._usb.clear_halt()
        else:
            raise Stalled
        return 0

    def _bulk(self, argument: Any) -> int:
        call = argument.resolve(0, 24)
        endpoint, length, _ = struct.unpack_from("@III", bytes(call.retrieve()))
        data = call.resolve(16, length)
        if not endpoint & 0x80:
            self._usb.send(bytes(data.retrieve()))
            return int(length)
        answer = self._usb.receive(length)
        if answer is None:
            raise TimeoutError
        data.update(0, answer)
        return len(answer)

    def _control(self, argument: Any) -> int:
        call = argument.resolve(0, 24)
        kind, request, _, _, length, _ = struct.unpack_from("@BBHHHI", bytes(call.retrieve()))
        answer = self._usb.control(kind, request, length)
        if answer is None:
            raise Stalled
        if kind & 0x80 and answer:
            call.resolve(16, length).update(0, answer)
            return len(answer)
        return int(length)
