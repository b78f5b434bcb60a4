"""The log that a bundle's statements are in: its checkpoint, and what is proved to be in it. Pure.

The numbers are those of the steps in `bundlecheck.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.x509 import Certificate

from custody.bag import TAG_MANIFEST
from custody.bundle import CHECKPOINT, FINISHED, FINISHED_PROOF, HUB_SOURCE, TIMESTAMP, proof_path
from custody.bundlecontents import Contents
from custody.bundlekeys import BundleKeys, signed_once
from custody.checkpoint import Checkpoint
from custody.digest import leaf_hash
from custody.errors import CustodyError, FormatError, SignatureInvalid
from custody.finding import Kind
from custody.hubevents import BundleFinished
from custody.merkle import verify_inclusion
from custody.signers import Statement
from custody.timestamp import Timestamp, imprint_of, stamped_text, verify_token
from custody.tlogproof import parse_proof


class BundleLog:
    """The checkpoint of one bundle, and the hub's word in the log that the bundle is whole."""

    def __init__(self, contents: Contents, keys: BundleKeys) -> None:
        """Begin; findings go to `contents`."""
        self.checkpoint: Checkpoint | None = None
        self.timestamp: Timestamp | None = None  # once it is verified
        self.has_timestamp = False
        self.finished: BundleFinished | None = None
        self._contents, self._keys = contents, keys
        self._note = ""

    def read_checkpoint(self, raw: bytes | None) -> None:
        """2. The checkpoint; None when it is missing."""
        if raw is None:
            self._contents.find(Kind.CHECKPOINT_ALTERED, CHECKPOINT, detail="it is missing")
            return
        self._note = raw.decode(errors="replace")
        self.checkpoint, self._keys.log_key_given = self._keys.open_note(self._note, CHECKPOINT)
        if self.checkpoint is not None:
            self._keys.look_for_witnesses(self._note, CHECKPOINT)

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
            self._contents.find(Kind.TIMESTAMP_ALTERED, TIMESTAMP, detail=str(error))

    def read_finish(self, raw: bytes | None, proof: bytes | None, tag_manifest_sha256: str | None) -> Statement | None:
        """3. The statement that the bundle is whole, its proof under a checkpoint of its own, and what it must name.

        None, and a finding, where it is not that statement.
        """
        if (raw is None or proof is None) and self._contents.hides(FINISHED):
            return None
        if raw is None or proof is None:
            missing = FINISHED if raw is None else FINISHED_PROOF
            self._contents.find(
                Kind.FINISH_WRONG, missing, detail="it is missing: the export was not finished, or this was removed"
            )
            return None
        try:
            statement = self._keys.open(raw, FINISHED)
        except CustodyError as error:
            self._contents.find(Kind.FINISH_WRONG, FINISHED, detail=str(error))
            return None
        hubs_own = statement.event.source == HUB_SOURCE  # a log also holds what stations had no business to state
        if not isinstance(statement.event, BundleFinished) or not statement.event.complete or not hubs_own:
            self._contents.find(Kind.FINISH_WRONG, FINISHED, detail="it is not the hub's word that the bundle is whole")
            return None
        self.finished = statement.event
        self._check_finish_proof(raw, proof)
        if tag_manifest_sha256 != statement.event.tag_manifest_sha256:
            self._contents.find(
                Kind.BAG_ALTERED, TAG_MANIFEST, detail="not the one that the hub stated when the bundle was whole"
            )
        return statement

    def _check_finish_proof(self, raw: bytes, proof_raw: bytes) -> None:
        try:
            proof = parse_proof(proof_raw)
            checkpoint, _ = self._keys.open_note(proof.note, FINISHED_PROOF)
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
            self._contents.find(Kind.PROOF_ALTERED, FINISHED_PROOF, detail=str(error))

    def holds(self, index: int, raw: bytes, proof_raw: bytes | None) -> bool:
        """5. Whether its proof shows an envelope to be entry `index` of the log."""
        path = proof_path(index)
        if proof_raw is None:
            if not self._contents.hides(path):
                self._contents.find(Kind.PROOF_ALTERED, path, detail="it is missing")
            return False
        try:
            proof = parse_proof(proof_raw)
            if self.checkpoint is None:
                return False  # one finding, however many proofs
            if proof.index != index or proof.note != self._note:
                raise FormatError("it is of another entry, or under another checkpoint")
            verify_inclusion(leaf_hash(raw), index, self.checkpoint.size, proof.hashes, self.checkpoint.root)
        except CustodyError as error:
            self._contents.find(Kind.PROOF_ALTERED, path, detail=str(error))
            return False
        return True
