"""Errors of the evidence formats: one tree, stable codes.

Every function of this package turns whatever went wrong while reading foreign bytes into one of these.
"""

from __future__ import annotations


class CustodyError(Exception):
    """Something about evidence bytes is wrong; `code` is stable and may be relied on by programs."""

    code = "custody_error"


class FormatError(CustodyError):
    """The bytes are not what the format says: not JSON, a missing field, a wrong type, too long."""

    code = "bad_format"


class UnknownType(CustodyError):
    """Authentic bytes of an event type that this version does not know; keep them, do not project them."""

    code = "unknown_type"


class SignatureInvalid(CustodyError):
    """No signature by the expected key, or one that does not fit the bytes."""

    code = "bad_signature"


class ProofInvalid(CustodyError):
    """An inclusion or consistency proof does not lead to the given root."""

    code = "bad_proof"


class KeyInvalid(CustodyError):
    """A key line or key file that cannot be read."""

    code = "bad_key"
