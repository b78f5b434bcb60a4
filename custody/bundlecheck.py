"""What proves one bundle, decided purely: bytes and listings in, findings out. See ``custody/spec/bundle.md``.

`bundleexamine.py` reads the disk and feeds a `BundleCheck` in this order; the numbers stand in the code again.
`bundlelog.py` decides what is in the log, `bundlebag.py` whether the bag's lists hold.

 1. Keys: those the caller trusts come before those that lie in the bundle.
 2. Checkpoint: signed by the log's key; cosigned by which of the given witnesses; time-stamped by a given authority.
 3. Finish: the hub states, in the log, that the bundle is whole and what its tag manifest digests to.
 4. Bag: `bagit.txt` is one; every file that the tag manifest lists is there with that digest.
 5. Envelopes: of the one form, signed in their source's own name, and in the log under the checkpoint, in the order
    of their source's numbers.
 6. Export: the hub stated in the log, before it copied, exactly the recordings that are here; where its request and
    approval are here, another person approved just that.
 7. Footage: each sealed file is there with the sealed size, SHA-256 and tree root; if not, its leaves name the chunks.
 8. Payload manifest and SHA256SUMS: exactly one line for each sealed file.
 9. Dockings: a manifest that is here is the one that the docking's closing names, and its seals are here.
10. Sequence numbers of a source are unique, and each envelope names the one before it where both are here.
11. Nothing else lies in the bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from custody.bag import DATA
from custody.bundle import (
    ENVELOPES,
    FIXED,
    HUB_KEY,
    HUB_SOURCE,
    LEAVES,
    LOG_KEY,
    MANIFESTS,
    PROOFS,
    STATION_KEY,
    TIMESTAMP,
    docking_folder,
    envelope_path,
    footage_path,
    leaves_path,
    manifest_path,
    proof_path,
    seal_fault,
)
from custody.bundleapproval import BundleApproval
from custody.bundlebag import BundleBag
from custody.bundlecontents import Contents
from custody.bundlekeys import BundleKeys
from custody.bundlelog import BundleLog
from custody.checkpoint import VerifyKey
from custody.cosignature import WitnessKey
from custody.errors import CustodyError
from custody.event import Event
from custody.finding import Finding, Kind
from custody.footage import Sealed
from custody.hubevents import (
    BundleExported,
    BundleFinished,
    KeyRevoked,
    StationEnrolled,
    UseDecided,
    UseRequested,
)
from custody.signers import Statement
from custody.stationevents import DockingClosed, DockingStarted, SegmentSealed
from custody.vaultcheck import VaultCheck

DockingKey = tuple[str, str]  # station, docking id


class BundleCheck:
    """Checks one bundle. `entries` is the listing of its folder; whatever is accounted for is taken out of it."""

    def __init__(
        self,
        folder: bytes,
        entries: Mapping[bytes, str],
        trusted: Sequence[VerifyKey],
        witnesses: Sequence[WitnessKey] = (),
    ) -> None:
        """Begin; without `trusted` keys nothing shows who signed."""
        self.contents = Contents(folder, entries)
        self.keys = BundleKeys(trusted, witnesses, self.contents.find)
        self.log = BundleLog(self.contents, self.keys)
        self.bag = BundleBag(self.contents)
        self.exports: list[BundleExported] = []
        self.approval = BundleApproval()
        self._revoked: dict[str, tuple[int, int]] = {}  # by station: log index, and the first event in doubt
        self.seals: dict[int, SegmentSealed] = {}  # by log index
        self.seal_hashes: dict[DockingKey, set[bytes]] = {}
        self.folders: dict[DockingKey, str] = {}  # of the docking in its vault
        self.closings: dict[DockingKey, DockingClosed] = {}
        self.whole_dockings: set[DockingKey] = set()
        self._seals_lack = False  # a statement cannot be used: what it covered cannot be told from what was added
        self._chains = VaultCheck()
        self._last_seqs: dict[str, int] = {}  # of each source, in the order of the log
        self._sealed_lines: dict[bytes, str] = {}
        for path in (*sorted(FIXED), TIMESTAMP):  # that one may be missing: the tag manifest knows
            self.contents.take_out(path)

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong so far, in the order in which it is told."""
        return self.contents.findings

    # --- 1, 3: keys, finish ------------------------------------------------------------------------------------------

    def expect_keys(self) -> None:
        """1. The log's and the hub's key lines are there."""
        for path in (LOG_KEY, HUB_KEY):
            if path not in self.contents.entries and not self.contents.hides(path):
                self.contents.find(Kind.KEY_FILE_MISSING, path)

    def read_rotation(self, path: bytes, raw: bytes) -> None:
        """1. A rotation of the hub's keys that lies in the bundle; before the key files, in the order of the log."""
        self.contents.take_out(path)
        self.keys.take_rotation(path, raw)

    def read_key(self, path: bytes, raw: bytes) -> None:
        """1. A key line that lies in the bundle."""
        if path not in (LOG_KEY, HUB_KEY) and not path.startswith(STATION_KEY):
            return  # of no known place: step 11 says so
        self.contents.take_out(path)
        self.keys.take_file(path, raw)

    def read_finish(self, raw: bytes | None, proof: bytes | None, tag_manifest_sha256: str | None) -> None:
        """3. The statement that the bundle is whole, and what it must name."""
        statement = self.log.read_finish(raw, proof, tag_manifest_sha256)
        if statement is not None:
            self._chains.add_statement(self.contents.folder, statement)

    # --- 5: envelopes, in the order of the log -----------------------------------------------------------------------

    def read_envelope(self, index: int, raw: bytes, proof: bytes | None) -> None:
        """5. One envelope with its proof; indexes rise from call to call."""
        path = envelope_path(index)
        self.contents.take_out(path)
        self.contents.take_out(proof_path(index))
        in_log = self.log.holds(index, raw, proof)
        try:
            statement = self.keys.open(raw, path)
        except CustodyError as error:
            self.contents.find(Kind.ENVELOPE_ALTERED, path, detail=str(error))
            self._seals_lack = True
            return
        self._chains.add_statement(self.contents.folder, statement)
        event, last = statement.event, self._last_seqs.get(statement.event.source, 0)
        if event.seq <= last:  # a hub takes a source's events in their order
            self.contents.find(
                Kind.ENVELOPE_WRONG, path, detail=f"event {event.seq} of {event.source} is logged after {last}"
            )
        self._last_seqs[event.source] = max(event.seq, last)
        self._take(index, statement, in_log=in_log)

    def _take(self, index: int, statement: Statement, *, in_log: bool) -> None:
        event, path = statement.event, envelope_path(index)
        match event:
            case StationEnrolled() | KeyRevoked() if event.source == HUB_SOURCE:
                if in_log:
                    self._take_key(event, index)
            case SegmentSealed():
                fault = seal_fault(event)
                if fault is None and footage_path(event) in self._sealed_lines:
                    fault = "its file is sealed twice"
                if fault is not None:
                    self.contents.find(Kind.SEAL_WRONG, path, detail=fault)
                    return
                self.seals[index] = event
                self._sealed_lines[footage_path(event)] = event.sha256
                key = (event.source, event.docking_id)
                self.seal_hashes.setdefault(key, set()).add(statement.envelope_hash)
                self.folders.setdefault(key, docking_folder(event))
                if event.gap_count:
                    facts = {"expected": event.gap_count, "actual": event.gap_bytes}
                    self.contents.find(Kind.GAPS, footage_path(event), **facts)
            case DockingStarted():
                pass
            case DockingClosed():
                self.closings[event.source, event.docking_id] = event
                if not event.complete:
                    self.contents.find(Kind.INCOMPLETE_OFFLOAD, path, detail=event.reason)
            case BundleExported() if event.source == HUB_SOURCE:
                self.exports.append(event)
            case UseRequested() | UseDecided() if event.source == HUB_SOURCE:
                self.approval.take(event)
            case _:
                self._wrong(path, event)

    def _take_key(self, event: StationEnrolled | KeyRevoked, index: int) -> None:
        if isinstance(event, KeyRevoked):
            self._revoked[event.station] = (index, event.from_seq)
            return
        try:
            self.keys.enrol(event.key_line)
        except CustodyError as error:
            self.contents.find(Kind.ENVELOPE_WRONG, envelope_path(index), detail=str(error))

    def _wrong(self, path: bytes, event: Event) -> None:
        self.contents.find(Kind.ENVELOPE_WRONG, path, detail=f"a {event.TYPE} by {event.source}")

    def _check_revocations(self) -> None:
        """What a revoked key sealed before its revocation stays good, but for what the log itself puts in doubt."""
        for index, seal in self.seals.items():
            revoked_at, from_seq = self._revoked.get(seal.source, (index, seal.seq + 1))
            if index > revoked_at or seal.seq >= from_seq:
                facts = {"expected": from_seq, "actual": seal.source, "detail": str(revoked_at)}
                self.contents.find(Kind.KEY_REVOKED, envelope_path(index), **facts)

    # --- 6: export ---------------------------------------------------------------------------------------------------

    def check_export(self) -> None:
        """6. After the last envelope: what is in doubt, and the export's statement against the seals that are here."""
        self._check_revocations()
        if self.contents.hides(ENVELOPES):
            return
        fault = _export_fault(self.exports, self.log.finished) or self.approval.fault(self.exports)
        if fault is not None:
            self.contents.find(Kind.EXPORT_WRONG, None, detail=fault)
            return
        stated = {index for export in self.exports for index in export.recordings}
        for index in sorted(stated - set(self.seals)):
            self.contents.find(Kind.ENVELOPE_MISSING, envelope_path(index), expected=index)
            self._seals_lack = True
        for index in sorted(set(self.seals) - stated):
            self.contents.find(
                Kind.ENVELOPE_WRONG, envelope_path(index), detail="the export does not list this recording"
            )

    # --- 7, 8: footage and its lines ---------------------------------------------------------------------------------

    def sealed_file(self, seal: SegmentSealed) -> Sealed:
        """7. Where the file of a seal should lie, and what was found there."""
        path, leaves = footage_path(seal), leaves_path(seal)
        found = self.contents.take_out(path)
        return Sealed(seal, path, found, leaves if self.contents.take_out(leaves) == "file" else None)

    def read_payload_manifest(self, lines: Iterable[tuple[bytes, str]] | None) -> None:
        """8. The payload manifest against the seals; None when it is missing, which the tag manifest says."""
        self.bag.read_payload_manifest(lines, self._sealed_lines, seals_lack=self._seals_lack)

    # --- 9: dockings -------------------------------------------------------------------------------------------------

    def docking_manifest(self, key: DockingKey) -> bytes | None:
        """9. Where the manifest of a docking lies, if it is here."""
        path = manifest_path(key[0], self.folders[key])
        return path if self.contents.take_out(path) == "file" else None

    def read_docking_manifest(self, key: DockingKey, path: bytes, copied: set[bytes], digest: tuple[str, int]) -> None:
        """9. The hashes of the seals in a docking's manifest, and its SHA-256 and length."""
        closed = self.closings.get(key)
        if closed is None or digest != (closed.manifest_sha256, closed.manifest_bytes):
            self.contents.find(Kind.MANIFEST_ALTERED, path, detail="not the manifest that the closing names")
        elif copied == self.seal_hashes[key]:
            self.whole_dockings.add(key)
        elif not self._seals_lack:
            self.contents.find(Kind.MANIFEST_WRONG, path, detail="its seals are not those that are here")

    # --- 10, 11: the end ---------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """10. and 11. Whatever is left belongs to nothing."""
        self.contents.findings += self._chains.findings()
        left = list(self.contents.left())
        if self.contents.hides(ENVELOPES):
            return  # what would account for it is not seen
        holding = {path.rpartition(b"/")[0] for path, _ in left}  # folders that what lies in them names
        for path, kind in left:
            covered = path.startswith((DATA, LEAVES + b"/", MANIFESTS + b"/")) and self._seals_lack
            if path.startswith(DATA) and covered and kind != "folder":
                self.contents.find(Kind.UNSEALED, path, actual=kind)
            elif not covered and (kind != "folder" or path not in holding):
                self.contents.find(Kind.BAG_FILE_UNKNOWN, path, actual=kind)

    def hide(self, folder: bytes, why: str) -> None:
        """A folder that cannot be read: what is not seen there is not missing."""
        self._seals_lack = True
        self.keys.enrolment_unseen = self.keys.enrolment_unseen or folder in (ENVELOPES, PROOFS)
        self.contents.hide(folder, why)


def _export_fault(exports: Sequence[BundleExported], finished: BundleFinished | None) -> str | None:
    """6. Why these are not all parts of one export; None when they are."""
    if not exports:
        return "it is missing"
    first = exports[0]
    if len(exports) != first.parts or [e.part for e in exports] != list(range(1, len(exports) + 1)):
        return f"not all its {first.parts} parts are here in their order"
    if len({(e.bundle_id, e.parts, e.recordings_in_all, e.recipient, e.reason) for e in exports}) != 1:
        return "its parts contradict each other"
    if finished is not None and finished.bundle_id != first.bundle_id:
        return "it is of another bundle than the statement that the bundle is whole"
    listed = [index for e in exports for index in e.recordings]
    if listed != sorted(set(listed)) or len(listed) != first.recordings_in_all:
        return "its list of recordings contradicts itself"
    return None
