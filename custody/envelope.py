"""DSSE envelopes over the exact JSON bytes of one event or receipt. See ``custody/spec/envelope.md``.

The bytes received are the bytes kept: `Envelope.raw` is stored, hashed, chained and logged verbatim and nothing
re-serialises it to verify. Only the payload whose signature was checked is ever parsed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from custody.checkpoint import SigningKey, VerifyKey
from custody.errors import FormatError, SignatureInvalid

MAX_ENVELOPE_BYTES = 60 * 1024
EVENT_TYPE = "application/vnd.custodock.event+json"
STATEMENT_TYPE = "application/vnd.in-toto+json"
RECEIPT_TYPE = "application/vnd.custodock.receipt+json"
_FORM = re.compile(
    rb'\{"payload":"([A-Za-z0-9+/]*={0,2})","payloadType":"([a-z0-9.+/-]{1,100})",'
    rb'"signatures":\[\{"keyid":"([^"\\\x00-\x20\x7f]{1,700})","sig":"([A-Za-z0-9+/]{86}==)"\}\]\}'
)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope. Nothing in it may be believed before `verify`."""

    raw: bytes
    payload_type: str
    payload: bytes
    key_label: str  # a hint that nobody has authenticated
    signature: bytes

    @property
    def hash(self) -> bytes:
        """SHA-256 of the exact bytes: what the next envelope of this source names as its previous one."""
        return hashlib.sha256(self.raw).digest()

    def verify(self, key: VerifyKey) -> bytes:
        """The payload, once `key` is shown to have signed it. Raises SignatureInvalid."""
        if self.key_label != key.label:
            raise SignatureInvalid(f"no signature by {key.label}")
        key.verify(self.signature, pae(self.payload_type, self.payload))
        return self.payload


def seal(payload_type: str, payload: bytes, key: SigningKey) -> bytes:
    """Sign `payload` and return the envelope's bytes. Raises FormatError above `MAX_ENVELOPE_BYTES`."""
    raw = _render(payload_type, payload, key.verify_key.label, key.sign(pae(payload_type, payload)))
    # What is signed enters a chain for good: never something that a reader refuses. Base64 of ours has no stray bits.
    if len(raw) > MAX_ENVELOPE_BYTES or _FORM.fullmatch(raw) is None:
        parse_envelope(raw)  # says what is wrong
    return raw


def parse_envelope(raw: bytes) -> Envelope:
    """Read an envelope. Raises FormatError for anything but the one form in which `seal` writes it.

    DSSE signs the payload, not the JSON around it, yet chain and log stand on the hash of the whole. So exactly one
    form is an envelope: nobody can make a second one with another hash out of an authentic one.
    """
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise FormatError(f"an envelope holds at most {MAX_ENVELOPE_BYTES} bytes, this one has {len(raw)}")
    form = _FORM.fullmatch(raw)
    if form is None:
        raise FormatError("not a DSSE envelope of our form")
    body, kind, label, signature = form.groups()
    try:
        envelope = Envelope(
            raw, kind.decode(), binascii.a2b_base64(body), label.decode(), binascii.a2b_base64(signature)
        )
    except (binascii.Error, UnicodeDecodeError):
        raise FormatError("not a DSSE envelope: not base64, or not UTF-8") from None
    if _render(envelope.payload_type, envelope.payload, envelope.key_label, envelope.signature) != raw:
        raise FormatError("not a DSSE envelope of our form: base64 with stray bits")
    return envelope


def _render(payload_type: str, payload: bytes, label: str, signature: bytes) -> bytes:
    # By hand, since every inserted value is base64 or free of quotes (`_FORM`); json.dumps gives the same bytes.
    body, sig = base64.b64encode(payload), base64.b64encode(signature)
    return b'{"payload":"%s","payloadType":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}' % (
        body,
        payload_type.encode(),
        label.encode(),
        sig,
    )


def open_envelope(raw: bytes, key: VerifyKey, *payload_types: str) -> bytes:
    """Parse, check the type and the signature, and return the payload. Raises FormatError or SignatureInvalid."""
    envelope = parse_envelope(raw)
    if envelope.payload_type not in payload_types:
        raise FormatError(f"unexpected payload type {envelope.payload_type[:80]!r}")
    return envelope.verify(key)
