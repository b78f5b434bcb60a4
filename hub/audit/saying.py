"""What an entry of the log says, as a person would say it in one sentence. Pure.

Names out of the entry stand in it as they came; whoever shows the sentence makes them inert, as any value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from custody.event import Event
from custody.hubevents import (
    AccountChangeDecided,
    AccountChangeRequested,
    AccountCreated,
    AlertHandled,
    AlertOpened,
    AlertResolved,
    BundleExported,
    BundleFinished,
    CommandApproved,
    CommandIssued,
    CommandRequested,
    CommandWithdrawn,
    CopyEnded,
    EnvelopeRefused,
    ExportDecided,
    ExportRequested,
    FootageMismatched,
    FootageViewed,
    FootageViewStarted,
    IdentityLinked,
    IdentityUnlinked,
    IdentityUsed,
    KeyRevocationRequested,
    KeyRevoked,
    KeyRotated,
    KeyRotationRequested,
    LogExported,
    LogExportFinished,
    LogReaderAdded,
    LogReaderRevoked,
    LogRestored,
    OpeningRemovalRequested,
    OpeningRemoved,
    RecordingKnowingChanged,
    RecordingLabelled,
    RecordingLabelsUndone,
    RecordingMarkDecided,
    RecordingMarked,
    RecordingMarkRequested,
    SecondFactorSet,
    SectionDecided,
    SectionRequested,
    SignedIn,
    StationEnrolled,
    StationEnrolledV2,
    StationEnrolmentRefused,
    StationEnrolmentRequested,
    StationFrozen,
    TokenAdded,
    TokenRevoked,
    UseDecided,
    UseRequested,
    UseRevoked,
    WitnessAdded,
    WitnessPolicySet,
    WitnessRefused,
    WitnessRemovalRequested,
    WitnessRemoved,
    WitnessRemovedV2,
)
from custody.stationevents import (
    CameraChecked,
    CameraCheckedOut,
    CameraDocked,
    CameraLeft,
    CameraOverdue,
    CameraReturned,
    CameraUnlocked,
    CommandAnswered,
    DeviceRefused,
    DispositionFinished,
    DispositionIntended,
    DockingClosed,
    DockingStarted,
    LogCleared,
    LogRefused,
    ReleaseFinished,
    ReleaseIntended,
    SecretKept,
    SegmentSealed,
    StationKeyRotated,
    StationStarted,
    ViewingOffered,
    WitnessOffered,
)
from hub.alerts.saying import About, speak
from hub.language import mark
from hub.openings.reading import PLAIN, Unshown, reveal
from hub.vocabulary import CHANGES, COPY_ENDS, OFFLOADS, USES
from hub.wording import Wording, size, whole

LOG_WHOLE = mark("the whole log")
EVERYTHING_READ = mark("everything on the card")
NOT_EVERYTHING_READ = mark("not everything could be read")
COMMAND_LINE_ALONE = mark("nobody (on the command line, by one person)")
AT_MOST = mark(" (at most; the hub broke off meanwhile)")
CONCEALED = mark("A restricted recording: what it is called is told to those who may know it.")
MAY_KNOW, MAY_NOT_KNOW = mark("may know them"), mark("may know them no more")
APPROVED, REFUSED = mark("approved"), mark("refused")
BY_ITSELF = mark("nobody: it ended by itself")
ESCALATED = mark("nobody took note of it in time, so it went to the next as well")
ASSIGNED = mark("%(account)s gave it to %(to)s")
ACKNOWLEDGED = mark("%(account)s took note of it")
COPY_NUMBER = mark("Copy no. %(n)s.")
# message, and its values out of the event
_Said = tuple[str, Callable[[Wording, Any], dict[str, object]]]


def _of(*names: str) -> Callable[[Wording, Any], dict[str, object]]:
    return lambda _, e: {name: getattr(e, name) for name in names}


def _person(words: Wording, value: str) -> str:
    """An officer's number, or why it is not shown."""
    return words.say(value) if isinstance(value, Unshown) else value


def _check(words: Wording, e: CameraChecked) -> dict[str, object]:
    charge = "?" if e.charge.percent is None else f"{e.charge.percent} %"
    return {"camera_id": e.camera_id, "bay": e.bay, "verdict": words.verdict(e.verdict), "charge": charge}


def _alert(words: Wording, about: About) -> dict[str, object]:
    said = speak(words, about)
    return {"title": said.title, "what": said.what}


def _alert_step(words: Wording, e: AlertHandled) -> str:
    if e.step == "escalated":
        return words.say(ESCALATED)
    if e.step == "assigned":
        return words.say(ASSIGNED, account=e.account, to=e.assigned_to)
    return words.say(ACKNOWLEDGED, account=e.account)


SENTENCES: dict[type[Event], _Said] = {
    StationStarted: (mark("The station's program came up: %(software)s."), _of("software")),
    DockingStarted: (
        mark("Began to offload camera %(camera)s in bay %(bay)s: %(files)s new files, %(bytes)s."),
        lambda _, e: {"camera": e.camera_id, "bay": e.bay, "files": whole(e.new_files), "bytes": size(e.new_bytes)},
    ),
    SegmentSealed: (
        mark("Copied %(path)s of camera %(camera)s (%(bytes)s), read it back and fixed its digests."),
        lambda _, e: {"path": e.path, "camera": e.camera_id, "bytes": size(e.size_bytes)},
    ),
    DockingClosed: (
        mark(
            "Ended the offload of camera %(camera)s in bay %(bay)s: %(copied)s of %(listed)s files copied; %(reason)s."
        ),
        lambda words, e: {
            "camera": e.camera_id,
            "bay": e.bay,
            "copied": whole(e.counts.copied),
            "listed": whole(e.counts.listed),
            "reason": words.reason(e.reason),
        },
    ),
    CameraDocked: (mark("Camera %(camera_id)s was put into bay %(bay)s."), _of("camera_id", "bay")),
    CameraChecked: (mark("Camera %(camera_id)s in bay %(bay)s was checked: %(verdict)s, charge %(charge)s."), _check),
    CameraCheckedOut: (
        mark("Officer %(officer)s takes camera %(camera)s from bay %(bay)s for duty, due back %(due)s."),
        lambda words, e: {
            "officer": _person(words, e.officer),
            "camera": e.camera_id,
            "bay": e.bay,
            "due": words.moment(e.due_at),
        },
    ),
    CameraLeft: (
        mark("Camera %(camera)s was taken out of bay %(bay)s; its offload: %(offload)s."),
        lambda words, e: {
            "camera": e.camera_id,
            "bay": e.bay,
            "offload": words.say(OFFLOADS.get(e.offload, e.offload)),
        },
    ),
    CameraReturned: (
        mark("Camera %(camera_id)s, checked out by officer %(officer)s, is back in bay %(bay)s."),
        lambda words, e: {"camera_id": e.camera_id, "officer": _person(words, e.officer), "bay": e.bay},
    ),
    CameraOverdue: (
        mark("Camera %(camera)s, checked out by officer %(officer)s, did not come back; it was due %(due)s."),
        lambda words, e: {"camera": e.camera_id, "officer": _person(words, e.officer), "due": words.moment(e.due_at)},
    ),
    DeviceRefused: (
        mark("Bay %(bay)s refused a device (%(product)s): %(reason)s. Nothing was read from it."),
        lambda words, e: {"bay": e.bay, "product": e.product or e.usb_id, "reason": words.reason(e.reason)},
    ),
    SecretKept: (
        mark("Secret footage is kept at the station, encrypted to the custodian: %(files)s files, %(whole)s."),
        lambda words, e: {
            "files": e.files,
            "whole": words.say(EVERYTHING_READ if e.complete else NOT_EVERYTHING_READ),
        },
    ),
    StationEnrolled: (mark("Station %(station)s was enrolled with its key."), _of("station")),
    StationEnrolledV2: (
        mark("Station %(station)s was enrolled with its key; asked for by %(by)s, code compared by %(other)s."),
        lambda words, e: {
            "station": e.station,
            "by": e.requested_by,
            "other": e.approved_by or words.say(COMMAND_LINE_ALONE),
        },
    ),
    StationEnrolmentRequested: (
        mark("%(requested_by)s asks to enrol station %(station)s."),
        _of("requested_by", "station"),
    ),
    StationEnrolmentRefused: (
        mark("Station %(station)s is not enrolled with the key that was given: decided by %(decided_by)s."),
        _of("station", "decided_by"),
    ),
    StationFrozen: (
        mark("Nothing more is taken from station %(station)s: %(reason)s."),
        lambda words, e: {"station": e.station, "reason": words.reason(e.reason)},
    ),
    EnvelopeRefused: (
        mark("%(count)s messages under %(topic)s were not taken in: %(reason)s."),
        lambda words, e: {"count": whole(e.count), "topic": e.topic, "reason": words.reason(e.reason)},
    ),
    AccountCreated: (
        mark("Account %(account)s was created with the role: %(role)s."),
        lambda words, e: {"account": e.account, "role": words.role(e.role)},
    ),
    AccountChangeRequested: (
        mark("%(by)s asks for a change of account %(account)s (%(change)s), because: %(why)s."),
        lambda words, e: {
            "by": e.requested_by,
            "account": e.account,
            "change": words.say(CHANGES.get(e.change, e.change)),
            "why": e.reason,
        },
    ),
    AccountChangeDecided: (
        mark("The change of account %(account)s (%(change)s) was decided by %(by)s: %(how)s."),
        lambda words, e: {
            "account": e.account,
            "change": words.say(CHANGES.get(e.change, e.change)),
            "by": e.decided_by or "—",
            "how": words.say(APPROVED if e.approved else REFUSED),
        },
    ),
    SectionRequested: (
        mark("%(by)s asks that %(who)s belong to section %(section)s, because: %(why)s."),
        lambda words, e: {
            "by": e.requested_by,
            "who": e.account or e.station,
            "section": e.section or "—",
            "why": e.reason,
        },
    ),
    SectionDecided: (
        mark("That %(who)s belong to section %(section)s was decided by %(by)s: %(how)s."),
        lambda words, e: {
            "who": e.account or e.station,
            "section": e.section or "—",
            "by": e.decided_by,
            "how": words.say(APPROVED if e.approved else REFUSED),
        },
    ),
    SecondFactorSet: (mark("Account %(account)s signs in with a second factor from now on."), _of("account")),
    TokenAdded: (
        mark("%(account)s made a token with which a program reads, for: %(purpose)s; good until %(until)s."),
        lambda words, e: {"account": e.account, "purpose": e.purpose, "until": words.moment(e.expires_at)},
    ),
    TokenRevoked: (mark("%(account)s ended one of their tokens."), _of("account")),
    IdentityLinked: (
        mark("%(account)s connected the account with an identity at %(issuer)s."),
        _of("account", "issuer"),
    ),
    IdentityUnlinked: (mark("%(account)s disconnected the account from its identity elsewhere."), _of("account")),
    IdentityUsed: (
        mark("%(issuer)s vouched for %(account)s, in place of the password."),
        _of("account", "issuer"),
    ),
    SignedIn: (mark("%(account)s signed in."), _of("account")),
    ExportRequested: (
        mark("%(by)s asks to export %(count)s recordings (%(bytes)s) for %(recipient)s, because: %(why)s."),
        lambda _, e: {
            "by": e.requested_by,
            "count": whole(e.recordings_in_all),
            "bytes": size(e.bytes_in_all),
            "recipient": e.recipient,
            "why": e.reason,
        },
    ),
    ExportDecided: (
        mark("The export that was asked for was decided by %(by)s: %(how)s."),
        lambda words, e: {"by": e.decided_by, "how": words.say(APPROVED if e.approved else REFUSED)},
    ),
    UseRequested: (
        mark("%(by)s asks for: %(use)s; %(count)s recordings (%(bytes)s), for %(who)s, because: %(why)s."),
        lambda words, e: {
            "by": e.requested_by,
            "use": words.say(USES.get(e.use, e.use)),
            "count": whole(e.recordings_in_all),
            "bytes": size(e.bytes_in_all),
            "who": e.holder or e.recipient,
            "why": e.reason,
        },
    ),
    UseDecided: (
        mark("The use of footage that was asked for was decided by %(by)s: %(how)s. %(why)s"),
        lambda words, e: {
            "by": e.decided_by,
            "how": words.say(APPROVED if e.approved else REFUSED),
            "why": e.reason or (words.say(COPY_NUMBER, n=e.copy_number) if e.copy_number else ""),
        },
    ),
    UseRevoked: (
        mark("%(revoked_by)s revoked the approval of a use of footage, because: %(reason)s."),
        _of("revoked_by", "reason"),
    ),
    CopyEnded: (
        mark("%(by)s notes of copy no. %(n)s: %(how)s. %(note)s"),
        lambda words, e: {
            "by": e.noted_by,
            "n": e.copy_number,
            "how": words.say(COPY_ENDS.get(e.how, e.how)),
            "note": e.note,
        },
    ),
    BundleExported: (
        mark("%(operator)s exports %(count)s recordings (%(bytes)s) for %(recipient)s, because: %(why)s."),
        lambda _, e: {
            "operator": e.operator,
            "count": whole(e.recordings_in_all),
            "bytes": size(e.bytes_in_all),
            "recipient": e.recipient,
            "why": e.reason,
        },
    ),
    BundleFinished: (
        mark("The export of a bundle ended: %(reason)s."),
        lambda words, e: {"reason": words.reason(e.reason)},
    ),
    LogExported: (
        mark("%(account)s exports %(count)s log entries as %(format)s: %(what)s."),
        lambda words, e: {
            "account": e.account,
            "count": whole(e.entries),
            "format": e.format,
            "what": e.selection or words.say(LOG_WHOLE),
        },
    ),
    LogExportFinished: (
        mark("The export of log entries ended: %(reason)s, %(bytes)s."),
        lambda words, e: {"reason": words.reason(e.reason), "bytes": size(e.size_bytes)},
    ),
    LogReaderAdded: (mark("Program %(reader)s may read log entries."), _of("reader")),
    LogReaderRevoked: (mark("Program %(reader)s may read log entries no more."), _of("reader")),
    LogRestored: (
        mark(
            "After a restore the log was refilled from %(base)s to %(size)s entries; %(by)s held its newest checkpoint."
        ),
        lambda words, e: {"base": whole(e.base_size), "size": whole(e.size), "by": e.held_by},
    ),
    CameraUnlocked: (
        mark("A recorder in bay %(bay)s was given the commands of profile %(profile)s."),
        _of("bay", "profile"),
    ),
    ReleaseIntended: (
        mark("Begins to clear %(files)s files from camera %(camera)s; asked for by %(by)s, approved by %(approver)s."),
        lambda _, e: {
            "files": whole(e.files),
            "camera": e.camera_id,
            "by": e.requested_by,
            "approver": e.approved_by,
        },
    ),
    ReleaseFinished: (
        mark("Clearing camera %(camera)s ended: %(cleared)s files cleared, %(kept)s kept, %(unknown)s unknown."),
        lambda _, e: {
            "camera": e.camera_id,
            "cleared": whole(e.cleared),
            "kept": whole(e.kept),
            "unknown": whole(e.unknown),
        },
    ),
    DispositionIntended: (
        mark(
            "Begins to dispose of %(files)s files of offload %(docking)s in the vault (%(basis)s); asked for by "
            "%(by)s, approved by %(approver)s."
        ),
        lambda _, e: {
            "files": whole(len(e.entries)),
            "docking": e.docking_id,
            "basis": e.basis,
            "by": e.requested_by,
            "approver": e.approved_by,
        },
    ),
    DispositionFinished: (
        mark(
            "Disposition of footage of offload %(docking)s ended: %(gone)s files left the vault, %(kept)s stayed; "
            "%(why)s."
        ),
        lambda words, e: {
            "docking": e.docking_id,
            "gone": whole(len(e.disposed)),
            "kept": whole(len(e.kept)),
            "why": words.reason(e.rule),
        },
    ),
    CommandRequested: (
        mark("%(by)s asks that station %(station)s is told: %(what)s."),
        lambda words, e: {"by": e.requested_by, "station": e.station, "what": words.command_kind(e.kind)},
    ),
    CommandApproved: (mark("%(approved_by)s approved a command to a station."), _of("approved_by")),
    CommandWithdrawn: (mark("%(withdrawn_by)s withdrew a command before it was sent."), _of("withdrawn_by")),
    CommandIssued: (
        mark("Station %(station)s was told by command %(number)s: %(what)s."),
        lambda words, e: {"station": e.station, "number": e.number, "what": words.command_kind(e.kind)},
    ),
    CommandAnswered: (
        mark("Command %(number)s (%(what)s): %(result)s; %(reason)s."),
        lambda words, e: {
            "number": e.number,
            "what": words.command_kind(e.kind),
            "result": words.command_state(e.result),
            "reason": words.reason(e.reason),
        },
    ),
    KeyRevocationRequested: (
        mark("%(requested_by)s asks to revoke the key of station %(station)s, because: %(reason)s."),
        _of("requested_by", "station", "reason"),
    ),
    KeyRevoked: (
        mark(
            "The key of station %(station)s counts no more, its events from no. %(from_seq)s on are in doubt; asked "
            "for by %(requested_by)s, approved by %(approved_by)s, because: %(reason)s."
        ),
        _of("station", "from_seq", "requested_by", "approved_by", "reason"),
    ),
    KeyRotationRequested: (
        mark("%(requested_by)s asks to replace the hub's key for: %(role)s."),
        _of("requested_by", "role"),
    ),
    KeyRotated: (
        mark("The hub's key for %(role)s was replaced; asked for by %(requested_by)s, approved by %(approved_by)s."),
        _of("role", "requested_by", "approved_by"),
    ),
    OpeningRemovalRequested: (
        mark("%(by)s asks to remove what shows the person behind %(count)s entries (%(reason)s)."),
        lambda words, e: {
            "by": e.requested_by,
            "count": whole(len(e.entries)),
            "reason": words.reason(e.reason),
        },
    ),
    OpeningRemoved: (
        mark(
            "What shows the person behind %(count)s entries was removed (%(reason)s); asked for by %(by)s, approved by "
            "%(approver)s. The entries and their proofs stay."
        ),
        lambda words, e: {
            "by": e.requested_by,
            "approver": e.approved_by,
            "count": whole(len(e.entries)),
            "reason": words.reason(e.reason),
        },
    ),
    RecordingLabelled: (
        mark("%(account)s stated what %(count)s recordings are about."),
        lambda _, e: {"account": e.account, "count": whole(len(e.recordings))},
    ),
    RecordingLabelsUndone: (
        mark("%(account)s took a labelling of %(count)s recordings back."),
        lambda _, e: {"account": e.account, "count": whole(len(e.recordings))},
    ),
    RecordingMarked: (
        mark("%(account)s gave %(count)s recordings the mark: %(mark)s."),
        lambda words, e: {
            "account": e.account,
            "count": whole(len(e.recordings)),
            "mark": words.secrecy(e.mark),
        },
    ),
    RecordingKnowingChanged: (
        mark("%(by)s decided about %(account)s and %(count)s restricted recordings: %(how)s."),
        lambda words, e: {
            "by": e.decided_by,
            "account": e.account,
            "count": whole(len(e.recordings)),
            "how": words.say(MAY_KNOW if e.may_know else MAY_NOT_KNOW),
        },
    ),
    RecordingMarkRequested: (
        mark("%(by)s asks that %(count)s recordings carry the lower mark %(mark)s (%(why)s)."),
        lambda words, e: {
            "by": e.requested_by,
            "count": whole(len(e.recordings)),
            "mark": words.secrecy(e.mark),
            "why": words.lowering(e.reason),
        },
    ),
    RecordingMarkDecided: (
        mark("The lower mark %(mark)s of %(count)s recordings was decided by %(by)s: %(how)s."),
        lambda words, e: {
            "by": e.decided_by,
            "count": whole(len(e.recordings)),
            "mark": words.secrecy(e.mark),
            "how": words.say(APPROVED if e.approved else REFUSED),
        },
    ),
    WitnessAdded: (mark("%(operator)s accepted %(witness)s as a witness of this log."), _of("operator", "witness")),
    WitnessRemoved: (mark("%(operator)s lets witness %(witness)s count no more."), _of("operator", "witness")),
    WitnessRemovalRequested: (
        mark("%(requested_by)s asks that witness %(witness)s count no more, because: %(reason)s."),
        _of("requested_by", "witness", "reason"),
    ),
    WitnessRemovedV2: (
        mark(
            "Witness %(witness)s counts no more; asked for by %(requested_by)s, approved by %(approved_by)s, because: "
            "%(reason)s."
        ),
        _of("witness", "requested_by", "approved_by", "reason"),
    ),
    WitnessPolicySet: (
        mark("%(operator)s set that %(needed)s witnesses make a checkpoint a witnessed one."),
        _of("operator", "needed"),
    ),
    WitnessRefused: (
        mark("Witness %(witness)s holds that this log contradicts what it showed before (%(code)s)."),
        _of("witness", "code"),
    ),
    FootageViewStarted: (
        mark("%(account)s begins to view recording %(recording)s by grant %(grant)s, for: %(purpose)s."),
        lambda _, e: {"account": e.account, "recording": e.recording, "grant": e.grant_id, "purpose": e.purpose},
    ),
    FootageViewed: (
        mark(
            "%(account)s has viewed recording %(recording)s: %(bytes)s sent, about %(time)s of it%(unsure)s; "
            "%(reason)s."
        ),
        lambda words, e: {
            "account": e.account,
            "recording": e.recording,
            "bytes": size(e.bytes_streamed),
            "time": words.duration(e.seconds_streamed),
            "unsure": "" if e.exact else words.say(AT_MOST),
            "reason": words.reason(e.reason),
        },
    ),
    FootageMismatched: (
        mark(
            "Station %(station)s gave other bytes of recording %(recording)s than it had sealed (chunk %(chunk)s); "
            "they were not shown."
        ),
        lambda _, e: {
            "station": e.station,
            "recording": e.recording,
            "chunk": "—" if e.chunk is None else whole(e.chunk),
        },
    ),
    ViewingOffered: (
        mark("The station says where footage can be viewed by grant: %(address)s."),
        lambda _, e: {"address": e.address or "—"},
    ),
    WitnessOffered: (mark("The station offers a key to witness the log with."), _of()),
    StationKeyRotated: (mark("The station replaced its key; from its next entry on only the new one counts."), _of()),
    LogRefused: (
        mark("The station refuses the log: a checkpoint does not go with one that it holds (%(code)s)."),
        _of("code"),
    ),
    AlertOpened: (
        mark("Alert: %(title)s. %(what)s"),
        lambda words, e: _alert(words, About(e.kind, e.station, e.camera, e.bay, e.detail)),
    ),
    AlertHandled: (
        mark("Alert: %(step)s%(note)s"),
        lambda words, e: {"step": _alert_step(words, e), "note": f": {e.note}" if e.note else ""},
    ),
    AlertResolved: (
        mark("Alert resolved by %(who)s, after it was met %(count)s times%(note)s"),
        lambda words, e: {
            "who": e.account or words.say(BY_ITSELF),
            "count": whole(e.count),
            "note": f": {e.note}" if e.note else ".",
        },
    ),
    LogCleared: (mark("People at the station decided about a log that it had refused: %(reason)s."), _of("reason")),
}


def _committed(kind: type[Event]) -> _Said:
    """The sentence of the plain forerunner; its names are not in the log."""
    message, values = SENTENCES[kind]
    return message, lambda words, e: values(words, reveal(e))


SENTENCES |= {kind: _committed(plain) for kind, plain in PLAIN.items()}
UNREADABLE = mark("An entry of a kind that this version cannot read. Its bytes are kept and proved like any other.")


def say_event(words: Wording, event: Event | None) -> str:
    """The sentence; None is an entry that this version cannot read."""
    if event is None:
        return words.say(UNREADABLE)
    if type(event) not in SENTENCES:
        return words.entry_type(event.TYPE)
    message, values = SENTENCES[type(event)]
    return words.say(message, **values(words, event))
