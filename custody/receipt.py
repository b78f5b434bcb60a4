"""Receipts: the hub's signed answer that envelopes are committed to its log. See ``custody/spec/receipt.md``.

A broker's acknowledgement means "the broker has it"; only a receipt that verifies clears an outbox row.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from custody.checkpoint import Checkpoint, SigningKey, VerifyKey, open_checkpoint
from custody.envelope import RECEIPT_TYPE, open_envelope, seal
from custody.errors import FormatError
from custody.fields import load_object

MAX_RECEIPT_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """One envelope of the station and where it stands in the log."""

    seq: int
    envelope_sha256: str
    log_index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Entries of one station, in seq order, all inside the tree of `checkpoint_note`."""

    station: str
    entries: tuple[ReceiptEntry, ...]
    checkpoint_note: str


@dataclass(frozen=True, slots=True)
class ResendRequest:
    """The hub lacks what comes before: send again from `from_seq` on."""

    station: str
    from_seq: int


def seal_receipt(answer: Receipt | ResendRequest, key: SigningKey) -> bytes:
    """The signed bytes to publish. Raises FormatError above `MAX_RECEIPT_ENTRIES`."""
    if isinstance(answer, ResendRequest):
        body: dict[str, object] = {"type": "resend.v1", "station": answer.station, "from_seq": answer.from_seq}
    else:
        if len(answer.entries) > MAX_RECEIPT_ENTRIES:
            raise FormatError(f"a receipt holds at most {MAX_RECEIPT_ENTRIES} entries")
        entries = [[e.seq, e.envelope_sha256, e.log_index] for e in answer.entries]
        body = {
            "type": "receipt.v1",
            "station": answer.station,
            "entries": entries,
            "checkpoint": answer.checkpoint_note,
        }
    return seal(RECEIPT_TYPE, json.dumps(body, separators=(",", ":")).encode(), key)


def open_receipt(
    raw: bytes, station: str, receipt_key: VerifyKey, log_key: VerifyKey
) -> tuple[Receipt | ResendRequest, Checkpoint | None]:
    """Read and check an answer of the hub.

    1. The envelope is signed by the receipt key. 2. It is for this station. 3. Its checkpoint is signed by the log
    key. 4. Every entry's index lies inside that tree and the seqs rise. Raises FormatError or SignatureInvalid.
    """
    payload = open_envelope(raw, receipt_key, RECEIPT_TYPE)  # 1
    body = load_object(payload)
    if body.get("station") != station:  # 2
        raise FormatError("the receipt is for another station")
    match body:
        case {"type": "resend.v1", "from_seq": from_seq}:
            return ResendRequest(station, _whole(from_seq)), None
        case {"type": "receipt.v1", "entries": [*triples], "checkpoint": str(note)}:
            entries = tuple(_entry(triple) for triple in triples[: MAX_RECEIPT_ENTRIES + 1])
        case _:
            raise FormatError("neither a receipt nor a resend request")
    if len(entries) > MAX_RECEIPT_ENTRIES:
        raise FormatError(f"a receipt holds at most {MAX_RECEIPT_ENTRIES} entries")
    checkpoint = open_checkpoint(note, log_key)  # 3
    seqs = [e.seq for e in entries]
    if any(e.log_index >= checkpoint.size for e in entries) or seqs != sorted(set(seqs)):  # 4
        raise FormatError("the receipt's entries do not lie in its checkpoint, or are out of order")
    return Receipt(station, entries, note), checkpoint


def _entry(triple: object) -> ReceiptEntry:
    match triple:
        case [seq, str(digest), index] if re.fullmatch("[0-9a-f]{64}", digest):
            return ReceiptEntry(_whole(seq), digest, _whole(index))
    raise FormatError("a receipt's entry is seq, SHA-256 and log index")


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise FormatError("a whole number expected")
    return value
