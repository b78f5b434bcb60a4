"""PTP's operations on a `SoftCamera`: a command in, data and response out. Knows no transport.

It has no operation that changes the camera, and notes every operation that is asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.ptp.camera import FOLDER, JPEG, MP4, ROOT, UNDEFINED, SoftCamera, Thing

OK, GENERAL, NOT_OPEN, UNSUPPORTED, INCOMPLETE = 0x2001, 0x2002, 0x2003, 0x2005, 0x2007
BAD_HANDLE, BAD_PROPERTY, BUSY, BAD_PARAMETER, ALREADY_OPEN = 0x2009, 0x200A, 0x2019, 0x201D, 0x201E
BAD_STORAGE, NO_OBJECT_PROPERTY, PARAMETER_UNSUPPORTED = 0x2008, 0xA801, 0x2006
ALL = 0xFFFFFFFF
SIZE, NAME, CREATED, MODIFIED = 0xDC04, 0xDC07, 0xDC08, 0xDC09
PIECE_BYTES = 1 << 20


class Unplugged(Exception):
    """The camera leaves now."""


class Stalled(Exception):
    """The camera stalls the data phase."""


@dataclass
class Answer:
    """What a command gives: a response code and, where there is a data phase, its length and pieces."""

    code: int = OK
    parameters: tuple[int, ...] = ()
    length: int | None = None
    pieces: Iterator[bytes] | Sequence[bytes] = ()


def text(value: str | bytes) -> bytes:
    """A PTP string: count of UTF-16 units with the final zero, then those."""
    units = value if isinstance(value, bytes) else value.encode("utf-16-le", "surrogatepass")
    return bytes([len(units) // 2 + 1]) + units + b"\0\0" if units else b"\0"


def array(code: str, items: Sequence[int]) -> bytes:
    """A PTP array."""
    return struct.pack(f"<I{len(items)}{code}", len(items), *items)


class Responder:
    """One camera's session."""

    def __init__(self, camera: SoftCamera) -> None:
        self.camera = camera
        self._open = camera.session_left_open
        self.any_store = False  # lists the objects of all stores in each
        self.unfiltered = False  # refuses to list one folder alone
        self.flat = False  # answers every listing with all objects, as some cameras do
        self._operations: dict[int, Callable[..., Answer | bytes | int]] = {
            0x1001: self._device_info, 0x1002: self._open_session, 0x1003: self._close_session,
            0x1004: self._storage_ids, 0x1005: self._storage_info, 0x1007: self._object_handles,
            0x1008: self._object_info, 0x1009: self._object, 0x1014: self._property_description,
            0x1015: self._property_value,
        }  # fmt: skip
        if camera.partial:
            self._operations[0x101B] = self._partial_object
        if camera.partial64:
            self._operations[0x95C1] = self._partial_object64
        if camera.object_properties:
            self._operations[0x9803] = self._object_property
            self._operations[0x9805] = self._object_properties

    def answer(self, code: int, parameters: Sequence[int]) -> Answer:
        """Carry out one command. Pieces of the data phase may raise Stalled or Unplugged while they are drawn."""
        self.camera.asked.append(code)
        operation = self._operations.get(code)
        if operation is None:
            return Answer(UNSUPPORTED)
        if not self._open and code not in (0x1001, 0x1002):
            return Answer(NOT_OPEN)
        if self.camera.busy:
            self.camera.busy -= 1
            return Answer(BUSY)
        result = operation(*(*parameters, 0, 0, 0, 0, 0)[:5])
        if isinstance(result, bytes):
            return Answer(OK, (), len(result), (result,))
        return Answer(result) if isinstance(result, int) else result

    # --- the device ---

    def _device_info(self, *_: int) -> bytes:
        camera = self.camera
        properties = [0x5001] * (camera.battery is not None) + [0x5011] * (camera.clock is not None)
        return (
            struct.pack("<HIH", 100, camera.vendor_extension, 100) + text(camera.extension_text) + b"\0\0"
            + array("H", sorted(self._operations)) + array("H", []) + array("H", properties) + array("H", [])
            + array("H", [UNDEFINED, FOLDER, MP4, JPEG])
            + text(camera.manufacturer) + text(camera.model) + text(camera.version) + text(camera.serial)
        )  # fmt: skip

    def _open_session(self, *_: int) -> int:
        if self._open:
            return ALREADY_OPEN
        self._open = True
        return OK

    def _close_session(self, *_: int) -> int:
        self._open = False
        return OK

    def _property_value(self, code: int, *_: int) -> bytes | int:
        if code == 0x5001 and self.camera.battery is not None:
            return bytes([self.camera.battery])
        if code == 0x5011 and self.camera.clock is not None:
            return text(self.camera.clock)
        return BAD_PROPERTY

    def _property_description(self, code: int, *_: int) -> bytes | int:
        value = self._property_value(code)
        if isinstance(value, int):
            return value
        if code == 0x5001:  # unsigned byte, read-only, a range of 0 to 100
            return struct.pack("<HHB", code, 2, 0) + b"\x64" + value + b"\x01\x00\x64\x01"
        return struct.pack("<HHB", code, 0xFFFF, 0) + value + value + b"\x00"

    # --- storages and objects ---

    def _storage_ids(self, *_: int) -> bytes:
        return array("I", list(self.camera.storages))

    def _storage_info(self, storage: int, *_: int) -> bytes | int:
        name = self.camera.storages.get(storage)
        if name is None:
            return BAD_STORAGE
        return struct.pack("<HHHQQI", 4, 3, 1, 64 << 30, 1 << 30, ALL) + text(name) + text("")

    def _object_handles(self, storage: int, _format: int, parent: int, *_: int) -> bytes | int:
        at = ROOT if parent == ALL else parent
        if at in self.camera.unlistable or storage in self.camera.hidden_storages:
            return GENERAL
        if self.unfiltered and parent:
            return PARAMETER_UNSUPPORTED
        return array("I", [
            handle for handle, thing in self.camera.things.items()
            if (self.any_store or storage in (ALL, thing.storage)) and (parent == 0 or self.flat or thing.parent == at)
        ])  # fmt: skip

    def _object_info(self, handle: int, *_: int) -> bytes | int:
        thing = self.camera.things.get(handle)
        if thing is None or handle in self.camera.infoless:
            return BAD_HANDLE if thing is None else GENERAL
        folder = thing.format == FOLDER
        return (
            struct.pack(
                "<IHHIHIIIIIIIHII", thing.storage, thing.format, 1, min(thing.size, ALL), 0, 0, 0, 0, 0, 0, 0,
                thing.parent, int(folder), 0, 0,
            )
            + text(thing.name) + text(thing.created) + text(thing.modified) + text("")
        )  # fmt: skip

    def _object_property(self, handle: int, code: int, *_: int) -> bytes | int:
        thing = self.camera.things.get(handle)
        if thing is None:
            return BAD_HANDLE
        values = {
            SIZE: struct.pack("<Q", thing.size), NAME: text(thing.name),
            CREATED: text(thing.created), MODIFIED: text(thing.modified),
        }  # fmt: skip
        return values.get(code, NO_OBJECT_PROPERTY)

    def _object_properties(self, handle: int, *_: int) -> bytes | int:
        if handle not in self.camera.things:
            return BAD_HANDLE
        kinds = {SIZE: 8, NAME: 0xFFFF, MODIFIED: 0xFFFF}
        body = struct.pack("<I", len(kinds))
        for code, kind in kinds.items():
            value = self._object_property(handle, code)
            assert isinstance(value, bytes)
            body += struct.pack("<IHH", handle, code, kind) + value
        return body

    # --- content ---

    def _object(self, handle: int, *_: int) -> Answer:
        thing = self.camera.things.get(handle)
        if thing is None or thing.format == FOLDER:
            return Answer(BAD_HANDLE)
        return self._content(thing, 0, thing.length)

    def _partial_object(self, handle: int, offset: int, length: int, *_: int) -> Answer:
        thing = self.camera.things.get(handle)
        if thing is None or thing.format == FOLDER:
            return Answer(BAD_HANDLE)
        if offset > thing.length:
            return Answer(BAD_PARAMETER)
        wanted = max(
            0, min(length, thing.length - offset, ALL if self.camera.short_after is None else self.camera.short_after)
        )
        answer = self._content(thing, offset, wanted)
        answer.parameters = (wanted,)
        return answer

    def _partial_object64(self, handle: int, low: int, high: int, length: int, *_: int) -> Answer:
        return self._partial_object(handle, high << 32 | low, length)

    def _content(self, thing: Thing, offset: int, length: int) -> Answer:
        refused = next((bad for bad in thing.bad if bad[0] < offset + length and offset < bad[0] + bad[1]), None)
        if refused is not None and not self.camera.stall_bad:
            return Answer(INCOMPLETE)
        return Answer(OK, (), length + self.camera.oversize, self._pieces(thing, offset, length, refused))

    def _pieces(self, thing: Thing, offset: int, length: int, refused: tuple[int, int] | None) -> Iterator[bytes]:
        camera, end = self.camera, offset + length
        while offset < end:
            piece = thing.read(offset, min(PIECE_BYTES, end - offset))
            if refused is not None and offset + len(piece) > refused[0]:
                raise Stalled
            camera.sent += len(piece)
            if camera.unplug_after is not None and camera.sent > camera.unplug_after:
                raise Unplugged
            yield piece
            offset += len(piece)
        yield b"\xee" * camera.oversize
