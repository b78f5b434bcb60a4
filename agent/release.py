"""Whether files may be cleared from a camera: every rule of a release, as pure functions of values.

The most dangerous thing this system does, so the rules are in one place, each refusal names its rule, and whatever is
not known counts as not fulfilled. `authorise` holds the rules about hub, log, docking and camera, none of which reads a
file; `choose` those about each file. The privileged program (agent/clearing) checks again for itself what it can.
Words for people: `agent.releasewords`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO

from custody.checkpoint import VerifyKey
from custody.event import Clock
from custody.release import (
    Authorisation,
    Listed,
    Pins,
    ReleaseRefused,
    check_checkpoint,
    check_closing,
    open_authorisation,
    read_named,
)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom this station believes, from its enrolment."""

    command_key: VerifyKey
    pins: Pins


@dataclass(frozen=True, slots=True)
class Docked:
    """The camera that lies in the bay now, as it was recognised in this stay."""

    camera: str
    bay: str
    disputed: bool
    volume_ids: tuple[str, ...]
    checked_out: bool  # an officer is about to take it


@dataclass(frozen=True, slots=True)
class DockingFacts:
    """What the station's own book says of the docking."""

    camera: str
    bay: str
    volume_ids: tuple[str, ...]
    closed: bytes | None  # the docking.closed envelope; None while open
    receipted: bool  # the hub's receipt for it is kept
    left: bool  # the camera was taken out since


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything besides the files. None: not known, or not there."""

    release_on: bool  # `release` in agent.toml
    station: str
    trust: Trust | None
    now: datetime
    clock: Clock
    docked: Docked | None
    docking: DockingFacts | None
    proved_root: bytes | None  # the root that this station has itself proved for the checkpoint's size
    held: bool  # the camera or the docking
    closed_at: datetime | None  # when the docking was closed
    keep_days: int = 0  # how long footage stays on the camera at least


@dataclass(frozen=True, slots=True)
class VaultCopy:
    """The copy in the vault, read from the disk just now."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of one file now. `on_card`: sizes of the files that the card, listed anew, has at this path."""

    listed: Listed
    receipted: bool
    vault: VaultCopy | None
    held: bool
    on_card: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Allowed:
    """The authorisation holds; `files` is what it names."""

    authorisation: Authorisation
    files: tuple[Listed, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that stays on the camera, and the rule that keeps it."""

    listed: Listed
    rule: str


@dataclass(frozen=True, slots=True)
class Clear:
    """These files may be cleared, each after its bytes were hashed once more; the others stay."""

    authorisation: Authorisation
    files: tuple[Listed, ...]
    kept: tuple[Kept, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is cleared. `file`: the first one that the rule is about."""

    rule: str
    detail: str = ""
    file: Listed | None = None


def decide(raw: bytes, manifest: BinaryIO, facts: Facts, files: Iterable[FileFacts]) -> Clear | Refused:
    """All rules at once. `raw`: the command as it came; `manifest`: of the docking; `files`: of every file it names."""
    try:
        allowed = authorise(raw, manifest, facts)
    except ReleaseRefused as error:
        return Refused(error.rule, error.detail)
    return choose(allowed, files)


def authorise(raw: bytes, manifest: BinaryIO, facts: Facts) -> Allowed:
    """The rules about hub, log, docking and camera; raises ReleaseRefused with the first that is not fulfilled.

    1. Release is switched on. 2. The station is enrolled. 3. Its clock is synchronised. 4. The command is the hub's,
    for this station, in time, and two people stand for it. 5. No hold on camera or docking. 6. The very camera is
    docked, undisputed, in the bay and on the card it was saved from, and never left since. 7. Nobody is taking it. 8.
    The docking is closed, receipted and complete; checkpoint, witnesses and inclusion proof hold. 9. The station has
    itself proved that checkpoint. 10. The footage lay on the camera as long as the policy asks. 11. The manifest is the
    approved one and every named entry was saved whole.
    """
    if not facts.release_on:  # 1
        raise ReleaseRefused("release_off")
    if facts.trust is None:  # 2
        raise ReleaseRefused("not_enrolled")
    if facts.clock != "synchronised":  # 3
        raise ReleaseRefused("clock_unsynchronised", facts.clock)
    trust = facts.trust
    authorisation = open_authorisation(raw, facts.station, trust.command_key, trust.pins, facts.now, facts.clock)  # 4
    if facts.held:  # 5
        raise ReleaseRefused("held")
    docking = _check_camera(authorisation, facts)  # 6, 7
    if docking.closed is None:  # 8
        raise ReleaseRefused("docking_incomplete", "it is still open")
    if not docking.receipted:
        raise ReleaseRefused("not_receipted")
    check_closing(authorisation.release, docking.closed, facts.station, trust.pins)
    if facts.proved_root is None:  # 9
        raise ReleaseRefused("checkpoint_not_proved")
    if facts.proved_root != check_checkpoint(authorisation.release, trust.pins).root:
        raise ReleaseRefused("checkpoint_contradicts")
    if facts.closed_at is None or facts.now - facts.closed_at < timedelta(days=facts.keep_days):  # 10
        raise ReleaseRefused("too_early")
    return Allowed(authorisation, read_named(authorisation.release, manifest).files)  # 11


def _check_camera(authorisation: Authorisation, facts: Facts) -> DockingFacts:
    release, docked, docking = authorisation.release, facts.docked, facts.docking
    if docking is None or docking.camera != release.camera_id:
        raise ReleaseRefused("docking_unknown")
    if docked is None or docked.camera != release.camera_id:
        raise ReleaseRefused("camera_not_docked")
    if docked.disputed:
        raise ReleaseRefused("camera_disputed")
    if docked.bay != docking.bay or docking.left:
        raise ReleaseRefused("camera_left_since")
    if not docked.volume_ids or not all(docked.volume_ids) or docked.volume_ids != docking.volume_ids:
        raise ReleaseRefused("card_differs")
    if docked.checked_out:
        raise ReleaseRefused("checked_out")
    return docking


def choose(allowed: Allowed, files: Iterable[FileFacts]) -> Clear | Refused:
    """The rules about each file. A receipt or a vault copy that is missing stops everything: the station is not sound.

    A file that is held, or that the card no longer holds as it was sealed, stays and the others go.
    """
    clear: list[Listed] = []
    kept: list[Kept] = []
    known = {one.listed: one for one in files}
    for listed in allowed.files:
        found = known.get(listed)
        if found is None or not found.receipted:
            return Refused("seal_not_receipted", file=listed)
        if found.vault is None:
            return Refused("vault_copy_missing", file=listed)
        if (found.vault.size_bytes, found.vault.sha256) != (listed.size_bytes, listed.sha256):
            return Refused("vault_copy_differs", file=listed)
        if rule := _keeps(found):
            kept.append(Kept(listed, rule))
        else:
            clear.append(listed)
    if not clear:
        return Refused(kept[0].rule, file=kept[0].listed)
    return Clear(allowed.authorisation, tuple(clear), tuple(kept))


def _keeps(found: FileFacts) -> str | None:
    """The rule that keeps one file on the camera."""
    if found.held:
        return "file_held"
    if not found.on_card:
        return "not_on_card"
    if len(found.on_card) > 1:
        return "path_ambiguous"
    if found.on_card[0] != found.listed.size_bytes:
        return "size_differs"
    return None
