"""DSSE envelopes over the exact JSON bytes of one event or receipt. See ``custody/spec/envelope.md``.

The bytes received are the bytes kept: `Envelope.raw` is stored, hashed, chained and logged verbatim and nothing
re-serialises it to verify. Only the payload whose signature was checked is ever parsed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass

from custody.checkpoint import SigningKey, VerifyKey
from custody.errors import FormatError, SignatureInvalid

MAX_ENVELOPE_BYTES = 60 * 1024
EVENT_TYPE = "application/vnd.custodock.event+json"
STATEMENT_TYPE = "application/vnd.in-toto+json"
RECEIPT_TYPE = "application/vnd.custodock.receipt+json"


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of an envelope; `key_label` is a hint that nobody has authenticated."""

    key_label: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope. Nothing in it may be believed before `verify`."""

    raw: bytes
    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def hash(self) -> bytes:
        """SHA-256 of the exact bytes: what the next envelope of this source names as its previous one."""
        return hashlib.sha256(self.raw).digest()

    def verify(self, key: VerifyKey) -> bytes:
        """The payload, once `key` is shown to have signed it. Raises SignatureInvalid."""
        message = pae(self.payload_type, self.payload)
        for signature in self.signatures:
            if signature.key_label == key.label:
                key.verify(signature.value, message)
                return self.payload
        raise SignatureInvalid(f"no signature by {key.label}")


def seal(payload_type: str, payload: bytes, key: SigningKey) -> bytes:
    """Sign `payload` and return the envelope's bytes. Raises FormatError above `MAX_ENVELOPE_BYTES`."""
    signature = base64.b64encode(key.sign(pae(payload_type, payload))).decode()
    body = base64.b64encode(payload).decode()
    label = key.verify_key.label
    # Built by hand because every inserted value is base64 or a name without quotes; json.dumps gives the same bytes.
    raw = (
        f'{{"payload":"{body}","payloadType":"{payload_type}","signatures":[{{"keyid":"{label}","sig":"{signature}"}}]}}'
    ).encode()
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise FormatError(f"an envelope holds at most {MAX_ENVELOPE_BYTES} bytes, this one has {len(raw)}")
    return raw


def parse_envelope(raw: bytes) -> Envelope:
    """Read an envelope's outer JSON. Raises FormatError for anything that is not one."""
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise FormatError(f"an envelope holds at most {MAX_ENVELOPE_BYTES} bytes, this one has {len(raw)}")
    try:
        outer = json.loads(raw)
        signatures = tuple(
            Signature(str(s["keyid"]), base64.b64decode(s["sig"], validate=True)) for s in outer["signatures"]
        )
        payload_type, payload = outer["payloadType"], base64.b64decode(outer["payload"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise FormatError(f"not a DSSE envelope: {type(error).__name__}") from None
    if not isinstance(payload_type, str) or not signatures:
        raise FormatError("not a DSSE envelope: no payload type or no signature")
    return Envelope(raw, payload_type, payload, signatures)


def open_envelope(raw: bytes, key: VerifyKey, *payload_types: str) -> bytes:
    """Parse, check the type and the signature, and return the payload. Raises FormatError or SignatureInvalid."""
    envelope = parse_envelope(raw)
    if envelope.payload_type not in payload_types:
        raise FormatError(f"unexpected payload type {envelope.payload_type[:80]!r}")
    return envelope.verify(key)
