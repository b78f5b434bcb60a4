"""What to copy, pure: a listing and what is already saved in, rows of the plan out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agent.copies import CopyItem
from agent.source import Entry
from agent.store import EntryRow, Saved
from agent.vault import leaves_path, segment_path
from agent.wire import path_from_text, path_to_text
from custody.digest import CHUNK_BYTES

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


def plan_entry(plan: DockingPlan, n: int, entry: Entry, saved: Sequence[Saved], twins: int) -> EntryRow:
    """Decide on one listed file.

    Saved earlier with equal size and time: a candidate for "already saved", which the worker confirms by comparing
    the first chunk's leaf: a camera whose clock was lost writes equal times on other footage. Anything else is copied;
    a path seen before gets the next version. `twins` counts entries
    of this same listing that carry the same raw path (a damaged directory can).
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
        target=segment_path(plan.folder, entry.path, version),
        leaves_target=leaves_path(plan.folder, entry.path, version) if long_file else None,
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
