"""Rotation of the hub's keys: the old key and the new one sign for each other, and the log keeps it. See keys.md.

A rotation holds from the entry after its own on: that entry, and the checkpoint of its commit, are the last that the
old key signs. So at every place of the log exactly one key of each role counts.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from custody.checkpoint import SigningKey, VerifyKey, open_checkpoint, parse_key_line
from custody.digest import leaf_hash
from custody.envelope import parse_envelope
from custody.errors import CustodyError, FormatError
from custody.events import decode_event
from custody.hubevents import KeyRole, KeyRotated
from custody.merkle import verify_inclusion
from custody.tlogproof import parse_proof

HUB = "hub"


class RotationInvalid(CustodyError):
    """A rotation that the keys themselves do not bear out."""

    code = "bad_rotation"


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation that both keys signed."""

    role: KeyRole
    old: VerifyKey
    new: VerifyKey


def rotation_text(role: str, old_line: str, new_line: str) -> bytes:
    """What both keys sign."""
    return f"custodock key rotation v1\n{role}\n{old_line}\n{new_line}\n".encode()


def sign_rotation(role: KeyRole, old: SigningKey, new: SigningKey) -> tuple[str, str]:
    """The old key's signature and the new one's, base64, as `KeyRotated` carries them."""
    text = rotation_text(role, old.verify_key.line, new.verify_key.line)
    return base64.b64encode(old.sign(text)).decode(), base64.b64encode(new.sign(text)).decode()


def check_rotation(event: KeyRotated) -> Rotation:
    """1. Both lines are keys of one name, and differ. 2. Each has signed for the other. Raises RotationInvalid.

    Which of the two the caller knew before is for the caller to compare.
    """
    try:
        old, new = parse_key_line(event.old_line), parse_key_line(event.new_line)
        text = rotation_text(event.role, event.old_line, event.new_line)
        old.verify(base64.b64decode(event.old_signature, validate=True), text)  # 2
        new.verify(base64.b64decode(event.new_signature, validate=True), text)
    except (CustodyError, binascii.Error, ValueError) as error:
        raise RotationInvalid(f"the rotation of the {event.role} key does not hold: {error}") from None
    if old.name != new.name or old.label == new.label:  # 1
        raise RotationInvalid("a rotation gives the same name a new key")
    return Rotation(event.role, old, new)


def open_rotation(envelope_text: str, proof_text: str, log_key: VerifyKey) -> Rotation:
    """A rotation out of its log entry, once the log is shown to hold it. Raises CustodyError.

    `log_key` is the one that counted when the entry was made: for a rotation of the log's own key, the old one.
    """
    raw = envelope_text.encode()
    proof = parse_proof(proof_text.encode())
    checkpoint = open_checkpoint(proof.note, log_key)
    verify_inclusion(leaf_hash(raw), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    envelope = parse_envelope(raw)
    event = decode_event(envelope.payload_type, envelope.payload)
    if not isinstance(event, KeyRotated) or event.source != HUB:
        raise FormatError("not a rotation of the hub's")
    return check_rotation(event)


def follow(key: VerifyKey, rotations: Iterable[Rotation]) -> tuple[VerifyKey, ...]:
    """`key` and, in order, every key that followed it. `rotations` in the order of the log; others are passed over."""
    found = [key]
    for rotation in rotations:
        if rotation.old.line == found[-1].line:
            found.append(rotation.new)
    return tuple(found)


def trace_back(key: VerifyKey, rotations: Iterable[Rotation]) -> tuple[VerifyKey, ...]:
    """`key` and, in order, every key before it, newest first. `rotations` in the order of the log."""
    found = [key]
    for rotation in reversed(list(rotations)):
        if rotation.new.line == found[-1].line:
            found.append(rotation.old)
    return tuple(found)
