"""The bulk pipes of a camera at `/dev/bus/usb/BBB/DDD`, by the kernel's usbfs: no driver, no library, no root.

Opening needs write access to the device node, which a udev rule gives; nothing is written but PTP commands.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import struct
import time
from dataclasses import dataclass

from agent.errors import SourceGone, SourceUnreadable
from agent.ptpsession import PipeFault

COMMAND_TIMEOUT_SECONDS = 5.0
DATA_TIMEOUT_SECONDS = 20.0  # a card that retries a bad sector keeps its camera silent for seconds
CONTROL_TIMEOUT_SECONDS = 2.0
DRAIN_TIMEOUT_SECONDS = 0.1
RECOVER_SECONDS = 5.0
_PLACE = re.compile(r"usb:(\d{1,3}),(\d{1,3})")
_GONE = frozenset({errno.ENODEV, errno.ESHUTDOWN, errno.ENOENT, errno.ENXIO})

# USB still image class requests (annex D.5), to the interface
_CANCEL, _RESET, _STATUS = 0x64, 0x66, 0x67
_STATUS_OK = 0x2001
_STILL_IMAGE = (6, 1, 1)  # class, subclass, protocol
_BULK_END, _INTERRUPT_END = 2, 3


def _ioctl(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("U") << 8 | number


_BULK_CALL, _CONTROL_CALL = "@IIIP", "@BBHHHIP"  # struct usbdevfs_bulktransfer, usbdevfs_ctrltransfer
_CONTROL = _ioctl(3, 0, struct.calcsize(_CONTROL_CALL))
_BULK = _ioctl(3, 2, struct.calcsize(_BULK_CALL))
_CLAIM, _RELEASE, _CLEAR_HALT = _ioctl(2, 15, 4), _ioctl(2, 16, 4), _ioctl(2, 21, 4)


@dataclass(frozen=True, slots=True)
class Interface:
    """A still image interface: number and bulk endpoints."""

    number: int
    into_host: int
    out_of_host: int
    packet_bytes: int


def port_for(busnum: int, devnum: int) -> str:
    """The port string of a USB device by udev's BUSNUM and DEVNUM; `dock-agent offload` takes it behind `ptp:`."""
    return f"usb:{busnum:03d},{devnum:03d}"


def device_node(port: str) -> str:
    """The device node behind `port_for`. Raises SourceUnreadable for another string."""
    place = _PLACE.fullmatch(port)
    if place is None:
        raise SourceUnreadable(
            f"{port} is no USB port. Nothing was changed. Write it as usb:BUS,DEVICE, as `lsusb` shows both.",
            f"{port} 不是 USB 端口。未作任何改动。请写作 usb:总线,设备（见 lsusb 输出）。",
        )
    return f"/dev/bus/usb/{int(place[1]):03d}/{int(place[2]):03d}"


def find_interface(descriptors: bytes) -> Interface | None:
    """The still image interface, or a vendor's own with the same three pipes, as many phones have it for MTP.

    `descriptors`: what the device node reads: device descriptor, then configurations. The first one counts.
    """
    found: dict[bool, Interface] = {}
    for number, classes, ends in _interfaces(descriptors):
        into = [(address, size) for address, kind, size in ends if kind == _BULK_END and address & 0x80]
        out = [address for address, kind, _ in ends if kind == _BULK_END and not address & 0x80]
        events = [address for address, kind, _ in ends if kind == _INTERRUPT_END]  # adb has none
        is_still = classes == _STILL_IMAGE
        if len(into) == len(out) == 1 and into[0][1] >= 8 and (is_still or (classes[0] == 0xFF and events)):
            found.setdefault(is_still, Interface(number, into[0][0], out[0], into[0][1]))
    return found.get(True) or found.get(False)


def _interfaces(descriptors: bytes) -> list[tuple[int, tuple[int, ...], list[tuple[int, int, int]]]]:
    """Number, classes and endpoints (address, kind, packet size) of every interface in its first setting."""
    interfaces: list[tuple[int, tuple[int, ...], list[tuple[int, int, int]]]] = []
    at = configurations = 0
    ends: list[tuple[int, int, int]] = []
    while at + 2 <= len(descriptors) and descriptors[at] >= 2:
        record = descriptors[at : at + descriptors[at]]
        at += len(record)
        if record[1] == 2:
            configurations += 1
        if configurations != 1:
            continue
        if record[1] == 4 and len(record) >= 9:
            ends = []
            if record[3] == 0:
                interfaces.append((record[2], tuple(record[5:8]), ends))
        elif record[1] == 5 and len(record) >= 7:
            ends.append((record[2], record[3] & 3, int.from_bytes(record[4:6], "little") & 0x7FF))
    return interfaces


class UsbPipe:
    """A claimed still image interface."""

    def __init__(self, port: str) -> None:
        """Open and claim. Raises SourceUnreadable, SourceGone."""
        node = device_node(port)
        try:
            self._fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _GONE:
                raise SourceGone from error
            raise _unreadable(node, error) from error
        try:
            self._interface = _needed(find_interface(os.pread(self._fd, 65536, 0)), port)
            self._number(_CLAIM, self._interface.number)
        except OSError as error:
            self.close()
            if error.errno in _GONE:
                raise SourceGone from error
            raise _unreadable(node, error) from error
        except BaseException:
            self.close()
            raise

    @property
    def packet_bytes(self) -> int:
        """The largest packet of the endpoint into the host."""
        return self._interface.packet_bytes

    def send(self, data: bytes) -> None:
        """One transfer to the camera. Raises PipeFault, SourceGone."""
        buffer = ctypes.create_string_buffer(data, len(data))
        self._bulk(self._interface.out_of_host, ctypes.addressof(buffer), len(data), COMMAND_TIMEOUT_SECONDS)

    def receive_into(self, buffer: memoryview) -> int:
        """One transfer from the camera, of whole packets. Raises PipeFault, SourceGone."""
        return self._receive(buffer, DATA_TIMEOUT_SECONDS)

    def recover(self, transaction: int) -> bool:
        """Cancel, wait until the camera is ready, empty the pipe (annex D.7); else reset its PTP. Raises SourceGone."""
        scratch = memoryview(bytearray(16384))
        with contextlib.suppress(PipeFault):
            self._control(0x21, _CANCEL, struct.pack("<HI", 0x4001, transaction & 0xFFFFFFFF))
        until = time.monotonic() + RECOVER_SECONDS
        while True:
            self._clear_halts()
            with contextlib.suppress(PipeFault):  # until it times out: empty
                while time.monotonic() < until:
                    self._receive(scratch, DRAIN_TIMEOUT_SECONDS)
            if self._ready():
                return False
            if time.monotonic() >= until:
                break
            time.sleep(0.1)
        try:
            self._control(0x21, _RESET, b"")
        except PipeFault as fault:
            raise SourceGone from fault
        self._clear_halts()
        return True

    def close(self) -> None:
        """Release the interface; closing twice does nothing."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError, AttributeError):  # it left, or was never claimed
            self._number(_RELEASE, self._interface.number)
        os.close(self._fd)
        self._fd = -1

    def _ready(self) -> bool:
        try:
            status = self._control(0xA1, _STATUS, bytes(64))
        except PipeFault:  # an optional request; the drained pipe is then all there is to know
            return True
        return len(status) < 4 or struct.unpack_from("<H", status, 2)[0] == _STATUS_OK

    def _receive(self, buffer: memoryview, timeout_seconds: float) -> int:
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        return self._bulk(self._interface.into_host, address, len(buffer), timeout_seconds)

    def _bulk(self, endpoint: int, address: int, length: int, timeout_seconds: float) -> int:
        request = struct.pack(_BULK_CALL, endpoint, length, int(timeout_seconds * 1000), address)
        return self._call(_BULK, request)

    def _control(self, kind: int, request: int, data: bytes) -> bytes:
        buffer = ctypes.create_string_buffer(data, len(data)) if data else None
        call = struct.pack(
            _CONTROL_CALL, kind, request, 0, self._interface.number, len(data), int(CONTROL_TIMEOUT_SECONDS * 1000),
            ctypes.addressof(buffer) if buffer else 0,
        )  # fmt: skip
        count = self._call(_CONTROL, call)
        return buffer.raw[:count] if buffer else b""

    def _clear_halts(self) -> None:
        for endpoint in (self._interface.into_host, self._interface.out_of_host):
            try:
                self._number(_CLEAR_HALT, endpoint)
            except OSError as error:
                if error.errno in _GONE:
                    raise SourceGone from error

    def _call(self, request: int, argument: bytes) -> int:
        try:
            return int(fcntl.ioctl(self._fd, request, bytearray(argument), True))
        except OSError as error:
            if error.errno in _GONE:
                raise SourceGone from error
            raise PipeFault(f"{errno.errorcode.get(error.errno or 0)}") from error

    def _number(self, request: int, number: int) -> None:
        fcntl.ioctl(self._fd, request, bytearray(struct.pack("@I", number)), True)


def _needed(interface: Interface | None, port: str) -> Interface:
    if interface is None:
        raise SourceUnreadable(
            f"The device at {port} does not speak PTP or MTP. Nothing was changed. On a phone, choose file transfer; a "
            "camera that is a disk is docked as a disk.",
            f"{port} 处的设备不支持 PTP 或 MTP。未作任何改动。手机请选择“文件传输”；U 盘模式的记录仪请按磁盘接入。",
        )
    return interface


def _unreadable(node: str, error: OSError) -> SourceUnreadable:
    if error.errno == errno.EBUSY:
        return SourceUnreadable(
            "Another program uses this camera. Nothing was changed. End it (a desktop's file manager mounts cameras by "
            "itself), then dock the camera again.",
            "其他程序正在使用该记录仪。未作任何改动。请关闭该程序（桌面文件管理器会自动挂载相机），然后重新接入。",
        )
    return SourceUnreadable(
        f"{node} cannot be opened: {error.strerror}. Nothing was changed. Check the cable and that the station's user "
        "may use the device (udev rule).",
        f"无法打开 {node}：{error.strerror}。未作任何改动。请检查线缆以及本站用户对该设备的权限（udev 规则）。",
    )
