"""The authorisation to clear files from a camera, a command ``release.v1``, and what must be provable of it. Pure.

See ``custody/spec/release.md``. The station's agent and its privileged program each run these checks for themselves:
neither believes the other, and neither believes the hub's word without its log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from custody.approval import Approved, NotApproved, check_approval
from custody.checkpoint import Checkpoint, VerifyKey, open_checkpoint
from custody.commands import COMMAND_TYPE, CommandHead, CommandRefused, Header, body_sha256, open_command, read_body
from custody.cosignature import WitnessKey, cosigned_at
from custody.digest import leaf_hash
from custody.envelope import open_envelope, parse_envelope
from custody.errors import CustodyError, FormatError, ProofInvalid
from custody.event import Clock, Event, Sha256Hex
from custody.events import decode_event
from custody.fields import dump_json, load_object, read_fields
from custody.manifest import AlreadySaved, Copied, ManifestReader
from custody.manifest import Header as ManifestHeader
from custody.merkle import verify_inclusion
from custody.releasebody import Release
from custody.stationevents import DockingClosed, SegmentSealed


class ReleaseRefused(CustodyError):
    """A rule of the release is not fulfilled; `rule` is its stable name. Nothing is cleared."""

    code = "release_refused"

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(f"{rule}: {detail}" if detail else rule)
        self.rule = rule
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Authorisation:
    """A release that was opened: signed by the hub, for this station, in time, and two people stand for it."""

    header: Header
    release: Release
    approved: Approved
    sha256: Sha256Hex  # of the command's exact bytes: names this authorisation


@dataclass(frozen=True, slots=True)
class Pins:
    """Whom the log is believed: its own key, and so many of these witnesses."""

    log_key: VerifyKey
    witnesses: tuple[WitnessKey, ...] = ()
    witnesses_needed: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """One file that may be cleared, as the manifest names it. `path` holds the raw components of the card."""

    entry: int
    path: tuple[bytes, ...]
    size_bytes: int
    sha256: Sha256Hex


def read_command(raw: bytes, command_key: VerifyKey) -> tuple[Header, Release]:
    """A release that the hub signed, for whichever station and time. Raises ReleaseRefused `not_authorised`."""
    try:
        header = read_fields(Header, load_object(open_envelope(raw, command_key, COMMAND_TYPE)), "command")
        body = read_body(header.kind, header.body) if header.kind == Release.KIND else None
    except CustodyError as error:
        raise ReleaseRefused("not_authorised", str(error)) from None
    if not isinstance(body, Release):
        raise ReleaseRefused("not_authorised", f"it is a {header.kind[:80]}")
    return header, body


def open_authorisation(
    raw: bytes, station: str, command_key: VerifyKey, pins: Pins, now: datetime, clock: Clock
) -> Authorisation:
    """Open a command as the authorisation of a release, wherever the chain of commands stands.

    1. The hub's command key signed it, and it is a release. 2. It is for this station, and in time by a synchronised
    clock. 3. The log proves that two people stand for it. Raises ReleaseRefused.
    """
    header, release = read_command(raw, command_key)  # 1
    before = CommandHead(max(0, header.number - 1), header.previous)
    try:
        command = open_command(raw, station, command_key, before, now, clock)  # 2
    except CommandRefused as error:
        rule = error.code if error.code in ("expired", "clock_unsynchronised") else "not_authorised"
        raise ReleaseRefused(rule, str(error)) from None
    try:
        digest = body_sha256(header.body)
        approved = check_approval(header.approval, header.id, station, header.kind, digest, pins.log_key)  # 3
    except NotApproved as error:
        raise ReleaseRefused("not_approved", str(error)) from None
    return Authorisation(header, release, approved, command.sha256)


def check_closing(release: Release, closed: bytes, station: str, pins: Pins) -> DockingClosed:
    """What the docking.closed envelope says, once the log is shown to hold it.

    1. It is the envelope that was approved, byte for byte. 2. It is of this station, docking and camera, and binds the
    approved manifest. 3. The docking was complete. 4. The checkpoint is signed by the log and by enough witnesses.
    5. The envelope is in that log at the named place. The log takes a station's envelopes only with its signature and
    without gaps, so that every seal before it is in the log too.
    Raises ReleaseRefused.
    """
    if hashlib.sha256(closed).hexdigest() != release.closed_sha256:  # 1
        raise ReleaseRefused("closing_differs")
    event = _closed_event(closed)
    named = (event.source, event.docking_id, event.camera_id, event.manifest_sha256)
    if named != (station, release.docking_id, release.camera_id, release.manifest_sha256):  # 2
        raise ReleaseRefused("closing_differs", "it is of another docking")
    counts = event.counts
    if not event.complete or counts.failed or counts.unreadable:  # 3
        raise ReleaseRefused("docking_incomplete", event.reason)
    checkpoint = check_checkpoint(release, pins)  # 4
    try:
        proof = [bytes.fromhex(one) for one in release.proof]
        verify_inclusion(leaf_hash(closed), release.closed_index, checkpoint.size, proof, checkpoint.root)  # 5
    except ProofInvalid as error:
        raise ReleaseRefused("not_in_log", str(error)) from None
    return event


def check_checkpoint(release: Release, pins: Pins) -> Checkpoint:
    """The release's checkpoint, signed by the log's key and enough witnesses. Raises ReleaseRefused."""
    return check_note(release.checkpoint, pins)


def check_note(note: str, pins: Pins) -> Checkpoint:
    """A checkpoint, signed by the log's key and enough witnesses. Raises ReleaseRefused."""
    try:
        checkpoint = open_checkpoint(note, pins.log_key)
    except CustodyError as error:
        raise ReleaseRefused("checkpoint_invalid", str(error)) from None
    seen = {witness.key_id for witness in pins.witnesses if _cosigned(note, witness)}
    if len(seen) < pins.witnesses_needed:
        raise ReleaseRefused("not_witnessed", f"{len(seen)} of {pins.witnesses_needed} witnesses")
    return checkpoint


def _cosigned(note: str, witness: WitnessKey) -> bool:
    try:
        return cosigned_at(note, witness) is not None
    except CustodyError:
        return False


def _closed_event(closed: bytes) -> DockingClosed:
    try:
        envelope = parse_envelope(closed)
        event: Event = decode_event(envelope.payload_type, envelope.payload)
    except CustodyError as error:
        raise ReleaseRefused("closing_differs", str(error)) from None
    if not isinstance(event, DockingClosed):
        raise ReleaseRefused("closing_differs", f"it is a {event.TYPE}")
    return event


@dataclass(frozen=True, slots=True)
class Named:
    """The files that a release names, in the manifest's order, and the volumes that they were saved from."""

    files: tuple[Listed, ...]
    volume_ids: tuple[str, ...]


def read_named(release: Release, manifest: BinaryIO) -> Named:
    """The files of the manifest that the release names; the manifest is digested in the same pass.

    So what is believed is what was digested, whoever may write to the file meanwhile. Only files that were saved whole
    count: with a seal in this manifest and no gap, or found saved before. Raises ReleaseRefused.
    """
    ranges, found = iter(release.entries), list[Listed]()
    wanted = next(ranges, None)
    reader = ManifestReader(manifest)
    header: ManifestHeader | None = None
    try:
        for item in reader:
            if isinstance(item, ManifestHeader):
                header = item
            number = getattr(item, "entry", None)
            while wanted is not None and number is not None and number > wanted.last:
                wanted = next(ranges, None)
            if wanted is None or number is None or number < wanted.first or not isinstance(item, Copied | AlreadySaved):
                continue
            found.append(_listed(item, release))
    except FormatError as error:
        raise ReleaseRefused("manifest_differs", str(error)) from None
    if reader.sha256 != release.manifest_sha256 or header is None:
        raise ReleaseRefused("manifest_differs", "its digest is not the approved one")
    if (header.docking_id, header.camera_id) != (release.docking_id, release.camera_id):
        raise ReleaseRefused("manifest_differs", "it is of another docking")
    numbers = sum(one.last - one.first + 1 for one in release.entries)
    if len({one.entry for one in found}) != numbers:
        raise ReleaseRefused("entry_not_saved", f"{numbers - len(found)} of {numbers} entries are not saved files")
    if len({one.path for one in found}) != len(found):
        raise ReleaseRefused("entry_not_saved", "two entries have one path")
    return Named(tuple(found), header.volume_ids)


def _listed(item: Copied | AlreadySaved, release: Release) -> Listed:
    if isinstance(item, AlreadySaved):
        return Listed(item.entry, _raw(item.path_raw), item.size_bytes, item.sha256)
    try:
        envelope = parse_envelope(item.envelope)
        seal = decode_event(envelope.payload_type, envelope.payload)
    except CustodyError as error:
        raise ReleaseRefused("entry_not_saved", str(error)) from None
    fits = isinstance(seal, SegmentSealed) and (seal.docking_id, seal.camera_id, seal.entry) == (
        release.docking_id,
        release.camera_id,
        item.entry,
    )
    if not fits or not isinstance(seal, SegmentSealed) or seal.gap_count or seal.changed_while_copied:
        raise ReleaseRefused("entry_not_saved", f"entry {item.entry} has no seal of a whole file")
    return Listed(item.entry, _raw(seal.path_raw), seal.size_bytes, seal.sha256)


def _raw(path: Sequence[str]) -> tuple[bytes, ...]:
    try:
        return tuple(base64.b64decode(component, validate=True) for component in path)
    except binascii.Error:
        raise ReleaseRefused("entry_not_saved", "a path that is not base64") from None


def list_line(listed: Listed, outcome: str | None = None) -> bytes:
    """One line of the list of a release; with `outcome`, of its certificate. JSON with a newline."""
    body: dict[str, object] = {
        "entry": listed.entry,
        "path_raw": [base64.b64encode(component).decode() for component in listed.path],
        "size_bytes": listed.size_bytes,
        "sha256": listed.sha256,
    }
    if outcome is not None:
        body["outcome"] = outcome
    return dump_json(body) + b"\n"


def list_digest(files: Iterable[Listed]) -> Sha256Hex:
    """SHA-256 over the `list_line` of every file, in order: what an intent binds before the first is cleared."""
    total = hashlib.sha256()
    for one in files:
        total.update(list_line(one))
    return Sha256Hex(total.hexdigest())
