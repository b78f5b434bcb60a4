"""What proves one bundle, decided purely: bytes and listings in, findings out. See ``custody/spec/bundle.md``.

`bundleexamine.py` reads the disk and feeds a `BundleCheck` in this order; the numbers stand in the code again.

 1. Keys: those the caller trusts come before those that lie in the bundle.
 2. Checkpoint: signed by the log's key; cosigned by which of the given witnesses; time-stamped by a given authority.
 3. Finish: the hub states, in the log, that the bundle is whole and what its tag manifest digests to.
 4. Bag: `bagit.txt` is one; every file that the tag manifest lists is there with that digest.
 5. Envelopes: of the one form, signed in their source's own name, and in the log under the checkpoint, in the order
    of their source's numbers.
 6. Export: the hub stated in the log, before it copied, exactly the recordings that are here.
 7. Footage: each sealed file is there with the sealed size, SHA-256 and tree root; if not, its leaves name the chunks.
 8. Payload manifest and SHA256SUMS: exactly one line for each sealed file.
 9. Dockings: a manifest that is here is the one that the docking's closing names, and its seals are here.
10. Sequence numbers of a source are unique, and each envelope names the one before it where both are here.
11. Nothing else lies in the bundle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cryptography.x509 import Certificate

from custody.bag import BAGIT, DATA, DECLARATION, PAYLOAD_MANIFEST, TAG_MANIFEST
from custody.bundle import (
    CHECKPOINT,
    ENVELOPES,
    FINISHED,
    FINISHED_PROOF,
    FIXED,
    HUB_KEY,
    HUB_SOURCE,
    LEAVES,
    LOG_KEY,
    MANIFESTS,
    OUTSIDE_THE_TAG_MANIFEST,
    PROOFS,
    STATION_KEY,
    SUMS,
    TIMESTAMP,
    docking_folder,
    envelope_path,
    footage_path,
    leaves_path,
    manifest_path,
    proof_path,
    seal_fault,
)
from custody.bundlekeys import BundleKeys, signed_once
from custody.checkpoint import Checkpoint, VerifyKey
from custody.cosignature import WitnessKey
from custody.digest import leaf_hash
from custody.errors import CustodyError, FormatError, SignatureInvalid
from custody.event import Event
from custody.finding import Finding, Kind
from custody.footage import Sealed
from custody.hubevents import BundleExported, BundleFinished, StationEnrolled
from custody.merkle import verify_inclusion
from custody.signers import Statement
from custody.stationevents import DockingClosed, DockingStarted, SegmentSealed
from custody.sums import checksum_line
from custody.timestamp import Timestamp, imprint_of, stamped_text, verify_token
from custody.tlogproof import parse_proof
from custody.vaultcheck import VaultCheck

TAKEN = "taken"
MORE_LINES = 1000  # that a list may have beyond the files that are here: each of them is named as missing
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
        self.folder = folder
        self.findings: list[Finding] = []
        self.keys = BundleKeys(trusted, witnesses, self.find)
        self.checkpoint: Checkpoint | None = None
        self.timestamp: Timestamp | None = None  # once it is verified
        self.has_timestamp = False
        self.exports: list[BundleExported] = []
        self.finished: BundleFinished | None = None
        self.seals: dict[int, SegmentSealed] = {}  # by log index
        self.seal_hashes: dict[DockingKey, set[bytes]] = {}
        self.folders: dict[DockingKey, str] = {}  # of the docking in its vault
        self.closings: dict[DockingKey, DockingClosed] = {}
        self.whole_dockings: set[DockingKey] = set()
        self._entries = entries
        self._left = dict(entries)
        self._waiting: list[Finding] = []
        self._note = ""
        self._seals_lack = False  # a statement cannot be used: what it covered cannot be told from what was added
        self._hidden: set[bytes] = set()
        self._chains = VaultCheck()
        self._last_seqs: dict[str, int] = {}  # of each source, in the order of the log
        self._tags: dict[bytes, str] = {}  # digests by path as the tag manifest gives them
        self._payload: dict[bytes, str] = {}
        self._sealed_lines: dict[bytes, str] = {}
        for path in (*sorted(FIXED), TIMESTAMP):  # that one may be missing: the tag manifest knows
            self._take_out(path)

    def find(self, kind: Kind, path: bytes | None = None, **facts: object) -> None:
        """Note a finding about `path` of this bundle."""
        self.findings.append(Finding(kind, self.folder, path, **facts))  # type: ignore[arg-type]

    def _take_out(self, path: bytes) -> str | None:
        found = self._left.get(path)
        if found is not None and found != "folder":
            self._left[path] = TAKEN
            folder = path.rpartition(b"/")[0]
            while folder and self._left.get(folder) == "folder":
                self._left[folder] = TAKEN
                folder = folder.rpartition(b"/")[0]
        return found

    # --- 1, 2, 3: keys, checkpoint, finish ---------------------------------------------------------------------------

    def expect_keys(self) -> None:
        """1. The log's and the hub's key lines are there."""
        for path in (LOG_KEY, HUB_KEY):
            if path not in self._entries and not self.hides(path):
                self.find(Kind.KEY_FILE_MISSING, path)

    def read_rotation(self, path: bytes, raw: bytes) -> None:
        """1. A rotation of the hub's keys that lies in the bundle; before the key files, in the order of the log."""
        self._take_out(path)
        self.keys.take_rotation(path, raw)

    def read_key(self, path: bytes, raw: bytes) -> None:
        """1. A key line that lies in the bundle."""
        if path not in (LOG_KEY, HUB_KEY) and not path.startswith(STATION_KEY):
            return  # of no known place: step 11 says so
        self._take_out(path)
        self.keys.take_file(path, raw)

    def read_checkpoint(self, raw: bytes | None) -> None:
        """2. The checkpoint; None when it is missing."""
        if raw is None:
            self.find(Kind.CHECKPOINT_ALTERED, CHECKPOINT, detail="it is missing")
            return
        self._note = raw.decode(errors="replace")
        self.checkpoint, self.keys.log_key_given = self.keys.open_note(self._note, CHECKPOINT)
        if self.checkpoint is not None:
            self.keys.look_for_witnesses(self._note, CHECKPOINT)

    def read_timestamp(self, raw: bytes | None, authorities: Sequence[Certificate]) -> None:
        """2. The time-stamp of the checkpoint, None when there is none. Without `authorities` it proves nothing."""
        self.has_timestamp = raw is not None
        if raw is None or not self._note:
            return
        try:
            message = stamped_text(self._note)
            if imprint_of(raw) != hashlib.sha256(message).digest():
                raise SignatureInvalid("it is of another checkpoint")
            if authorities:
                self.timestamp = verify_token(raw, message, authorities)
        except CustodyError as error:
            self.find(Kind.TIMESTAMP_ALTERED, TIMESTAMP, detail=str(error))

    def read_finish(self, raw: bytes | None, proof: bytes | None, tag_manifest_sha256: str | None) -> None:
        """3. The statement that the bundle is whole, its proof under a checkpoint of its own, and what it must name."""
        if (raw is None or proof is None) and self.hides(FINISHED):
            return
        if raw is None or proof is None:
            missing = FINISHED if raw is None else FINISHED_PROOF
            self.find(
                Kind.FINISH_WRONG, missing, detail="it is missing: the export was not finished, or this was removed"
            )
            return
        try:
            statement = self.keys.open(raw, FINISHED)
        except CustodyError as error:
            self.find(Kind.FINISH_WRONG, FINISHED, detail=str(error))
            return
        hubs_own = statement.event.source == HUB_SOURCE  # a log also holds what stations had no business to state
        if not isinstance(statement.event, BundleFinished) or not statement.event.complete or not hubs_own:
            self.find(Kind.FINISH_WRONG, FINISHED, detail="it is not the hub's word that the bundle is whole")
            return
        self.finished = statement.event
        self._chains.add_statement(self.folder, statement)
        self._check_finish_proof(raw, proof)
        if tag_manifest_sha256 != statement.event.tag_manifest_sha256:
            self.find(
                Kind.BAG_ALTERED, TAG_MANIFEST, detail="not the one that the hub stated when the bundle was whole"
            )

    def _check_finish_proof(self, raw: bytes, proof_raw: bytes) -> None:
        try:
            proof = parse_proof(proof_raw)
            checkpoint, _ = self.keys.open_note(proof.note, FINISHED_PROOF)
            if checkpoint is None:
                return
            if not signed_once(proof.note):
                raise FormatError("its checkpoint carries other signatures than the log's")
            verify_inclusion(leaf_hash(raw), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
            if self.checkpoint is not None and checkpoint.origin != self.checkpoint.origin:
                raise FormatError("its checkpoint is of another log than the bundle's")
            if self.checkpoint is not None and checkpoint.size <= self.checkpoint.size:
                raise FormatError("its checkpoint is not later than the bundle's")
        except CustodyError as error:
            self.find(Kind.PROOF_ALTERED, FINISHED_PROOF, detail=str(error))

    # --- 4: bag ------------------------------------------------------------------------------------------------------

    def begin_bag(self) -> None:
        """4. Begins: but for a tag manifest shown to be another one, what 2 and 3 found waits until `end_bag`.

        A key file or checkpoint that was edited then is named itself, before all that does not fit because of it.
        """
        kinds = (Kind.BAG_ALTERED, Kind.KEY_FILE_ALTERED, Kind.KEY_FILE_MISSING, Kind.KEY_FILE_OTHER)
        self._waiting = [f for f in self.findings if f.kind not in kinds]
        self.findings = [f for f in self.findings if f.kind in kinds]

    def end_bag(self) -> None:
        """4. Ends."""
        self.findings += self._waiting

    def read_declaration(self, raw: bytes | None) -> None:
        """4. bagit.txt; when it is missing, the tag manifest says so."""
        if raw is not None and raw != DECLARATION:
            self.find(Kind.BAG_ALTERED, BAGIT, detail="not BagIt 1.0 in UTF-8")

    def read_tag_manifest(self, lines: Iterable[tuple[bytes, str]] | None) -> None:
        """4. The tag manifest; None when it is missing. A file that it lists is then to be given to `tag_file`."""
        if lines is None:
            self.find(Kind.BAG_ALTERED, TAG_MANIFEST, detail="it is missing")
            return
        if self._read_lines(lines, self._tags, TAG_MANIFEST):
            for path, kind in sorted(self._entries.items()):
                if kind != "folder" and path not in self._tags and not self._stands_outside(path):
                    self._take_out(path)
                    self.find(Kind.BAG_FILE_UNKNOWN, path, actual=kind)
        for path in sorted(FIXED - OUTSIDE_THE_TAG_MANIFEST):
            if path not in self._tags:
                self.find(Kind.BAG_ALTERED, TAG_MANIFEST, detail=f"it does not list {path.decode()}")

    @staticmethod
    def _stands_outside(path: bytes) -> bool:
        return path.startswith(DATA) or path in OUTSIDE_THE_TAG_MANIFEST

    def _read_lines(self, lines: Iterable[tuple[bytes, str]], into: dict[bytes, str], name: bytes) -> bool:
        """Whether every line reads."""
        most = len(self._entries) + len(self._sealed_lines) + MORE_LINES
        try:
            into.update(_no_more_than(most, lines))
            reads = True
        except FormatError as error:
            self.find(Kind.BAG_ALTERED, name, detail=str(error))
            reads = False
        if any(path.startswith(DATA) != (into is self._payload) for path in into):
            self.find(Kind.BAG_ALTERED, name, detail="it lists a file that belongs into the other manifest")
        return reads

    @property
    def listed(self) -> list[bytes]:
        """4. The files that the tag manifest lists."""
        return list(self._tags)

    def tag_file(self, path: bytes, sha256: str | None) -> None:
        """4. What a listed file digests to; None when it is not there or no regular file."""
        if sha256 is None:
            if not self.hides(path):
                self.find(Kind.BAG_FILE_MISSING, path)
        elif sha256 != self._tags[path]:
            self.find(Kind.BAG_FILE_ALTERED, path)

    # --- 5: envelopes, in the order of the log -----------------------------------------------------------------------

    def read_envelope(self, index: int, raw: bytes, proof: bytes | None) -> None:
        """5. One envelope with its proof; indexes rise from call to call."""
        path = envelope_path(index)
        self._take_out(path)
        self._take_out(proof_path(index))
        in_log = self._check_proof(index, raw, proof)
        try:
            statement = self.keys.open(raw, path)
        except CustodyError as error:
            self.find(Kind.ENVELOPE_ALTERED, path, detail=str(error))
            self._seals_lack = True
            return
        self._chains.add_statement(self.folder, statement)
        event, last = statement.event, self._last_seqs.get(statement.event.source, 0)
        if event.seq <= last:  # a hub takes a source's events in their order
            self.find(Kind.ENVELOPE_WRONG, path, detail=f"event {event.seq} of {event.source} is logged after {last}")
        self._last_seqs[event.source] = max(event.seq, last)
        self._take(index, statement, in_log=in_log)

    def _check_proof(self, index: int, raw: bytes, proof_raw: bytes | None) -> bool:
        path = proof_path(index)
        if proof_raw is None:
            if not self.hides(path):
                self.find(Kind.PROOF_ALTERED, path, detail="it is missing")
            return False
        try:
            proof = parse_proof(proof_raw)
            if self.checkpoint is None:
                return False  # one finding, however many proofs
            if proof.index != index or proof.note != self._note:
                raise FormatError("it is of another entry, or under another checkpoint")
            verify_inclusion(leaf_hash(raw), index, self.checkpoint.size, proof.hashes, self.checkpoint.root)
        except CustodyError as error:
            self.find(Kind.PROOF_ALTERED, path, detail=str(error))
            return False
        return True

    def _take(self, index: int, statement: Statement, *, in_log: bool) -> None:
        event, path = statement.event, envelope_path(index)
        match event:
            case StationEnrolled() if event.source == HUB_SOURCE:
                if in_log:
                    self._enrol(event, path)
            case SegmentSealed():
                fault = seal_fault(event)
                if fault is None and footage_path(event) in self._sealed_lines:
                    fault = "its file is sealed twice"
                if fault is not None:
                    self.find(Kind.SEAL_WRONG, path, detail=fault)
                    return
                self.seals[index] = event
                self._sealed_lines[footage_path(event)] = event.sha256
                key = (event.source, event.docking_id)
                self.seal_hashes.setdefault(key, set()).add(statement.envelope_hash)
                self.folders.setdefault(key, docking_folder(event))
                if event.gap_count:
                    facts = {"expected": event.gap_count, "actual": event.gap_bytes}
                    self.find(Kind.GAPS, footage_path(event), **facts)
            case DockingStarted():
                pass
            case DockingClosed():
                self.closings[event.source, event.docking_id] = event
                if not event.complete:
                    self.find(Kind.INCOMPLETE_OFFLOAD, path, detail=event.reason)
            case BundleExported() if event.source == HUB_SOURCE:
                self.exports.append(event)
            case _:
                self._wrong(path, event)

    def _enrol(self, event: StationEnrolled, path: bytes) -> None:
        try:
            self.keys.enrol(event.key_line)
        except CustodyError as error:
            self.find(Kind.ENVELOPE_WRONG, path, detail=str(error))

    def _wrong(self, path: bytes, event: Event) -> None:
        self.find(Kind.ENVELOPE_WRONG, path, detail=f"a {event.TYPE} by {event.source}")

    # --- 6: export ---------------------------------------------------------------------------------------------------

    def check_export(self) -> None:
        """6. After the last envelope: the statement of the export against the seals that are here."""
        if self.hides(ENVELOPES):
            return
        fault = _export_fault(self.exports, self.finished)
        if fault is not None:
            self.find(Kind.EXPORT_WRONG, None, detail=fault)
            return
        stated = {index for export in self.exports for index in export.recordings}
        for index in sorted(stated - set(self.seals)):
            self.find(Kind.ENVELOPE_MISSING, envelope_path(index), expected=index)
            self._seals_lack = True
        for index in sorted(set(self.seals) - stated):
            self.find(Kind.ENVELOPE_WRONG, envelope_path(index), detail="the export does not list this recording")

    # --- 7, 8: footage and its lines ---------------------------------------------------------------------------------

    def sealed_file(self, seal: SegmentSealed) -> Sealed:
        """7. Where the file of a seal should lie, and what was found there."""
        path, leaves = footage_path(seal), leaves_path(seal)
        found = self._take_out(path)
        return Sealed(seal, path, found, leaves if self._take_out(leaves) == "file" else None)

    def read_payload_manifest(self, lines: Iterable[tuple[bytes, str]] | None) -> None:
        """8. The payload manifest against the seals; None when it is missing, which the tag manifest says."""
        if lines is None:
            return
        self._read_lines(lines, self._payload, PAYLOAD_MANIFEST)
        for path in sorted(self._payload.keys() | self._sealed_lines.keys()):
            unknown = path not in self._sealed_lines and self._seals_lack
            if self._payload.get(path) != self._sealed_lines.get(path) and not unknown:
                self.find(Kind.BAG_ALTERED, PAYLOAD_MANIFEST, detail=f"its line of {path.decode(errors='replace')}")

    def sums_lines(self) -> list[bytes]:
        """8. What SHA256SUMS holds."""
        return [checksum_line(digest, path) for path, digest in sorted(self._payload.items())]

    def read_sums(self, *, as_they_should: bool) -> None:
        """8. Whether SHA256SUMS holds exactly `sums_lines`."""
        if not as_they_should:
            self.find(Kind.SUMS_ALTERED, SUMS, detail="not the payload manifest's lines")

    # --- 9: dockings -------------------------------------------------------------------------------------------------

    def docking_manifest(self, key: DockingKey) -> bytes | None:
        """9. Where the manifest of a docking lies, if it is here."""
        path = manifest_path(key[0], self.folders[key])
        return path if self._take_out(path) == "file" else None

    def read_docking_manifest(self, key: DockingKey, path: bytes, copied: set[bytes], digest: tuple[str, int]) -> None:
        """9. The hashes of the seals in a docking's manifest, and its SHA-256 and length."""
        closed = self.closings.get(key)
        if closed is None or digest != (closed.manifest_sha256, closed.manifest_bytes):
            self.find(Kind.MANIFEST_ALTERED, path, detail="not the manifest that the closing names")
        elif copied == self.seal_hashes[key]:
            self.whole_dockings.add(key)
        elif not self._seals_lack:
            self.find(Kind.MANIFEST_WRONG, path, detail="its seals are not those that are here")

    # --- 10, 11: the end ---------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """10. and 11. Whatever is left belongs to nothing."""
        self.findings += self._chains.findings()
        left = sorted((path, kind) for path, kind in self._left.items() if kind != TAKEN)
        if self.hides(ENVELOPES):
            return  # what would account for it is not seen
        holding = {path.rpartition(b"/")[0] for path, _ in left}  # folders that what lies in them names
        for path, kind in left:
            covered = path.startswith((DATA, LEAVES + b"/", MANIFESTS + b"/")) and self._seals_lack
            if path.startswith(DATA) and covered and kind != "folder":
                self.find(Kind.UNSEALED, path, actual=kind)
            elif not covered and (kind != "folder" or path not in holding):
                self.find(Kind.BAG_FILE_UNKNOWN, path, actual=kind)

    def hide(self, folder: bytes, why: str) -> None:
        """A folder that cannot be read: what is not seen there is not missing."""
        self._hidden.add(folder)
        self._seals_lack = True
        self._left.pop(folder, None)
        self.keys.enrolment_unseen = self.keys.enrolment_unseen or folder in (ENVELOPES, PROOFS)
        self.find(Kind.UNREADABLE, folder, detail=why)

    def hides(self, path: bytes) -> bool:
        """Whether a folder that holds `path` cannot be read."""
        while path and path not in self._hidden:
            path = path.rpartition(b"/")[0]
        return path in self._hidden

    def is_file(self, path: bytes) -> bool:
        """Whether the listing shows a regular file there: whatever else lies there is never opened, nor followed."""
        return self._entries.get(path) == "file"


def _no_more_than(most: int, lines: Iterable[tuple[bytes, str]]) -> Iterator[tuple[bytes, str]]:
    """A list that is longer would fill the memory. Raises FormatError."""
    for number, line in enumerate(lines):
        if number >= most:
            raise FormatError("it lists far more files than are here")
        yield line


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
