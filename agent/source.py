"""What footage is read from: one interface for folders, card images, raw block devices and cameras that speak PTP.

A source is hostile and may vanish. Its implementations (card.py, ptp.py) turn every fault of theirs into `ReadFault`,
`SourceGone`, `SourceUnreadable` or `NotAFileSystem`; nothing of them writes to the source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from agent.errors import SourceError


@dataclass(frozen=True, slots=True)
class PtpPort:
    """A camera that speaks PTP or MTP, by its port (`agent.usbfs.port_for`). Its text is `ptp:` and the port."""

    port: str

    def __str__(self) -> str:
        return f"{_PTP_PREFIX}{self.port}"


SourcePlace = Path | PtpPort
_PTP_PREFIX = "ptp:"


def parse_place(text: str) -> SourcePlace:
    """Where a source is, from what people write; a file of such a name is written `./ptp:…`."""
    return PtpPort(text.removeprefix(_PTP_PREFIX)) if text.startswith(_PTP_PREFIX) else Path(text).absolute()


class SourceKind(StrEnum):
    """How the bytes are reached."""

    FOLDER = "folder"
    IMAGE = "image"
    BLOCK_DEVICE = "block_device"
    PTP = "ptp"


class TimeBasis(StrEnum):
    """What the modification times of a source mean."""

    UTC = "utc"
    CAMERA_LOCAL = "camera_local"  # FAT and exFAT without offset: the camera's wall clock, written as if it were UTC


class FindingKind(StrEnum):
    """What was met while listing and is not a file to copy."""

    SKIPPED_SYMLINK = "skipped_symlink"
    SKIPPED_SPECIAL = "skipped_special"  # FIFO, socket, device node
    DELETED_ENTRY = "deleted_entry"
    UNREADABLE_DIRECTORY = "unreadable_directory"
    UNREADABLE_ENTRY = "unreadable_entry"
    ORPHAN = "orphan"  # content without a directory entry
    DIRECTORY_LOOP = "directory_loop"
    STILL_BEING_WRITTEN = "still_being_written"  # a folder's file that has not come to rest: taken later


@dataclass(frozen=True, slots=True)
class Entry:
    """One regular file as the source lists it."""

    path: tuple[bytes, ...]  # components as found, never joined: a FAT name may hold "/"
    size_bytes: int
    modified_ns: int | None  # nanoseconds since the epoch in the source's `time_basis`; None: the source does not say
    handle: str  # opaque to everybody but the source


@dataclass(frozen=True, slots=True)
class Finding:
    """Something met while listing that is not a file to copy."""

    kind: FindingKind
    path: tuple[bytes, ...]
    detail: str
    offset_bytes: int | None = None  # of the medium, where the place is known
    length_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the source says about itself; the order of the three tuples is that of its volumes."""

    kind: SourceKind
    file_systems: tuple[str, ...]
    labels: tuple[str, ...]
    volume_ids: tuple[str, ...]
    size_bytes: int | None
    time_basis: TimeBasis


class Reader(Protocol):
    """One opened file, read at rising offsets except when a chunk is read again."""

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; return the bytes read, 0 only at the end of the file.

        Raises ReadFault for the first stretch in it that is unreadable, SourceGone when the device left.
        """
        ...

    def changed(self) -> bool:
        """Whether the file is no longer what it was when listed (size, mtime, ctime, inode where they exist)."""
        ...

    def close(self) -> None:
        """Release the file; closing twice does nothing."""
        ...


@runtime_checkable
class DirectReader(Protocol):
    """What a `Reader` also is when its file can be read past the page cache."""

    def direct_fd(self) -> int | None:
        """A descriptor of the file with O_DIRECT, open as long as the reader; None where that is refused."""
        ...


class Source(Protocol):
    """A camera, card, image or folder, opened read-only. One thread at a time uses it and its readers."""

    @property
    def facts(self) -> SourceFacts:
        """What the source says about itself."""
        ...

    def entries(self) -> Iterator[Entry | Finding]:
        """List everything, in any order. Raises SourceGone or SourceUnreadable, never ends early in silence."""
        ...

    def open(self, entry: Entry) -> Reader:
        """Open one listed file. Raises SourceUnreadable for this file alone, SourceGone for all."""
        ...

    def close(self) -> None:
        """Release the source; closing twice does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class WholeRead:
    """A small file read at once. `changed`: it is no longer what was listed."""

    length_bytes: int
    changed: bool


@runtime_checkable
class BulkSource(Protocol):
    """What a `Source` also is when it reads many small files faster together than one by one."""

    def read_whole(self, entries: Sequence[Entry], slots: Sequence[memoryview]) -> list[WholeRead | SourceError]:
        """Read each entry into its slot: page aligned, whole pages, at least its listed size, at most 1 MiB.

        Answers in order; a file that has a bad sector or cannot be opened answers with its error. Raises SourceGone.
        """
        ...
