"""Simulated recorders: one behaviour behind a pty, a USB bulk endpoint and SG_IO. No real recorder was ever at hand.

The fakes stand where the kernel does: a pty's other end, or the ioctl that reads our structures out of memory.
"""

import ctypes
import errno
import os
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.drivers.links import USBDEVFS_BULK, USBDEVFS_CLAIM, USBDEVFS_RELEASE, SerialLink, UsbLink
from agent.drivers.scsi import SG_IO, SgHeader
from agent.drivers.table import CommandName, DriverTable
from agent.profiles.loading import parse_profile

BUSY = b"XXDAT880"
HEAD = """
name = "simulated"
evidence = "tried"
time_zone = "Asia/Shanghai"
bitrate_kbit = 5800
[title]
zh = "模拟"
en = "simulated"
[recognise]
usb = ["ffff:0001"]
[files]
footage = ["*.MP4"]
"""
ASCII = """
[driver]
transport = "ascii"
busy = "XXDAT880"
timeout_seconds = 1
time_format = "%Y-%m-%d %H:%M:%S"
commands.init = { send = ["XXCMD001"], reply = "XXDAT001" }
commands.identify = { send = ["XXCMD009"], reply = "(?P<id_code>[A-Z0-9]{5})", refused = "XXDAT150" }
commands.read_info = { send = ["XXCMD004"], reply_bytes = 89, refused = "XXDAT120" }
commands.read_time = { send = ["XXCMD005"], reply = "(?P<time>[-0-9: ]{19})", refused = "XXDAT130" }
commands.sync_time = { send = ["XXCMD003", "{time}"], reply = "XXDAT001", refused = "XXDAT000" }
commands.battery = { send = ["XXCMD007"], reply = "BAT(?P<percent>[0-9]{1,3})", refused = "XXDAT140" }
commands.switch_to_disk = { send = ["XXCMD008"], reply = "XXDAT011", refused = "XXDAT010" }
"""
SCSI = """
[driver]
transport = "scsi"
timeout_seconds = 1
time_format = "%Y%m%d%H%M%S"
commands.init = { cdb = "C0 01 00 00 00 00" }
commands.identify = { cdb = "C0 09 00 00 00 00", reply = "(?P<id_code>[A-Z0-9]{5})", reply_bytes = 16 }
commands.read_info = { cdb = "C0 04 00 00 00 00", reply_bytes = 89 }
commands.read_time = { cdb = "C0 05 00 00 00 00", reply = "(?P<time>[0-9]{14})", reply_bytes = 14 }
commands.sync_time = { cdb = "C0 03 00 00 00 00", send = ["{time}"] }
commands.battery = { cdb = "C0 07 00 00 00 00", reply = "BAT(?P<percent>[0-9]{1,3})", reply_bytes = 8 }
commands.switch_to_disk = { cdb = "C0 08 00 00 00 00" }
"""


def table(driver: str, **changes: object) -> DriverTable:
    """The driver table of a whole profile, as a site would write it."""
    text = HEAD + driver
    for key, value in changes.items():
        text = text.replace("[driver]", f"[driver]\n{key} = {value}") if key not in text else text
    parsed = parse_profile(text.encode(), "simulated.toml").driver
    assert parsed is not None
    return parsed


def record(serial: str = "1234567", user: str = "张伟", unit: str = "校外监管科") -> bytes:
    """The 89 bytes of a recorder."""
    fields = ((serial, 7), ("012345", 6), (user, 32), ("330100", 12), (unit, 32))
    return b"".join(text.encode("gbk").ljust(width, b"\0") for text, width in fields)


@dataclass
class Recorder:
    """What a recorder does, and how it misbehaves: `faults` gives the answer to a command, None for silence."""

    info: bytes = field(default_factory=record)
    battery: bytes = b"BAT63"
    clock: str = "2000-01-01 00:00:00"  # it lost its time; in the format of its protocol
    is_disk: bool = False
    heard: list[CommandName] = field(default_factory=list)
    faults: dict[CommandName, bytes | None] = field(default_factory=dict)
    refuses: set[CommandName] = field(default_factory=set)
    vanishes: CommandName | None = None  # it leaves the bus instead of answering this

    def answer(self, name: CommandName, argument: bytes = b"") -> bytes | None:
        """Carry out one command."""
        self.heard.append(name)
        if name in self.faults:
            return self.faults[name]
        if name is CommandName.SYNC_TIME:
            self.clock = argument.decode()
        self.is_disk = self.is_disk or name is CommandName.SWITCH_TO_DISK
        return {
            CommandName.IDENTIFY: b"ABCDE",
            CommandName.READ_INFO: self.info,
            CommandName.BATTERY: self.battery,
            CommandName.READ_TIME: self.clock.encode(),
        }.get(name, b"")


_CODES = {
    b"001": (CommandName.INIT, b"XXDAT001", b""),
    b"009": (CommandName.IDENTIFY, b"", b"XXDAT150"),
    b"004": (CommandName.READ_INFO, b"", b"XXDAT120"),
    b"003": (CommandName.SYNC_TIME, b"XXDAT001", b"XXDAT000"),
    b"005": (CommandName.READ_TIME, b"", b"XXDAT130"),
    b"007": (CommandName.BATTERY, b"", b"XXDAT140"),
    b"008": (CommandName.SWITCH_TO_DISK, b"XXDAT011", b"XXDAT010"),
}


class AsciiMachine:
    """The text protocol of the simulated recorder: messages in, messages out, None when it leaves."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._waiting = False  # for the time

    def receive(self, message: bytes) -> list[bytes] | None:
        """What it sends when this arrives."""
        if self._waiting:
            self._waiting = False
            return self._done(b"003", message)
        code = message.removeprefix(b"XXCMD")
        if code == b"003":
            self._waiting = True
            return [BUSY]
        if code == b"001":
            return self._done(code)
        done = self._done(code)
        return None if done is None else [BUSY, *done]

    def _done(self, code: bytes, argument: bytes = b"") -> list[bytes] | None:
        name, yes, no = _CODES[code]
        if self.recorder.vanishes is name:
            self.recorder.answer(name, argument)
            return None
        if name in self.recorder.refuses:
            return [no]
        answer = self.recorder.answer(name, argument)
        return [] if answer is None else [answer or yes]


class PtyRecorder:
    """A recorder at the far end of a pseudo-terminal."""

    def __init__(self, recorder: Recorder, pieces: int = 0) -> None:
        """`pieces`: answers dribble in so many bytes at a time."""
        self._machine, self._pieces = AsciiMachine(recorder), pieces
        self._far, near = os.openpty()
        self.path = Path(os.ttyname(near))
        self.link = SerialLink(self.path)
        os.close(near)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, data: bytes) -> None:
        """Send something nobody asked for."""
        os.write(self._far, data)

    def close(self) -> None:
        self.link.close()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            while True:
                answers = self._machine.receive(os.read(self._far, 4096))
                if answers is None:
                    break
                for answer in answers:
                    step = self._pieces or len(answer)
                    for at in range(0, len(answer), step or 1):
                        os.write(self._far, answer[at : at + step])
        except OSError:  # our side closed
            pass
        os.close(self._far)


class UsbRecorder:
    """A recorder behind usbfs: an ioctl that reads struct usbdevfs_bulktransfer out of our memory."""

    def __init__(self, recorder: Recorder, node: Path, busy_interface: bool = False) -> None:
        node.touch()
        self._machine = AsciiMachine(recorder)
        self._to_read: deque[bytes] = deque()
        self._gone = False
        self._busy_interface = busy_interface
        self.claimed: list[bytes] = []
        self.link = UsbLink(node, 2, 0x81, 0x01, self.ioctl)

    def ioctl(self, _fd: int, request: int, argument: Any) -> int:
        if request == USBDEVFS_CLAIM:
            if self._busy_interface:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            self.claimed.append(bytes(argument))
            return 0
        if request == USBDEVFS_RELEASE:
            self.claimed.remove(bytes(argument))
            return 0
        assert request == USBDEVFS_BULK
        assert argument.timeout_ms > 0
        if self._gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        if argument.endpoint == 0x01:
            answers = self._machine.receive(ctypes.string_at(argument.data, argument.length))
            self._gone = answers is None
            self._to_read.extend(answers or [])
            return int(argument.length)
        assert argument.endpoint == 0x81
        if not self._to_read:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        data = self._to_read.popleft()
        ctypes.memmove(argument.data, data, len(data))
        return len(data)

    def close(self) -> None:
        self.link.close()


class ScsiRecorder:
    """A recorder behind SG_IO: an ioctl that reads struct sg_io_hdr out of our memory and fills it in."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._names = {int(code, 10): name for code, (name, _, _) in _CODES.items()}

    def ioctl(self, _fd: int, request: int, header: SgHeader) -> int:
        assert request == SG_IO
        assert (header.interface_id, header.flags, header.iovec_count) == (ord("S"), 0, 0)
        assert header.timeout_ms == 1000
        cdb = ctypes.string_at(header.cmdp, header.cmd_len)
        assert cdb[0] >= 0xC0
        name = self._names[cdb[1]]
        if name in self.recorder.refuses:
            header.status, header.driver_status, header.sb_len_wr = 0x02, 0x08, 18
            return 0
        if self.recorder.vanishes is name:
            self.recorder.answer(name)
            header.host_status = 0x01
            return 0
        sent = ctypes.string_at(header.dxferp, header.dxfer_len) if header.dxfer_direction == -2 else b""
        answer = self.recorder.answer(name, sent)
        if name is CommandName.READ_TIME and answer:
            answer = answer.translate(None, b"-: ")
        if answer is None:
            header.host_status = 0x03  # DID_TIME_OUT
        elif header.dxfer_direction == -3:
            data = answer.ljust(header.dxfer_len, b"\0") if name is not CommandName.READ_INFO else answer
            count = min(len(data), header.dxfer_len)
            ctypes.memmove(header.dxferp, data, count)
            header.resid = header.dxfer_len - count
        return 0
