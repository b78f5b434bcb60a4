"""A driver's commands as data: what is sent, what counts as an answer. Makers publish none: a site fills them in.

Values that a command may send: `{time}` (the dock's time in `time_format`, the recorder's zone) and `{password}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

VENDOR_OPCODE = 0xC0  # C0h to FFh are the makers' own (SPC); everything below means something to any disk
REPLY_FIELDS = frozenset({"id_code", "percent", "time"})


class Transport(StrEnum):
    """How a command reaches the recorder."""

    ASCII = "ascii"  # text over a serial line or USB bulk endpoints
    SCSI = "scsi"  # vendor commands over SG_IO


class CommandName(StrEnum):
    """What a recorder can be asked. Only these exist: nothing here can clear or format a camera."""

    INIT = "init"
    IDENTIFY = "identify"  # reply has a group `id_code`
    READ_INFO = "read_info"  # reply is the 89-byte record
    READ_TIME = "read_time"  # reply has a group `time`, in the table's `time_format`
    SYNC_TIME = "sync_time"
    BATTERY = "battery"  # reply has a group `percent`
    SWITCH_TO_DISK = "switch_to_disk"


@dataclass(frozen=True, slots=True)
class Command:
    """One command. Exactly one of `reply` and `reply_bytes` is set, or neither where the recorder answers nothing."""

    name: CommandName
    send: tuple[str, ...]  # ASCII: messages one after the other. SCSI: at most one, the data sent out
    cdb: bytes = b""  # SCSI: 6, 10, 12 or 16 bytes; the first from C0h on, so that no standard command can be sent
    reply: re.Pattern[bytes] | None = None  # over the whole answer
    reply_bytes: int = 0  # the answer's exact length; SCSI: how much is asked for
    refused: bytes = b""  # the answer that says no


@dataclass(frozen=True, slots=True)
class DriverTable:
    """A driver of one profile."""

    transport: Transport
    commands: dict[CommandName, Command]
    time_format: str  # strftime
    timeout_seconds: float
    password_file: str = ""  # beside the site's profiles, never in them; "" for none
    terminator: bytes = b""  # ASCII: ends each message; empty: a message ends when the line is quiet
    busy: bytes = b""  # ASCII: "working on it", skipped before an answer
    interface: int = 0  # USB interface and endpoints, where there is no serial line
    endpoint_in: int = 0x81
    endpoint_out: int = 0x01
