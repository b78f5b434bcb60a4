"""Everything about one segment: the facts its station signed, and the chain of custody from camera to log."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from sqlalchemy import select

from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.events import decode_event
from custody.stationevents import SegmentSealed
from custody.sums import checksum_line
from hub.access import Actor
from hub.audit.queries import EntryProof, prove_entry
from hub.db import Database
from hub.overview.queries import DockingRow, read_docking
from hub.problems import EntryDamaged, NotFound
from hub.recordings.queries import RecordingRow, load_row
from hub.sections import seen_recordings
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
    def sums_line(self) -> str:
        """What ``sha256sum -c`` checks, for a person standing in the vault's folder."""
        return checksum_line(self.sealed.sha256, self.sealed.vault_path.encode()).decode()

    @property
    def gaps_not_listed(self) -> int:
        """Gaps that only the manifest lists: an envelope holds the first hundred."""
        return self.sealed.gap_count - len(self.sealed.gaps)


def load_recording(db: Database, actor: Actor, log_index: int, hub_key_line: str) -> Recording:
    """Everything about the segment at this log index. Raises NotFound (also: not for `actor`), EntryDamaged."""
    with db.read() as connection:
        row = load_row(connection, log_index)
        if row is None or log_index not in seen_recordings(connection, actor, [log_index]):
            raise NotFound
        proof = prove_entry(connection, log_index, hub_key_line)
        found = connection.execute(
            select(docking).where(docking.c.station == row.station, docking.c.id == row.docking)
        ).mappings()
        links = [DockingLinks(read_docking(d), d["started_index"], d["closed_index"]) for d in found]
    try:
        envelope = parse_envelope(proof.envelope)
        sealed = decode_event(envelope.payload_type, envelope.payload)
    except CustodyError:
        raise EntryDamaged from None
    if not isinstance(sealed, SegmentSealed):  # the index points at an entry of another type: it is to be rebuilt
        raise NotFound
    raw_path = tuple(_component(part) for part in sealed.path_raw)
    return Recording(row, sealed, proof, links[0] if links else None, raw_path)


def _component(encoded: str) -> str:
    try:
        return printable_bytes(base64.b64decode(encoded, validate=True))
    except binascii.Error:  # signed by a station whose program is wrong: show what it signed
        return f"base64? {encoded}"


def printable_bytes(raw: bytes) -> str:
    """Bytes as a person can read and retype them: UTF-8 where it is printable, every other byte as ``\\xNN``."""
    text = raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    return "".join(ch if ch.isprintable() else "".join(f"\\x{b:02x}" for b in ch.encode()) for ch in text)
