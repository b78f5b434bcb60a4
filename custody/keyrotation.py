"""Rotation of keys: the old key and the new one sign for each other, and the log keeps it. See keys.md.

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
from custody.event import Event
from custody.events import decode_event
from custody.hubevents import KeyRole, KeyRotated
from custody.merkle import verify_inclusion
from custody.stationevents import StationKeyRotated
from custody.tlogproof import parse_proof

HUB = "hub"
STATION = "station"


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


def sign_station_rotation(old: VerifyKey, new: SigningKey) -> str:
    """The new key's signature, base64, as `StationKeyRotated` carries it; the old one signs the envelope."""
    return base64.b64encode(new.sign(rotation_text(STATION, old.line, new.verify_key.line))).decode()


def check_station_rotation(event: StationKeyRotated, signer: VerifyKey) -> VerifyKey:
    """The key that counts from the next seq on, where `signer` signed the event's envelope. Raises RotationInvalid.

    1. The old line is the signer's. 2. The new line is another key of the same name, which is the station's. 3. The new
    key has signed for itself: nobody can name a key that he does not hold.
    """
    try:
        new = parse_key_line(event.new_line)
        text = rotation_text(STATION, event.old_line, event.new_line)
        new.verify(base64.b64decode(event.new_signature, validate=True), text)  # 3
    except (CustodyError, binascii.Error, ValueError) as error:
        raise RotationInvalid(f"the rotation of {event.source}'s key does not hold: {error}") from None
    if event.old_line != signer.line:  # 1
        raise RotationInvalid("it is a rotation of another key than the one that signed it")
    if new.name != signer.name or new.name != event.source or new.label == signer.label:  # 2
        raise RotationInvalid("a rotation gives the same name a new key")
    return new


def successor(event: Event | None, signer: VerifyKey) -> VerifyKey | None:
    """The station's key from the event after this one on, where that changes; `signer` signed this one's envelope.

    An event that is no rotation, or one that the new key does not bear out, changes nothing.
    """
    if not isinstance(event, StationKeyRotated):
        return None
    try:
        return check_station_rotation(event, signer)
    except RotationInvalid:
        return None


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
