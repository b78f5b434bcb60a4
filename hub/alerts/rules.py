"""Which events open an alert and which end one. Pure: an event gives signals; `hub.alerts.raising` acts on them.

Every event that exists is in `RULES` or in `NOBODY`: `tests/unit/test_alert_rules.py` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from custody import hubevents as hub
from custody import stationevents as at
from custody.event import Event

MAX_CHARACTERS = 120  # of a name or code from a station; what is longer is cut, so that an alert can always be stated
# faults of a camera that somebody must mend; a battery that is still charging mends itself (agent/readiness.py)
CAMERA_FAULTS = frozenset(
    {"charge_fault", "battery_weak", "no_card", "card_fault", "clock_wrong", "clock_ahead", "clock_unset"}
)
VAULT_FAULTS = frozenset(
    {"vault_full", "vault_read_only", "vault_unwritable", "readback_mismatch", "store_untrusted", "key_unreadable"}
)
CARD_FAULTS = frozenset({"gaps", "read_fault", "unreadable_parts", "unreadable_files", "source_unreadable"})


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that needs somebody (`opens`), or the end of it. `cause`: log index of the entry that says so."""

    kind: str
    subject: str
    opens: bool
    station: str | None = None
    camera: str | None = None
    bay: str | None = None
    detail: str = ""
    cause: int | None = None

    @property
    def plain(self) -> tuple[Any, ...]:
        """All but `cause`, as plain values, to be handed between processes."""
        return self.kind, self.subject, self.opens, self.station, self.camera, self.bay, self.detail


def signals_of(event: Event) -> tuple[Signal, ...]:
    """What follows from one event; nothing for most."""
    rule = RULES.get(type(event))
    return () if rule is None else tuple(rule(event))


def opening(kind: str, subject: str, **facts: str | None) -> Signal:
    """A signal that opens an alert; long names are cut, and hold no NUL, which PostgreSQL refuses."""
    kept = {name: None if value is None else _short(value) for name, value in facts.items()}
    return Signal(kind, _short(subject), opens=True, **kept)  # type: ignore[arg-type]  # only `detail` is never None


def ending(kind: str, subject: str) -> Signal:
    """A signal that ends one."""
    return Signal(kind, _short(subject), opens=False)


def _short(text: str) -> str:
    return text[:MAX_CHARACTERS].replace("\x00", "\ufffd")


# --- cameras ---

_LEFT = (at.CameraLeft, at.CameraLeftV2)


def _docked(e: at.CameraDocked) -> Iterator[Signal]:
    if e.disputed:  # it may be another device: it ends nothing
        yield opening("camera_disputed", e.camera_id, station=e.source, camera=e.camera_id, bay=e.bay)
        return
    for kind in ("camera_disputed", "camera_taken_not_ready", "camera_taken_unrecorded"):
        yield ending(kind, e.camera_id)
    yield ending("loose_contact", f"{e.source}/{e.bay}")


def _checked(e: at.CameraChecked) -> Iterator[Signal]:
    faults = [reason for reason in e.reasons if reason in CAMERA_FAULTS]
    if faults:
        facts = {"station": e.source, "camera": e.camera_id, "bay": e.bay, "detail": faults[0]}
        yield opening("camera_faulty", e.camera_id, **facts)
    else:
        yield ending("camera_faulty", e.camera_id)


def _left(e: Any) -> Iterator[Signal]:
    """`e`: of either version."""
    facts = {"station": e.source, "camera": e.camera_id, "bay": e.bay}
    carried = e.officer if isinstance(e, at.CameraLeft) else e.officer_commitment
    if e.offload == "safe":
        yield ending("footage_unsaved", e.camera_id)
    else:
        yield opening("footage_unsaved", e.camera_id, **facts, detail="source_gone")
    if carried is None:
        yield opening("camera_taken_unrecorded", e.camera_id, **facts)
    elif e.verdict in ("not_ready", "unchecked"):
        yield opening("camera_taken_not_ready", e.camera_id, **facts, detail=e.verdict)


def _overdue(e: Any) -> Iterator[Signal]:
    yield opening("camera_overdue", e.camera_id, station=e.source, camera=e.camera_id)


def _returned(e: Any) -> Iterator[Signal]:
    for kind in ("camera_overdue", "camera_taken_not_ready", "camera_taken_unrecorded"):
        yield ending(kind, e.camera_id)


def _refused_device(e: at.DeviceRefused) -> Iterator[Signal]:
    kind = "loose_contact" if e.reason == "replug_storm" else "device_refused"
    yield opening(kind, f"{e.source}/{e.bay}", station=e.source, bay=e.bay, detail=e.reason)


def _closed(e: at.DockingClosed) -> Iterator[Signal]:
    facts = {"station": e.source, "camera": e.camera_id, "bay": e.bay, "detail": e.reason}
    if e.complete:
        yield ending("footage_unsaved", e.camera_id)
        yield ending("card_unreadable", e.camera_id)
        yield ending("vault_failing", e.source)
    elif e.reason in CARD_FAULTS:
        yield opening("card_unreadable", e.camera_id, **facts)
    elif e.reason != "source_empty":
        if e.reason in VAULT_FAULTS:
            yield opening("vault_failing", e.source, station=e.source, detail=e.reason)
        yield opening("footage_unsaved", e.camera_id, **facts)


def _secret(e: at.SecretKept) -> Iterator[Signal]:
    if not e.complete:  # which camera, nobody may know
        yield opening("secret_incomplete", f"{e.source}/{e.secret_id}", station=e.source)


def _release(e: at.ReleaseFinished) -> Iterator[Signal]:
    if e.outcome != "cleared":
        facts = {"station": e.source, "camera": e.camera_id, "bay": e.bay, "detail": e.rule}
        yield opening("clearing_failed", e.camera_id, **facts)


def _disposed(e: at.DispositionFinished) -> Iterator[Signal]:
    if e.outcome != "disposed":
        facts = {"station": e.source, "camera": e.camera_id, "detail": e.rule}
        yield opening("disposition_failed", e.disposition_id, **facts)


# --- stations ---


def _answered(e: at.CommandAnswered) -> Iterator[Signal]:
    if e.result != "accepted":
        yield opening("command_failed", f"{e.source}#{e.number}", station=e.source, detail=str(e.number))


def _log_refused(e: at.LogRefused) -> Iterator[Signal]:
    yield opening("log_refused", e.source, station=e.source, detail=e.code)


def _log_cleared(e: at.LogCleared) -> Iterator[Signal]:
    yield ending("log_refused", e.source)


def _offered(e: at.WitnessOffered) -> Iterator[Signal]:
    yield opening("witness_offered", e.source, station=e.source)


# --- the hub's own ---


def _witness_added(e: hub.WitnessAdded) -> Iterator[Signal]:
    if e.station is not None:
        yield ending("witness_offered", e.station)


def _witness_refused(e: hub.WitnessRefused) -> Iterator[Signal]:
    yield opening("witness_refused", e.witness, detail=e.code)


def _frozen(e: hub.StationFrozen) -> Iterator[Signal]:
    yield opening("station_frozen", e.station, station=e.station, detail=e.reason)


def _revoked(e: hub.KeyRevoked) -> Iterator[Signal]:
    yield ending("station_frozen", e.station)
    yield opening("key_revoked", e.station, station=e.station)


def _refused_messages(e: hub.EnvelopeRefused) -> Iterator[Signal]:
    if e.reason not in ("station_frozen", "key_revoked"):  # these have alerts of their own
        yield opening("messages_refused", e.reason, detail=e.reason)


def _mismatched(e: hub.FootageMismatched) -> Iterator[Signal]:
    yield opening("footage_mismatched", str(e.recording), station=e.station, detail=str(e.recording))


def _bundle(e: hub.BundleFinished) -> Iterator[Signal]:
    if not e.complete:
        yield opening("export_failed", e.bundle_id, detail=e.reason)


def _restored(e: hub.LogRestored) -> Iterator[Signal]:
    if e.without:  # whoever waits for everybody loses nothing
        yield opening("log_restored", str(e.size), detail=", ".join(e.without))


RULES: dict[type[Event], Callable[[Any], Iterator[Signal]]] = {
    at.CameraDocked: _docked,
    at.CameraChecked: _checked,
    **dict.fromkeys(_LEFT, _left),
    at.CameraOverdue: _overdue,
    at.CameraOverdueV2: _overdue,
    at.CameraReturned: _returned,
    at.CameraReturnedV2: _returned,
    at.DeviceRefused: _refused_device,
    at.DockingClosed: _closed,
    at.SecretKept: _secret,
    at.ReleaseFinished: _release,
    at.DispositionFinished: _disposed,
    at.CommandAnswered: _answered,
    at.LogRefused: _log_refused,
    at.LogCleared: _log_cleared,
    at.WitnessOffered: _offered,
    hub.WitnessAdded: _witness_added,
    hub.WitnessRefused: _witness_refused,
    hub.StationFrozen: _frozen,
    hub.KeyRevoked: _revoked,
    hub.EnvelopeRefused: _refused_messages,
    hub.FootageMismatched: _mismatched,
    hub.BundleFinished: _bundle,
    hub.LogRestored: _restored,
}
NOBODY: frozenset[type[Event]] = frozenset(
    {
        # daily work
        at.StationStarted,
        at.DockingStarted,
        at.SegmentSealed,  # what is wrong with files is in the reason of the docking's closing
        at.CameraUnlocked,  # a clock that was wrong is in the check that follows
        at.CameraCheckedOut,  # with what verdict, its departure says again
        at.CameraCheckedOutV2,
        at.ReleaseIntended,
        at.DispositionIntended,
        at.ViewingOffered,
        at.StationKeyRotated,
        hub.FootageViewStarted,
        hub.FootageViewed,
        hub.CopyEnded,
        hub.UseRevoked,
        hub.SignedIn,
        hub.SecondFactorSet,
        hub.TokenAdded,
        hub.TokenRevoked,
        hub.LogReaderAdded,
        hub.LogReaderRevoked,
        hub.LogExported,
        hub.LogExportFinished,  # whoever exported sees how it ended
        hub.BundleExported,
        hub.CommandIssued,  # one that nobody answers is watched
        # requests are watched while they wait, and whoever decides knows
        hub.StationEnrolmentRequested,
        hub.StationEnrolmentRefused,
        hub.StationEnrolled,
        hub.StationEnrolledV2,
        hub.KeyRevocationRequested,
        hub.AccountCreated,
        hub.AccountChangeRequested,
        hub.AccountChangeDecided,
        hub.SectionRequested,
        hub.SectionDecided,
        hub.ExportRequested,
        hub.ExportDecided,
        hub.UseRequested,
        hub.UseDecided,
        hub.CommandRequested,
        hub.CommandApproved,
        hub.CommandWithdrawn,
        hub.KeyRotationRequested,
        hub.KeyRotated,
        hub.OpeningRemovalRequested,
        hub.OpeningRemoved,
        hub.WitnessRemoved,
        hub.WitnessRemovedV2,
        hub.WitnessRemovalRequested,
        hub.WitnessPolicySet,
        # recordings: whoever states or asks sees what came of it; lower marks that wait are watched
        hub.RecordingLabelled,
        hub.RecordingLabelsUndone,
        hub.RecordingMarked,
        hub.RecordingKnowingChanged,
        hub.RecordingMarkRequested,
        hub.RecordingMarkDecided,
        # signing in by another office's accounts
        hub.IdentityLinked,
        hub.IdentityUnlinked,
        hub.IdentityUsed,
        # alerts themselves
        hub.AlertOpened,
        hub.AlertHandled,
        hub.AlertResolved,
    }
)
