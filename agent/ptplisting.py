"""The walk through the stores of a PTP camera: every handle that it names ends as an entry, as a folder that was looked
into, or as a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.ptpcamera import PtpCamera, mark, raise_if_gone
from agent.ptpdata import (
    NO_PARENT,
    ROOT,
    Code,
    Malformed,
    ObjectInfo,
    Operation,
    parse_handles,
    wall_clock_ns,
)
from agent.ptpsession import Refused
from agent.ptpsize import measure
from agent.source import Entry, Finding, FindingKind

DEPTH_MAX = 1000  # of folders in a store; deeper is a finding
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
    """One walk through all stores."""

    def __init__(self, camera: PtpCamera, stores: Iterable[int]) -> None:
        """Nothing is asked yet."""
        self._camera = camera
        self._roots = {store: (b"store_%08x" % store,) for store in stores}
        self._pending = [_Folder(store, ROOT, path) for store, path in reversed(self._roots.items())]
        self._lists_all: set[int] = set()  # stores that cannot list one folder: their only listing held everything
        self._seen: set[int] = set()
        self._folders: dict[int, tuple[bytes, ...]] = {}
        self._strays: dict[int, _Stray] = {}

    def walk(self) -> Iterator[Entry | Finding]:
        """Everything in every store. Raises SourceGone."""
        while self._pending or self._strays:
            while self._pending:
                yield from self._folder(self._pending.pop())
            yield from self._take_strays()

    def _folder(self, folder: _Folder) -> Iterator[Entry | Finding]:
        if folder.handle != ROOT:
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
        if folder.store in self._lists_all:
            return ()  # what lies in it waits among the strays
        try:
            return parse_handles(self._camera.session.ask(Operation.GET_OBJECT_HANDLES, folder.store, 0, folder.handle))
        except Refused as refused:
            if folder.handle != ROOT or refused.code not in _NO_SUCH_FILTER:
                raise
        self._lists_all.add(folder.store)
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
        if self._lies_in(info, handle, folder):
            yield from self._take(handle, info, folder.store, folder.path)
        else:
            self._strays[handle] = stray or _Stray(info, folder)

    def _lies_in(self, info: ObjectInfo, handle: int, folder: _Folder) -> bool:
        if info.storage != folder.store and info.storage in self._roots:
            return False  # a camera that lists all its stores at once
        if folder.handle == ROOT:  # some name the store, or the object itself, as parent of what lies in no folder
            return info.parent in (*NO_PARENT, folder.store, handle)
        return info.parent == folder.handle

    def _take(self, handle: int, info: ObjectInfo, store: int, above: tuple[bytes, ...]) -> Iterator[Entry | Finding]:
        self._seen.add(handle)
        path = (*above, info.name or _nameless(handle))
        if info.is_folder and len(path) > DEPTH_MAX:
            detail = f"deeper than {DEPTH_MAX} folders: not entered"
            yield Finding(FindingKind.UNREADABLE_DIRECTORY, path, detail)
        elif info.is_folder:
            self._pending.append(_Folder(store, handle, path))
        else:
            yield from self._file(handle, info, path)

    def _take_strays(self) -> Iterator[Entry | Finding]:
        """What the folder that it names did not list lies there all the same, or else where it was listed.

        One whose folder is a stray too waits for it, unless they only wait for each other.
        """
        ready = {h: s for h, s in self._strays.items() if s.info.parent not in self._strays} or dict(self._strays)
        for handle, stray in ready.items():
            del self._strays[handle]
            info, listed_in = stray.info, stray.listed_in
            store = info.storage if info.storage in self._roots else listed_in.store
            above = self._folders.get(info.parent)
            if above is None:
                above = self._roots[store] if info.parent in NO_PARENT else listed_in.path
            yield from self._take(handle, info, store, above)

    def _file(self, handle: int, info: ObjectInfo, path: tuple[bytes, ...]) -> Iterator[Entry | Finding]:
        size, doubt = measure(self._camera, handle, info.size_bytes)
        if doubt:
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, doubt)
        if size is not None:
            yield Entry(path, size, wall_clock_ns(info.modified), mark(handle, info))


def _nameless(handle: int) -> bytes:
    return b"object-%08x" % handle
