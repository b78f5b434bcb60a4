"""Clusters of FAT and exFAT: the allocation table, chains of any shape, and clusters no file claims.

Every walk is bounded by the size of the volume, whatever the table says.
"""

from __future__ import annotations  # array[int] is for the type checker; Python 3.11 cannot subscript it

import bisect
import sys
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from agent.medium import Medium

PAGE_BYTES = 64 * 1024
PAGES_KEPT = 64
CHECKED_CLUSTERS_MAX = 1 << 25  # above it (no camera comes near) lost clusters are not looked for: 32 MiB of memory
_LOOP = "its cluster chain is a loop"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of one FAT or exFAT volume lie; all offsets are bytes of the medium."""

    file_system: str
    table_offsets: tuple[int, ...]  # copies of the allocation table
    table_bytes: int
    entry_bits: int  # 12, 16 or 32
    entry_mask: int
    data_offset: int  # of cluster 2
    cluster_bytes: int
    clusters: int
    root_cluster: int  # 0: the root is not in clusters (FAT12, FAT16)
    root_offset: int
    root_bytes: int
    label: bytes
    volume_id: str
    start: int  # of the volume: its boot sector

    @property
    def data_bytes(self) -> int:
        return self.clusters * self.cluster_bytes

    def holds(self, cluster: int) -> bool:
        return 2 <= cluster < self.clusters + 2

    def offset_of(self, cluster: int) -> int:
        return self.data_offset + (cluster - 2) * self.cluster_bytes


@dataclass(frozen=True, slots=True)
class Node:
    """One directory entry of FAT or exFAT."""

    name: bytes
    is_directory: bool
    deleted: bool
    first_cluster: int
    size_bytes: int
    valid_bytes: int  # exFAT: written so far, the rest reads as zeros; FAT: the size
    contiguous: bool  # exFAT: no chain in the table
    modified_ns: int | None
    record: bytes  # what the entry's own bytes are, to see later whether it changed
    record_offset: int  # on the medium


@dataclass(frozen=True, slots=True)
class Chain:
    """The clusters of one file: runs of (first cluster, count), and what is wrong with it, if anything."""

    runs: list[tuple[int, int]]
    problem: str | None

    @property
    def clusters(self) -> int:
        return sum(count for _, count in self.runs)


class Table:
    """The allocation table, read a page at a time; where it is bad in all copies, its entries read as free."""

    def __init__(self, medium: Medium, layout: Layout) -> None:
        self._medium = medium
        self._layout = layout
        self._pages: OrderedDict[int, array[int]] = OrderedDict()
        self.per_page = layout.clusters + 2 if layout.entry_bits == 12 else PAGE_BYTES * 8 // layout.entry_bits
        self.bad: list[tuple[int, int, bool]] = []  # (offset, length, whether another copy gave the bytes)

    def page(self, number: int) -> array[int]:
        """Entries `number * per_page` and up. Raises SourceGone."""
        page = self._pages.get(number)
        if page is None:
            page = _decode(self._read(number * PAGE_BYTES), self._layout)
            self._pages[number] = page
            if len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        return page

    def link(self, cluster: int) -> int:
        """What the table says of one cluster: the next one, 0 for free, or an end or bad mark. Raises SourceGone."""
        return self.page(cluster // self.per_page)[cluster % self.per_page]

    def chain(self, first: int, clusters_max: int) -> Chain:
        """Follow a chain for at most `clusters_max` clusters; `problem` names a loop, a broken or a foreign link.

        Raises SourceGone.
        """
        runs: list[tuple[int, int]] = []
        cluster, left = first, clusters_max
        saved, steps, power = -1, 0, 1  # Brent's cycle search over the jumps: every loop holds one
        while left > 0:
            if not self._layout.holds(cluster):
                return _checked(runs, self._problem(cluster, bool(runs)))
            count, following = self._run(cluster, left)
            if runs and sum(runs[-1]) == cluster:
                runs[-1] = (runs[-1][0], runs[-1][1] + count)
            else:
                runs.append((cluster, count))
            left -= count
            cluster, steps = following, steps + 1
            if cluster == saved and left > 0:
                return _checked(runs, _LOOP)
            if steps == power:
                saved, steps, power = cluster, 0, power * 2
        return _checked(runs, None)

    def _run(self, cluster: int, left: int) -> tuple[int, int]:
        """How many clusters follow each other from `cluster` inside one page, and where the last of them points."""
        base = cluster - cluster % self.per_page
        page = self.page(cluster // self.per_page)
        index = at = cluster - base
        last = min(len(page), self._layout.clusters + 2 - base, index + left) - 1
        while at < last and page[at] == base + at + 1:
            at += 1
        return at - index + 1, page[at]

    def _problem(self, link: int, has_runs: bool) -> str | None:
        if not has_runs:
            return None if link == 0 else "its first cluster lies outside the volume"
        if link > self._layout.entry_mask - 8:
            return None
        if link == self._layout.entry_mask - 8:
            return "its cluster chain runs into a cluster marked bad"
        return "its cluster chain ends in a free cluster" if link == 0 else "its cluster chain leaves the volume"

    def _read(self, at: int) -> bytes:
        first, *copies = self._layout.table_offsets
        data, bad = self._medium.read_metadata(first + at, min(PAGE_BYTES, self._layout.table_bytes - at))
        merged = bytearray(data)
        for start, length in bad:
            inside = start - first
            patches = (self._medium.read_metadata(copy + inside, length) for copy in copies)
            good = next((patch for patch, still_bad in patches if not still_bad), None)
            if good is not None:
                merged[inside - at : inside - at + length] = good
            self.bad.append((start, length, good is not None))
        return bytes(merged)


class Claims:
    """Which clusters belong to a listed file; what is allocated and not claimed has lost its directory entry."""

    def __init__(self, layout: Layout) -> None:
        self._taken = bytearray(layout.clusters + 2 if layout.clusters <= CHECKED_CLUSTERS_MAX else 0)

    def add(self, runs: list[tuple[int, int]]) -> int:
        """Claim runs of clusters; returns how many of them another file had claimed before."""
        if not self._taken:
            return 0
        shared = 0
        for first, count in runs:
            shared += self._taken.count(1, first, first + count)
            self._taken[first : first + count] = b"\x01" * count
        return shared

    def unclaimed(self, start: int, end: int) -> Iterator[int]:
        """The clusters of [start, end) that nobody has claimed so far."""
        cluster = self._taken.find(0, max(start, 2), end)
        while cluster >= 0:
            yield cluster
            cluster = self._taken.find(0, cluster + 1, end)


def unclaimed_in_table(table: Table, layout: Layout, claims: Claims) -> Iterator[int]:
    """Allocated clusters that no listed file claims, by the allocation table. Raises SourceGone."""
    bad = layout.entry_mask - 8
    for number in range(-(-(layout.clusters + 2) // table.per_page)):
        base, page = number * table.per_page, table.page(number)
        if page.count(0) < len(page):
            for cluster in claims.unclaimed(base, base + len(page)):
                if page[cluster - base] not in (0, bad):
                    yield cluster


def lost_heads(table: Table, layout: Layout, claims: Claims) -> Iterator[int]:
    """Unclaimed clusters that no unclaimed cluster points at: where lost chains begin. Raises SourceGone."""
    pointed_at: bytearray | None = None
    for cluster in unclaimed_in_table(table, layout, claims):
        pointed_at = pointed_at or bytearray(layout.clusters + 2)
        link = table.link(cluster)
        if layout.holds(link):
            pointed_at[link] = 1
    for cluster in unclaimed_in_table(table, layout, claims) if pointed_at else ():
        if pointed_at and not pointed_at[cluster]:
            yield cluster


def _decode(data: bytes, layout: Layout) -> array[int]:
    if layout.entry_bits == 12:
        entries = array("H")
        for index in range(min(layout.clusters + 2, len(data) * 2 // 3)):
            pair = int.from_bytes(data[index * 3 // 2 : index * 3 // 2 + 2], "little")
            entries.append(pair >> 4 if index % 2 else pair & 0xFFF)
        return entries
    entries = array("I" if layout.entry_bits == 32 else "H")
    entries.frombytes(data[: len(data) // entries.itemsize * entries.itemsize])
    if sys.byteorder == "big":
        entries.byteswap()
    if layout.entry_mask == 0x0FFFFFFF:  # FAT32 leaves the upper four bits to others
        return array("I", (entry & 0x0FFFFFFF for entry in entries))
    return entries


def _checked(runs: list[tuple[int, int]], problem: str | None) -> Chain:
    """The chain up to the first cluster that it visits twice."""
    ordered = sorted(runs)
    if all(sum(one) <= following[0] for one, following in pairwise(ordered)):
        return Chain(runs, problem)
    seen: list[tuple[int, int]] = []
    kept: list[tuple[int, int]] = []
    for first, count in runs:
        place = bisect.bisect_right(seen, (first, 1 << 32))
        if place and sum(seen[place - 1]) > first:
            break
        fresh = min(count, seen[place][0] - first) if place < len(seen) else count
        kept.append((first, fresh))
        bisect.insort(seen, (first, fresh))
        if fresh < count:
            break
    return Chain(kept, _LOOP)
