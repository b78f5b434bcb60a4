"""Finds dockings below a path, reads them from the disk and lets `verify.py` and `vaultcheck.py` judge.

Never follows a symlink, never writes, never blocks on a FIFO; memory does not depend on the size of a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from custody.bundlefacts import BundleFacts
from custody.checkpoint import VerifyKey
from custody.digest import HASH_BYTES, CompactRange
from custody.disk import Hasher, NotRegular, list_tree, open_regular, open_stream, read_small, reason
from custody.envelope import MAX_ENVELOPE_BYTES, parse_envelope
from custody.errors import CustodyError
from custody.events import decode_event
from custody.finding import Exit, Finding, Kind, verdict
from custody.footage import LeafComparison, Observed, Sealed, judge
from custody.manifest import ManifestReader
from custody.places import around, enclosing_docking, find_places, vault_root
from custody.stationevents import DockingClosed
from custody.vaultcheck import VaultCheck
from custody.verify import CLOSING, KEY_FILE, LEAVES, MANIFEST, SUMS, DockingCheck

MAX_KEY_FILE_BYTES = 4096
MAX_RECORD_BYTES = 4 * MAX_ENVELOPE_BYTES  # intent, command, and some two hundred rotations


@dataclass(frozen=True, slots=True)
class DockingResult:
    """One docking: what it holds by its seals, who signed, whether it was closed."""

    folder: bytes
    docking_id: str | None
    camera_id: str | None
    station: str | None
    files: int
    bytes_sealed: int
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a verification says."""

    path: bytes
    exit: Exit
    findings: tuple[Finding, ...]
    dockings: tuple[DockingResult, ...]
    authorship_proved: bool  # every docking was signed by a key that the caller trusts
    bundle: BundleFacts | None = None  # of a bundle


def examine(path: bytes, trusted: Sequence[VerifyKey], on_start: Callable[[int], None], hasher: Hasher) -> Report:
    """Verify every docking at, below or around `path`; `on_start` hears how many bytes the closings announce.

    Raises OSError when `path` itself cannot be read.
    """
    path = os.path.realpath(path)
    os.stat(path)
    findings: list[Finding] = []
    top = enclosing_docking(path)
    if top is not None and top != path:
        findings.append(Finding(Kind.INSIDE_DOCKING, top, detail=path.decode(errors="surrogateescape")))
    places = find_places(top or path)
    findings += [Finding(Kind.UNREADABLE, folder, detail=why) for folder, why in places.unreadable]
    findings += [Finding(Kind.BUNDLE_APART, folder) for folder in places.bundles]
    on_start(sum(_announced_bytes(folder) for folder in places.dockings))
    vault, results = VaultCheck(), []
    for folder in sorted(places.dockings):
        check = _examine_docking(folder, trusted, vault, hasher)
        findings += check.findings
        vault.add_docking(vault_root(folder) or folder, check)
        results.append(_result(check))
    findings += vault.findings()
    findings += around(places, top or path)
    proved = (
        bool(trusted)
        and bool(results)
        and all(r.signers and set(r.signers) <= {key.label for key in trusted} for r in results)
    )
    looked_at = len(results) + len(places.bare)
    return Report(path, verdict(findings, looked_at), tuple(findings), tuple(results), proved)


# --- One docking -----------------------------------------------------------------------------------------------------


def _examine_docking(folder: bytes, trusted: Sequence[VerifyKey], vault: VaultCheck, hasher: Hasher) -> DockingCheck:
    """Steps 1 to 8 of verify.py."""
    listing = list_tree(folder)
    check = DockingCheck(folder, listing.entries, trusted)
    for path, why in listing.unreadable:
        check.cannot_read(path, why)
    if not any(listing.entries.get(name) == "file" for name in (CLOSING, MANIFEST, SUMS)):
        files = sum(kind == "file" and not name.startswith(b".custody/") for name, kind in listing.entries.items())
        check.find(Kind.NOT_CLOSED, None, actual=files)
        return check
    check.read_key_file(_small(check, KEY_FILE, MAX_KEY_FILE_BYTES))  # 1
    closing = check.read_closing(_small(check, CLOSING, MAX_ENVELOPE_BYTES))  # 2
    if closing is not None:
        vault.add_statement(folder, closing)
    for name in check.disposition_files:  # 5
        intent = check.read_disposition(name, _small(check, name, MAX_RECORD_BYTES))
        if intent is not None:
            vault.add_statement(folder, intent)
    _each_sums_line(check, first_time=True)
    _read_manifest(check, vault, hasher)  # 3, 4, 5, 7, 8
    if check.sums_unsettled:
        _each_sums_line(check, first_time=False)  # 6
    check.finish_sums()
    return check


def _small(check: DockingCheck, name: bytes, limit: int) -> bytes | None:
    try:
        return read_small(os.path.join(check.folder, name), limit)
    except (FileNotFoundError, NotRegular):
        return None
    except OSError as error:
        check.cannot_read(name, reason(error))
        return None


def _each_sums_line(check: DockingCheck, first_time: bool) -> None:
    try:
        with open_stream(os.path.join(check.folder, SUMS)) as stream:
            if first_time:
                check.begin_sums()
            while line := stream.readline(1 << 16):
                if first_time:
                    check.read_sums_line(line)
                else:
                    check.unexpected_sums_line(line)
    except (FileNotFoundError, NotRegular):
        check.no_sums()
    except OSError as error:
        check.cannot_read(SUMS, reason(error))


def _read_manifest(check: DockingCheck, vault: VaultCheck, hasher: Hasher) -> None:
    try:
        with open_stream(os.path.join(check.folder, MANIFEST)) as stream:
            reader = ManifestReader(stream)
            for line in reader.lines():
                taken = check.read_line(reader.line_number, line)
                if taken is None:
                    continue
                sealed, statement = taken
                vault.add_statement(check.folder, statement)
                vault.add_saved(sealed.event.docking_id, sealed.event.sha256, sealed.event.size_bytes)
                check.expect_sums_line(sealed)
                _examine_file(check, sealed, hasher)
            check.finish((reader.sha256, reader.size_bytes))
    except (FileNotFoundError, NotRegular):
        check.missing(Kind.MANIFEST_MISSING, MANIFEST)
        check.finish(None)
    except OSError as error:
        check.cannot_read(MANIFEST, reason(error))  # nothing is known of what should be here


def _examine_file(check: DockingCheck, sealed: Sealed, hasher: Hasher) -> None:
    """5. One footage file against its seal."""
    if sealed.found is None:
        _examine_gone(check, sealed)
        return
    try:
        found = judge(check.folder, sealed, observe(check.folder, sealed, hasher))
    except FileNotFoundError:
        _examine_gone(check, sealed)
    except NotRegular:
        check.find(Kind.NOT_REGULAR, sealed.path, actual=sealed.found)
    except OSError as error:
        check.cannot_read(sealed.path, reason(error))
    else:
        unseen = sealed.leaves is None and check.hides(LEAVES + b"/" + sealed.path)
        check.findings += [f for f in found if not (unseen and f.kind is Kind.LEAVES_MISSING)]


def _examine_gone(check: DockingCheck, sealed: Sealed) -> None:
    """5. A file that is not there; of one that was disposed of, the leaves must still lead to the sealed root."""
    if not check.gone(sealed) or sealed.event.chunk_count < 2:
        return
    if sealed.leaves is None:
        check.missing(Kind.LEAVES_MISSING, sealed.path)
        return
    tree = CompactRange()
    try:
        with open_stream(os.path.join(check.folder, sealed.leaves)) as kept:
            while len(leaf := kept.read(HASH_BYTES)) == HASH_BYTES:
                tree.append(leaf)
    except (NotRegular, OSError) as error:
        check.cannot_read(sealed.leaves, str(error))
        return
    if leaf or tree.root().hex() != sealed.event.tree_root:
        check.find(Kind.LEAVES_ALTERED, sealed.path)


def observe(folder: bytes, sealed: Sealed, hasher: Hasher) -> Observed:
    """What a file shows against its seal. Raises NotRegular and OSError."""
    path, limit = os.path.join(folder, sealed.path), sealed.event.size_bytes
    with open_regular(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if sealed.leaves is None:
            digests = hasher.digest(descriptor, limit, lambda _: None)
            return Observed(size, digests.sha256, digests.tree_root, None)
        with open_stream(os.path.join(folder, sealed.leaves)) as kept:
            comparison = LeafComparison()
            digests = hasher.digest(descriptor, limit, lambda leaf: comparison.add(leaf, kept.read(HASH_BYTES)))
            while comparison.compared < sealed.event.chunk_count and (leaf := kept.read(HASH_BYTES)):
                comparison.add(None, leaf)  # the file ends before its sealed end
            comparison.lack_until(sealed.event.chunk_count)
            whole = not kept.read(1)
    return Observed(size, digests.sha256, digests.tree_root, comparison, whole)


def _announced_bytes(folder: bytes) -> int:
    """What a closing says it copied, unproved: for the progress display alone."""
    try:
        envelope = parse_envelope(read_small(os.path.join(folder, CLOSING), MAX_ENVELOPE_BYTES))
        event = decode_event(envelope.payload_type, envelope.payload)
    except (CustodyError, NotRegular, OSError):
        return 0  # `_examine_docking` says what is wrong with it
    return event.counts.bytes_copied if isinstance(event, DockingClosed) else 0


def _result(check: DockingCheck) -> DockingResult:
    closed, header = check.closed, check.header
    return DockingResult(
        folder=check.folder,
        docking_id=closed.docking_id if closed else header.docking_id if header else None,
        camera_id=closed.camera_id if closed else header.camera_id if header else None,
        station=closed.source if closed else header.station if header else None,
        files=check.files,
        bytes_sealed=check.bytes_sealed,
        signers=tuple(sorted(check.signers.labels)),
    )
