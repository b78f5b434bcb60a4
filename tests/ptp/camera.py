"""What a software camera holds and how it fails. Content is generated, so a file of 5 GiB costs nothing."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

_PATTERN_BYTES = 1_048_573  # a prime: no two chunks of a MiB are equal
_PATTERN = random.Random(7).randbytes(_PATTERN_BYTES) * 3

FOLDER, UNDEFINED, MP4, JPEG = 0x3001, 0x3000, 0xB982, 0x3801
ROOT = 0


def generated(start: int, length: int, salt: int = 0) -> bytes:
    """`length` bytes of the pattern from `start` on; files differ by `salt`."""
    at = (start + salt * 7919) % _PATTERN_BYTES
    if length <= 2 * _PATTERN_BYTES:
        return _PATTERN[at : at + length]
    whole, rest = divmod(length, _PATTERN_BYTES)
    return _PATTERN[at : at + _PATTERN_BYTES] * whole + _PATTERN[at : at + rest]


@dataclass
class Thing:
    """A file or folder of a storage."""

    name: str | bytes  # bytes: UTF-16 units as sent, for what no string can hold
    parent: int  # handle of its folder, or ROOT
    storage: int
    size: int = 0  # as listed
    held: int | None = None  # bytes that there really are; None: as listed
    modified: str = "20260302T081500"
    created: str = "20260302T081000"
    format: int = MP4
    salt: int = 0
    bad: list[tuple[int, int]] = field(default_factory=list)  # stretches that cannot be read: offset, length

    @property
    def length(self) -> int:
        return self.size if self.held is None else self.held

    def read(self, offset: int, length: int) -> bytes:
        return generated(offset, max(0, min(length, self.length - offset)), self.salt)


@dataclass
class SoftCamera:
    """One camera. Tests set its faults while it runs."""

    manufacturer: str = "Custodock"
    model: str = "Softcam 1"
    serial: str = "SOFT0001"
    version: str = "1.0"
    vid: int = 0x2672
    pid: int = 0x0059
    vendor_extension: int = 0
    extension_text: str = ""
    storages: dict[int, str] = field(default_factory=lambda: {0x00010001: "SD card"})
    things: dict[int, Thing] = field(default_factory=dict)  # by handle
    battery: int | None = 80
    clock: str | None = "20260302T091530"
    partial: bool = True  # GetPartialObject
    partial64: bool = False  # Android's GetPartialObject64
    object_properties: bool = False  # MTP's GetObjectPropValue and GetObjPropList
    # faults
    unlistable: set[int] = field(default_factory=set)  # handles of folders (ROOT: of each storage) that do not list
    infoless: set[int] = field(default_factory=set)  # handles whose ObjectInfo is refused
    hidden_storages: set[int] = field(default_factory=set)  # storages that do not list at all
    busy: int = 0  # so many answers "device busy" first
    session_left_open: bool = False  # an earlier host did not close it
    oversize: int = 0  # bytes more than asked that every partial read sends
    short_after: int | None = None  # a partial read never gives more than this
    stall_bad: bool = False  # a bad stretch stalls the data phase, as cheap firmware does, instead of answering
    unplug_after: int | None = None  # bytes of file content after which the camera leaves
    # what was asked
    asked: list[int] = field(default_factory=list)
    sent: int = 0

    def add(
        self,
        name: str | bytes,
        parent: int = ROOT,
        *,
        storage: int = 0x00010001,
        handle: int | None = None,
        **facts: object,
    ) -> int:
        """Add a file; its handle."""
        handle = handle or max(self.things, default=0x10) + 1
        self.things[handle] = Thing(name, parent, storage, **{"salt": handle, **facts})  # type: ignore[arg-type]
        return handle

    def folder(
        self, name: str | bytes, parent: int = ROOT, *, storage: int = 0x00010001, handle: int | None = None
    ) -> int:
        """Add a folder; its handle."""
        return self.add(name, parent, storage=storage, handle=handle, format=FOLDER)
