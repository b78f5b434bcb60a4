"""The walk through one store of a PTP camera. Every handle that the camera names ends as an entry, as a folder that was
looked into, or as a finding. Sizes are tried at the last byte and the one behind it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from agent.ptpcamera import PtpCamera, mark, raise_if_gone
from agent.ptpdata import (
    NO_PARENT,
    ROOT,
    UNKNOWN_LENGTH,
    Code,
    Malformed,
    ObjectInfo,
    Operation,
    Property,
    parse_handles,
    parse_number,
    wall_clock_ns,
)
from agent.ptpsession import Refused
from agent.source import Entry, Finding, FindingKind

DEPTH_MAX = 1000  # of folders in a store; deeper is a finding
SIZE_MAX = 2**53 - 1  # the greatest that an event may state
_NO_SUCH_FILTER = frozenset({Code.PARAMETER_NOT_SUPPORTED, Code.INVALID_PARAMETER, Code.INVALID_PARENT})


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to look into; handle `ROOT`: the store itself."""

    store: int
    handle: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Stray:
    """An object that says it lies elsewhere than where it was listed: taken there, or else here at the end."""

    info: ObjectInfo
    listed_in: _Folder


class Listing:
    """The walk through one store."""

    def __init__(self, camera: PtpCamera, store: int, stores: Container[int]) -> None:
        """List `store`, one of `stores`."""
        self._camera, self._store, self._stores = camera, store, stores
        self._lists_all = False  # the camera cannot list one folder: its only listing held everything
        self._pending = [_Folder(store, ROOT, (b"store_%08x" % store,))]
        self._seen: set[int] = set()
        self._folders: dict[int, tuple[bytes, ...]] = {}
        self._strays: dict[int, _Stray] = {}

    def walk(self) -> Iterator[Entry | Finding]:
        """Everything in the store. Raises SourceGone."""
        while self._pending or self._strays:
            while self._pending:
                yield from self._folder(self._pending.pop())
            yield from self._take_strays()

    def _folder(self, folder: _Folder) -> Iterator[Entry | Finding]:
        self._folders[folder.handle] = folder.path
        try:
            handles = self._handles(folder)
        except (Refused, Malformed) as error:
            raise_if_gone(error)
            detail = f"this folder cannot be listed ({error}): files in it are missing from this list"
            yield Finding(FindingKind.UNREADABLE_DIRECTORY, folder.path, detail)
            return
        below = len(self._pending)
        for handle in dict.fromkeys(handles):
            if handle not in self._seen:
                yield from self._object(handle, folder)
        self._pending[below:] = reversed(self._pending[below:])

    def _handles(self, folder: _Folder) -> tuple[int, ...]:
        if self._lists_all:
            return ()  # what lies in it waits among the strays
        try:
            return parse_handles(self._camera.session.ask(Operation.GET_OBJECT_HANDLES, folder.store, 0, folder.handle))
        except Refused as refused:
            if folder.handle != ROOT or refused.code not in _NO_SUCH_FILTER:
                raise
        self._lists_all = True
        return parse_handles(self._camera.session.ask(Operation.GET_OBJECT_HANDLES, folder.store, 0, 0))

    def _object(self, handle: int, folder: _Folder) -> Iterator[Entry | Finding]:
        stray = self._strays.pop(handle, None)
        try:
            info = stray.info if stray else self._camera.info(handle)
        except (Refused, Malformed) as error:
            raise_if_gone(error)
            self._seen.add(handle)
            path = (*folder.path, _nameless(handle))
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, f"the camera does not describe this object: {error}")
            return
        if info.storage != self._store and info.storage in self._stores:
            return  # a camera that lists all its stores at once; that store's listing has it
        if self._lies_in(info, handle, folder):
            yield from self._take(handle, info, folder.path)
        else:
            self._strays[handle] = stray or _Stray(info, folder)

    def _lies_in(self, info: ObjectInfo, handle: int, folder: _Folder) -> bool:
        if folder.handle == ROOT:  # some name the store, or the object itself, as parent of what lies in no folder
            return info.parent in (*NO_PARENT, folder.store, handle)
        return info.parent == folder.handle

    def _take(self, handle: int, info: ObjectInfo, above: tuple[bytes, ...]) -> Iterator[Entry | Finding]:
        self._seen.add(handle)
        path = (*above, info.name or _nameless(handle))
        if info.is_folder and len(path) > DEPTH_MAX:
            detail = f"deeper than {DEPTH_MAX} folders: not entered"
            yield Finding(FindingKind.UNREADABLE_DIRECTORY, path, detail)
        elif info.is_folder:
            self._pending.append(_Folder(self._store, handle, path))
        else:
            yield from self._file(handle, info, path)

    def _take_strays(self) -> Iterator[Entry | Finding]:
        """What the folder that it names did not list lies there all the same, or else where it was listed.

        One whose folder is a stray too waits for it, unless they only wait for each other.
        """
        ready = {h: s for h, s in self._strays.items() if s.info.parent not in self._strays} or dict(self._strays)
        for handle, stray in ready.items():
            del self._strays[handle]
            yield from self._take(handle, stray.info, self._folders.get(stray.info.parent, stray.listed_in.path))

    def _file(self, handle: int, info: ObjectInfo, path: tuple[bytes, ...]) -> Iterator[Entry | Finding]:
        listed = info.size_bytes if info.size_bytes is not None else self._long_size(handle)
        if listed is None:
            detail = "longer than 4 GiB, and the camera neither tells its size nor gives its parts: it was not copied"
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, f"{detail}. Dock its card instead")
            return
        size = self._true_size(handle, listed)
        if size != listed:
            detail = f"its listing says {listed} bytes, the camera gives {size}: what it gives is copied"
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, detail)
        yield Entry(path, size, wall_clock_ns(info.modified), mark(handle, info))

    def _long_size(self, handle: int) -> int | None:
        """The size that 32 bits do not hold: as MTP tells it, or by trying where reading ends."""
        if Operation.GET_OBJECT_PROPERTY in self._camera.device.operations:
            try:
                return parse_number(
                    self._camera.session.ask(Operation.GET_OBJECT_PROPERTY, handle, Property.OBJECT_SIZE)
                )
            except (Refused, Malformed) as error:
                raise_if_gone(error)
        if Operation.GET_PARTIAL_OBJECT_64 in self._camera.device.operations:
            return self._search_end(handle, UNKNOWN_LENGTH)
        return None

    def _true_size(self, handle: int, listed: int) -> int:
        """`listed`, when the last byte is there and none behind it; else where reading really ends."""
        if not self._camera.can_read_from(listed + 1) or listed > SIZE_MAX:
            return listed  # only the copy itself will tell
        last = max(listed - 1, 0)
        try:
            count = self._camera.read_piece(handle, last, memoryview(bytearray(2 if listed else 1)))
        except Refused as refused:
            raise_if_gone(refused)
            # A bad sector at the end, or firmware that refuses to read past it: what is listed may be right.
            return listed if self._has(handle, last, unsure=True) else self._search_end(handle, 0)
        if count == min(listed, 1):
            return listed
        return self._search_end(handle, listed + 1 if count else 0)

    def _search_end(self, handle: int, low: int) -> int:
        """The size by trying: the file has all bytes before `low`. Reads single bytes, two for each bit of the size."""
        reach = max(low, 1) * 2
        while self._camera.can_read_from(reach) and reach < SIZE_MAX and self._has(handle, reach - 1, unsure=False):
            low, reach = reach, reach * 2
        while low < reach:
            middle = (low + reach) // 2
            if self._has(handle, middle, unsure=False):
                low = middle + 1
            else:
                reach = middle
        return low

    def _has(self, handle: int, offset: int, *, unsure: bool) -> bool:
        """Whether the file has a byte at `offset`; `unsure`: the answer where the camera fails to read there."""
        try:
            return self._camera.read_piece(handle, offset, memoryview(bytearray(1))) == 1
        except Refused as refused:
            raise_if_gone(refused)
            return unsure and refused.code != Code.INVALID_PARAMETER


def _nameless(handle: int) -> bytes:
    return b"object-%08x" % handle
