"""Opening what footage is read from: a folder or the raw bytes of a card image or disk (by stat), a PTP camera.

A card is read as a forensic tool does: never mounted, opened so that it cannot be written. FAT and exFAT, the file
systems of nearly every camera, are read by our own code (fat.py, exfat.py), ext2/3/4 and NTFS by The Sleuth Kit
(sleuthvolume.py), both on one medium (medium.py). A card with several partitions is one source.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from agent import exfat, fat
from agent.errors import NotAFileSystem, SourceGone, SourceUnreadable
from agent.fatvolume import FatVolume
from agent.folder import FolderSource
from agent.freespace import Space
from agent.medium import Device, FileDevice, Medium, ReadClock
from agent.ptp import open_ptp
from agent.sleuth import read_partitions
from agent.sleuthvolume import SleuthVolume, detect
from agent.source import Entry, Finding, FindingKind, PtpPort, Reader, Source, SourceFacts, SourceKind, TimeBasis

BACKUP_BOOT_SECTORS = (0, 6, 12)  # FAT32 keeps a copy of its boot sector in sector 6, exFAT in sector 12
_HEAD_BYTES = 4096


class Volume(Protocol):
    """One file system on a medium."""

    file_system: str
    label: str
    volume_id: str
    time_basis: TimeBasis

    def walk(self) -> Iterator[Entry | Finding]:
        """Everything on it; may run again. Raises SourceGone, SourceUnreadable."""
        ...

    def space(self) -> Space:
        """How full it is. Raises SourceGone."""
        ...

    def open(self, handle: str) -> Reader:
        """Open what `walk` gave this handle. Raises SourceUnreadable, SourceGone; ValueError for another handle."""
        ...


@dataclass(frozen=True, slots=True)
class _Part:
    prefix: tuple[bytes, ...]
    volume: Volume


def open_source(
    path: str | bytes | os.PathLike[str] | PtpPort, settle_ns: int = 0, clock: ReadClock | None = None
) -> Source:
    """Open a folder, card image, block device or PTP camera for reading.

    Files of a folder that were modified less than `settle_ns` ago are findings, not entries. `clock` tells how long a
    read of a card is kept waiting.
    Raises SourceUnreadable, NotAFileSystem, SourceGone. A source without any file opens; its `entries` are empty.
    """
    if isinstance(path, PtpPort):
        return open_ptp(path.port)
    raw = os.fsencode(path)
    try:
        mode = os.stat(raw).st_mode
        if stat.S_ISDIR(mode):
            return FolderSource(raw, settle_ns)
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise SourceUnreadable(
                f"{os.fsdecode(raw)} is neither a folder, nor a card image, nor a disk. Nothing was changed.",
                f"{os.fsdecode(raw)} 既不是文件夹，也不是存储卡镜像或磁盘。未作任何改动。",
            )
        device = FileDevice(raw, clock)
    except OSError as error:
        raise SourceUnreadable(
            f"{os.fsdecode(raw)} cannot be opened: {error.strerror}. Nothing was changed. "
            "Check the path, the cable and the permissions of the station.",
            f"无法打开 {os.fsdecode(raw)}：{error.strerror}。未作任何改动。请检查路径、线缆和本站的访问权限。",
        ) from error
    try:
        return CardSource(device, SourceKind.BLOCK_DEVICE if stat.S_ISBLK(device.mode) else SourceKind.IMAGE)
    except BaseException:
        device.close()
        raise


class CardSource:
    """A card image or block device with one or more file systems."""

    def __init__(self, device: Device, kind: SourceKind) -> None:
        """Raises NotAFileSystem, SourceUnreadable, SourceGone."""
        self._medium = Medium(device)
        self._findings: list[Finding] = []
        try:
            volumes = self._find_volumes()
        except SourceGone as error:
            if device.size_bytes() == 0:
                raise
            raise _unreadable() from error  # still there, and no sector answers
        if not volumes:
            raise NotAFileSystem(
                "No file system that Custodock reads was found (FAT, exFAT, ext2/3/4, NTFS). Nothing was changed. "
                "If the card holds footage, do not format it: hand it to the equipment office.",
                "未找到可读取的文件系统（FAT、exFAT、ext2/3/4、NTFS）。未作任何改动。"
                "如卡中存有录像，请勿格式化，交办公室处理。",
            )
        several = sum(_holds_files(volume) for _, volume in volumes) > 1
        self._parts = [_Part((b"p%d" % number,) if several else (), volume) for number, volume in volumes]
        bases = {volume.time_basis for _, volume in volumes}
        basis = TimeBasis.CAMERA_LOCAL if TimeBasis.CAMERA_LOCAL in bases else TimeBasis.UTC
        self._facts = SourceFacts(
            kind,
            tuple(volume.file_system for _, volume in volumes),
            tuple(volume.label for _, volume in volumes),
            tuple(volume.volume_id for _, volume in volumes),
            self._medium.size_bytes,
            basis,
        )

    @property
    def facts(self) -> SourceFacts:
        """What the card says about itself."""
        return self._facts

    def entries(self) -> Iterator[Entry | Finding]:
        """Everything on the card, streamed. Raises SourceGone, SourceUnreadable."""
        yield from self._findings
        for index, part in enumerate(self._parts):
            for met in part.volume.walk():
                path = (*part.prefix, *met.path)
                if isinstance(met, Finding):
                    yield Finding(met.kind, path, met.detail, met.offset_bytes, met.length_bytes)
                else:  # a time in another basis than `facts` says would be a wrong fact: then none
                    modified = met.modified_ns if part.volume.time_basis is self._facts.time_basis else None
                    yield Entry(path, met.size_bytes, modified, f"{index}/{met.handle}")

    def spaces(self) -> tuple[Space, ...]:
        """How full each volume is, in the order of `facts`. Raises SourceGone."""
        return tuple(part.volume.space() for part in self._parts)

    def find(self, entry: Entry) -> tuple[Volume, tuple[bytes, ...], str]:
        """The volume of a listed file, its path there and its handle there. Raises ValueError, IndexError."""
        index, _, handle = entry.handle.partition("/")
        part = self._parts[int(index)]
        return part.volume, entry.path[len(part.prefix) :], handle

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """In the order of `facts`."""
        return tuple(part.volume for part in self._parts)

    def open(self, entry: Entry) -> Reader:
        """Open one listed file. Raises SourceUnreadable, SourceGone."""
        index, _, handle = entry.handle.partition("/")
        try:
            return self._parts[int(index)].volume.open(handle)
        except (ValueError, IndexError) as error:
            raise SourceUnreadable(
                "This file was listed from another card. Nothing was changed. Dock the camera again.",
                "该文件来自另一张存储卡的列表。未作任何改动。请重新接入记录仪。",
            ) from error

    def close(self) -> None:
        """Release the card."""
        self._medium.close()

    def _find_volumes(self) -> list[tuple[int, Volume]]:
        """The file systems with their partition numbers: the whole medium is one, or the partitions of its table."""
        whole = self._identify(0, self._medium.size_bytes)
        if whole:
            return [(1, whole)]
        if not self._medium.read_into(memoryview(bytearray(self._medium.sector_bytes)), 0):
            raise _unreadable()
        found = []
        for part in read_partitions(self._medium):
            volume = self._identify(part.start, part.length)
            if volume:
                found.append((part.number, volume))
            elif any(self._medium.read_metadata(part.start, _HEAD_BYTES)[0]):
                detail = "a partition without a file system that we read"
                kind, path = FindingKind.UNREADABLE_DIRECTORY, (b"p%d" % part.number,)
                self._findings.append(Finding(kind, path, detail, part.start, part.length))
        return found

    def _identify(self, start: int, length: int) -> Volume | None:
        """The file system that begins at `start`, by its boot sector or, where that is bad, by the copy of it."""
        for sector in BACKUP_BOOT_SECTORS:
            at = start + sector * self._medium.sector_bytes
            head, bad = self._medium.read_metadata(at, min(_HEAD_BYTES, max(0, start + length - at)))
            unreadable = any(offset < at + self._medium.sector_bytes for offset, _ in bad)
            if unreadable or len(head) < self._medium.sector_bytes:
                detail = "the boot sector cannot be read; its copy is used"
                kind = FindingKind.SKIPPED_SPECIAL
                self._findings.append(Finding(kind, (), detail, at, self._medium.sector_bytes))
                continue
            layout = exfat.parse_boot(head[:512], start) or fat.parse_boot(head[:512], start)
            if layout:
                return FatVolume(self._medium, layout)
            kind_here = detect(head) if sector == 0 else None
            return SleuthVolume(self._medium, start, kind_here) if kind_here else None
        return None


def _holds_files(volume: Volume) -> bool:
    return any(isinstance(met, Entry) for met in volume.walk())


def _unreadable() -> SourceUnreadable:
    return SourceUnreadable(
        "The card does not answer: its first sectors cannot be read. Nothing was changed. Try another cable or reader "
        "once; if it stays so, keep the card and hand it to the equipment office.",
        "存储卡无响应：首部扇区无法读取。未作任何改动。可更换线缆或读卡器重试一次；如仍无法读取，请保留该卡并交办公室处理。",
    )
