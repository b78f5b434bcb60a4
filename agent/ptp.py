"""A camera or phone that speaks PTP or MTP as a source: all its stores, read in pieces, never written.

Every handle that the camera names ends as an entry, as a folder that was looked into, or as a finding: what a library
for viewing pictures may skip (a twin of a name, an object whose facts are refused, an object in no folder) is footage
here. Sizes are not believed but tried at listing, at the last byte and the one behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator
from dataclasses import dataclass

from agent.errors import ReadFault, SourceGone, SourceUnreadable
from agent.ptpdata import (
    NO_PARENT,
    ROOT,
    UNKNOWN_LENGTH,
    Code,
    DeviceInfo,
    Malformed,
    ObjectInfo,
    Operation,
    Property,
    StorageInfo,
    parse_device_info,
    parse_handles,
    parse_number,
    parse_object_info,
    parse_storage_info,
    wall_clock_ns,
)
from agent.ptpsession import Incoming, Refused, Session
from agent.source import Entry, Finding, FindingKind, Reader, SourceFacts, SourceKind, TimeBasis
from agent.usbfs import UsbPipe
from agent.usbfs import port_for as port_for  # noqa: PLC0414 - the port strings of `open_ptp`

READ_BYTES = 1 << 20  # of one partial read; the camera may give less
FAULT_BYTES = 4096  # the finest that a camera's own file system tells
STORES_MAX = 64
LABEL_MAX = 64
_SIZE_MAX = 2**53 - 1  # the greatest that an event may state
_NO_SUCH_FILTER = frozenset({Code.PARAMETER_NOT_SUPPORTED, Code.INVALID_PARAMETER, Code.INVALID_PARENT})
_GONE = frozenset({Code.SESSION_NOT_OPEN, Code.STORE_NOT_AVAILABLE})


def open_ptp(port: str) -> PtpSource:
    """Open the camera at a port (see `port_for`). Raises SourceUnreadable, SourceGone."""
    pipe = UsbPipe(port)
    try:
        return PtpSource(Session(pipe))
    except Refused as refused:
        pipe.close()
        raise mute(refused) from refused
    except BaseException:
        pipe.close()
        raise


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


class PtpSource:
    """An open camera. One thread at a time uses it and its readers."""

    def __init__(self, session: Session) -> None:
        """Take over an open session. Raises SourceUnreadable, SourceGone, Refused."""
        self._session = session
        self.device = read_device(session)
        self._stores = self._read_stores()

    @property
    def facts(self) -> SourceFacts:
        """What the camera says of its stores, in the order of `store_…` folders."""
        infos = list(self._stores.values())
        capacity = sum(info.capacity_bytes for info in infos if info is not None)
        return SourceFacts(
            SourceKind.PTP,
            tuple(f"ptp {info.file_system}" if info else "ptp" for info in infos),
            tuple(info.description[:LABEL_MAX] if info else "" for info in infos),
            tuple(info.label[:LABEL_MAX] if info else "" for info in infos),
            capacity if 0 < capacity <= _SIZE_MAX else None,
            TimeBasis.CAMERA_LOCAL,
        )

    def entries(self) -> Iterator[Entry | Finding]:
        """Everything in every store, folder by folder. Raises SourceGone."""
        for store in self._stores:
            yield from _Listing(self, self._session, store, self._stores).walk()

    def open(self, entry: Entry) -> Reader:
        """Open one listed file. Raises SourceUnreadable for this file alone, SourceGone."""
        handle = int(entry.handle.partition(":")[0], 16)
        info = self._info_again(handle)
        if info is None or _mark(handle, info) != entry.handle:
            raise SourceUnreadable(
                "This file is no longer on the camera as it was listed. Nothing was changed. It is listed again at the "
                "next docking.",
                "该文件已与列出时不同或已不在记录仪上。未作任何改动。下次接入时将重新列出。",
            )
        if self.can_read_from(entry.size_bytes):
            return PtpReader(self, self._session, handle, entry)
        return StreamReader(self, self._session, handle, entry)

    def close(self) -> None:
        """Close the session and give the device back; closing twice does nothing."""
        self._session.close()

    # --- for listing and readers ---

    def info(self, handle: int) -> ObjectInfo:
        """What the camera says of an object now. Raises Refused, Malformed, SourceGone."""
        return parse_object_info(self._session.ask(Operation.GET_OBJECT_INFO, handle))

    def is_as_listed(self, handle: int, mark: str) -> bool:
        """Whether an object still is what it was when it was listed. Raises SourceGone."""
        info = self._info_again(handle)
        return info is not None and _mark(handle, info) == mark

    def can_read_from(self, end: int) -> bool:
        """Whether pieces can be read of a file that ends there."""
        operations = self.device.operations
        return Operation.GET_PARTIAL_OBJECT_64 in operations or (
            Operation.GET_PARTIAL_OBJECT in operations and end < UNKNOWN_LENGTH
        )

    def read_piece(self, handle: int, offset: int, view: memoryview) -> int:
        """Read at `offset` into `view`; fewer at the end or where the camera likes. Raises Refused, SourceGone."""
        if offset + len(view) > UNKNOWN_LENGTH or Operation.GET_PARTIAL_OBJECT not in self.device.operations:
            low, high = offset & 0xFFFFFFFF, offset >> 32
            return self._session.read_into(view, Operation.GET_PARTIAL_OBJECT_64, handle, low, high, len(view))
        return self._session.read_into(view, Operation.GET_PARTIAL_OBJECT, handle, offset, len(view))

    def _info_again(self, handle: int) -> ObjectInfo | None:
        try:
            return self.info(handle)
        except Refused as refused:
            if refused.code in _GONE:
                raise SourceGone from refused
            return None
        except Malformed:
            return None

    def _read_stores(self) -> dict[int, StorageInfo | None]:
        try:
            ids = parse_handles(self._session.ask(Operation.GET_STORAGE_IDS))
        except Malformed as error:
            raise mute(error) from error
        stores = [store for store in ids if store & 0xFFFF]  # else a slot without a card
        if not stores or len(stores) > STORES_MAX:
            raise SourceUnreadable(
                f"The camera shows {len(stores)} stores. Nothing was changed. Unlock it and allow file transfer on its "
                "screen, check its card, then dock it again.",
                f"设备显示 {len(stores)} 个存储。未作任何改动。"
                "请解锁设备并在其屏幕上允许“文件传输”，检查存储卡后重新接入。",
            )
        return {store: self._store_info(store) for store in dict.fromkeys(stores)}

    def _store_info(self, store: int) -> StorageInfo | None:
        try:
            return parse_storage_info(self._session.ask(Operation.GET_STORAGE_INFO, store))
        except (Refused, Malformed):  # a name for people; the store is listed all the same
            return None


class _Listing:
    """The walk through one store."""

    def __init__(self, source: PtpSource, session: Session, store: int, stores: Container[int]) -> None:
        self._source, self._session, self._store, self._stores = source, session, store, stores
        self._pending = [_Folder(store, ROOT, (b"store_%08x" % store,))]
        self._seen: set[int] = set()
        self._folders: dict[int, tuple[bytes, ...]] = {}
        self._strays: dict[int, _Stray] = {}

    def walk(self) -> Iterator[Entry | Finding]:
        while self._pending or self._strays:
            while self._pending:
                yield from self._folder(self._pending.pop())
            yield from self._take_strays()

    def _folder(self, folder: _Folder) -> Iterator[Entry | Finding]:
        self._folders[folder.handle] = folder.path
        try:
            handles = self._handles(folder)
        except (Refused, Malformed) as error:
            _raise_if_gone(error)
            detail = f"this folder cannot be listed ({error}): files in it are missing from this list"
            yield Finding(FindingKind.UNREADABLE_DIRECTORY, folder.path, detail)
            return
        below = len(self._pending)
        for handle in dict.fromkeys(handles):
            if handle not in self._seen:
                yield from self._object(handle, folder)
        self._pending[below:] = reversed(self._pending[below:])

    def _handles(self, folder: _Folder) -> tuple[int, ...]:
        try:
            return parse_handles(self._session.ask(Operation.GET_OBJECT_HANDLES, folder.store, 0, folder.handle))
        except Refused as refused:
            if folder.handle != ROOT or refused.code not in _NO_SUCH_FILTER:
                raise
        return parse_handles(self._session.ask(Operation.GET_OBJECT_HANDLES, folder.store, 0, 0))  # all, in any folder

    def _object(self, handle: int, folder: _Folder) -> Iterator[Entry | Finding]:
        stray = self._strays.pop(handle, None)
        try:
            info = stray.info if stray else self._source.info(handle)
        except (Refused, Malformed) as error:
            _raise_if_gone(error)
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
        if info.is_folder:
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
        yield Entry(path, size, wall_clock_ns(info.modified), _mark(handle, info))

    def _long_size(self, handle: int) -> int | None:
        """The size that 32 bits do not hold: as MTP tells it, or by trying where reading ends."""
        if Operation.GET_OBJECT_PROPERTY in self._source.device.operations:
            try:
                return parse_number(self._session.ask(Operation.GET_OBJECT_PROPERTY, handle, Property.OBJECT_SIZE))
            except (Refused, Malformed) as error:
                _raise_if_gone(error)
        if Operation.GET_PARTIAL_OBJECT_64 in self._source.device.operations:
            return self._search_end(handle, UNKNOWN_LENGTH)
        return None

    def _true_size(self, handle: int, listed: int) -> int:
        """`listed`, when the last byte is there and none behind it; else where reading really ends."""
        if not self._source.can_read_from(listed + 1) or listed > _SIZE_MAX:
            return listed  # only the copy itself will tell
        last = max(listed - 1, 0)
        try:
            count = self._source.read_piece(handle, last, memoryview(bytearray(2 if listed else 1)))
        except Refused as refused:
            _raise_if_gone(refused)
            # A bad sector at the end, or firmware that refuses to read past it: what is listed may be right.
            return listed if self._has(handle, last, unsure=True) else self._search_end(handle, 0)
        if count == min(listed, 1):
            return listed
        return self._search_end(handle, listed + 1 if count else 0)

    def _search_end(self, handle: int, low: int) -> int:
        """The size by trying: the file has all bytes before `low`. Reads single bytes, two for each bit of the size."""
        reach = max(low, 1) * 2
        while self._source.can_read_from(reach) and reach < _SIZE_MAX and self._has(handle, reach - 1, unsure=False):
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
            return self._source.read_piece(handle, offset, memoryview(bytearray(1))) == 1
        except Refused as refused:
            _raise_if_gone(refused)
            return unsure and refused.code != Code.INVALID_PARAMETER


class PtpReader:
    """One file, read in pieces."""

    def __init__(self, source: PtpSource, session: Session, handle: int, entry: Entry) -> None:
        """Opens nothing: PTP reads by handle."""
        self._source, self._handle, self._entry = source, handle, entry

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; 0 at the end. Raises ReadFault, SourceGone; SourceUnreadable: it was removed."""
        wanted = max(0, min(len(buffer), self._entry.size_bytes - offset))
        done = 0
        while done < wanted:
            piece = buffer[done : min(done + READ_BYTES, wanted)]
            try:
                count = self._source.read_piece(self._handle, offset + done, piece)
            except Refused as refused:
                _raise_if_unreadable(refused)
                raise ReadFault(offset + done, len(piece), exact=len(piece) <= FAULT_BYTES) from refused
            if count == 0:  # it became shorter; `changed` says so
                break
            done += count
        return done

    def changed(self) -> bool:
        """Whether the camera describes the file otherwise than when it was listed. Raises SourceGone."""
        return not self._source.is_as_listed(self._handle, self._entry.handle)

    def close(self) -> None:
        """Nothing is open."""


class StreamReader:
    """One file of a camera that gives files only whole: read as it comes, anew when a chunk is read again."""

    def __init__(self, source: PtpSource, session: Session, handle: int, entry: Entry) -> None:
        """Nothing is asked yet."""
        self._source, self._session, self._handle, self._entry = source, session, handle, entry
        self._incoming: Incoming | None = None
        self._at = 0
        self._broken_at: int | None = None
        self._longer = False

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; 0 at the end. Raises ReadFault, SourceGone; SourceUnreadable: it was removed."""
        wanted = max(0, min(len(buffer), self._entry.size_bytes - offset))
        if self._broken_at is not None and offset + wanted > self._broken_at:
            raise self._fault(max(offset, self._broken_at))
        try:
            incoming = self._stand_at(offset)
            done = 0
            while done < wanted and (count := incoming.read_into(buffer[done:wanted])):
                done += count
                self._at += count
            if self._at == self._entry.size_bytes:
                self._longer = incoming.read_into(memoryview(bytearray(1))) > 0
                self._incoming = None
        except Refused as refused:
            self._incoming = None
            _raise_if_unreadable(refused)
            self._broken_at = self._at  # what lies behind it can only be reached through it
            raise self._fault(self._at) from refused
        return done

    def _fault(self, offset: int) -> ReadFault:
        return ReadFault(offset, max(1, self._entry.size_bytes - offset), exact=True)

    def changed(self) -> bool:
        """Whether the file is longer than listed, or described otherwise. Raises SourceGone."""
        return self._longer or not self._source.is_as_listed(self._handle, self._entry.handle)

    def close(self) -> None:
        """The next command ends what is still coming."""
        self._incoming = None

    def _stand_at(self, offset: int) -> Incoming:
        if self._incoming is None or self._at > offset:
            self._incoming, self._at = self._session.begin(Operation.GET_OBJECT, self._handle), 0
        scratch = memoryview(bytearray(min(READ_BYTES, max(1, offset - self._at))))
        while self._at < offset and (count := self._incoming.read_into(scratch[: offset - self._at])):
            self._at += count
        return self._incoming


def read_device(session: Session) -> DeviceInfo:
    """What the camera says of itself. Raises SourceUnreadable, SourceGone, Refused."""
    try:
        return parse_device_info(session.ask(Operation.GET_DEVICE_INFO))
    except Malformed as error:
        raise mute(error) from error


def _mark(handle: int, info: ObjectInfo) -> str:
    """What tells one state of an object from another."""
    facts = f"{info.size_bytes}:{info.modified}:{info.name.hex()}"
    return f"{handle:x}:{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def _nameless(handle: int) -> bytes:
    return b"object-%08x" % handle


def _raise_if_gone(error: Refused | Malformed) -> None:
    if isinstance(error, Refused) and error.code in _GONE:
        raise SourceGone from error


def _raise_if_unreadable(refused: Refused) -> None:
    _raise_if_gone(refused)
    if refused.code == Code.INVALID_HANDLE:
        raise SourceUnreadable(
            "This file was removed from the camera while it was read. Nothing else was changed; what the camera still "
            "holds is copied.",
            "读取过程中该文件已从设备上移除。其余内容未受影响，将继续复制。",
        ) from refused


def mute(error: Exception) -> SourceUnreadable:
    """What answers, but not as it must."""
    return SourceUnreadable(
        f"The camera answers, but not as PTP demands: {error}. Nothing was changed. Switch it off and on and dock it "
        "again; if it stays so, dock its card.",
        f"设备有应答，但不符合 PTP 规范（{error}）。未作任何改动。请重启设备后重新接入；如仍如此，请直接读取其存储卡。",
    )
