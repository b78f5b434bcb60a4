"""What a witness decides: the C2SP tlog-witness protocol, pure. See ``custody/spec/witness.md``.

A witness remembers the last checkpoint of a log that it cosigned and cosigns only what is proven to extend it. It also
remembers the first and the largest checkpoint that the log's key signed and that it saw without a proof since: it
cosigns nothing else before these are proven too. So a log that showed it another face has to prove both, and cannot.

A failed proof alone is no evidence: a proof is not signed, so anybody can send a genuine checkpoint with a wrong one.
It makes that checkpoint the one to be proven first, and stops everything until it is. Two checkpoints of one size with
different roots are evidence: both are signed. Then only people go on.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from custody.checkpoint import MAX_NOTE_BYTES, Checkpoint, VerifyKey, open_checkpoint, parse_checkpoint
from custody.digest import EMPTY_ROOT, HASH_BYTES
from custody.errors import CustodyError, FormatError, ProofInvalid
from custody.fields import dump_json, load_object, read_fields, write_fields
from custody.merkle import verify_consistency

MAX_PROOF_HASHES = 63
MAX_REQUEST_BYTES = MAX_NOTE_BYTES + 4096
SIZE_TYPE = "text/x.tlog.size"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")


class Code(StrEnum):
    """Why a witness refuses, or stopped; never change or reuse one."""

    BAD_FORMAT = "bad_format"
    UNKNOWN_LOG = "unknown_log"
    BAD_SIGNATURE = "bad_signature"
    BAD_OLD_SIZE = "bad_old_size"  # larger than the checkpoint's own
    BAD_PROOF = "bad_proof"  # does not join the two roots: wrong, or there is no right one
    PROVE_FIRST = "prove_first"  # a checkpoint seen before is to be proven before any larger one
    FORK = "fork"  # two checkpoints of one size with different roots, both signed by the log
    ROLLBACK = "rollback"  # the log keeps showing less than it has shown
    STOPPED = "stopped"  # after a fork: until people have decided


STATUS: Mapping[Code, int] = {  # HTTP, as tlog-witness asks
    Code.BAD_FORMAT: 400,
    Code.BAD_OLD_SIZE: 400,
    Code.BAD_SIGNATURE: 403,
    Code.UNKNOWN_LOG: 404,
    Code.FORK: 409,
    Code.BAD_PROOF: 422,
    Code.PROVE_FIRST: 422,
    Code.ROLLBACK: 422,
    Code.STOPPED: 422,
}


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The body of ``add-checkpoint``: `proof` leads from the tree of `old_size` to that of the checkpoint `note`."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str

    @property
    def origin(self) -> str:
        """Which log's checkpoint it claims to be."""
        return self.note.partition("\n")[0]

    @property
    def raw(self) -> bytes:
        """The bytes to send."""
        hashes = "".join(base64.b64encode(h).decode() + "\n" for h in self.proof)
        return f"old {self.old_size}\n{hashes}\n{self.note}".encode()


def parse_request(raw: bytes) -> AddCheckpoint:
    """Read the body of ``add-checkpoint``; nothing of it is verified. Raises FormatError."""
    if len(raw) > MAX_REQUEST_BYTES:
        raise FormatError("an add-checkpoint body above the limit")
    try:
        head, blank, note = raw.decode().partition("\n\n")
    except UnicodeDecodeError:
        raise FormatError("not an add-checkpoint body: not UTF-8") from None
    lines = head.split("\n")
    old = _OLD.fullmatch(lines[0])
    if not blank or old is None or len(lines) > MAX_PROOF_HASHES + 1:
        raise FormatError("not an add-checkpoint body: old size, hashes, an empty line and a checkpoint expected")
    try:
        proof = tuple(base64.b64decode(line, validate=True) for line in lines[1:])
    except (binascii.Error, ValueError):
        raise FormatError("not an add-checkpoint body: a hash that is not base64") from None
    if any(len(h) != HASH_BYTES for h in proof):
        raise FormatError("not an add-checkpoint body: a hash that is not 32 bytes")
    return AddCheckpoint(int(old[1]), proof, note)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a witness remembers of one log. Every note in it was signed by the log's key; None: there is none.

    `cosigned`: the last checkpoint proven and cosigned. `pending`: the first one seen since without a proof. `newest`:
    the largest one seen. `stopped`: why nothing is cosigned; ``fork`` ends by people only, the others also by a proof.
    """

    cosigned: str | None = None
    pending: str | None = None
    newest: str | None = None
    stopped: Code | None = None

    @property
    def size(self) -> int:
        """Size of the last cosigned checkpoint; 0 where there is none, as the protocol counts."""
        return size_of(self.cosigned)

    @property
    def largest(self) -> str:
        """The largest checkpoint known of the log; empty where there is none."""
        known = [note for note in (self.cosigned, self.pending, self.newest) if note is not None]
        return max(known, key=size_of, default="")


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two checkpoints of one log that do not go together, as far as is known. Empty `kept`: there was none."""

    code: Code
    kept: str
    refused: str


@dataclass(frozen=True, slots=True)
class Cosign:
    """Keep `memory` durably, then cosign `note`. Never the other way round."""

    note: str
    checkpoint: Checkpoint
    memory: Memory


@dataclass(frozen=True, slots=True)
class Conflict:
    """The request starts from another size than that of the last cosigned checkpoint: `size`."""

    size: int


@dataclass(frozen=True, slots=True)
class Behind:
    """A checkpoint smaller than one of `size` seen before: late, or of a log rolled back. Do not rely on it."""

    size: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """Nothing speaks against this checkpoint; keep `memory`."""

    memory: Memory


@dataclass(frozen=True, slots=True)
class Refusal:
    """Refused. Keep `memory`, and durably the `contradiction` where there is one, before saying so."""

    code: Code
    memory: Memory
    contradiction: Contradiction | None = None


def decide(memory: Memory, key: VerifyKey | None, request: AddCheckpoint) -> Cosign | Conflict | Refusal:
    """What becomes of a request. `key` is the log's key for the checkpoint's origin; None: this log is not witnessed.

    1. The log's key has signed. 2. The old size is not above the new one. 3. Nothing remembered contradicts it by
    itself. 4. We did not stop. 5. The old size is that of the last cosigned checkpoint. 6. What was seen unproven comes
    first. 7. The proof holds. Only then: cosign.
    """
    if key is None:
        return Refusal(Code.UNKNOWN_LOG, memory)
    try:
        asked = open_checkpoint(request.note, key)  # 1
    except CustodyError:
        return Refusal(Code.BAD_SIGNATURE, memory)
    if request.old_size > asked.size:  # 2
        return Refusal(Code.BAD_OLD_SIZE, memory)
    if (fork := _fork(memory, asked, request.note)) is not None:  # 3
        return fork
    if memory.stopped is Code.FORK:  # 4
        return Refusal(Code.STOPPED, memory)
    if request.old_size != memory.size:  # 5
        return Conflict(memory.size)
    if memory.pending is not None and asked.size != size_of(memory.pending):
        return Refusal(Code.PROVE_FIRST, memory)  # 6
    if memory.size == 0 and request.proof:  # 7
        return Refusal(Code.BAD_PROOF, memory)
    if not _extends(memory.cosigned, asked, request.proof):
        suspected = replace(memory, pending=memory.pending or request.note, stopped=Code.BAD_PROOF)
        known = memory.cosigned or ""
        return Refusal(Code.BAD_PROOF, suspected, Contradiction(Code.BAD_PROOF, known, request.note))
    pending = memory.newest if size_of(memory.newest) > asked.size else None  # what was seen meanwhile comes next
    return Cosign(request.note, asked, replace(memory, cosigned=request.note, pending=pending, stopped=None))


def hold(memory: Memory, key: VerifyKey, note: str) -> Accepted | Behind | Refusal:
    """Hold a checkpoint that came without a proof (in a receipt, as the newest of the log) against what is remembered.

    Raises FormatError or SignatureInvalid for one that is not the log's.
    """
    seen = open_checkpoint(note, key)
    if (fork := _fork(memory, seen, note)) is not None:
        return fork
    if memory.stopped is not None:
        return Refusal(Code.STOPPED, memory)
    if seen.size < size_of(memory.largest):
        return Behind(size_of(memory.largest))
    unproven = memory.cosigned is None or seen.size > memory.size
    return Accepted(replace(memory, newest=note, pending=memory.pending or (note if unproven else None)))


def rolled_back(memory: Memory, note: str) -> Refusal:
    """For a log that went on showing less than before for longer than a late message can take."""
    stopped = replace(memory, stopped=memory.stopped or Code.ROLLBACK)
    return Refusal(Code.ROLLBACK, stopped, Contradiction(Code.ROLLBACK, memory.largest, note))


def unproven(memory: Memory, note: str) -> Refusal:
    """For a log that goes on asking for other checkpoints, `note` last, and never proves the one that is pending."""
    stopped = replace(memory, stopped=memory.stopped or Code.BAD_PROOF)
    return Refusal(Code.BAD_PROOF, stopped, Contradiction(Code.BAD_PROOF, memory.pending or "", note))


def size_of(note: str | None) -> int:
    """Size of a checkpoint whose signature was checked already; 0 for none."""
    return parse_checkpoint(body_of(note)).size if note else 0


def body_of(note: str) -> str:
    """A note's text."""
    return note.rpartition("\n\n")[0] + "\n"


def _fork(memory: Memory, asked: Checkpoint, note: str) -> Refusal | None:
    for held in (memory.cosigned, memory.pending, memory.newest):
        known = parse_checkpoint(body_of(held)) if held else None
        if held and known and known.size == asked.size and known.root != asked.root:
            return Refusal(Code.FORK, replace(memory, stopped=Code.FORK), Contradiction(Code.FORK, held, note))
    return None


def _extends(cosigned: str | None, asked: Checkpoint, proof: tuple[bytes, ...]) -> bool:
    known = parse_checkpoint(body_of(cosigned)) if cosigned else None
    if asked.size == 0:
        return asked.root == EMPTY_ROOT
    if known is None or known.size == 0:
        return True  # every log extends the empty one
    try:
        verify_consistency(known.size, known.root, asked.size, asked.root, proof)
    except ProofInvalid:
        return False
    return True


# --- what a witness of ours says beside the statuses of tlog-witness: the body of a refusal ---


def refusal_text(code: Code, note: str) -> str:
    """The code, an empty line, and the checkpoint that it is about where there is one."""
    return f"{code.value}\n" + (f"\n{note}" if note else "")


def parse_refusal(text: str) -> tuple[Code, str]:
    """Code and note of a refusal; nothing of it is verified. Raises FormatError."""
    code, _, rest = text.partition("\n")
    try:
        return Code(code), rest.removeprefix("\n")
    except ValueError:
        raise FormatError("not a refusal of a witness") from None


# --- what a station answers over MQTT ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A witness's answer as JSON. Its notes and cosignature prove themselves; the rest is only claimed."""

    type: Literal["cosigned.v1", "conflict.v1", "refused.v1"]
    witness: str  # key line
    size: int  # cosigned: of that checkpoint; else of the last one it cosigned, 0 for none
    cosignature: str  # signature line with its newline; empty unless cosigned
    code: str  # one of `Code`; empty unless refused
    newest: str  # the largest checkpoint of this log that the witness knows; empty for none
    pending: str  # the checkpoint that is to be proven before a larger one; empty for none

    @property
    def raw(self) -> bytes:
        """The bytes to send."""
        return dump_json(write_fields(self))


def parse_answer(raw: bytes) -> Answer:
    """Read an answer; nothing of it is verified. Raises FormatError."""
    if len(raw) > 4 * MAX_NOTE_BYTES:
        raise FormatError("a witness's answer above the limit")
    return read_fields(Answer, load_object(raw), "answer")
