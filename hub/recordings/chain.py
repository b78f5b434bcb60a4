"""Everything about one segment: the facts its station signed, and the chain of custody from camera to log."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from sqlalchemy import select

from custody.envelope import parse_envelope
from custody.events import SegmentSealed, decode_event
from custody.sums import checksum_line
from hub.audit.queries import EntryProof, prove_entry
from hub.db import Database
from hub.overview.queries import DockingRow, read_docking
from hub.problems import NotFound
from hub.recordings.queries import RecordingRow, load_row
from hub.tables import docking


@dataclass(frozen=True, slots=True)
class DockingLinks:
    """The docking a segment came with, and where its two events stand in the log."""

    row: DockingRow
    started_index: int | None
    closed_index: int | None


@dataclass(frozen=True, slots=True)
class Recording:
    """One segment. `sealed` is read from the signed envelope, `row` is the index's copy for lists."""

    row: RecordingRow
    sealed: SegmentSealed
    proof: EntryProof
    docking: DockingLinks | None
    raw_path: tuple[str, ...]  # each component of the original path, as printable_bytes writes it

    @property
    def printable_bytes(raw: bytes) -> str:
    """Bytes as a person can read and retype them: UTF-8 where it is printable, every other byte as ``\\xNN``."""
    text = raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(ch if ch.isprintable() else "".join(f"\\x{b:02x}" for b in ch.encode()) for ch in text)
