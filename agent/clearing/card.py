"""A card from which files are cleared, one after the other, and nothing else changes. Only FAT and exFAT.

Not mounted: a kernel that mounts a card for writing changes more of it than the one file, and a hostile card would be
parsed in the kernel. Every sector to be changed is known before the first is written, compared with what the medium
holds, and read back after.
"""

from __future__ import annotations

import hashlib
import os
from typing import Protocol

from agent.card import CardSource
from agent.clearing.removal import Change, check_supported, plan_count, plan_removal, read
from agent.errors import NotAFileSystem, ReadFault, SourceError
from agent.fatvolume import FatVolume
from agent.medium import Device, Medium
from agent.source import Entry, Finding, FindingKind, SourceKind
from custody.digest import CHUNK_BYTES
from custody.release import Listed, ReleaseRefused

# What a sound card may show besides its files: what other deletions and power cuts left.
_HARMLESS = frozenset({FindingKind.DELETED_ENTRY, FindingKind.ORPHAN})


class WritableDevice(Device, Protocol):
    """The edge to the kernel (`agent.clearing.device`); tests put one here that loses power."""

    def write(self, offset: int, data: bytes) -> None:
        """Whole sectors; durable after `flush`. Raises OSError."""
        ...

    def flush(self) -> None:
        """Everything written is durable. Raises OSError."""
        ...


class ClearableCard:
    """What the card lists now. One thread; after any ReleaseRefused of `clear` but those about one file: close it."""

    def __init__(self, device: WritableDevice, volume_ids: tuple[str, ...]) -> None:
        """Raises ReleaseRefused unless it is the card with these volumes, sound, and of a kind that can be cleared."""
        self._device = device
        try:
            self._source = CardSource(device, SourceKind.BLOCK_DEVICE)
            self._medium = Medium(device)
            if self._source.facts.volume_ids != volume_ids or not all(volume_ids):
                raise ReleaseRefused("card_differs")
            for volume in self._source.volumes:
                if not isinstance(volume, FatVolume):
                    raise ReleaseRefused("file_system_not_supported", volume.file_system)
                check_supported(volume)
            self._files = self._list()
        except NotAFileSystem:
            raise ReleaseRefused("file_system_not_supported") from None
        except SourceError as error:
            raise ReleaseRefused("card_gone", error.code) from None

    def _list(self) -> dict[tuple[bytes, ...], list[Entry]]:
        files: dict[tuple[bytes, ...], list[Entry]] = {}
        for met in self._source.entries():
            if isinstance(met, Entry):
                files.setdefault(met.path, []).append(met)
            elif met.kind not in _HARMLESS:
                raise ReleaseRefused("card_damaged", _said(met))
        return files

    def clear(self, listed: Listed) -> None:
        """Hash the file as the medium gives it now and, if it is the sealed one, clear it. Raises ReleaseRefused.

        1. The path names exactly one file. 2. Its size is the sealed one. 3. Its bytes are. 4. What is to change is
        known. 5. Its name goes, durably. 6. Its clusters are given back; the next flush makes that durable.
        Crash windows: before 5 nothing has happened; between 5 and 6 its clusters belong to no file.
        """
        found = self._files.get(listed.path, [])
        if len(found) != 1:  # 1
            raise ReleaseRefused("path_ambiguous" if found else "not_on_card")
        entry = found[0]
        if entry.size_bytes != listed.size_bytes:  # 2
            raise ReleaseRefused("size_differs")
        try:
            if self._sha256(entry) != listed.sha256:  # 3
                raise ReleaseRefused("content_differs")
            volume, path, handle = self._source.find(entry)
            assert isinstance(volume, FatVolume)  # noqa: S101 - others were refused at the beginning
            removal = plan_removal(volume, path, handle)  # 4
            if not all(self._holds(change.offset, change.old) for change in (removal.name, *removal.rest)):
                raise ReleaseRefused("content_differs", "a sector has changed meanwhile")
            self._write((removal.name,))
            self._device.flush()  # 5
            self._write(removal.rest)  # 6
        except SourceError as error:
            raise ReleaseRefused("card_gone", error.code) from None
        except OSError as error:
            raise ReleaseRefused("card_write_fault", str(error.strerror)) from None
        except LookupError as error:
            raise ReleaseRefused("card_damaged", str(error)) from None
        del self._files[listed.path]

    def finish(self) -> bool:
        """Bring the card's own hint of its free space up to date; whether every other file is listed as before.

        Raises ReleaseRefused.
        """
        try:
            for volume in self._source.volumes:
                assert isinstance(volume, FatVolume)  # noqa: S101 - as above
                free = volume.space().free_bytes or 0
                self._write(plan_count(volume, free // volume.layout.cluster_bytes))
            self._device.flush()
            before = {path: [_same(entry) for entry in entries] for path, entries in self._files.items()}
            after = {path: [_same(entry) for entry in entries] for path, entries in self._list().items()}
        except SourceError as error:
            raise ReleaseRefused("card_gone", error.code) from None
        except OSError as error:
            raise ReleaseRefused("card_write_fault", str(error.strerror)) from None
        return before == after

    def _sha256(self, entry: Entry) -> str:
        reader, total = self._source.open(entry), hashlib.sha256()
        buffer, at = memoryview(bytearray(CHUNK_BYTES)), 0
        try:
            while at < entry.size_bytes and (got := reader.read_into(buffer, at)):
                total.update(buffer[:got])
                at += got
            if at != entry.size_bytes or reader.changed():
                raise ReleaseRefused("content_differs", "it changes while it is read")
        except ReadFault as fault:
            raise ReleaseRefused("card_read_fault", f"at {fault.offset_bytes}") from None
        finally:
            reader.close()
        return total.hexdigest()

    def _write(self, changes: tuple[Change, ...]) -> None:
        """Sector by sector, each read back. Raises ReleaseRefused, OSError, SourceGone."""
        for change in changes:
            self._device.write(change.offset, change.new)
            if not self._holds(change.offset, change.new):
                raise ReleaseRefused("card_write_fault", f"the sector at {change.offset} did not take it")

    def _holds(self, offset: int, content: bytes) -> bool:
        return read(self._medium, offset, len(content)) == content


def hash_copy(descriptor: int, listed: Listed) -> bool:
    """Whether an open vault copy holds exactly the sealed bytes, read from the disk. Raises OSError."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    total, at, buffer = hashlib.sha256(), 0, memoryview(bytearray(CHUNK_BYTES))
    while at <= listed.size_bytes and (got := os.preadv(descriptor, [buffer], at)):
        total.update(buffer[:got])
        at += got
    return at == listed.size_bytes and total.hexdigest() == listed.sha256


def _said(met: Finding) -> str:
    return f"{met.kind}: {met.detail}"[:200]


def _same(entry: Entry) -> tuple[int, int | None, str]:
    return entry.size_bytes, entry.modified_ns, entry.handle
