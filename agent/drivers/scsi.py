"""Makers' own SCSI commands through SG_IO on /dev/sgN. Needs CAP_SYS_RAWIO: the kernel lets no one else send them.

Only opcodes C0h to FFh leave this module, whatever a profile says: none that any disk knows, so none that erases.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from agent.drivers.driver import LinkGone, fill
from agent.drivers.links import Ioctl, cannot_open, failure
from agent.drivers.table import VENDOR_OPCODE, Command, DriverTable
from agent.errors import DriverFailed

SG_IO = 0x2285
_NONE, _TO_DEVICE, _FROM_DEVICE = -1, -2, -3
_NO_CONNECT, _BAD_TARGET = 0x01, 0x04  # host_status: nobody answers there
_SENSE_BYTES = 32


class SgHeader(ctypes.Structure):
    """struct sg_io_hdr of scsi/sg.h."""

    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout_ms", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration_ms", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


class ScsiExchange:
    """The `Exchange` of vendor commands."""

    def __init__(self, table: DriverTable, path: Path, ioctl: Ioctl = fcntl.ioctl) -> None:
        """Raises DriverFailed."""
        self._timeout_ms = int(table.timeout_seconds * 1000)
        self._ioctl = ioctl
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise cannot_open(path, error) from error

    def run(self, command: Command, values: Mapping[str, str]) -> bytes:
        """Send one command. An answer matched by a pattern loses its padding. Raises DriverFailed, LinkGone."""
        if not command.cdb or command.cdb[0] < VENDOR_OPCODE:
            raise DriverFailed("not a maker's own command", "不是厂商自定义命令")
        out = fill(command.send[0], values) if command.send else b""
        answer = self._execute(command.cdb, out, command.reply_bytes)
        return answer.split(b"\0", 1)[0].rstrip(b" ") if command.reply else answer

    def close(self) -> None:
        """Release the device; closing twice does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _execute(self, cdb: bytes, out: bytes, in_bytes: int) -> bytes:
        command = ctypes.create_string_buffer(cdb, len(cdb))
        sense = ctypes.create_string_buffer(_SENSE_BYTES)
        data = ctypes.create_string_buffer(out, len(out)) if out else ctypes.create_string_buffer(max(1, in_bytes))
        header = SgHeader(
            interface_id=ord("S"),
            dxfer_direction=_TO_DEVICE if out else _FROM_DEVICE if in_bytes else _NONE,
            cmd_len=len(cdb),
            mx_sb_len=_SENSE_BYTES,
            dxfer_len=len(out) or in_bytes,
            dxferp=ctypes.addressof(data),
            cmdp=ctypes.addressof(command),
            sbp=ctypes.addressof(sense),
            timeout_ms=self._timeout_ms,
        )
        try:
            self._ioctl(self._fd, SG_IO, header)
        except OSError as error:
            raise failure(error) from error
        if header.host_status in (_NO_CONNECT, _BAD_TARGET):
            raise LinkGone
        if header.status or header.host_status or header.driver_status & 0x0F:
            codes = f"{header.status:02X}/{header.host_status:02X}/{header.driver_status:02X}"
            raise DriverFailed(f"it refused the command ({codes})", f"命令被拒绝（{codes}）")
        return data.raw[: in_bytes - max(0, header.resid)] if in_bytes else b""
