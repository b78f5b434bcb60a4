"""One ext2/3/4 or NTFS volume, listed by The Sleuth Kit.

A hostile card that crashes the library takes its worker process along, no more.
"""

import struct
from collections.abc import Iterator

import pytsk3

from agent.errors import ReadFault, SourceUnreadable
from agent.extents import ExtentReader
from agent.freespace import BITMAP_STEP_BYTES, Space, bitmap_space, ext_space
from agent.medium import Medium
from agent.sleuth import FAILURES, Content, Identity, Image, Runs, SleuthReader
from agent.source import Entry, Finding, FindingKind, Reader, TimeBasis

_EXT, _NTFS = "ext", "NTFS"
_CONTENT = (pytsk3.TSK_FS_ATTR_TYPE_DEFAULT, pytsk3.TSK_FS_ATTR_TYPE_NTFS_DATA)
_NOT_ON_DISK = 0x3  # TSK_FS_ATTR_RUN_FLAG_FILLER | TSK_FS_ATTR_RUN_FLAG_SPARSE
_VIRTUAL_NAMES = (pytsk3.TSK_FS_NAME_TYPE_VIRT, pytsk3.TSK_FS_NAME_TYPE_VIRT_DIR)
_NTFS_BITMAP = 6
_NTFS_SYSTEM_FILES = 24  # MFT records below are the file system's own ($MFT, $Extend, ...)
_NEEDS_RECOVERY = 0x4
_Folder = tuple[tuple[bytes, ...], int]  # path and inode


def detect(head: bytes) -> str | None:
    """Which of our file systems begins with these 2 KiB."""
    if head[3:11] == b"NTFS    ":
        return _NTFS
    return _EXT if head[1080:1082] == b"\x53\xef" else None


class SleuthVolume:
    """One ext2/3/4 or NTFS file system."""

    time_basis = TimeBasis.UTC

    def __init__(self, medium: Medium, start: int, kind: str) -> None:
        """`start` is a byte of the medium. Raises SourceUnreadable, SourceGone."""
        self._medium = medium
        self._image = Image(medium)
        self._start = start
        self._ntfs = kind == _NTFS
        self._reported: set[tuple[int, int]] = set()
        wanted = pytsk3.TSK_FS_TYPE_NTFS_DETECT if self._ntfs else pytsk3.TSK_FS_TYPE_EXT_DETECT
        try:
            self._fs = pytsk3.FS_Info(self._image, offset=start, type=wanted)
        except FAILURES as error:
            self._image.raise_if_gone()
            raise SourceUnreadable(
                f"The {kind} file system on this card is damaged and cannot be opened ({error}). Nothing was changed. "
                "Keep the card and hand it to the equipment office.",
                f"存储卡上的 {kind} 文件系统已损坏，无法打开。未作任何改动。请保留该卡并交办公室处理。",
            ) from error
        head, _ = medium.read_metadata(start, 2048)
        self._dirty = not self._ntfs and bool(struct.unpack_from("<I", head, 1024 + 96)[0] & _NEEDS_RECOVERY)
        self.file_system, self.label, self.volume_id = self._describe(head)

    def walk(self) -> Iterator[Entry | Finding]:
        """Everything on the volume; may run again. Raises SourceGone."""
        if self._dirty:
            detail = "not unmounted cleanly: its journal is not replayed, so the last changes may be missing here"
            yield Finding(FindingKind.UNREADABLE_DIRECTORY, (), detail)
        self._reported.clear()
        seen: set[int] = set()
        pending: list[_Folder] = [((), int(self._fs.info.root_inum))]
        while pending:
            path, inode = pending.pop()
            if inode in seen:
                yield Finding(FindingKind.DIRECTORY_LOOP, path, "this folder contains itself or is listed twice")
                continue
            seen.add(inode)
            below: list[_Folder] = []
            yield from self._directory(path, inode, below)
            pending += reversed(below)
        yield from self._other_bad()

    def open(self, handle: str) -> Reader:
        """Open what `walk` gave this handle. Raises SourceUnreadable, SourceGone."""
        inode, readable, size, mtime, ctime = (int(field) for field in handle.split(":"))
        reader = SleuthReader(self._image, lambda: self._content(inode), (size, mtime, ctime), readable)
        if self._ntfs or reader.is_inline:
            return reader
        # On ext the runs say everything, and reading them ourselves is three times as fast. NTFS also knows how much of
        # a run was ever written, which pytsk3 does not tell.
        return ExtentReader(self._medium, reader.pieces(), readable, reader.changed)

    def space(self) -> Space:
        """Total and free bytes: NTFS by its $Bitmap, ext by its group descriptors. Raises SourceGone."""
        if not self._ntfs:
            return ext_space(self._medium, self._start)
        clusters, cluster_bytes = int(self._fs.info.block_count), int(self._fs.info.block_size)
        if clusters * cluster_bytes > self._medium.size_bytes:  # the boot sector claims more than there is
            return Space(clusters * cluster_bytes, None, exact=False)
        try:
            return bitmap_space(self._ntfs_bitmap(), clusters, cluster_bytes)
        except (SourceUnreadable, *FAILURES):
            self._image.raise_if_gone()
            return Space(clusters * cluster_bytes, None, exact=False)

    def _ntfs_bitmap(self) -> Iterator[tuple[bytes | None, int]]:
        content = self._content(_NTFS_BITMAP)
        size = content.identity[0]
        reader = SleuthReader(self._image, lambda: content, content.identity, size)
        for at in range(0, size, BITMAP_STEP_BYTES):
            step = bytearray(min(BITMAP_STEP_BYTES, size - at))
            try:
                reader.read_into(memoryview(step), at)
            except ReadFault:
                yield None, len(step)
            else:
                yield bytes(step), len(step)

    def _content(self, inode: int) -> Content:
        """Raises OSError, RuntimeError."""
        file = self._fs.open_meta(inode=inode)
        block = int(self._fs.info.block_size)
        content: Runs = []
        structures: Runs = []
        compressed = False
        for attribute in file:
            is_content = attribute.info.type in _CONTENT and not attribute.info.name
            compressed = compressed or bool(is_content and attribute.info.flags & pytsk3.TSK_FS_ATTR_COMP)
            for run in attribute:
                if not run.flags & _NOT_ON_DISK:
                    place = (run.offset * block, self._start + run.addr * block, run.len * block)
                    (content if is_content else structures).append(place)
        return Content(file, _identity(file.info.meta), content, structures, compressed)

    def _directory(self, path: tuple[bytes, ...], inode: int, below: list[_Folder]) -> Iterator[Entry | Finding]:
        try:
            files = iter(self._fs.open_dir(inode=inode))
        except FAILURES as error:
            self._image.raise_if_gone()
            yield Finding(FindingKind.UNREADABLE_DIRECTORY, path, f"this directory cannot be read: {error}")
            return
        while True:
            try:
                met = list(self._node(path, next(files), below))
            except StopIteration:
                break
            except FAILURES as error:
                self._image.raise_if_gone()
                yield Finding(FindingKind.UNREADABLE_DIRECTORY, path, f"this directory breaks off: {error}")
                break
            yield from met
        yield from self._bad_of(path, inode)

    def _node(self, parent: tuple[bytes, ...], file: pytsk3.File, below: list[_Folder]) -> Iterator[Entry | Finding]:
        name, meta = file.info.name, file.info.meta
        inode, path = int(name.meta_addr), (*parent, bytes(name.name))
        if name.name in (b".", b"..") or self._is_own(parent, inode, name):
            return
        size = int(meta.size) if meta else 0
        if name.flags == pytsk3.TSK_FS_NAME_FLAG_UNALLOC:
            yield Finding(FindingKind.DELETED_ENTRY, path, f"a deleted entry; {size} bytes where known", None, size)
        elif not meta or meta.flags & pytsk3.TSK_FS_META_FLAG_UNALLOC:
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, f"its inode {inode} cannot be read or is free")
        elif meta.type == pytsk3.TSK_FS_META_TYPE_DIR:
            below.append((path, inode))
        elif meta.type == pytsk3.TSK_FS_META_TYPE_LNK or self._is_reparse(file):
            yield Finding(FindingKind.SKIPPED_SYMLINK, path, "a link to another place: not followed")
        elif meta.type == pytsk3.TSK_FS_META_TYPE_REG:
            yield from self._regular(path, inode, file)
        elif meta.type == pytsk3.TSK_FS_META_TYPE_UNDEF:
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, f"its inode {inode} is damaged")
        else:
            yield Finding(FindingKind.SKIPPED_SPECIAL, path, "a FIFO, socket or device node: not opened")

    def _regular(self, path: tuple[bytes, ...], inode: int, file: pytsk3.File) -> Iterator[Entry | Finding]:
        for attribute in file if self._ntfs else ():
            if attribute.info.type == pytsk3.TSK_FS_ATTR_TYPE_NTFS_DATA and attribute.info.name:
                stream = bytes(attribute.info.name).decode("utf-8", "backslashreplace")
                detail = f"alternate stream {stream!r} of {attribute.info.size} bytes: not copied"
                yield Finding(FindingKind.SKIPPED_SPECIAL, path, detail)
        size, mtime, ctime = _identity(file.info.meta)
        most = int(self._fs.info.block_count) * int(self._fs.info.block_size)
        if size > most:  # holes may make a file larger than its volume, but no camera writes one
            held = sum(length for _, _, length in self._content(inode).runs)
            detail = f"its entry says {size} bytes, more than the volume holds; {held} are copied"
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, detail)
        readable = size if size <= most else min(held, most)
        yield Entry(path, readable, mtime, f"{inode}:{readable}:{size}:{mtime}:{ctime}")

    def _is_own(self, parent: tuple[bytes, ...], inode: int, name: pytsk3.TSK_FS_NAME) -> bool:
        """Whether this is the library's or the file system's own and not the camera's."""
        return name.type in _VIRTUAL_NAMES or (self._ntfs and not parent and inode < _NTFS_SYSTEM_FILES)

    def _is_reparse(self, file: pytsk3.File) -> bool:
        return self._ntfs and any(a.info.type == pytsk3.TSK_FS_ATTR_TYPE_NTFS_REPARSE for a in file)

    def _bad_of(self, path: tuple[bytes, ...], inode: int) -> Iterator[Finding]:
        """Bad ranges that lie in this directory's own blocks."""
        fresh = [place for place in self._image.bad if place not in self._reported]
        if not fresh:
            return
        content = self._content(inode)
        for offset, length in fresh:
            if any(at < offset + length and offset < at + size for _, at, size in content.runs + content.structures):
                self._reported.add((offset, length))
                detail = "part of this directory cannot be read: files listed there are missing from this list"
                yield Finding(FindingKind.UNREADABLE_DIRECTORY, path, detail, offset, length)

    def _other_bad(self) -> Iterator[Finding]:
        """Bad ranges elsewhere. The library reads 64 KiB at a time, so it may be that nothing lay there."""
        for offset, length in self._image.bad:
            if (offset, length) not in self._reported:
                self._reported.add((offset, length))
                detail = "in or beside structures of the file system: if they lay here, files may be missing or damaged"
                yield Finding(FindingKind.UNREADABLE_DIRECTORY, (), detail, offset, length)

    def _describe(self, head: bytes) -> tuple[str, str, str]:
        """File system, label and volume id."""
        if self._ntfs:
            return _NTFS, self._ntfs_label(), f"{struct.unpack_from('<Q', head, 72)[0]:016X}"
        compatible, incompatible = struct.unpack_from("<II", head, 1024 + 92)
        name = "ext4" if incompatible & 0x40 else "ext3" if compatible & 0x4 else "ext2"
        uuid = head[1024 + 104 : 1024 + 120].hex()
        label = head[1024 + 120 : 1024 + 136].split(b"\0")[0].decode("utf-8", "replace")
        return name, label, f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}"

    def _ntfs_label(self) -> str:
        kind, name = pytsk3.TSK_FS_ATTR_TYPE_NTFS_VNAME, b""
        try:
            volume = self._fs.open_meta(inode=3)
            for attribute in volume:
                if attribute.info.type == kind and attribute.info.size:
                    name = volume.read_random(0, attribute.info.size, kind, attribute.info.id)
        except FAILURES:
            self._image.raise_if_gone()
        return bytes(name).decode("utf-16-le", "replace")


def _identity(meta: pytsk3.TSK_FS_META) -> Identity:
    stamps = (meta.mtime, meta.mtime_nano), (meta.ctime, meta.ctime_nano)
    mtime, ctime = (int(seconds) * 10**9 + int(nanoseconds) for seconds, nanoseconds in stamps)
    return int(meta.size), mtime, ctime
