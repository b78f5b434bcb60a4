"""What to copy, pure: a listing and what is already saved in, rows of the plan out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.copies import CopyItem
from agent.seen import Seen
from agent.source import Entry, Finding, FindingKind
from agent.store import EntryRow, Saved
from agent.vault import leaves_path, segment_path
from agent.wire import path_from_text, path_to_text
from custody.digest import CHUNK_BYTES

PATH_BYTES_MAX = 4096  # of raw components: path, gaps and all of a seal fit an envelope; no camera comes near it
DETAIL_MAX = 1000
NUMBER_MAX = 2**53 - 1  # the greatest that an event may state
TIME_MAX = 2**63 - 1
SPACE_MARGIN_BYTES = 256 << 20  # manifest, database and a working margin that an offload never eats


@dataclass(frozen=True, slots=True)
class DockingPlan:
    """What all entries of one docking share."""

    camera: str
    folder: bytes  # relative to the vault
    trust_times: bool = False  # a folder of ours: equal size and time (in nanoseconds) mean "already saved"


def path_key(path_text: str) -> bytes:
    """16 bytes that stand for a path of a camera in the store's index."""
    return hashlib.sha256(path_text.encode()).digest()[:16]


def statable(met: Entry | Finding) -> Entry | Finding:
    """What was listed, as seal and manifest can state it: a card may claim any path, size and time.

    A file that no seal can name becomes a finding that keeps the docking from being complete.
    """
    path = _cut(met.path)
    if isinstance(met, Finding):
        return replace(
            met, path=path, detail=met.detail[:DETAIL_MAX],
            offset_bytes=_number(met.offset_bytes), length_bytes=_number(met.length_bytes),
        )  # fmt: skip
    if path != met.path:
        detail = f"its path has {len(met.path)} components, too long for a seal: it was not copied"
        return Finding(FindingKind.UNREADABLE_ENTRY, path, detail)
    if not 0 <= met.size_bytes <= NUMBER_MAX:
        detail = f"its entry says {met.size_bytes:.6g} bytes: it was not copied"
        return Finding(FindingKind.UNREADABLE_ENTRY, path, detail)
    if met.modified_ns is not None and abs(met.modified_ns) > TIME_MAX:
        return replace(met, modified_ns=None)
    return met


def _cut(path: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """As many leading components as are statable."""
    room = PATH_BYTES_MAX
    for kept, component in enumerate(path):
        room -= len(component) + 1
        if room < 0:
            return path[:kept]
    return path


def _number(value: int | None) -> int | None:
    return value if value is not None and 0 <= value <= NUMBER_MAX else None


class Names:
    """Keeps the files of one docking apart where a damaged card lists a path twice, or as a file and as a folder."""

    def __init__(self) -> None:
        """No file was listed yet."""
        self._files = self._round = Seen()
        self._folders = Seen()
        self._twins: dict[int, int] = {}  # of paths that were listed twice or more in this round
        self._parent: tuple[bytes, ...] = ()
        self._apart = False  # whether `_parent` or a folder above it has the name of a file

    def begin_round(self) -> None:
        """The source is listed anew: equal paths of two rounds are no twins."""
        self._round = Seen()
        self._twins.clear()

    def place(self, path: tuple[bytes, ...], key: bytes) -> tuple[int, bool]:
        """How many files took this name before, and whether the file needs a folder of its own (`vault`, %p)."""
        if path[:-1] != self._parent:
            self._enter(path[:-1])
        short, twins = _short(key), 0
        if not self._round.add(short):
            self._twins[short] = twins = self._twins.get(short, 0) + 1
        self._files.add(short)
        return twins + (short in self._folders), self._apart

    def _enter(self, parent: tuple[bytes, ...]) -> None:
        above = [_short(path_key(path_to_text(parent[:depth]))) for depth in range(1, len(parent) + 1)]
        self._parent, self._apart = parent, any(folder in self._files for folder in above)
        if not self._apart:
            for folder in above:
                self._folders.add(folder)


def _short(key: bytes) -> int:
    """A 64-bit part: where two ever meet, a version number is skipped."""
    return int.from_bytes(key[:8], "big")


def plan_entry(
    plan: DockingPlan, n: int, entry: Entry, saved: Sequence[Saved], twins: int = 0, apart: bool = False
) -> EntryRow:
    """Decide on one listed file.

    Saved earlier with equal size and time: a candidate for "already saved", which the worker confirms by comparing
    the first chunk's leaf: a camera whose clock was lost writes equal times on other footage. Anything else is copied;
    a path seen before gets the next version. `twins` and `apart`: see `Names.place`.
    """
    text = path_to_text(entry.path)
    same = [
        s for s in saved if (s.size_bytes, s.modified_ns, s.state) == (entry.size_bytes, entry.modified_ns, "sealed")
    ]
    earlier = same[-1] if same else None
    version = len(saved) + twins + 1
    long_file = entry.size_bytes > CHUNK_BYTES
    known = earlier is not None and (plan.trust_times or entry.size_bytes == 0)  # an empty file has nothing to compare
    return EntryRow(
        n=n,
        path=text,
        path_key=path_key(text),
        size_bytes=entry.size_bytes,
        modified_ns=entry.modified_ns,
        handle=entry.handle,
        version=version,
        part_key=part_key(plan.camera, text, entry, version),
        target=segment_path(plan.folder, entry.path, version, apart),
        leaves_target=leaves_path(plan.folder, entry.path, version, apart) if long_file else None,
        known_leaf=earlier.first_leaf if earlier and entry.size_bytes else None,
        known_in=earlier.docking if earlier else None,
        state="known" if known else "planned",
        sha256=earlier.sha256 if earlier else None,
    )


def part_key(camera: str, path_text: str, entry: Entry, version: int) -> str:
    """Name of the unfinished copy: the same file gives the same key in the next docking, so that copying resumes."""
    facts = f"{camera}\0{path_text}\0{entry.size_bytes}\0{entry.modified_ns}\0{version}"
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def copy_item(row: EntryRow) -> CopyItem:
    """The order to the worker for one planned row."""
    entry = Entry(path_from_text(row.path), row.size_bytes, row.modified_ns, row.handle)
    return CopyItem(row.n, entry, row.part_key, row.target, row.leaves_target, row.known_leaf)


def space_needed(new_bytes: int, new_files: int) -> int:
    """Bytes to keep free for an offload: footage, leaves (32 bytes a MiB), and blocks, seals and rows of each file."""
    return new_bytes + new_bytes // CHUNK_BYTES * 32 + new_files * 12_288 + SPACE_MARGIN_BYTES
