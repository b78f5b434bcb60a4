"""What one footage file shows against its seal, decided purely: which chunks differ, what lacks, what was added."""

from __future__ import annotations

from dataclasses import dataclass

from custody.digest import CHUNK_BYTES, HASH_BYTES, CompactRange
from custody.finding import ChunkRange, Finding, Kind
from custody.stationevents import SegmentSealed

MAX_RANGES = 1000  # named of one file; more of them say no more


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file that an accepted seal covers. `found` is its type on the disk; `leaves` where its leaves lie, if there."""

    event: SegmentSealed
    path: bytes
    found: str | None
    leaves: bytes | None


class LeafComparison:
    """Compares the leaves of the bytes read with the leaves kept beside, chunk by chunk; memory stays flat."""

    def __init__(self) -> None:
        """Start at chunk 0."""
        self.ranges: list[tuple[int, int]] = []  # first and last differing chunk
        self.more_ranges = False
        self.compared = 0
        self._kept = CompactRange()

    def add(self, read: bytes | None, kept: bytes) -> None:
        """The next chunk's leaf as read (None: the file ended before it) and as kept (shorter: its file ended)."""
        index = self.compared
        self.compared += 1
        if len(kept) == HASH_BYTES:
            self._kept.append(kept)
        if read != kept:
            self._differ(index, index)

    def lack_until(self, count: int) -> None:
        """Neither footage nor leaves have anything of the further chunks up to `count`: at once, however many."""
        if self.compared < count:
            self._differ(self.compared, count - 1)
            self.compared = count

    def _differ(self, first: int, last: int) -> None:
        if self.ranges and self.ranges[-1][1] == first - 1:
            self.ranges[-1] = (self.ranges[-1][0], last)
        elif len(self.ranges) < MAX_RANGES:
            self.ranges.append((first, last))
        else:
            self.more_ranges = True

    def root(self) -> bytes:
        """Root of the tree over the kept leaves."""
        return self._kept.root()


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read of a file: its size, and the digests over at most the sealed number of bytes."""

    size_bytes: int
    sha256: bytes
    tree_root: bytes
    leaves: LeafComparison | None  # None: no leaves were kept, or they could not be read
    leaves_whole: bool = True  # the leaves file holds exactly the sealed number of leaves


def judge(folder: bytes, sealed: Sealed, seen: Observed) -> list[Finding]:
    """Everything wrong with a file that could be read; nothing for one that is as sealed."""
    findings = []
    event, leaves = sealed.event, seen.leaves
    as_sealed = seen.tree_root.hex() == event.tree_root
    leaves_good = leaves is not None and seen.leaves_whole and leaves.root().hex() == event.tree_root
    kind = _kind(sealed, seen)
    if kind is not None:
        ranges, more = ([], False) if as_sealed else _differing(sealed, leaves if leaves_good else None)
        findings.append(
            Finding(
                kind,
                folder,
                sealed.path,
                chunks=tuple(ranges),
                chunk_count=event.chunk_count,
                more_chunks=more,
                expected=event.size_bytes,
                actual=seen.size_bytes,
                detail=_remark(kind, as_sealed, bool(ranges)),
            )
        )
    if leaves is None and event.chunk_count > 1:
        findings.append(Finding(Kind.LEAVES_MISSING, folder, sealed.path))
    elif leaves is not None and not leaves_good:
        findings.append(Finding(Kind.LEAVES_ALTERED, folder, sealed.path))
    return findings


def _remark(kind: Kind, as_sealed: bool, named: bool) -> str:
    if as_sealed:
        return "seal_contradicts_itself" if kind is Kind.ALTERED else ""
    return "" if named else "chunks_unknown"


def _kind(sealed: Sealed, seen: Observed) -> Kind | None:
    event = sealed.event
    if seen.size_bytes < event.size_bytes:
        return Kind.TRUNCATED
    if seen.size_bytes > event.size_bytes:
        return Kind.EXTENDED
    if (seen.sha256.hex(), seen.tree_root.hex()) != (event.sha256, event.tree_root):
        return Kind.ALTERED
    return None


def _differing(sealed: Sealed, leaves: LeafComparison | None) -> tuple[list[ChunkRange], bool]:
    """The chunks that differ, where good leaves tell them, or where the file has only one."""
    event = sealed.event
    if leaves is not None:
        return [_chunk_range(event, first, last) for first, last in leaves.ranges], leaves.more_ranges
    if event.chunk_count == 1:
        return [_chunk_range(event, 0, 0)], False
    return [], False


def _chunk_range(event: SegmentSealed, first: int, last: int) -> ChunkRange:
    offset = first * CHUNK_BYTES
    end = min((last + 1) * CHUNK_BYTES, event.size_bytes)
    seconds = None
    duration = event.media.duration_ms if event.media is not None else None
    if duration:
        # Bytes are taken as spread evenly over the playing time: an estimate, and reported as one.
        seconds = (duration / 1000 * offset / event.size_bytes, duration / 1000 * end / event.size_bytes)
    return ChunkRange(first, last, offset, end - offset, seconds)
