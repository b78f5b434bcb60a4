"""Seal what the worker copied: one signed event a file, with its row and its place in the outbox in ONE commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agent.copies import Copied, Failed, Known
from agent.source import TimeBasis
from agent.station import EventMaker, Station, sign_events
from agent.store import DockingRow, EntryRow, FinishedRow, Store
from agent.vault import display_path
from agent.wire import path_from_text
from custody.digest import CHUNK_BYTES
from custody.event import Event, Sha256Hex
from custody.manifest import raw_path
from custody.stationevents import MAX_SEALED_GAPS, Gap, Media, SegmentSealed

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a camera's wall clock has no zone


@dataclass(frozen=True, slots=True)
class Outcome:
    """One planned entry, its result, and the media facts of its copy."""

    row: EntryRow
    result: Copied | Known | Failed
    media: Media | None = None


def save_outcomes(
    store: Store, station: Station, docking: DockingRow, basis: TimeBasis, outcomes: Sequence[Outcome]
) -> None:
    """Commit a batch: seals into chain and outbox, rows into the store. What this returned from is saved.

    Crash window before the commit: the files stand under their final names without a seal; `closing.recover` takes
    them back to staging.
    """
    with store.begin():
        copies = [(o.row, o.result, o.media) for o in outcomes if isinstance(o.result, Copied)]
        seqs = iter(sign_events(store, station, [_seal_maker(docking, basis, *copy) for copy in copies]))
        finished: list[FinishedRow] = []
        for outcome in outcomes:
            row = outcome.row
            match outcome.result:
                case Known():
                    finished.append(FinishedRow(row.n, "known", row.known_in, row.sha256))
                case Failed(code=code, detail=detail):
                    finished.append(FinishedRow(row.n, "failed", detail=f"{code}: {detail}"))
                case Copied() as copied:
                    if copied.gaps:
                        store.add_gaps(docking.id, row.n, [(g.offset_bytes, g.length_bytes) for g in copied.gaps])
                    finished.append(_finished(row.n, copied, next(seqs)))
        store.finish_entries(docking.id, finished)


def _finished(n: int, copied: Copied, seal_seq: int) -> FinishedRow:
    return FinishedRow(
        n,
        "changed" if copied.changed else "sealed",
        sha256=copied.sha256,
        first_leaf=copied.first_leaf,
        saved_bytes=copied.size_bytes,
        gap_count=len(copied.gaps),
        seal_seq=seal_seq,
    )


def _seal_maker(
    docking: DockingRow, basis: TimeBasis, row: EntryRow, copied: Copied, media: Media | None
) -> EventMaker:
    path = path_from_text(row.path)

    def make(common: dict[str, Any]) -> Event:
        return SegmentSealed(
            **common,
            docking_id=docking.id,
            camera_id=docking.camera,
            bay=docking.bay,
            entry=row.n,
            path=display_path(path),
            path_raw=raw_path(path),
            version=row.version,
            vault_path=row.target.decode(),
            size_bytes=copied.size_bytes,
            sha256=Sha256Hex(copied.sha256.hex()),
            tree_root=Sha256Hex(copied.tree_root.hex()),
            chunk_bytes=CHUNK_BYTES,
            chunk_count=copied.chunk_count,
            modified_at=time_text(row.modified_ns, basis),
            time_basis=basis.value,
            gaps=tuple(
                Gap(offset_bytes=g.offset_bytes, length_bytes=g.length_bytes) for g in copied.gaps[:MAX_SEALED_GAPS]
            ),
            gap_count=len(copied.gaps),
            gap_bytes=sum(g.length_bytes for g in copied.gaps),
            changed_while_copied=copied.changed,
            media=media,
        )

    return make


def time_text(modified_ns: int | None, basis: TimeBasis) -> str | None:
    """ISO 8601 of a source's time: with Z for UTC, without zone for a camera's wall clock; None when it has none."""
    if modified_ns is None:
        return None
    try:
        text = (EPOCH + timedelta(microseconds=modified_ns // 1000)).isoformat()
    except OverflowError:  # a hostile card may claim any 64-bit time
        return None
    return text if basis is TimeBasis.CAMERA_LOCAL else f"{text}Z"
