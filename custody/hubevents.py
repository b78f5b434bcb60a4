"""Events that the hub states. Published versions are never edited: a change adds ``.v2``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from custody.event import Event, Sha256Hex

KeyRole = Literal["log", "receipts", "events", "commands"]
MAX_LISTED_RECORDINGS = 1000  # in one bundle.exported or use.requested event
Use = Literal["view", "copy", "burn", "disclose"]  # of footage, as Art. 17 tells them apart
CopyEnd = Literal["returned", "destroyed", "lost"]
RemovalReason = Literal["retention_over", "asked_by_person", "ordered", "stated_wrongly"]
MAX_REMOVED_ENTRIES = 1000  # in one removal of openings
MAX_LABELLED_RECORDINGS = 1000  # in one event about several recordings: below 10 KiB of numbers
RecordingKind = Literal[  # Art. 4: (1), (2), (3) as a whole and its three sub-kinds, (4)
    "routine_inspection", "complaint_report", "investigation", "evidence_taking", "evidence_preservation",
    "service_of_documents", "other_on_site",
]  # fmt: skip
SecrecyMark = Literal["normal", "privacy", "commercial_secret", "state_secret"]  # Art. 18, rising
LoweringReason = Literal["marked_wrongly", "no_longer_secret", "period_over"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StationEnrolled(Event):
    """The hub accepted a station's key."""

    TYPE = "station.enrolled.v1"
    station: str  # its id
    key_line: str  # its public key, see checkpoint.md


@dataclass(frozen=True, slots=True, kw_only=True)
class StationEnrolledV2(StationEnrolled):
    """The hub accepted a station's key: who asked for it, and who compared the code at the dock with the hub's."""

    TYPE = "station.enrolled.v2"
    request_id: str | None  # see station.enrolment_requested.v1; null: on the command line
    requested_by: str  # account; on the command line, the account on the hub's computer
    approved_by: str | None  # another account; null: on the command line, by one person, and no code was compared


@dataclass(frozen=True, slots=True, kw_only=True)
class StationEnrolmentRequested(Event):
    """Somebody asks that a station's key be accepted; another person compares the code shown at the dock."""

    TYPE = "station.enrolment_requested.v1"
    request_id: str  # UUIDv7
    station: str  # its id
    key_line: str  # its public key as it reached the hub
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class StationEnrolmentRefused(Event):
    """A station's key that somebody asked for is not accepted."""

    TYPE = "station.enrolment_refused.v1"
    request_id: str  # see station.enrolment_requested.v1
    station: str  # its id
    decided_by: str  # account; the one that had asked: withdrawn


@dataclass(frozen=True, slots=True, kw_only=True)
class StationFrozen(Event):
    """The hub takes nothing more from a station whose history forked, until people have looked."""

    TYPE = "station.frozen.v1"
    station: str  # its id
    reason: str  # a code
    station_seq: int  # where its history forked
    envelope_sha256: Sha256Hex  # the envelope that does not fit


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevocationRequested(Event):
    """Somebody asks that a station's key count no more, because it was stolen or may have been. A later request for the
    same station takes this one's place."""

    TYPE = "key.revocation_requested.v1"
    change_id: str  # UUIDv7
    station: str  # its id
    key_line: str  # key line in use
    from_seq: int  # from this event of the station on, what is logged already is not to be trusted either
    reason: str  # why, in the requester's words
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRevoked(Event):
    """A station's key counts no more: nothing that it signs is taken in from the next entry on."""

    TYPE = "key.revoked.v1"
    change_id: str  # see key.revocation_requested.v1
    station: str  # its id
    key_line: str  # the key that is revoked
    from_seq: int  # its events from this seq on are in doubt; those before stay good
    last_seq: int  # of the last of its events in the log; below `from_seq`: nothing that is logged is in doubt
    reason: str  # as requested
    requested_by: str  # account
    approved_by: str  # account; never the one that requested it


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeRefused(Event):
    """Messages that the hub did not take in; equal ones within a minute are one event with a count."""

    TYPE = "envelope.refused.v1"
    topic: str  # where it arrived
    reason: str  # code of the error
    count: int  # how many equal ones
    sample_sha256: Sha256Hex  # of the first message
    sample_bytes: int  # its length


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountCreated(Event):
    """A person can sign in at the hub."""

    TYPE = "account.created.v1"
    account: str  # sign-in name
    role: str  # see the access matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChangeRequested(Event):
    """Somebody asks for a change of who may do what; another person decides."""

    TYPE = "account.change_requested.v1"
    request_id: str  # UUIDv7
    account: str  # whom it is about
    change: Literal["create", "role", "disable", "enable", "password_reset", "second_factor_reset"]  # what
    role: str | None  # for `create` and `role`: the new role
    reason: str  # why, in the requester's words
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChangeDecided(Event):
    """A request was decided; when approved, this is also when it took effect."""

    TYPE = "account.change_decided.v1"
    request_id: str  # see account.change_requested.v1
    account: str  # see account.change_requested.v1
    change: Literal["create", "role", "disable", "enable", "password_reset", "second_factor_reset"]  # as requested
    role: str | None  # as requested
    approved: bool  # false: refused, or withdrawn by whoever had asked
    decided_by: str | None  # account; null: the first administrator named the second, there was nobody else to ask


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionRequested(Event):
    """Somebody asks that a person or a station belong to a section; another person decides."""

    TYPE = "section.requested.v1"
    request_id: str  # UUIDv7
    account: str | None  # whom it is about, or
    station: str | None  # the station that it is about
    section: str  # name of the section; "": none
    officer: str  # the person's number at the stations, never a name; "": carries no camera
    reason: str  # why, in the requester's words
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionDecided(Event):
    """A request of `section.requested.v1` was decided; when approved, this is also when it took effect."""

    TYPE = "section.decided.v1"
    request_id: str  # see section.requested.v1
    account: str | None  # as requested
    station: str | None  # as requested
    section: str  # as requested
    officer: str  # as requested
    approved: bool  # false: refused, or withdrawn by whoever had asked
    decided_by: str  # account; when approved never the one that asked, nor the one it is about


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactorSet(Event):
    """From now on this account signs in with a code of its person's authenticator as well (RFC 6238)."""

    TYPE = "account.second_factor_set.v1"
    account: str  # whose


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAdded(Event):
    """A person's programs can read at the hub, with a token, what the person may see."""

    TYPE = "account.token_added.v1"
    token_id: str  # UUIDv7
    account: str  # whose
    purpose: str  # what for, in the person's words
    token_sha256: Sha256Hex  # of the token, which is kept nowhere
    expires_at: datetime  # by the hub's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked(Event):
    """A token is good for nothing any more."""

    TYPE = "account.token_revoked.v1"
    token_id: str  # see account.token_added.v1
    account: str  # whose, and who ended it


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityLinked(Event):
    """A person connected their account with an identity at the bureau's OpenID Connect provider."""

    TYPE = "account.identity_linked.v1"
    account: str  # whose
    issuer: str  # the provider, as its tokens name it
    subject_sha256: Sha256Hex  # of issuer, line feed and the subject at the provider


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityUnlinked(Event):
    """A person undid that; the account signs in by its password alone."""

    TYPE = "account.identity_unlinked.v1"
    account: str  # whose


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityUsed(Event):
    """The provider vouched for the person of a connected account, in place of the password."""

    TYPE = "account.identity_used.v1"
    account: str  # whose
    issuer: str  # the provider


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn(Event):
    """A person signed in."""

    TYPE = "account.signed_in.v1"
    account: str  # who
    second_factor: bool  # with a code of an authenticator, not by password alone


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequested(Event):
    """Somebody asks that footage may leave the vault. Stated by earlier versions; now it is use.requested.v1."""

    TYPE = "export.requested.v1"
    request_id: str  # UUIDv7
    recordings_sha256: Sha256Hex  # of their log indexes, rising, each in decimal with a newline
    recordings_in_all: int  # how many
    bytes_in_all: int  # of footage, as sealed
    selection: str  # how they were chosen, for people
    recipient: str  # who is to receive them
    reason: str  # why
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDecided(Event):
    """An export that was requested was decided. Stated by earlier versions; now it is use.decided.v1."""

    TYPE = "export.decided.v1"
    request_id: str  # see export.requested.v1
    approved: bool
    decided_by: str  # account; an approval's never the one that requested it
    expires_at: datetime | None  # by the hub's clock: until then one bundle may be begun; null unless approved


@dataclass(frozen=True, slots=True, kw_only=True)
class UseRequested(Event):
    """Somebody asks to use footage (Art. 17); another person decides. Texts are asked for without names of people.

    A request for more than `MAX_LISTED_RECORDINGS` recordings has several such events, one after another in the log.
    """

    TYPE = "use.requested.v1"
    request_id: str  # UUIDv7
    use: Use  # view: at the hub; copy: within the bureau; burn: on a disc; disclose: to somebody outside
    part: int  # number of this event within its request, from 1
    parts: int  # how many such events the request has
    recordings: tuple[int, ...]  # log indexes of the seals of what is asked for, rising; this part's share
    recordings_sha256: Sha256Hex  # over all parts: of their log indexes, rising, each in decimal with a newline
    recordings_in_all: int  # over all parts
    bytes_in_all: int  # of footage, as sealed
    selection: str  # how they were chosen, for people
    holder: str | None  # account that is to view them; null unless `use` is view
    recipient: str  # who is to receive the copy; empty for view
    case_number: str  # of the case file; empty: of none
    reason: str  # why
    valid_seconds: int  # how long an approval shall be good
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class UseDecided(Event):
    """A request to use footage is approved by a second person, or ends: refused, or withdrawn by whoever had asked."""

    TYPE = "use.decided.v1"
    request_id: str  # see use.requested.v1
    approved: bool
    decided_by: str  # account; an approval's never the one that requested it, nor the one that is to view
    reason: str  # why it was refused; empty otherwise
    expires_at: datetime | None  # by the hub's clock; null unless approved
    grants: tuple[str, ...]  # for view: id of each recording's grant and of its command, in the recordings' order
    copy_number: int | None  # of the one copy that may be made, rising from 1 without gaps; null for view


@dataclass(frozen=True, slots=True, kw_only=True)
class UseRevoked(Event):
    """An approval to use footage is good for nothing any more."""

    TYPE = "use.revoked.v1"
    request_id: str  # see use.requested.v1
    revoked_by: str  # account
    reason: str  # why


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyEnded(Event):
    """Somebody states what became of a numbered copy."""

    TYPE = "copy.ended.v1"
    request_id: str  # see use.requested.v1
    copy_number: int  # see use.decided.v1
    how: CopyEnd
    note: str  # by whom or where, without names of people; may be empty
    noted_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleExported(Event):
    """Footage is about to be copied into a bundle (Art. 17). Stated before the first byte is copied.

    A bundle of more than `MAX_LISTED_RECORDINGS` recordings has several such events, one after another in the log.
    """

    TYPE = "bundle.exported.v1"
    bundle_id: str  # UUIDv7, names the bundle
    part: int  # number of this event within its bundle, from 1
    parts: int  # how many such events the bundle has
    recordings: tuple[int, ...]  # log indexes of the seals of what is exported, rising; this part's share
    recordings_in_all: int  # over all parts
    bytes_in_all: int  # of footage, as sealed
    selection: str  # what was asked for, in words
    recipient: str  # who gets the bundle
    reason: str  # why, as given by whoever exports
    operator: str  # account on the hub's computer that ran the export
    request_id: str | None = None  # see use.requested.v1; null: of a version that asked nobody
    requested_by: str | None = None  # account
    approved_by: str | None = None  # account; never the one that requested it


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFinished(Event):
    """What became of an export. `tag_manifest_sha256` binds every byte of a complete bundle but this event itself."""

    TYPE = "bundle.finished.v1"
    bundle_id: str  # see bundle.exported.v1
    complete: bool  # all of it was copied, found as sealed, and is durable
    reason: str  # "complete", or the code of what ended it
    tag_manifest_sha256: Sha256Hex | None  # of the bundle's tagmanifest-sha256.txt; null unless complete


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReaderAdded(Event):
    """A program may read log entries with a token, for instance a monitor."""

    TYPE = "log_reader.added.v1"
    reader: str  # its name
    token_sha256: Sha256Hex  # of the token's text


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReaderRevoked(Event):
    """A log reader's token is good for nothing any more."""

    TYPE = "log_reader.revoked.v1"
    reader: str  # its name


@dataclass(frozen=True, slots=True, kw_only=True)
class LogExported(Event):
    """Entries of the log are about to be handed out as a file. Stated before the first byte of it.

    What it holds follows from this: the entries below `log_size` from `first_index` on that fit `selection`.
    """

    TYPE = "log.exported.v1"
    export_id: str  # UUIDv7, names the export
    account: str  # who exports: an account of the hub, or of its computer with the command line
    format: Literal["csv", "jsonl", "pdf", "tiles"]  # of the file
    selection: str  # the filter as `name=value …`; empty: all
    first_index: int  # entries before it are left out
    log_size: int  # entries from this index on are left out: the index of this very event
    entries: int  # how many fit


@dataclass(frozen=True, slots=True, kw_only=True)
class LogExportFinished(Event):
    """What became of an export of log entries. Missing where the hub died meanwhile."""

    TYPE = "log.export_finished.v1"
    export_id: str  # see log.exported.v1
    complete: bool  # every byte was handed over
    reason: str  # "complete", or the code of what ended it
    size_bytes: int  # handed over
    sha256: Sha256Hex | None  # of the whole file; null unless complete, and for tiles, which prove themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRestored(Event):
    """The hub had lost the end of its log and got it back from those who kept it: same entries, same places."""

    TYPE = "log.restored.v1"
    base_size: int  # entries that the backup held
    size: int  # entries of the newest checkpoint that anybody outside held; the log goes on from there
    root: Sha256Hex  # of that checkpoint
    held_by: str  # who held it
    without: tuple[str, ...]  # stations that were not waited for; what only they hold is not in the log
    untimed: int  # entries whose time of receipt nobody kept: they count as received at the restore


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAdded(Event):
    """People accepted a witness of this log: its cosignatures count from here on."""

    TYPE = "witness.added.v1"
    witness: str  # name of its key
    key_line: str  # its witness key line, see witness.md
    station: str | None  # the station that offered it; null: it is no station
    url: str | None  # where it is asked by HTTP; null: a station, or one that asks by itself
    operator: str  # account on the hub's computer that accepted it


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRemoved(Event):
    """A witness's cosignatures do not count any more for checkpoints from here on."""

    TYPE = "witness.removed.v1"
    witness: str  # name of its key
    operator: str  # account on the hub's computer that removed it


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRemovalRequested(Event):
    """Somebody asks that a witness's key count no more; another person decides."""

    TYPE = "witness.removal_requested.v1"
    change_id: str  # UUIDv7
    witness: str  # name of its key
    key_line: str  # the key that is to count no more
    reason: str  # why; no names of people
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRemovedV2(Event):
    """A witness's key counts no more for checkpoints from here on; two people stand for it."""

    TYPE = "witness.removed.v2"
    change_id: str  # see witness.removal_requested.v1
    witness: str  # name of its key
    key_line: str  # as requested
    reason: str  # as requested
    requested_by: str  # account
    approved_by: str  # account; never the one that requested it


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessPolicySet(Event):
    """How many witnesses make a checkpoint a witnessed one."""

    TYPE = "witness_policy.set.v1"
    needed: int  # that many of the witnesses in force, at least 1
    witnesses: tuple[str, ...]  # labels of those in force then
    operator: str  # account on the hub's computer that set it


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRefused(Event):
    """A witness holds that this log contradicts what it showed before. The same finding is stated once."""

    TYPE = "witness.refused.v1"
    witness: str  # name of its key
    code: Literal["fork", "rollback", "bad_proof", "stopped"]  # fork and rollback were proven by a note of our own key
    witness_size: int  # of the largest checkpoint that the witness knows
    witness_sha256: Sha256Hex | None  # of that note; null: it sent none of ours
    own_size: int  # of this log when it learned of it


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequested(Event):
    """Somebody asks for a command that another person must approve. Its body is in no log: it may name people."""

    TYPE = "command.requested.v1"
    command_id: str  # UUIDv7, see commands.md
    station: str  # that it is for
    kind: str  # kind of command with version
    body_sha256: Sha256Hex  # of the body's exact text
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandApproved(Event):
    """A second person approves a command. Stated before the command is issued, so that the command can prove it."""

    TYPE = "command.approved.v1"
    command_id: str  # see command.requested.v1
    body_sha256: Sha256Hex  # of the body's exact text, as the approver saw it
    approved_by: str  # account; never the one that requested it


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandWithdrawn(Event):
    """A command that was requested and not yet issued will not be."""

    TYPE = "command.withdrawn.v1"
    command_id: str  # see command.requested.v1
    withdrawn_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandIssued(Event):
    """The hub tells a station to do something; the station answers with command.answered.v1."""

    TYPE = "command.issued.v1"
    command_id: str  # UUIDv7, see commands.md
    station: str  # that it is for
    number: int  # gapless from 1 per station
    kind: str  # kind of command with version
    body_sha256: Sha256Hex  # of the body's exact text
    command_sha256: Sha256Hex  # of the command's envelope
    expires_at: datetime  # by the hub's clock
    requested_by: str  # account
    approved_by: str | None  # account; null for a kind that one person may order


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotationRequested(Event):
    """Somebody asks to replace one of the hub's keys; the new key is made and not yet used. A later request for the
    same role takes this one's place."""

    TYPE = "key.rotation_requested.v1"
    change_id: str  # UUIDv7
    role: KeyRole  # what the key signs
    old_line: str  # key line in use
    new_line: str  # key line that shall follow
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotated(Event):
    """A key of the hub is replaced: from the next entry on, and the next checkpoint, only the new one counts."""

    TYPE = "key.rotated.v1"
    change_id: str  # see key.rotation_requested.v1
    role: KeyRole  # what the key signs
    old_line: str  # key line so far
    new_line: str  # key line from now on; the same name
    old_signature: str  # base64: of the old key over the rotation's text, see keys.md
    new_signature: str  # base64: of the new key over the same text
    requested_by: str  # account
    approved_by: str  # account; never the one that requested it


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningRemovalRequested(Event):
    """Somebody asks to remove what shows a person behind commitments in the log; another person decides."""

    TYPE = "opening.removal_requested.v1"
    removal_id: str  # UUIDv7, see commitments.md
    field: str  # the committed field, such as officer
    entries: tuple[int, ...]  # log indexes, rising, at most 1000
    reason: RemovalReason  # a code: words of people would be personal detail again
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningRemoved(Event):
    """The values of a committed field of these entries are removed, once and for all; entries and proofs stay."""

    TYPE = "opening.removed.v1"
    removal_id: str  # see opening.removal_requested.v1
    field: str  # as requested
    entries: tuple[int, ...]  # as requested
    reason: RemovalReason  # as requested
    requested_by: str  # account
    approved_by: str  # account; never the one that requested it


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertOpened(Event):
    """Something needs a person. In one commit with its cause; what is already open is not stated again."""

    TYPE = "alert.opened.v1"
    alert_id: str  # UUIDv7
    kind: str  # code, see deploy/docs/alerts.md
    subject: str  # what it is about, by machine: one alert of a kind is open about it
    station: str | None  # whose section it belongs to, unless the kind is the whole bureau's
    camera: str | None  # as the dock identified it
    bay: str | None  # port of the dock
    detail: str  # a code or a figure, for the alert's words
    cause: (
        int | None
    )  # log index of the entry that it follows from; null: time has passed, or a state that nobody signed


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertHandled(Event):
    """An alert was taken note of, given to somebody, or went to the next because nobody took note of it in time."""

    TYPE = "alert.handled.v1"
    alert_id: str  # see alert.opened.v1
    step: Literal["acknowledged", "assigned", "escalated"]  # what was done
    account: str | None  # who did it; null: time did
    assigned_to: str | None  # account it was given to
    level: int  # how often it has gone to the next
    note: str  # in the person's words


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertResolved(Event):
    """An alert is over. In one commit with what ended it."""

    TYPE = "alert.resolved.v1"
    alert_id: str  # see alert.opened.v1
    account: str | None  # who resolved it; null: it ended by itself
    cause: int | None  # log index of the entry that ended it; null: a person, a state, or time
    count: int  # how often it was met while it was open
    note: str  # in the person's words


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageViewStarted(Event):
    """The holder of a grant is about to view a recording (Art. 17). Stated before the first byte of it; the station
    that keeps the footage gives none without the proof that this is in the log, see viewing.md."""

    TYPE = "footage.view_started.v1"
    viewing_id: str  # UUIDv7, names the viewing
    account: str  # who views
    recording: int  # log index of its seal
    grant_id: str  # the command grant.v1 that allows it
    purpose: str  # as granted
    station: str  # that keeps the footage
    docking_id: str  # see segment.sealed.v1
    file_sha256: Sha256Hex  # see segment.sealed.v1


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageViewed(Event):
    """A viewing ended. Where it is not `exact` the hub broke off meanwhile and the figures are upper bounds."""

    TYPE = "footage.viewed.v1"
    viewing_id: str  # see footage.view_started.v1
    account: str  # who viewed
    recording: int  # log index of its seal
    bytes_streamed: int  # sent to the browser, parts that were sent twice counted twice
    chunks_streamed: int  # different chunks of 1 MiB among them, begun ones included
    chunk_count: int  # that the file has
    seconds_streamed: int | None  # playing time of these chunks at the file's mean bit rate; null: length not known
    exact: bool
    reason: Literal["closed", "idle", "grant_over", "mismatch", "hub_stopped"]  # why it ended


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageMismatched(Event):
    """What a station gave for viewing is not what it sealed; nothing of this chunk was shown."""

    TYPE = "footage.mismatched.v1"
    viewing_id: str  # see footage.view_started.v1
    account: str  # who viewed
    recording: int  # log index of its seal
    station: str  # that gave it
    chunk: int | None  # number of the chunk, from 0; null: the station says that its file has another size
    leaf_sha256: Sha256Hex | None  # leaf hash of what came, see rolling-hash.md; null with the former


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingLabelled(Event):
    """Somebody states what recordings are about (Art. 4, 10). A field that is null says nothing, and leaves what stood.

    Nothing is overwritten: of each field the newest statement counts that was not undone, and all of them stay.
    """

    TYPE = "recording.labelled.v1"
    COMMITTED: ClassVar = ("case_number", "matter", "place")
    labelling_id: str  # UUIDv7
    recordings: tuple[int, ...]  # log indexes of their seals, rising, at most 1000
    account: str  # who states it
    kind: RecordingKind | None  # of the work, in the words of Art. 4
    parties_present: bool | None  # whether parties are seen or heard; never who
    place_commitment: Sha256Hex | None  # where it was recorded, see commitments.md
    matter_commitment: Sha256Hex | None  # what it was about
    case_number_commitment: Sha256Hex | None  # of the case file


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingLabelsUndone(Event):
    """A labelling counts no more, for all its recordings; what stood before it stands again."""

    TYPE = "recording.labels_undone.v1"
    labelling_id: str  # see recording.labelled.v1
    recordings: tuple[int, ...]  # as labelled
    account: str  # who undoes it


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingMarked(Event):
    """Recordings carry a mark of secrecy from now on (Art. 18). One person may raise it; see below for lowering."""

    TYPE = "recording.marked.v1"
    recordings: tuple[int, ...]  # log indexes of their seals, rising, at most 1000
    mark: SecrecyMark  # never lower than it was; the same: nothing changes
    account: str  # who marks; from now on among those who may know them, if their mark was normal


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingKnowingChanged(Event):
    """Whether an account is among those who may know more of restricted recordings than that they exist (Art. 18)."""

    TYPE = "recording.knowing_changed.v1"
    recordings: tuple[int, ...]  # log indexes of their seals, rising, at most 1000
    account: str  # whose need to know it is
    may_know: bool
    decided_by: str  # account; never the one that is let in


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingMarkRequested(Event):
    """Somebody asks that recordings carry a lower mark; another person decides."""

    TYPE = "recording.mark_requested.v1"
    request_id: str  # UUIDv7
    recordings: tuple[int, ...]  # log indexes of their seals, rising, at most 1000
    mark: SecrecyMark  # the mark that they shall carry
    reason: LoweringReason  # a code: words would tell what the mark protects
    requested_by: str  # account


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingMarkDecided(Event):
    """A lower mark that was requested was decided; when approved, this is also when it took effect."""

    TYPE = "recording.mark_decided.v1"
    request_id: str  # see recording.mark_requested.v1
    recordings: tuple[int, ...]  # as requested
    mark: SecrecyMark  # as requested
    approved: bool  # false: refused, or withdrawn by whoever had asked
    decided_by: str  # account; when approved never the one that asked


HUB_EVENTS: tuple[type[Event], ...] = (
    StationEnrolled,
    StationEnrolledV2,
    StationEnrolmentRequested,
    StationEnrolmentRefused,
    StationFrozen,
    KeyRevocationRequested,
    KeyRevoked,
    EnvelopeRefused,
    AccountCreated,
    AccountChangeRequested,
    AccountChangeDecided,
    SectionRequested,
    SectionDecided,
    SecondFactorSet,
    TokenAdded,
    TokenRevoked,
    IdentityLinked,
    IdentityUnlinked,
    IdentityUsed,
    SignedIn,
    ExportRequested,
    ExportDecided,
    UseRequested,
    UseDecided,
    UseRevoked,
    CopyEnded,
    BundleExported,
    BundleFinished,
    LogReaderAdded,
    LogReaderRevoked,
    LogExported,
    LogExportFinished,
    LogRestored,
    WitnessAdded,
    WitnessRemoved,
    WitnessRemovalRequested,
    WitnessRemovedV2,
    WitnessPolicySet,
    WitnessRefused,
    CommandRequested,
    CommandApproved,
    CommandWithdrawn,
    CommandIssued,
    KeyRotationRequested,
    KeyRotated,
    OpeningRemovalRequested,
    OpeningRemoved,
    AlertOpened,
    AlertHandled,
    AlertResolved,
    FootageViewStarted,
    FootageViewed,
    FootageMismatched,
    RecordingLabelled,
    RecordingLabelsUndone,
    RecordingMarked,
    RecordingKnowingChanged,
    RecordingMarkRequested,
    RecordingMarkDecided,
)
