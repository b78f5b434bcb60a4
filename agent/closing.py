"""Close a docking: reclaim, write manifest and SHA256SUMS, state docking.closed. Normal end and recovery alike.

Runs in the store's thread. Steps and crash windows are those of `close_docking`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from agent.disk import vault_error
from agent.station import Station, sign_events, sync_directory
from agent.store import DockingRow, EntryRow, FindingRow, Store
from agent.vault import display_path
from agent.wire import path_from_text
from custody import manifest
from custody.envelope import parse_envelope
from custody.event import Event, Sha256Hex
from custody.stationevents import MAX_SEALED_GAPS, Counts, DockingClosed, Gap
from custody.sums import checksum_line

STAGING = ".staging"
NOT_COPIED = "not_copied"
_IMPERFECT_FINDINGS = {"unreadable_directory", "unreadable_entry", "directory_loop"}


@dataclass(frozen=True, slots=True)
class Closed:
    """How a docking ended."""

    docking_id: str
    complete: bool
    reason: str
    counts: Counts
    gap_files: int


def recover(store: Store, vault: Path, station: Station, active: frozenset[str] = frozenset()) -> list[Closed]:
    """Close what a stop of the agent or a full disk left open, except dockings in `active`; call it before docking.

    A docking that was closed in the store but whose envelope file did not reach the vault gets it written again.
    """
    closed = []
    for docking in store.open_dockings():
        if docking.id in active:
            continue
        if docking.announced:
            closed.append(close_docking(store, vault, station, docking.id, "agent_stopped"))
        else:
            with store.begin():
                store.forget_docking(docking.id)
    for docking in store.recent_dockings(50):
        # Crash window: after the commit of docking.closed, before its envelope file.
        # Without .custody the docking lies elsewhere now, on another disk or in an archive.
        custody = vault / os.fsdecode(docking.folder) / ".custody"
        if docking.closed_seq and custody.is_dir() and not (custody / "completed.dsse.json").exists():
            _write_closing_envelope(store, vault, docking.folder, docking.closed_seq)
    return closed


def close_docking(store: Store, vault: Path, station: Station, docking_id: str, reason: str) -> Closed:
    """End a docking and state it. Raises VaultError when the vault cannot take the manifest: the docking stays open.

    1. Files under a final name without a seal go back to staging (crash between rename and the commit of the seal):
       the next docking proves them chunk by chunk and names them again, so nothing stands in the vault unsealed.
    2. What was planned and not copied is marked so.
    3. Manifest, SHA256SUMS and key line are written and fsynced.
    4. docking.closed, with the manifest's digest, is committed to chain and outbox.
    5. Its envelope is written beside the manifest; a crash before that is mended by `recover`.
    """
    docking = store.docking(docking_id)
    try:
        _reclaim_unsealed(store, vault, docking_id)  # 1
        with store.begin():
            store.fail_planned(docking_id, NOT_COPIED)  # 2
        counts, gap_files, imperfect = _count(store, docking_id)
        folder = vault / os.fsdecode(docking.folder)
        digest, size = _write_lists(store, folder, docking, station, counts)  # 3
    except OSError as error:
        raise vault_error(error) from error
    if reason == "complete" and imperfect:
        reason = imperfect
    complete = reason == "complete"

    def closed_event(common: dict[str, Any]) -> Event:
        return DockingClosed(
            **common, docking_id=docking_id, camera_id=docking.camera, bay=docking.bay, complete=complete,
            reason=reason, counts=counts, manifest_sha256=Sha256Hex(digest), manifest_bytes=size,
        )  # fmt: skip

    with store.begin():  # 4
        (seq,) = sign_events(store, station, [closed_event])
        store.mark_closed(docking_id, seq, reason)
    _write_closing_envelope(store, vault, docking.folder, seq)  # 5
    for part_key in store.keys_with_gaps(docking_id):  # kept until here so that no recovery forgets a gap
        (vault / STAGING / f"{part_key}.gaps").unlink(missing_ok=True)
    return Closed(docking_id, complete, reason, counts, gap_files)


def _reclaim_unsealed(store: Store, vault: Path, docking_id: str) -> None:
    staging = vault / STAGING
    touched: set[bytes] = set()
    for row in store.all_entries(docking_id, "planned"):
        for target, suffix in ((row.target, ".part"), (row.leaves_target, ".leaves")):
            if target is None or not os.path.isfile(path := os.path.join(os.fsencode(vault), target)):
                continue
            os.replace(path, os.fsencode(staging / f"{row.part_key}{suffix}"))
            if os.path.lexists(path):  # crash window of `rename_new`: two names of one file, which replacing leaves be
                os.unlink(path)
            touched.add(os.path.dirname(path))
    for directory in touched:
        sync_directory(directory)
    if touched:
        sync_directory(staging)
    # A folder that is empty now was made for a file that never came: the verifier takes nothing for evidence unsealed.
    folder = os.path.join(os.fsencode(vault), store.docking(docking_id).folder)
    folders = [folder] if os.path.isdir(folder) else []
    for directory in folders:  # grows meanwhile: a list of folders, never of files, and no recursion
        with os.scandir(directory) as met:
            folders += [one.path for one in met if one.is_dir(follow_symlinks=False)]
    for directory in reversed(folders[1:]):
        try:
            os.rmdir(directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _count(store: Store, docking_id: str) -> tuple[Counts, int, str | None]:
    """Counts of a docking, its files with gaps, and the code of what keeps it from being complete."""
    states = store.state_counts(docking_id)
    kinds = store.finding_counts(docking_id)
    number = {state: states.get(state, (0, 0))[0] for state in ("sealed", "changed", "known", "failed")}
    as_counted: dict[str, int] = {"skipped": 0, "deleted_seen": 0, "unreadable": 0}
    for kind, many in kinds.items():
        as_counted[manifest.COUNTED_AS[kind]] += many
    counts = Counts(
        listed=sum(number.values()),
        copied=number["sealed"] + number["changed"],
        already_saved=number["known"],
        failed=number["failed"],
        bytes_copied=sum(states.get(s, (0, 0))[1] for s in ("sealed", "changed")),
        **as_counted,
    )
    gap_files = store.gap_files(docking_id)
    imperfect = None
    if gap_files:
        imperfect = "gaps"
    elif _IMPERFECT_FINDINGS & kinds.keys():
        imperfect = "unreadable_parts"
    elif number["failed"]:
        imperfect = "unreadable_files"
    elif store.still_changing(docking_id):
        imperfect = "changed_while_copied"
    return counts, gap_files, imperfect


def _write_lists(store: Store, folder: Path, docking: DockingRow, station: Station, counts: Counts) -> tuple[str, int]:
    """Manifest and SHA256SUMS in one pass over the entries; SHA-256 in hex and length of the manifest."""
    custody = folder / ".custody"
    custody.mkdir(parents=True, exist_ok=True)
    with DurableFile(custody / "station.vkey") as key_line:
        key_line.write(f"{station.key.verify_key.line}\n".encode())
    # sha256sum -c refuses an empty list: a docking that saved nothing new has none
    sums_file = DurableFile(folder / "SHA256SUMS") if counts.copied else nullcontext()
    prefix = docking.folder + b"/"
    with DurableFile(custody / "manifest.jsonl") as lines, sums_file as sums:
        lines.write(_header_line(docking, station.id))
        for row, envelope in store.sealed_entries(docking.id):
            lines.write(_entry_line(row, envelope))
            if sums is not None and envelope is not None and row.sha256 is not None:
                sums.write(checksum_line(row.sha256.hex(), row.target.removeprefix(prefix)))
        for finding in store.findings(docking.id):
            lines.write(_finding_line(finding))
        for n, gaps in store.long_gap_lists(docking.id, MAX_SEALED_GAPS):
            for line in manifest.gap_lines(n, [Gap(offset_bytes=o, length_bytes=length) for o, length in gaps]):
                lines.write(line)
        lines.write(manifest.counts_line(counts))
    for directory in (custody, folder, folder.parent):
        sync_directory(directory)
    return lines.digest.hexdigest(), lines.size_bytes


def _header_line(docking: DockingRow, station: str) -> bytes:
    source = json.loads(docking.source)
    return manifest.header_line(
        manifest.Header(
            station=station,
            docking_id=docking.id,
            camera_id=docking.camera,
            bay=docking.bay,
            started_at=docking.started_at,
            source_kind=source["kind"],
            file_systems=tuple(source["file_systems"]),
            labels=tuple(source["labels"]),
            volume_ids=tuple(source["volume_ids"]),
            source_bytes=source["size_bytes"],
            time_basis=source["time_basis"],
        )
    )


def _entry_line(row: EntryRow, envelope: bytes | None) -> bytes:
    if envelope is not None:
        return manifest.copied_line(row.n, envelope)
    path = path_from_text(row.path)
    n, size, shown, raw = row.n, row.size_bytes, display_path(path), manifest.raw_path(path)
    if row.state == "known" and row.known_in is not None and row.sha256 is not None:
        return manifest.entry_line(
            manifest.AlreadySaved(
                entry=n,
                path=shown,
                path_raw=raw,
                size_bytes=size,
                saved_in=row.known_in,
                sha256=Sha256Hex(row.sha256.hex()),
            )
        )
    code, _, detail = (row.detail or NOT_COPIED).partition(": ")
    return manifest.entry_line(
        manifest.Failed(entry=n, path=shown, path_raw=raw, size_bytes=size, code=code, detail=detail)
    )


def _finding_line(row: FindingRow) -> bytes:
    path = path_from_text(row.path)
    return manifest.finding_line(
        manifest.Met(
            finding=row.kind,  # type: ignore[arg-type]  # FindingKind of source.py and of the manifest are one list
            path=display_path(path), path_raw=manifest.raw_path(path), detail=row.detail,
            offset_bytes=row.offset_bytes, length_bytes=row.length_bytes,
        )
    )  # fmt: skip


class DurableFile:
    """A new file that appears whole and fsynced under its name at the end; its directory is synced by the caller."""

    def __init__(self, path: Path, aside: Path | None = None) -> None:
        """`aside`: where it is written first; beside `path` unless a stop must leave nothing there."""
        self._path, self._aside = path, aside or path.with_name(f".{path.name}.new")
        self._aside.unlink(missing_ok=True)  # of a closing that was cut short, read-only already
        self._out = self._aside.open("xb", buffering=1 << 18)
        self.digest, self.size_bytes = hashlib.sha256(), 0

    def write(self, line: bytes) -> None:
        self.digest.update(line)
        self.size_bytes += len(line)
        self._out.write(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._out:
            if kind is not None:
                return
            self._out.flush()
            os.fchmod(self._out.fileno(), 0o400)
            os.fsync(self._out.fileno())
        os.replace(self._aside, self._path)


def _write_closing_envelope(store: Store, vault: Path, folder: bytes, seq: int) -> None:
    raw = store.envelope(seq)
    parse_envelope(raw)  # never hand out what could not be read back
    try:
        custody = vault / os.fsdecode(folder) / ".custody"
        with DurableFile(custody / "completed.dsse.json") as envelope_file:
            envelope_file.write(raw)
        sync_directory(custody)
    except OSError as error:
        raise vault_error(error) from error
