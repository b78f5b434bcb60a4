"""Signed notes, key lines and log checkpoints: C2SP signed-note, tlog-checkpoint. See ``custody/spec/checkpoint.md``.

A key line (C2SP vkey) is ``name+hash+base64(type || public key)``; stations, log and receipts all use this form.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from custody.errors import FormatError, KeyInvalid, SignatureInvalid

ED25519 = b"\x01"
MAX_NOTE_BYTES = 64 * 1024
KEY_NAME = re.compile(r"[^\s+\"\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")  # signed-note, less what JSON would escape
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]")  # lone surrogates are no Unicode text either
_DASH = "\u2014 "
_FIELD = 2**255 - 19
_ORDER_8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL_ORDER = frozenset((0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8))  # y of the 8 points; two have x = 0


@dataclass(frozen=True)
class VerifyKey:
    """A named Ed25519 public key. `key_id` is 4 bytes that select, never authenticate."""

    name: str
    public: Ed25519PublicKey

    @cached_property
    def key_id(self) -> bytes:
        """First 4 bytes of ``SHA-256(name || 0x0A || 0x01 || public key)``."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public.public_bytes_raw()).digest()[:4]

    @property
    def line(self) -> str:
        """The key line to hand out and to pin."""
        raw = base64.b64encode(ED25519 + self.public.public_bytes_raw()).decode()
        return f"{self.name}+{self.key_id.hex()}+{raw}"

    @cached_property
    def label(self) -> str:
        """``name+hash``: how envelopes and pages name this key."""
        return f"{self.name}+{self.key_id.hex()}"

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise SignatureInvalid unless `signature` (64 bytes) is this key's over `message`."""
        try:
            self.public.verify(signature, message)
        except InvalidSignature:
            raise SignatureInvalid(f"not signed by {self.label}") from None


@dataclass(frozen=True)
class SigningKey:
    """A named Ed25519 private key."""

    name: str
    private: Ed25519PrivateKey

    @cached_property
    def verify_key(self) -> VerifyKey:
        """The public half under the same name."""
        return VerifyKey(self.name, self.private.public_key())

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> SigningKey:
        """Key from its 32-byte seed. Raises KeyInvalid for a bad name or length."""
        if not KEY_NAME.fullmatch(name):
            raise KeyInvalid(f"a key name has no spaces and no plus sign: {name!r}")
        try:
            return cls(name, Ed25519PrivateKey.from_private_bytes(seed))
        except ValueError as error:
            raise KeyInvalid(f"not an Ed25519 seed: {error}") from None

    def sign(self, message: bytes) -> bytes:
        """64-byte Ed25519 signature."""
        return self.private.sign(message)


def parse_key_line(line: str) -> VerifyKey:
    """Read a key line. Raises KeyInvalid when malformed, when its hash does not fit its key, or as `read_public`."""
    name, _, rest = line.strip().partition("+")
    hash_hex, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
        if raw[:1] != ED25519 or not KEY_NAME.fullmatch(name):
            raise KeyInvalid(f"not an Ed25519 key line: {line[:80]!r}")
        key = VerifyKey(name, read_public(raw[1:]))
    except (binascii.Error, ValueError) as error:
        raise KeyInvalid(f"not a key line ({error}): {line[:80]!r}") from None
    if key.key_id.hex() != hash_hex:
        raise KeyInvalid(f"key line of {name} is damaged: its hash does not fit the key")
    return key


def read_public(raw: bytes) -> Ed25519PublicKey:
    """The public key of 32 bytes (RFC 8032, section 5.1.3). Raises ValueError for another length.

    Raises KeyInvalid for a point of small order: one signature may fit many messages, and its owner could deny them;
    and for a y that is not reduced: one key would have two ids. The forms with x = 0 and a sign are of small order.
    """
    y = int.from_bytes(raw, "little") & (1 << 255) - 1
    if y >= _FIELD or y in _SMALL_ORDER:
        raise KeyInvalid("not a key to sign with: a point of small order, or an encoding that is not reduced")
    return Ed25519PublicKey.from_public_bytes(raw)


def sign_note(text: str, key: SigningKey) -> str:
    """`text` (which ends in a newline) as a signed note with one Ed25519 signature line."""
    if not text.endswith("\n") or has_control(text):
        raise FormatError("a note's text ends in a newline and holds no other control character")
    signature = base64.b64encode(key.verify_key.key_id + key.sign(text.encode())).decode()
    return f"{text}\n{_DASH}{key.name} {signature}\n"


def open_note(note: str, key: VerifyKey) -> str:
    """The text of a note that `key` has signed. Raises FormatError or SignatureInvalid."""
    text, signatures = _split_note(note)
    for name, raw in signatures:
        if name == key.name and raw[:4] == key.key_id:
            key.verify(raw[4:], text.encode())
            return text
    raise SignatureInvalid(f"the note carries no signature by {key.label}")


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > MAX_NOTE_BYTES or has_control(note):
        raise FormatError("not a signed note: too long, or it holds control characters")
    body, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise FormatError("not a signed note: no signature lines")
    signatures = []
    for line in tail[:-1].split("\n"):
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except ValueError:  # binascii.Error, or text that is not ASCII
            raw = b""
        if not line.startswith(_DASH) or not KEY_NAME.fullmatch(name) or len(raw) < 5:
            raise FormatError("not a signed note: a malformed signature line")
        signatures.append((name, raw))
    return body + "\n", signatures


def has_control(text: str) -> bool:
    """Whether `text` holds what no note holds: a control character but newline, or half a character."""
    return _CONTROL.search(text) is not None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Size and RFC 6962 root of the log with this origin."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """The note text, C2SP tlog-checkpoint."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """The checkpoint as a signed note; the log's key name is its origin."""
    return sign_note(checkpoint.body, key)


def open_checkpoint(note: str, key: VerifyKey) -> Checkpoint:
    """A checkpoint that `key` has signed for the origin of the key's name. Raises FormatError or SignatureInvalid."""
    checkpoint = parse_checkpoint(open_note(note, key))
    if checkpoint.origin != key.name:
        raise FormatError(f"the checkpoint is of {checkpoint.origin}, not of {key.name}")
    return checkpoint


def parse_checkpoint(body: str) -> Checkpoint:
    """Read a checkpoint body whose signature was checked already. Raises FormatError."""
    lines = body.split("\n")
    if len(lines) < 4 or not lines[0] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise FormatError("not a checkpoint: origin, size and root expected")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except ValueError:  # binascii.Error, or text that is not ASCII
        root = b""
    if len(root) != 32:
        raise FormatError("not a checkpoint: its root is not 32 bytes of base64")
    return Checkpoint(lines[0], int(lines[1]), root)
