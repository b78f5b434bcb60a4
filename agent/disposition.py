"""Whether files may leave the vault: every rule of a disposition, as one pure function of values.

Nobody can take this back, so the rules are in one place, each refusal names its rule, and whatever is not known counts
as not fulfilled. See ``custody/spec/disposition.md``; words for people are the hub's (`hub.vocabulary`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.release import Trust, VaultCopy
from agent.store import HoldRow
from custody.disposition import DispositionOrder, DispositionRefused, floor_ends, open_disposition
from custody.event import Clock

MAX_ENTRIES = 2000  # an event names each; equal files of a docking share a digest


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file of the docking, as the station's book and its disk know it now."""

    entry: int  # its number in the manifest
    target: bytes  # relative to the vault
    size_bytes: int  # as sealed
    sha256: str  # as sealed, hex
    receipted: bool  # the hub's receipt for its seal is kept
    recorded_by: datetime | None  # it was recorded before this, by a synchronised clock; None: no clock can tell
    named_by: tuple[tuple[str, str], ...]  # (camera, docking) whose manifests count on this copy, its own too
    vault: VaultCopy | None  # read from the disk just now; None where it cannot be


@dataclass(frozen=True, slots=True)
class DockingFacts:
    """What the station's own book says of the docking."""

    camera: str
    closed: bool
    receipted: bool  # the hub's receipt for its closing is kept
    disputed: bool  # it is not settled which camera this is
    offload_under_way: bool  # of this camera: it may just be finding its files already saved
    clearing: bool  # a release that counts on these copies has begun and is not over


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything besides the files. None: not known, or not there."""

    disposition_on: bool  # `disposition` in agent.toml
    station: str
    trust: Trust | None
    now: datetime
    clock: Clock
    docking: DockingFacts | None
    proved_roots: dict[int, bytes]  # by size: what this station has itself proved of the log
    holds: tuple[HoldRow, ...]


@dataclass(frozen=True, slots=True)
class Dispose:
    """These files may leave the vault, each unless a hold comes before its turn."""

    order: DispositionOrder
    camera: str
    files: tuple[SavedFile, ...]  # rising by entry


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing leaves the vault. `entry`: the first file that the rule is about."""

    rule: str
    detail: str = ""
    entry: int | None = None


def decide(raw: bytes, facts: Facts, files: Sequence[SavedFile]) -> Dispose | Refused:
    """All rules. `raw`: the command as it came; `files`: every file of its docking that is in the vault.

    1. Disposition is switched on. 2. The station is enrolled. 3. Its clock is synchronised. 4. The command is the
    hub's, for this station, in time; two people stand for it; enough witnesses confirmed the log that proves it.
    5. The station has itself proved those checkpoints. 6. The docking is its own, closed and receipted, its camera
    undisputed, and no offload or clearing that counts on these copies is under way. 7. Every named file is there, and
    each: 8. its seal has the hub's receipt; 9. no hold is on it, by whichever manifest names it; 10. three calendar
    years have passed since it was sealed, hence since its recording ended; 11. its copy is the one that was sealed.
    """
    try:
        order = _authorise(raw, facts)
        docking = _check_docking(facts)
        chosen = _named(order, files)
        for file in chosen:
            _check_file(file, facts)
    except DispositionRefused as error:
        return Refused(error.rule, error.detail)
    except _FileRefused as error:
        return Refused(error.rule, entry=error.entry)
    return Dispose(order, docking.camera, chosen)


class _FileRefused(Exception):
    def __init__(self, rule: str, entry: int) -> None:
        super().__init__(rule)
        self.rule, self.entry = rule, entry


def _authorise(raw: bytes, facts: Facts) -> DispositionOrder:
    if not facts.disposition_on:  # 1
        raise DispositionRefused("disposition_off")
    if facts.trust is None:  # 2
        raise DispositionRefused("not_enrolled")
    if facts.clock != "synchronised":  # 3
        raise DispositionRefused("clock_unsynchronised", facts.clock)
    trust = facts.trust
    order = open_disposition(raw, facts.station, trust.command_key, trust.pins, facts.now, facts.clock)  # 4
    for checkpoint in order.checkpoints:  # 5
        proved = facts.proved_roots.get(checkpoint.size)
        if proved is None:
            raise DispositionRefused("checkpoint_not_proved", str(checkpoint.size))
        if proved != checkpoint.root:
            raise DispositionRefused("checkpoint_contradicts", str(checkpoint.size))
    return order


def _check_docking(facts: Facts) -> DockingFacts:
    """6."""
    docking = facts.docking
    if docking is None:
        raise DispositionRefused("docking_unknown")
    if not docking.closed:
        raise DispositionRefused("docking_incomplete", "it is still open")
    if not docking.receipted:
        raise DispositionRefused("not_receipted")
    if docking.disputed:
        raise DispositionRefused("camera_disputed")
    if docking.offload_under_way:
        raise DispositionRefused("offload_under_way")
    if docking.clearing:
        raise DispositionRefused("clearing_under_way")
    return docking


def _named(order: DispositionOrder, files: Sequence[SavedFile]) -> tuple[SavedFile, ...]:
    """7. Every file of the docking that has one of the named digests; none may lack."""
    wanted = set(order.body.file_sha256s)
    chosen = tuple(sorted((one for one in files if one.sha256 in wanted), key=lambda one: one.entry))
    if missing := wanted - {one.sha256 for one in chosen}:
        raise DispositionRefused("file_unknown", f"{len(missing)} of {len(wanted)} files are none of this docking")
    if len(chosen) > MAX_ENTRIES:
        raise DispositionRefused("too_many_files", str(len(chosen)))
    return chosen


def _check_file(file: SavedFile, facts: Facts) -> None:
    if not file.receipted:  # 8
        raise _FileRefused("seal_not_receipted", file.entry)
    if is_held(file, facts.holds):  # 9
        raise _FileRefused("file_held", file.entry)
    if file.recorded_by is None or facts.now < floor_ends(file.recorded_by):  # 10
        raise _FileRefused("floor_not_over", file.entry)
    if file.vault is None:  # 11
        raise _FileRefused("vault_copy_missing", file.entry)
    if (file.vault.size_bytes, file.vault.sha256) != (file.size_bytes, file.sha256):
        raise _FileRefused("vault_copy_differs", file.entry)


def is_held(file: SavedFile, holds: Sequence[HoldRow]) -> bool:
    """Whether a hold is on this file, for its own docking or for a later one that found it saved."""
    return any(hold.fits(camera, docking, file.sha256) for hold in holds for camera, docking in file.named_by)
