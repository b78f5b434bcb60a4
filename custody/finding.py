"""What `custody verify` can find: kinds with stable names, and the exit code they lead to.

Kinds are part of the interface (``custody/spec/verify.md``): never change or reuse one. Wording is in report.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Exit(IntEnum):
    """Exit codes of `custody verify`."""

    VERIFIED = 0
    ALTERED = 1  # altered or incomplete
    USAGE = 2
    UNREADABLE = 3  # something could not be read, or was not looked at; all else is as sealed
    NOTHING = 4  # no docking at this path


class Kind(StrEnum):
    """One kind of finding."""

    # footage
    ALTERED = "altered"
    TRUNCATED = "truncated"
    EXTENDED = "extended"
    MISSING = "missing"
    NOT_REGULAR = "not_regular"  # a symlink, folder or device where the file was
    ADDED = "added"
    UNSEALED = "unsealed"  # in a docking whose manifest is damaged: no intact seal covers this file
    UNREADABLE = "unreadable"
    # what lies beside the footage
    LEAVES_ALTERED = "leaves_altered"
    LEAVES_MISSING = "leaves_missing"
    SUMS_ALTERED = "sums_altered"
    SUMS_MISSING = "sums_missing"
    KEY_FILE_ALTERED = "key_file_altered"
    KEY_FILE_MISSING = "key_file_missing"
    KEY_FILE_OTHER = "key_file_other"  # a valid key, but not the one that signed
    # statements of the station
    NOT_CLOSED = "not_closed"
    CUSTODY_MISSING = "custody_missing"  # a docking's folder without .custody
    CLOSING_ALTERED = "closing_altered"
    CLOSING_MISSING = "closing_missing"
    MANIFEST_ALTERED = "manifest_altered"
    MANIFEST_MISSING = "manifest_missing"
    MANIFEST_WRONG = "manifest_wrong"  # as signed, but contradicts itself
    COUNTS_WRONG = "counts_wrong"
    ENTRIES_WRONG = "entries_wrong"
    SEAL_ALTERED = "seal_altered"
    SEAL_WRONG = "seal_wrong"  # authentic, but does not belong here or contradicts itself
    KEY_REVOKED = "key_revoked"  # the log says that this key did not count, or is in doubt, for this event
    SIGNER_UNKNOWN = "signer_unknown"  # none of the trusted keys
    DISPOSITION_ALTERED = "disposition_altered"  # the record of a disposition proves nothing
    # across dockings
    STRAY = "stray"
    SEQ_REUSED = "seq_reused"
    CHAIN_BROKEN = "chain_broken"
    DOCKING_TWICE = "docking_twice"
    BUNDLE_APART = "bundle_apart"  # not looked at: a bundle is verified by itself
    REFERENCE_WRONG = "reference_wrong"
    # bundles
    BAG_ALTERED = "bag_altered"  # one of the bag's own files does not read, or is not what was finished
    BAG_FILE_ALTERED = "bag_file_altered"  # not what the tag manifest says
    BAG_FILE_MISSING = "bag_file_missing"
    BAG_FILE_UNKNOWN = "bag_file_unknown"  # belongs to nothing that the bundle states
    CHECKPOINT_ALTERED = "checkpoint_altered"
    COSIGNATURE_ALTERED = "cosignature_altered"
    TIMESTAMP_ALTERED = "timestamp_altered"
    ENVELOPE_ALTERED = "envelope_altered"
    ENVELOPE_MISSING = "envelope_missing"  # the statement of the export lists it
    ENVELOPE_WRONG = "envelope_wrong"  # authentic, but does not belong here
    PROOF_ALTERED = "proof_altered"
    EXPORT_WRONG = "export_wrong"  # statement of the export: missing, or contradicts what is here
    FINISH_WRONG = "finish_wrong"  # statement that the bundle is whole: missing, altered, or says that it is not
    # information: changes no verdict
    INSIDE_DOCKING = "inside_docking"
    STAGING = "staging"
    INCOMPLETE_OFFLOAD = "incomplete_offload"
    GAPS = "gaps"
    REFERENCE_ELSEWHERE = "reference_elsewhere"
    COPY_OF_DOCKING = "copy_of_docking"
    SEQS_ABSENT = "seqs_absent"
    DISPOSED = "disposed"  # the file left the vault by authority; its seal, leaves and manifest are here
    DISPOSITION = "disposition"  # the authority, as the log proves it
    DISPOSITION_STATED = "disposition_stated"  # the same as the station states it: no key of the log was given
    CERTIFICATE = "certificate"  # of a release: the log binds it, nothing here does


INFORMATION = frozenset(
    {
        Kind.INSIDE_DOCKING,
        Kind.STAGING,
        Kind.INCOMPLETE_OFFLOAD,
        Kind.GAPS,
        Kind.REFERENCE_ELSEWHERE,
        Kind.COPY_OF_DOCKING,
        Kind.SEQS_ABSENT,
        Kind.DISPOSED,
        Kind.DISPOSITION,
        Kind.DISPOSITION_STATED,
        Kind.CERTIFICATE,
    }
)


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """Chunks `first` to `last` (numbered from 0) and the bytes they hold; `seconds` is an estimate of playing time."""

    first: int
    last: int
    offset_bytes: int
    length_bytes: int
    seconds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `folder` is the docking's or vault's folder, `path` lies relative to it."""

    kind: Kind
    folder: bytes
    path: bytes | None = None
    chunks: tuple[ChunkRange, ...] = ()
    chunk_count: int | None = None
    more_chunks: bool = False  # there are further ranges than `chunks` holds
    expected: int | str | None = None
    actual: int | str | None = None
    detail: str = ""

    @property
    def is_information(self) -> bool:
        """Whether it leaves the verdict as it is."""
        return self.kind in INFORMATION


def verdict(findings: Iterable[Finding], dockings: int) -> Exit:
    """The exit code of a verification that looked at so many dockings."""
    kinds = {f.kind for f in findings if not f.is_information}
    if kinds - {Kind.UNREADABLE, Kind.BUNDLE_APART}:
        return Exit.ALTERED
    if kinds:
        return Exit.UNREADABLE
    return Exit.VERIFIED if dockings else Exit.NOTHING
