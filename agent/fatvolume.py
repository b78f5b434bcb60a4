"""A FAT or exFAT volume on a medium: lists every file, says what cannot be, and finds clusters that no file claims."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain as one_after_another

from agent import exfat, fat
from agent.clusters import CHECKED_CLUSTERS_MAX, Chain, Claims, Layout, Node, Table, lost_heads, unclaimed_in_table
from agent.extents import ZEROS, ExtentReader
from agent.freespace import Space, bitmap_space, fat_space
from agent.medium import Medium
from agent.source import Entry, Finding, FindingKind, TimeBasis
from agent.vault import display_path

DEPTH_MAX = 1000
ORPHANS = b"$ORPHANS"
ORPHANS_MAX = 10_000
_BLOCK = tuple[int, bytes | None, int]


@dataclass(frozen=True, slots=True)
class _Folder:
    path: tuple[bytes, ...]
    first_cluster: int  # 0: the fixed root of FAT12 and FAT16
    size_bytes: int
    contiguous: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a listed file lies, as its handle says."""

    first_cluster: int
    size_bytes: int
    valid_bytes: int
    contiguous: bool
    record_offset: int
    record_digest: str


class FatVolume:
    """One file system. `walk` may run again, as in the second look before a release."""

    def __init__(self, medium: Medium, layout: Layout) -> None:
        """Raises SourceGone."""
        self.medium = medium
        self.layout = layout
        self.is_exfat = layout.file_system == "exFAT"
        self.table = Table(medium, layout)
        self._root = _Folder((), layout.root_cluster, layout.root_bytes, contiguous=False)
        head = list(self.blocks(self.extents(self._root)[0][:1], (), []))
        self.special = exfat.parse_root(head) if self.is_exfat else exfat.Root(fat.parse_label(head), None, None, False)
        self.file_system = layout.file_system
        self.label = display_path((self.special.label if self.special.label is not None else layout.label,))
        self.volume_id = layout.volume_id
        self.time_basis = TimeBasis.UTC if self.special.has_offset else TimeBasis.CAMERA_LOCAL

    def walk(self) -> Iterator[Entry | Finding]:
        """Everything on the volume, in the order of its directories. Raises SourceGone."""
        self.table = Table(self.medium, self.layout)
        listing = _Listing(self, Claims(self.layout))
        yield from listing.tree(self._root)
        yield from listing.orphans()

    def open(self, handle: str) -> ExtentReader:
        """Open what `walk` gave this handle. Raises SourceGone; ValueError for another handle."""
        place = self.place(handle)
        runs = self.chain(place.first_cluster, place.size_bytes, place.contiguous).runs
        pieces = [(count * self.layout.cluster_bytes, self.layout.offset_of(start)) for start, count in runs]

        def changed() -> bool:
            record, _ = self.medium.read_metadata(place.record_offset, fat.RECORD_BYTES)
            return bool(place.record_digest) and not self.is_listed_record(record, place)

        written = _written(pieces, place.valid_bytes, place.size_bytes)
        return ExtentReader(self.medium, written, place.size_bytes, changed)

    def place(self, handle: str) -> Place:
        """What a handle of `walk` says. Raises ValueError for another handle."""
        fields = handle.split(":")
        first, size, valid, contiguous, record_offset = (int(field) for field in fields[:5])
        return Place(first, size, valid, bool(contiguous), record_offset, fields[5])

    def is_listed_record(self, record: bytes, place: Place) -> bool:
        """Whether a directory record is still the one that was listed there."""
        return _digest(record) == place.record_digest

    def folder_pieces(self, path: tuple[bytes, ...]) -> list[tuple[int, int]]:
        """Where the records of one folder lie, (offset, length) in their order. Raises LookupError, SourceGone."""
        folder = self._root
        for depth, name in enumerate(path, 1):
            nodes = [n for n in self.nodes(folder) if n.name == name and n.is_directory and not n.deleted]
            if len(nodes) != 1:
                raise LookupError(f"{len(nodes)} folders of one name")
            folder = _Folder(path[:depth], nodes[0].first_cluster, nodes[0].size_bytes, nodes[0].contiguous)
        return self.extents(folder)[0]

    def nodes(self, folder: _Folder) -> Iterator[Node]:
        """The records of one directory as far as they can be read. Raises SourceGone."""
        blocks = self.blocks(self.extents(folder)[0], folder.path, [])
        if self.is_exfat:
            return exfat.parse_directory(blocks, self.time_basis is TimeBasis.UTC)
        return fat.parse_directory(blocks, self.layout)

    def bitmap_pieces(self) -> list[tuple[int, int]]:
        """exFAT: where the allocation bitmap lies, (offset, length). Raises SourceGone."""
        first, size = self.special.bitmap or (0, 0)
        return self.extents(_Folder((), first, size, contiguous=False))[0]

    def space(self) -> Space:
        """Total and free bytes of the data area. Raises SourceGone."""
        if not self.is_exfat:
            return fat_space(Table(self.medium, self.layout), self.layout)
        bits = ((data, length) for _, data, length in self.medium.blocks(self.bitmap_pieces()))
        return bitmap_space(bits, self.layout.clusters, self.layout.cluster_bytes)

    def chain(self, first: int, size_bytes: int, contiguous: bool) -> Chain:
        """The clusters of a file: all of its chain, even beyond its size. Raises SourceGone."""
        if not contiguous:
            return self.table.chain(first, self.layout.clusters)
        wanted = -(-size_bytes // self.layout.cluster_bytes)
        if not self.layout.holds(first):
            return Chain([], "its first cluster lies outside the volume" if wanted else None)
        count = min(wanted, self.layout.clusters + 2 - first)
        return Chain([(first, count)], None if count == wanted else "it reaches beyond the volume")

    def extents(self, folder: _Folder) -> tuple[list[tuple[int, int]], list[tuple[int, int]], str | None]:
        """Where a directory lies: (offset, length) pieces, its cluster runs, what is wrong with it."""
        if not folder.first_cluster and not self.is_exfat:
            if folder.path:
                return [], [], "it has no first cluster"
            return [(self.layout.root_offset, folder.size_bytes)], [], None
        most = exfat.DIRECTORY_BYTES_MAX if self.is_exfat else fat.DIRECTORY_BYTES_MAX
        chain = self.chain(folder.first_cluster, min(folder.size_bytes, most), folder.contiguous)
        problem, left, pieces = chain.problem, most, []
        for start, count in chain.runs:
            size = min(left, count * self.layout.cluster_bytes)
            if size:
                pieces.append((self.layout.offset_of(start), size))
            left -= size
        if chain.clusters * self.layout.cluster_bytes > max(most, self.layout.cluster_bytes):
            problem = "it is longer than the file system allows"
        return pieces, chain.runs, problem

    def blocks(self, pieces: list[tuple[int, int]], path: tuple[bytes, ...], met: list[Finding]) -> Iterator[_BLOCK]:
        """The records of a directory; what is unreadable of it goes to `met`."""
        for offset, data, length in self.medium.blocks(pieces):
            if data is None:
                detail = "part of this directory cannot be read: files listed there are missing from this list"
                met.append(Finding(FindingKind.UNREADABLE_DIRECTORY, path, detail, offset, length))
            yield offset, data, length


class _Listing:
    """One walk over a volume: what it has claimed and seen so far."""

    def __init__(self, volume: FatVolume, claims: Claims) -> None:
        self._volume = volume
        self._layout = volume.layout
        self._claims = claims
        self._folders_seen: set[int] = set()
        self._listed_bytes = 0
        self._bitmap_bad: dict[tuple[int, int], None] = {}
        self._has_holes = False  # some structure was unreadable: unclaimed clusters may be its files

    def tree(self, root: _Folder) -> Iterator[Entry | Finding]:
        """A directory and all below it."""
        for special in (self._volume.special.bitmap, self._volume.special.upcase):
            if special and not root.path:
                self._claims.add(self._volume.chain(special[0], special[1], contiguous=False).runs)
        pending = [root]
        while pending:
            folder = pending.pop()
            if folder.first_cluster in self._folders_seen or len(folder.path) > DEPTH_MAX:
                yield Finding(FindingKind.DIRECTORY_LOOP, folder.path, "this folder contains itself or is listed twice")
                continue
            if folder.first_cluster:  # an empty exFAT folder may have none
                self._folders_seen.add(folder.first_cluster)
            below: list[_Folder] = []
            yield from self._directory(folder, below)
            pending += reversed(below)

    def _directory(self, folder: _Folder, below: list[_Folder]) -> Iterator[Entry | Finding]:
        pieces, runs, problem = self._volume.extents(folder)
        met: list[Finding] = []
        if problem:
            met.append(Finding(FindingKind.UNREADABLE_DIRECTORY, folder.path, f"this directory is damaged: {problem}"))
        if self._claims.add(runs):
            met.append(Finding(FindingKind.UNREADABLE_DIRECTORY, folder.path, "this directory shares its place"))
        blocks = self._volume.blocks(pieces, folder.path, met)
        utc = self._volume.time_basis is TimeBasis.UTC
        nodes = (
            exfat.parse_directory(blocks, utc) if self._volume.is_exfat else fat.parse_directory(blocks, self._layout)
        )
        for node in nodes:
            yield from self._drain(met)
            path = (*folder.path, node.name)
            if node.deleted:
                yield self._deleted(path, node)
            elif node.is_directory:
                below.append(_Folder(path, node.first_cluster, node.size_bytes, node.contiguous))
            else:
                yield from self._file(path, node)
        yield from self._drain(met)

    def _drain(self, met: list[Finding]) -> Iterator[Finding]:
        self._has_holes = self._has_holes or bool(met)
        yield from met
        met.clear()

    def _deleted(self, path: tuple[bytes, ...], node: Node) -> Finding:
        place = self._layout.offset_of(node.first_cluster) if self._layout.holds(node.first_cluster) else None
        detail = f"a deleted {'folder' if node.is_directory else 'file'}; its entry says {node.size_bytes} bytes"
        return Finding(FindingKind.DELETED_ENTRY, path, detail, place, node.size_bytes)

    def _file(self, path: tuple[bytes, ...], node: Node) -> Iterator[Entry | Finding]:
        """A file, and what contradicts the file system about it. An empty file claims nothing: see `orphans`."""
        chain = self._volume.chain(node.first_cluster, node.size_bytes, node.contiguous)
        covered = chain.clusters * self._layout.cluster_bytes
        size, problem = node.size_bytes, chain.problem if covered < node.size_bytes else None
        if size > self._layout.data_bytes:
            size, problem = covered, f"its entry says {size} bytes, more than the volume holds"
        elif covered < size:
            problem = f"{problem or 'its cluster chain is too short'}: {size - covered} of {size} bytes have no place"
        if size and self._claims.add(chain.runs) and not problem:
            problem = "it shares clusters with another file: one of the two is damaged"
        if self._listed_bytes + size > 2 * self._layout.data_bytes:
            problem = "the files listed so far already add up to twice the volume: this one is left out"
        if problem:
            yield Finding(FindingKind.UNREADABLE_ENTRY, path, problem, node.record_offset, len(node.record))
        if self._listed_bytes + size <= 2 * self._layout.data_bytes:
            self._listed_bytes += size
            yield _entry(path, replace(node, size_bytes=size, valid_bytes=min(node.valid_bytes, size)))

    def orphans(self) -> Iterator[Entry | Finding]:
        """Allocated clusters that no file claims: left by a power cut, or files of an unreadable directory.

        In the second case they are given as files, so that their content is saved, and lost folders are walked first.
        """
        yield from self._table_faults()
        if self._layout.clusters > CHECKED_CLUSTERS_MAX:
            detail = f"{self._layout.clusters} clusters are too many to look for lost ones"
            yield Finding(FindingKind.SKIPPED_SPECIAL, (ORPHANS,), detail)
        if self._has_holes:
            looks_like_directory = exfat.looks_like_directory if self._volume.is_exfat else fat.looks_like_directory
            for cluster in self._heads():
                head, _ = self._volume.medium.read_metadata(self._layout.offset_of(cluster), 64)
                if looks_like_directory(head):
                    path = (ORPHANS, b"FOLDER_%08d" % cluster)
                    size = self._layout.cluster_bytes  # exFAT: of a lost folder without chain only this much is sure
                    alone = self._volume.is_exfat and not self._volume.table.link(cluster)
                    yield from self.tree(_Folder(path, cluster, size, contiguous=alone))
        many = 0
        for chain in self._lost():
            many += 1
            self._claims.add(chain.runs)
            if many <= ORPHANS_MAX:
                yield from self._orphan(chain)
        if many > ORPHANS_MAX:
            yield Finding(FindingKind.ORPHAN, (ORPHANS,), f"{many - ORPHANS_MAX} more pieces belong to no listed file")
        yield from self._table_faults()

    def _unclaimed(self) -> Iterator[int]:
        """Allocated clusters that no file claims so far."""
        if not self._volume.is_exfat:
            yield from unclaimed_in_table(self._volume.table, self._layout, self._claims)
        elif self._volume.special.bitmap:
            base = 2
            for offset, bits, length in self._volume.medium.blocks(self._volume.bitmap_pieces()):
                if bits is None:
                    self._bitmap_bad[offset, length] = None
                elif bits.count(0) < length:
                    for cluster in self._claims.unclaimed(base, base + length * 8):
                        if bits[(cluster - base) >> 3] >> ((cluster - base) & 7) & 1:
                            yield cluster
                base += length * 8

    def _heads(self) -> Iterator[int]:
        """Unclaimed clusters at which something may begin."""
        if self._volume.is_exfat:
            return self._unclaimed()
        return lost_heads(self._volume.table, self._layout, self._claims)

    def _lost(self) -> Iterator[Chain]:
        """What is unclaimed, in chains (FAT) or runs (exFAT: most files have no chain there)."""
        if not self._volume.is_exfat:  # after the heads, what is left lies on loops without a beginning
            for cluster in one_after_another(self._heads(), self._unclaimed()):
                yield self._volume.table.chain(cluster, self._layout.clusters)
            return
        first, count = 0, 0
        for cluster in self._unclaimed():
            if cluster != first + count:
                if count:
                    yield Chain([(first, count)], None)
                first, count = cluster, 0
            count += 1
        if count:
            yield Chain([(first, count)], None)

    def _table_faults(self) -> Iterator[Finding]:
        """Bad sectors of the allocation table and bitmap met since the last call."""
        for offset, length in self._bitmap_bad:
            detail = "part of the allocation bitmap cannot be read: lost clusters were not looked for there"
            yield Finding(FindingKind.SKIPPED_SPECIAL, (ORPHANS,), detail, offset, length)
        self._bitmap_bad.clear()
        faults, self._volume.table.bad = self._volume.table.bad, []
        for offset, length, has_copy in faults:
            if has_copy:
                detail = "part of the allocation table cannot be read; its second copy was used and nothing is missing"
                yield Finding(FindingKind.SKIPPED_SPECIAL, (), detail, offset, length)
            else:
                self._has_holes = True
                detail = "part of the allocation table cannot be read: where some files lie is unknown"
                yield Finding(FindingKind.UNREADABLE_DIRECTORY, (), detail, offset, length)

    def _orphan(self, chain: Chain) -> Iterator[Entry | Finding]:
        first, size = chain.runs[0][0], chain.clusters * self._layout.cluster_bytes
        path = (ORPHANS, b"CLUSTER_%08d.BIN" % first)
        detail = f"{size} bytes belong to no listed file" + (": saved under this name" if self._has_holes else "")
        yield Finding(FindingKind.ORPHAN, path, detail, self._layout.offset_of(first), size)
        if self._has_holes:
            alone = self._volume.is_exfat
            yield _entry(path, Node(path[1], False, False, first, size, size, alone, None, b"", 0))


def _entry(path: tuple[bytes, ...], node: Node) -> Entry:
    numbers = (node.first_cluster, node.size_bytes, node.valid_bytes, int(node.contiguous), node.record_offset)
    digest = _digest(node.record) if node.record else ""
    return Entry(path, node.size_bytes, node.modified_ns, ":".join([*map(str, numbers), digest]))


def _digest(record: bytes) -> str:
    """Enough of a directory entry's own bytes to see later that it was changed."""
    return hashlib.sha256(record).hexdigest()[:16]


def _written(pieces: list[tuple[int, int]], valid: int, size: int) -> Iterator[tuple[int, int]]:
    """Pieces up to what was written; the rest reads as zeros where clusters are reserved for it."""
    end = 0
    for length, place in pieces:
        used = min(length, max(0, valid - end))
        if used:
            yield used, place
        if used < length and end + used < size:
            yield length - used, ZEROS
        end += length
