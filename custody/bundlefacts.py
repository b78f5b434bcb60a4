"""What a verified bundle says of itself, and what that proves: values for report and pages. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from custody.bundle import CHECKPOINT, ENVELOPES, FINISHED, KEYS, PROOFS
from custody.finding import Finding, Kind


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """One bundle, by its signed statements alone."""

    bundle_id: str | None
    exported_at: str | None  # by the hub's clock, ISO 8601
    recipient: str
    reason: str
    selection: str
    operator: str
    copy_number: int | None  # given with the approval; None of an earlier hub
    recordings: int
    origin: str | None  # of the log
    log_size: int | None
    log_key_given: bool  # the caller gave the key that signed the checkpoint
    stations_by: tuple[tuple[str, str], ...]  # label of a key that signed, and how it is known: given, log, bundle
    cosigned: tuple[tuple[str, str], ...]  # label of a given witness, time it states
    not_cosigned: tuple[str, ...]
    timed: tuple[str, str] | None  # a given authority, and the time it states for the checkpoint
    untimed: str  # why not, where that was asked for or a time-stamp is here: no_authority, no_timestamp
    dockings: int
    whole_dockings: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that a bundle is to prove; `why` names the reason when it does not."""

    name: str
    proved: bool
    why: str = ""
    facts: tuple[str, ...] = ()


_FOOTAGE = {
    Kind.ALTERED, Kind.TRUNCATED, Kind.EXTENDED, Kind.MISSING, Kind.NOT_REGULAR, Kind.SEAL_WRONG, Kind.UNREADABLE,
    Kind.ENVELOPE_ALTERED, Kind.ENVELOPE_MISSING, Kind.EXPORT_WRONG,
}  # fmt: skip
_SIGNED = {
    Kind.ENVELOPE_ALTERED, Kind.ENVELOPE_MISSING, Kind.SIGNER_UNKNOWN, Kind.KEY_REVOKED, Kind.ENVELOPE_WRONG,
    Kind.EXPORT_WRONG,
}  # fmt: skip
_LOGGED = {Kind.CHECKPOINT_ALTERED, Kind.PROOF_ALTERED, Kind.SIGNER_UNKNOWN, Kind.ENVELOPE_MISSING, Kind.EXPORT_WRONG}
_CHAINED = {Kind.CHAIN_BROKEN, Kind.SEQ_REUSED}
_STATEMENTS = {ENVELOPES, PROOFS, CHECKPOINT, KEYS, FINISHED.partition(b"/")[0], b""}  # where statements lie; all of it


def claims(facts: BundleFacts, findings: Iterable[Finding]) -> tuple[Claim, ...]:
    """What is proved and what is not, and why, in the order in which a person asks."""
    found = [f for f in findings if not f.is_information]
    kinds = {f.kind for f in found}
    unseen = not facts.stations_by or any(
        f.kind is Kind.UNREADABLE and (f.path or b"").partition(b"/")[0] in _STATEMENTS for f in found
    )
    in_part = facts.whole_dockings < facts.dockings
    footage = bool(kinds & _FOOTAGE) or not facts.recordings
    by_bundle = [label for label, vouch in facts.stations_by if vouch == "bundle"]
    by_log = [label for label, vouch in facts.stations_by if vouch == "log" and "/" not in label.rpartition("+")[0]]
    signed, logged = not (kinds & _SIGNED or unseen), not (kinds & _LOGGED or unseen)
    return (
        _claim("footage", "finding", failed=footage),
        # whoever made keys of their own can make a whole bundle that agrees with itself
        _claim("whole", "finding" if kinds else "log_key_from_bundle", failed=bool(kinds) or not facts.log_key_given),
        _claim("signed", "keys_from_bundle" if signed else "finding", tuple(by_bundle),
               failed=not signed or bool(by_bundle)),
        _claim("chained", "finding", failed=bool(kinds & _CHAINED) or unseen),
        _claim("logged", "log_key_from_bundle" if logged else "finding", (facts.origin or "?", str(facts.log_size)),
               failed=not logged or not facts.log_key_given),
        *(_claim("cosigned", "", (label, at), failed=False) for label, at in facts.cosigned),
        *(_claim("cosigned", "not_cosigned", (label,), failed=True) for label in facts.not_cosigned),
        *((_claim("timed", "", facts.timed, failed=False),) if facts.timed else ()),
        *((Claim("timed", False, facts.untimed),) if facts.untimed else ()),
        *(() if facts.cosigned else (Claim("one_face", False, "no_witness"),)),
        *((Claim("station_itself", False, "enrolled_by_hub", tuple(by_log)),) if by_log else ()),
        _claim("dockings", "part_of_docking" if in_part else "finding",
               (str(facts.whole_dockings), str(facts.dockings)), failed=in_part or footage),
        Claim("register", False, "hub_says_so"),
        Claim("before_the_dock", False, "outside"),
    )  # fmt: skip


def _claim(name: str, why: str, facts: tuple[str, ...] = (), *, failed: bool) -> Claim:
    return Claim(name, not failed, why if failed else "", facts)
