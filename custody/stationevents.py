"""Events that stations state. Published versions are never edited: a change adds ``.v2``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from custody.event import Event, Sha256Hex

MAX_SEALED_GAPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Bytes that the source could not give; the copy holds zeros there."""

    offset_bytes: int  # within the file
    length_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What the container says of itself; None where it says nothing."""

    container: str | None = None  # format name, such as MPEG-4
    duration_ms: int | None = None  # playing time
    started_at: str | None = None  # as the container writes it; a camera's claim
    video_codec: str | None = None
    audio_codec: str | None = None
    width: int | None = None  # pixels
    height: int | None = None  # pixels
    truncated: bool | None = None  # the container announces more than the file holds
    playable: bool | None = None  # a player would find its index


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of every entry of a card; `listed` is the sum of copied, already_saved and failed."""

    listed: int  # files that the source lists
    copied: int  # new in the vault, each with a seal
    already_saved: int  # in the vault since an earlier docking
    failed: int  # nothing could be saved
    skipped: int  # links, special files, directory loops
    deleted_seen: int  # deleted entries and orphans
    unreadable: int  # directories or entries that could not be read
    bytes_copied: int  # sum over the copied


@dataclass(frozen=True, slots=True, kw_only=True)
class StationStarted(Event):
    """The agent came up."""

    TYPE = "station.started.v1"
    software: str  # name and version


@dataclass(frozen=True, slots=True, kw_only=True)
class DockingStarted(Event):
    """A camera, card or folder in a bay is about to be offloaded."""

    TYPE = "docking.started.v1"
    docking_id: str  # names this stay of the camera in the bay
    camera_id: str  # as the dock identified the camera
    bay: str  # port of the dock, or `cli`
    source_kind: Literal["folder", "image", "block_device", "ptp"]  # how the bytes are reached
    file_systems: tuple[str, ...]  # one per volume
    labels: tuple[str, ...]  # volume labels, in the same order
    volume_ids: tuple[str, ...]  # serial numbers or UUIDs, in the same order
    source_bytes: int | None  # size of the medium; null for a folder
    new_files: int  # planned to be copied
    new_bytes: int  # of those files, as listed


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSealed(Event):
    """A segment was copied, fsynced, read back from the disk, and its digests fixed.

    Travels as an in-toto Statement v1: `vault_path` and `sha256` are its subject, the rest its predicate.
    """

    TYPE = "segment.sealed.v1"
    docking_id: str  # see docking.started.v1
    camera_id: str  # see docking.started.v1
    bay: str  # see docking.started.v1
    entry: int  # number of the file within its docking, from 1
    path: str  # for people; never to be opened
    path_raw: tuple[str, ...]  # base64 of each component as the source lists it
    version: int  # 1, or more when this path was seen before with other content
    vault_path: str  # relative to the vault's root
    size_bytes: int  # of the copy
    sha256: Sha256Hex  # of the whole copy
    tree_root: Sha256Hex  # RFC 6962 root over its chunk leaves, see rolling-hash.md
    chunk_bytes: int  # 1048576
    chunk_count: int  # number of leaves; 0 for an empty file
    modified_at: str | None  # as the source says, ISO 8601 without zone when `time_basis` is camera_local
    time_basis: Literal["utc", "camera_local"]  # what `modified_at` means
    gaps: tuple[Gap, ...]  # the first `MAX_SEALED_GAPS`; the manifest has all
    gap_count: int  # all of them
    gap_bytes: int  # zero-filled bytes in all
    changed_while_copied: bool  # the source changed the file meanwhile
    media: Media | None  # null when the file was not examined


@dataclass(frozen=True, slots=True, kw_only=True)
class DockingClosed(Event):
    """The offload ended; the manifest with this digest lists everything that was met."""

    TYPE = "docking.closed.v1"
    docking_id: str  # see docking.started.v1
    camera_id: str  # see docking.started.v1
    bay: str  # see docking.started.v1
    complete: bool  # every listed entry is saved, without gap, change or unreadable part
    reason: str  # "complete", or the code of what stopped or marred it
    counts: Counts  # as in the last line of the manifest
    manifest_sha256: Sha256Hex  # over the whole manifest file
    manifest_bytes: int  # its length


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A camera's battery as the dock knows it (Art. 7). Unknown is never ready."""

    percent: int | None  # 0 to 100; null where the source tells only a state
    state: Literal["charging", "tapering", "full", "discharging", "absent", "fault", "unknown"]
    origin: Literal["reported", "measured", "inferred", "unknown"]  # by the camera, by a sensor of the dock, concluded
    method: str  # how it was read: ptp, power_supply, ina226, status_file … or `none`
    read_at: datetime  # when


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraUnlocked(Event):
    """A recorder that was no disk yet was given its maker's commands: the dock may have set its clock.

    Stated when they were given; once it is back as a disk, `camera.docked.v1` of the same bay names the camera.
    """

    TYPE = "camera.unlocked.v1"
    bay: str  # port of the dock
    usb_id: str  # vendor:product in hex
    usb_serial: str  # as the device says; cheap cameras share one
    serial: str  # as the recorder told its driver; empty where it told none
    profile: str  # camera profile whose commands were given
    clock_was: datetime | None  # what its clock said before; null where it cannot be asked
    clock_error_seconds: int | None  # how far that was from the station's clock, either way; null with the former
    clock_set: bool  # it took the station's time
    clock_left_seconds: int | None  # how far it was off when read back, either way; null where it was not read back
    faults: int  # commands that failed and did not keep it from becoming a disk


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraDocked(Event):
    """A camera was put into a bay and recognised, before anything of it is copied."""

    TYPE = "camera.docked.v1"
    camera_id: str  # as the dock identified it
    bay: str  # port of the dock
    usb_id: str  # vendor:product in hex
    usb_serial: str  # as the device says; cheap cameras share one
    volume_ids: tuple[str, ...]  # of its volumes, where it has any
    profile: str  # camera profile that recognised it
    disputed: bool  # another device has shown the same serial: both are copied, people decide


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraChecked(Event):
    """The verdict on a camera before duty (Art. 7), stated again whenever it changes."""

    TYPE = "camera.checked.v1"
    camera_id: str  # see camera.docked.v1
    bay: str  # see camera.docked.v1
    verdict: Literal["ready", "attention", "not_ready"]  # may it go on duty
    reasons: tuple[str, ...]  # codes, the gravest first; empty when ready
    charge: Charge  # the best reading there is
    free_bytes: int | None  # on its card; null when unknown
    total_bytes: int | None  # of its card; null when unknown
    free_minutes: int | None  # of recording, at the camera's own bitrate
    clock_error_seconds: int | None  # how far the camera's clock is off, either way; null when unknown
    unsafe_files: int  # footage on the card that is not yet sealed in the vault
    policy_from: str  # day from which the policy that judged is in force, YYYY-MM-DD


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraCheckedOut(Event):
    """An officer takes a camera for duty and was shown what to say first (Art. 7, 8)."""

    TYPE = "camera.checked_out.v1"
    camera_id: str  # see camera.docked.v1
    bay: str  # see camera.docked.v1
    officer: str  # number of the officer, never a name
    verdict: Literal["ready", "attention", "not_ready"]  # as last checked
    reasons: tuple[str, ...]  # of that verdict
    notice: str  # the sentence of Art. 8 as it was shown
    due_at: datetime  # when the camera is expected back


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraLeft(Event):
    """A camera was taken out of its bay."""

    TYPE = "camera.left.v1"
    camera_id: str  # see camera.docked.v1
    bay: str  # see camera.docked.v1
    offload: Literal["safe", "copying", "incomplete"]  # safe: everything listed was saved
    verdict: Literal["ready", "attention", "not_ready", "unchecked"]  # as last checked in this stay
    officer: str | None  # who had checked it out; null: nobody had


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraReturned(Event):
    """A camera that was checked out is back in a bay, or its check-out was taken back before it left (Art. 6)."""

    TYPE = "camera.returned.v1"
    camera_id: str  # see camera.docked.v1
    bay: str  # see camera.docked.v1
    officer: str  # who had checked it out
    was_out: bool  # false: it never left, the check-out was taken back


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraOverdue(Event):
    """A camera that was checked out did not come back in time (Art. 6)."""

    TYPE = "camera.overdue.v1"
    camera_id: str  # see camera.docked.v1
    officer: str  # who had checked it out
    due_at: datetime  # when it was expected


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraCheckedOutV2(Event):
    """An officer takes a camera for duty and was shown what to say first (Art. 7, 8)."""

    TYPE = "camera.checked_out.v2"
    COMMITTED: ClassVar = ("officer",)
    camera_id: str  # see camera.docked.v1
    bay: str  # see camera.docked.v1
    officer_commitment: Sha256Hex  # to the number of the officer, never a name, see commitments.md
    verdict: Literal["ready", "attention", "not_ready"]  # as last checked
    reasons: tuple[str, ...]  # of that verdict
    notice: str  # the sentence of Art. 8 as it was shown
    due_at: datetime  # when the camera is expected back


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraLeftV2(Event):
    """A camera was taken out of its bay."""

    TYPE = "camera.left.v2"
    COMMITTED: ClassVar = ("officer",)
    camera_id: str  # see camera.docked.v1
    bay: str  # see camera.docked.v1
    offload: Literal["safe", "copying", "incomplete"]  # safe: everything listed was saved
    verdict: Literal["ready", "attention", "not_ready", "unchecked"]  # as last checked in this stay
    officer_commitment: Sha256Hex | None  # to the number of who had checked it out; null: nobody had


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraReturnedV2(Event):
    """A camera that was checked out is back in a bay, or its check-out was taken back before it left (Art. 6)."""

    TYPE = "camera.returned.v2"
    COMMITTED: ClassVar = ("officer",)
    camera_id: str  # see camera.docked.v1
    bay: str  # see camera.docked.v1
    officer_commitment: Sha256Hex  # to the number of who had checked it out, see commitments.md
    was_out: bool  # false: it never left, the check-out was taken back


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraOverdueV2(Event):
    """A camera that was checked out did not come back in time (Art. 6)."""

    TYPE = "camera.overdue.v2"
    COMMITTED: ClassVar = ("officer",)
    camera_id: str  # see camera.docked.v1
    officer_commitment: Sha256Hex  # to the number of who had checked it out, see commitments.md
    due_at: datetime  # when it was expected


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRefused(Event):
    """Something was plugged into the dock that is no camera, or behaves like none. Nothing was read from it."""

    TYPE = "device.refused.v1"
    bay: str  # port of the dock
    port: str  # path of the USB port
    usb_id: str  # vendor:product in hex
    usb_serial: str  # as the device says
    product: str  # name that the device gives itself
    reason: Literal["keyboard", "network", "unknown_device", "replug_storm"]  # why
    count: int  # how often within a minute; equal ones are one event


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKept(Event):
    """Footage under state secrecy lies at the station, encrypted to the custodian (Art. 18). Camera, officer, names and
    sizes are not told; the digests let whoever may know prove later what was kept, and that it is whole."""

    TYPE = "secret.kept.v1"
    secret_id: str  # UUIDv7; the folder in the vault
    files: int  # how many
    complete: bool  # whether everything on the card is among them, whole
    manifest_sha256: Sha256Hex  # of the manifest, which holds 32 random bytes and exists encrypted only
    sums_sha256: Sha256Hex  # of the list of the encrypted files with their digests


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessOffered(Event):
    """This station made a key to witness the hub's log with. It counts once people have accepted it at the hub."""

    TYPE = "witness.offered.v1"
    key_line: str  # its witness key line, see witness.md


@dataclass(frozen=True, slots=True, kw_only=True)
class StationKeyRotated(Event):
    """This station's key is replaced: this is the last event that the old key signs; from the next seq on only the new
    one counts. Who holds the old key can follow: its signature is this envelope's."""

    TYPE = "station.key_rotated.v1"
    old_line: str  # key line so far
    new_line: str  # key line from the next seq on; the same name
    new_signature: str  # base64: of the new key over the rotation's text, see keys.md


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRefused(Event):
    """A checkpoint that the hub's log signed does not go with one that it signed before; both notes are kept here."""

    TYPE = "log.refused.v1"
    log: str  # its origin
    code: Literal["fork", "bad_proof", "rollback"]  # fork: two roots of one size. bad_proof: none leads there. rollback
    kept_size: int  # of the checkpoint that this station holds to; 0: none
    kept_sha256: Sha256Hex | None  # of that note as received; null: none
    refused_size: int  # of the checkpoint that was refused
    refused_sha256: Sha256Hex  # of that note as received


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCleared(Event):
    """People decided about a log that this station had refused, at the station."""

    TYPE = "log.cleared.v1"
    log: str  # its origin
    reason: str  # as they gave it
    begins_anew: bool  # true: what was known of the log is forgotten, the next checkpoint is taken as the first
    kept_size: int  # of the checkpoint that this station held to


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAnswered(Event):
    """What became of a command of the hub; in one commit with what it did here."""

    TYPE = "command.answered.v1"
    number: int  # of the command
    kind: str  # as the command calls itself
    command_sha256: Sha256Hex  # of its envelope
    result: Literal["accepted", "refused", "expired"]  # whether it was carried out
    reason: str  # "done", or the code of why not, see commands.md


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseIntended(Event):
    """Files are about to be cleared from a camera: every rule is fulfilled. Stated before the first of them is."""

    TYPE = "release.intended.v1"
    command_id: str  # the hub's command release.v1, see release.md
    command_sha256: Sha256Hex  # of its exact bytes
    camera_id: str  # see camera.docked.v1
    bay: str  # see camera.docked.v1
    docking_id: str  # the docking that saved them
    requested_by: str  # account, by the log
    approved_by: str  # account, by the log; another one
    files: int  # how many
    bytes_in_all: int  # of them, as sealed
    list_sha256: Sha256Hex  # of their list, see release.md


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFinished(Event):
    """What became of an authorisation to clear files; `certificate_sha256` binds the fate of each of them."""

    TYPE = "release.finished.v1"
    command_id: str  # see release.intended.v1
    command_sha256: Sha256Hex  # see release.intended.v1
    camera_id: str  # see camera.docked.v1
    bay: str  # where the camera was; "-" when it was in none
    docking_id: str  # see release.intended.v1
    outcome: Literal["cleared", "partly", "refused", "stopped"]  # refused: nothing was cleared
    rule: str  # "complete", or the rule that kept a file or ended it, see release.md
    cleared: int  # files that are gone from the camera
    kept: int  # authorised files that are still on it
    unknown: int  # files of which the station cannot tell, for the camera was not there any more
    certificate_sha256: Sha256Hex | None  # of the list with outcomes in the vault; null when nothing was intended
    certificate_bytes: int | None  # its length


@dataclass(frozen=True, slots=True, kw_only=True)
class DispositionIntended(Event):
    """Files are about to leave the vault: every rule is fulfilled. Stated before the first of them does."""

    TYPE = "disposition.intended.v1"
    command_id: str  # the hub's command disposition.v1, see disposition.md
    command_sha256: Sha256Hex  # of its exact bytes
    disposition_id: str  # as the command names it
    camera_id: str  # see docking.closed.v1
    docking_id: str  # the docking that saved them
    basis: str  # the rule or order that ends their retention, as approved
    requested_by: str  # account, by the log
    approved_by: str  # account, by the log; another one
    entries: tuple[int, ...]  # numbers of the files in the docking's manifest, rising
    bytes_in_all: int  # of them, as sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class DispositionFinished(Event):
    """What became of an authorisation to let files leave the vault. Seals, leaves and manifest stay."""

    TYPE = "disposition.finished.v1"
    command_id: str  # see disposition.intended.v1
    command_sha256: Sha256Hex  # see disposition.intended.v1
    disposition_id: str  # see disposition.intended.v1
    camera_id: str  # see docking.closed.v1; empty when the station knows no such docking
    docking_id: str  # see disposition.intended.v1
    outcome: Literal["disposed", "partly", "refused"]  # refused: nothing left the vault
    rule: str  # "complete", or the rule that kept a file or ended it, see disposition.md
    disposed: tuple[int, ...]  # entries whose files are gone from the vault, rising
    kept: tuple[int, ...]  # entries of the intent whose files are still there, rising


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewingOffered(Event):
    """Where the hub can fetch footage from this station for viewing, and the certificate that it must find there, see
    viewing.md. The last one counts."""

    TYPE = "viewing.offered.v1"
    address: str  # host:port; empty: nowhere any more
    certificate_sha256: Sha256Hex | None  # of the TLS certificate in DER; null with an empty address


STATION_EVENTS: tuple[type[Event], ...] = (
    StationStarted,
    DockingStarted,
    SegmentSealed,
    DockingClosed,
    CameraUnlocked,
    CameraDocked,
    CameraChecked,
    CameraCheckedOut,
    CameraLeft,
    CameraReturned,
    CameraOverdue,
    CameraCheckedOutV2,
    CameraLeftV2,
    CameraReturnedV2,
    CameraOverdueV2,
    DeviceRefused,
    SecretKept,
    WitnessOffered,
    StationKeyRotated,
    LogRefused,
    LogCleared,
    CommandAnswered,
    ReleaseIntended,
    ReleaseFinished,
    DispositionIntended,
    DispositionFinished,
    ViewingOffered,
)
