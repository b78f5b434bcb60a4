"""PTP's containers and datasets as values: bytes in, facts out, nothing is opened or sent here.

ISO 15740 (PTP), its USB transport (USB still image class 1.0, annex D) and MTP 1.1. What a camera says is hostile
input: a dataset that does not fit its own lengths raises `Malformed`.
"""

import contextlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import ClassVar

CONTAINER_BYTES = 12  # length, kind, code, transaction
COMMAND, DATA, RESPONSE = 1, 2, 3  # kinds of containers; we never send one of kind DATA
UNKNOWN_LENGTH = 0xFFFFFFFF  # also: a size that 32 bits do not hold
ROOT = 0xFFFFFFFF  # as parent, in GetObjectHandles: what lies in no folder
NO_PARENT = (0, 0xFFFFFFFF)
ASSOCIATION = 0x3001  # the format of a folder
_OFFSET = re.compile(r"(Z|[+-]\d{4})$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Operation(IntEnum):
    """Every operation that we ever send. All of them only read: this list is the guarantee that nothing is changed."""

    GET_DEVICE_INFO = 0x1001
    OPEN_SESSION = 0x1002
    CLOSE_SESSION = 0x1003
    GET_STORAGE_IDS = 0x1004
    GET_STORAGE_INFO = 0x1005
    GET_OBJECT_HANDLES = 0x1007
    GET_OBJECT_INFO = 0x1008
    GET_OBJECT = 0x1009
    GET_DEVICE_PROPERTY_DESCRIPTION = 0x1014
    GET_DEVICE_PROPERTY = 0x1015
    GET_PARTIAL_OBJECT = 0x101B
    GET_PARTIAL_OBJECT_64 = 0x95C1  # Android's
    GET_OBJECT_PROPERTY = 0x9803  # MTP


class Code(IntEnum):
    """Responses that mean something of their own to us."""

    OK = 0x2001
    SESSION_NOT_OPEN = 0x2003
    PARAMETER_NOT_SUPPORTED = 0x2006
    INVALID_HANDLE = 0x2009
    STORE_NOT_AVAILABLE = 0x2013
    BUSY = 0x2019
    INVALID_PARENT = 0x201A
    INVALID_PARAMETER = 0x201D
    SESSION_ALREADY_OPEN = 0x201E


class Property(IntEnum):
    """Properties of the device and of objects."""

    BATTERY = 0x5001  # percent, 0 to 100
    CLOCK = 0x5011
    OBJECT_SIZE = 0xDC04  # 64 bits


class Malformed(Exception):
    """A camera sent bytes that do not fit their own lengths."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What the camera says of itself."""

    manufacturer: str
    model: str
    version: str
    serial: str
    operations: frozenset[int]
    properties: frozenset[int]


@dataclass(frozen=True, slots=True)
class StorageInfo:
    """One store: a card or the internal memory."""

    file_system: str
    description: str
    label: str
    capacity_bytes: int


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One file or folder. `size_bytes` is None where 32 bits did not hold it."""

    storage: int
    format: int
    size_bytes: int | None
    parent: int
    name: bytes  # UTF-8 of the UTF-16 units as sent, surrogates that stand alone included
    modified: str  # as sent

    @property
    def is_folder(self) -> bool:
        """Whether it holds other objects."""
        return self.format == ASSOCIATION


def command(operation: Operation, transaction: int, parameters: Sequence[int]) -> bytes:
    """The container of a command."""
    length = CONTAINER_BYTES + 4 * len(parameters)
    return struct.pack(f"<IHHI{len(parameters)}I", length, COMMAND, operation, transaction, *parameters)


def parse_container(head: bytes | memoryview) -> tuple[int, int, int, int]:
    """Length, kind, code and transaction. Raises Malformed."""
    if len(head) < CONTAINER_BYTES:
        raise Malformed("a container shorter than its head")
    length, kind, code, transaction = struct.unpack_from("<IHHI", head)
    if length < CONTAINER_BYTES:
        raise Malformed("a container that says it is shorter than its head")
    return length, kind, code, transaction


class _Fields:
    """Reads one dataset from its beginning. Every read past its end raises Malformed."""

    _SIZES: ClassVar = {"B": 1, "H": 2, "I": 4, "Q": 8}

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, code: str) -> int:
        (value,) = struct.unpack("<" + code, self._take(self._SIZES[code]))
        return int(value)

    def array(self, code: str) -> tuple[int, ...]:
        count = self.number("I")
        return struct.unpack(f"<{count}{code}", self._take(count * self._SIZES[code]))

    def units(self) -> bytes:
        """A string's UTF-16 units without the one zero that ends it."""
        count = self.number("B")
        raw = self._take(2 * count)
        return raw.removesuffix(b"\0\0") if not len(raw) % 2 and raw.endswith(b"\0\0") else raw

    def text(self) -> str:
        return self.units().decode("utf-16-le", "replace").split("\0", 1)[0]

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def skip(self, count: int) -> None:
        self._take(count)

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise Malformed(f"a dataset of {len(self._data)} bytes ends within a field")
        self._at += count
        return taken


def parse_device_info(data: bytes) -> DeviceInfo:
    """GetDeviceInfo. Raises Malformed."""
    fields = _Fields(data)
    fields.skip(2 + 4 + 2)  # PTP version, vendor extension and its version
    fields.units()
    fields.skip(2)  # functional mode
    operations = frozenset(fields.array("H"))
    fields.array("H")  # events
    properties = frozenset(fields.array("H"))
    fields.array("H")  # formats it captures
    fields.array("H")  # formats it holds
    manufacturer, model, version, serial = (fields.text() for _ in range(4))
    return DeviceInfo(manufacturer, model, version, serial, operations, properties)


def parse_storage_info(data: bytes) -> StorageInfo:
    """GetStorageInfo. Raises Malformed."""
    fields = _Fields(data)
    fields.skip(2)  # fixed or removable
    kind = {1: "flat", 2: "hierarchical", 3: "dcf"}.get(fields.number("H"), "unknown")
    fields.skip(2)  # access
    capacity = fields.number("Q")
    fields.skip(8 + 4)  # free bytes and images
    return StorageInfo(kind, fields.text(), fields.text(), capacity)


def parse_handles(data: bytes) -> tuple[int, ...]:
    """GetStorageIDs and GetObjectHandles. Raises Malformed."""
    return _Fields(data).array("I")


def parse_object_info(data: bytes) -> ObjectInfo:
    """GetObjectInfo. Raises Malformed.

    Some Samsung phones send 64 bits of size where the standard has 32. Read by the standard such a dataset has no name
    and goes on behind its end.
    """
    info, over = _object_info(data, "I")
    if not info.name and over:
        try:
            info, _ = _object_info(data, "Q")
        except Malformed:
            return info
    return info


def _object_info(data: bytes, size_code: str) -> tuple[ObjectInfo, bool]:
    """The facts, and whether bytes are left over."""
    fields = _Fields(data)
    storage, form = fields.number("I"), fields.number("H")
    fields.skip(2)  # protection
    size: int | None = fields.number(size_code)
    if size_code == "I" and size == UNKNOWN_LENGTH:
        size = None
    fields.skip(2 + 4 * 6)  # thumbnail's and image's format and measures
    parent = fields.number("I")
    fields.skip(2 + 4 + 4)  # association, sequence number
    name = fields.units().decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")
    stamps = ["", ""]
    with contextlib.suppress(Malformed):  # cheap firmware ends early; the name is what we need
        stamps = [fields.text(), fields.text()]
        fields.units()  # keywords
    created, modified = stamps
    return ObjectInfo(storage, form, size, parent, name, modified or created), fields.left > 0


def parse_battery(data: bytes) -> int | None:
    """GetDevicePropDesc of the battery, as percent of what the camera calls full. Raises Malformed.

    None for 0: ISO 15740 lets a camera say 0 while the cable powers it. Unknown is never ready, and neither is 0.
    """
    fields = _Fields(data)
    fields.skip(2)
    kind = fields.number("H")
    code = {2: "B", 4: "H", 6: "I"}.get(kind)
    if code is None:
        raise Malformed(f"a battery level of type {kind:#06x}")
    fields.skip(1)
    fields.number(code)
    value, lowest, full = fields.number(code), 0, 100
    form = fields.number("B")
    if form == 1:
        lowest, full = fields.number(code), fields.number(code)
    elif form == 2:
        full = max((fields.number(code) for _ in range(fields.number("H"))), default=100)
    if value == 0 or not lowest <= value <= full or lowest == full:
        return None
    return (value - lowest) * 100 // (full - lowest)


def parse_number(data: bytes) -> int:
    """A property of one unsigned number. Raises Malformed."""
    if len(data) not in (1, 2, 4, 8):
        raise Malformed(f"a number of {len(data)} bytes")
    return int.from_bytes(data, "little")


def parse_text(data: bytes) -> str:
    """A property that is a string. Raises Malformed."""
    return _Fields(data).text()


def clock_text(text: str) -> str | None:
    """A PTP time in ISO 8601 (`2026-03-02T09:15:30`, with the offset if it states one); None when it is none."""
    try:
        when = datetime.strptime(text[:15], "%Y%m%dT%H%M%S")  # noqa: DTZ007 - a wall clock has no zone
    except ValueError:
        return None
    zone = _OFFSET.search(text, 15)
    offset = "" if zone is None else "Z" if zone[0] == "Z" else f"{zone[0][:3]}:{zone[0][3:]}"
    return when.isoformat() + offset


def wall_clock_ns(text: str) -> int | None:
    """A PTP time (`YYYYMMDDThhmmss[.s][±hhmm]`) as the camera's wall clock, in nanoseconds as if it were UTC.

    None when it is none, or stated in UTC (`Z`) and so no wall clock. An offset behind the digits changes nothing:
    the digits are the camera's wall clock.
    """
    stamp = text[:15]
    try:
        when = datetime.strptime(stamp, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    if len(stamp) < 15 or text.endswith("Z"):
        return None
    fraction = text[15:].partition(".")[2][:1] if text[15:16] == "." else ""
    nanoseconds = int(fraction) * 100_000_000 if fraction.isascii() and fraction.isdigit() else 0
    return (when - _EPOCH) // timedelta(microseconds=1) * 1000 + nanoseconds
