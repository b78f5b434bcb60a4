"""Witness key lines and their signatures over checkpoints: C2SP tlog-cosignature, Ed25519 (``cosignature/v1``).

A witness states that it saw this checkpoint at a time, and that it extends every one it saw before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from custody.checkpoint import KEY_NAME, SigningKey, VerifyKey, has_control, open_note, read_public
from custody.errors import CustodyError, FormatError, KeyInvalid, SignatureInvalid

COSIGNATURE_ED25519 = b"\x04"
_DASH = "\u2014 "


@dataclass(frozen=True)
class WitnessKey:
    """A named witness's public key; its key id differs from that of the same key used to sign notes."""

    key: VerifyKey

    @property
    def name(self) -> str:
        """The witness's name."""
        return self.key.name

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of ``SHA-256(name || 0x0A || 0x04 || public key)``."""
        raw = self.key.public.public_bytes_raw()
        return hashlib.sha256(self.name.encode() + b"\n" + COSIGNATURE_ED25519 + raw).digest()[:4]

    @property
    def label(self) -> str:
        """``name+hash``."""
        return f"{self.name}+{self.key_id.hex()}"

    @property
    def line(self) -> str:
        """The key line to hand out and to pin: type 0x04, so that nobody takes it for a key that signs notes."""
        raw = base64.b64encode(COSIGNATURE_ED25519 + self.key.public.public_bytes_raw()).decode()
        return f"{self.label}+{raw}"


@dataclass(frozen=True)
class CosigningKey:
    """A witness's private key. Whoever uses it has durably kept the checkpoint first: see `custody.witness`."""

    key: SigningKey

    @property
    def public(self) -> WitnessKey:
        """The public half under the same name."""
        return WitnessKey(self.key.verify_key)

    def cosign(self, note: str, at: datetime) -> str:
        """The signature line (with its newline) over a checkpoint that was opened and found consistent.

        `at` is aware; the line states it in whole seconds. Raises FormatError for a time before 1970.
        """
        seconds = int(at.timestamp())
        if seconds < 0:
            raise FormatError("a cosignature states a time from 1970 on")
        signature = self.key.sign(_message(note.rpartition("\n\n")[0], seconds))
        encoded = base64.b64encode(self.public.key_id + seconds.to_bytes(8) + signature).decode()
        return f"{_DASH}{self.key.name} {encoded}\n"


def take_cosignature(note: str, lines: str, witness: WitnessKey) -> tuple[str, datetime]:
    """Of a witness's answer, the line that is this witness's over `note`, and when it says that it signed.

    Lines of others are ignored, as tlog-witness asks of a client. Raises SignatureInvalid where there is none,
    FormatError where a line of its name is malformed.
    """
    body = note.rpartition("\n\n")[0]
    for line in lines.splitlines():
        at = cosigned_at(f"{body}\n\n{line}\n", witness)
        if at is not None:
            return line + "\n", at
    raise SignatureInvalid(f"no cosignature of {witness.label}")


def with_cosignatures(note: str, log_key: VerifyKey, lines: list[str]) -> str:
    """`note` with the log's own signature first and these lines behind it. Raises as `open_note` does."""
    open_note(note, log_key)
    return note + "".join(lines)


def is_cosigned(note: str, witness: WitnessKey) -> bool:
    """Whether `witness` has cosigned this checkpoint; a malformed or false line is none."""
    try:
        return cosigned_at(note, witness) is not None
    except CustodyError:
        return False


def _message(body: str, seconds: int) -> bytes:
    """What an Ed25519 cosignature signs; `body` without the newline that ends it."""
    return f"cosignature/v1\ntime {seconds}\n{body}\n".encode()


def parse_witness_line(line: str) -> WitnessKey:
    """Read a witness's key line (type 0x04). Raises KeyInvalid."""
    name, _, rest = line.strip().partition("+")
    hash_hex, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
        if raw[:1] != COSIGNATURE_ED25519 or not KEY_NAME.fullmatch(name):
            raise KeyInvalid(f"not a witness's key line: {line[:80]!r}")
        witness = WitnessKey(VerifyKey(name, read_public(raw[1:])))
    except (binascii.Error, ValueError) as error:
        raise KeyInvalid(f"not a key line ({error}): {line[:80]!r}") from None
    if witness.key_id.hex() != hash_hex:
        raise KeyInvalid(f"key line of {name} is damaged: its hash does not fit the key")
    return witness


def cosigned_at(note: str, witness: WitnessKey) -> datetime | None:
    """When `witness` cosigned this checkpoint; None where it has not.

    Raises SignatureInvalid for a signature of its name and key id that does not fit, FormatError for a malformed one.
    """
    body, _, tail = note.rpartition("\n\n")
    if has_control(note):
        raise FormatError("not a signed note: it holds control characters")
    for line in tail.split("\n"):
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or name != witness.name:
            continue
        try:
            raw = base64.b64decode(encoded, validate=True)
        except ValueError:  # binascii.Error, or text that is not ASCII
            raise FormatError(f"the cosignature of {name} is not base64") from None
        if raw[:4] != witness.key_id:
            continue
        if len(raw) != 4 + 8 + 64:
            raise FormatError(f"the cosignature of {name} has not its length")
        seconds = int.from_bytes(raw[4:12])
        try:
            witness.key.verify(raw[12:], _message(body, seconds))
        except SignatureInvalid:
            raise SignatureInvalid(f"the cosignature of {witness.label} does not fit") from None
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            raise FormatError(f"the cosignature of {name} states no time") from None
    return None
