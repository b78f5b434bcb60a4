"""Inclusion proofs as files to hand out: C2SP tlog-proof. See ``custody/spec/bundle.md``."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from custody.digest import HASH_BYTES
from custody.errors import FormatError

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = 80 * 1024  # a checkpoint of the longest kind and 63 hashes
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class LogProof:
    """That entry `index` is in the tree of the checkpoint `note`; nothing of it is verified yet."""

    index: int
    hashes: tuple[bytes, ...]  # from the leaf's sibling upwards
    note: str

    @property
    def text(self) -> str:
        """The file."""
        hashes = (base64.b64encode(h).decode() for h in self.hashes)
        return "\n".join([HEADER, f"index {self.index}", *hashes]) + f"\n\n{self.note}"


def parse_proof(raw: bytes) -> LogProof:
    """Read a proof. Raises FormatError for anything but the one form in which `LogProof.text` writes it.

    The optional ``extra`` line of the format is refused: nothing we hand out has one, and nothing would prove it.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise FormatError("not a tlog-proof: not UTF-8") from None
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    index = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
    if len(raw) > MAX_PROOF_BYTES or not blank or lines[0] != HEADER or index is None or len(lines) > 65:
        raise FormatError("not a tlog-proof")
    try:
        hashes = tuple(base64.b64decode(line, validate=True) for line in lines[2:])
    except ValueError:  # binascii.Error, or text that is not ASCII
        raise FormatError("not a tlog-proof: a hash that is not base64") from None
    proof = LogProof(int(index[1]), hashes, note)
    if any(len(h) != HASH_BYTES for h in hashes) or proof.text != text:
        raise FormatError("not a tlog-proof: a hash that is not 32 bytes of canonical base64")
    return proof
