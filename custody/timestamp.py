"""RFC 3161 time-stamps over a checkpoint: ask, and verify what an authority answers. Pure.

`verify_token`: 1. It is CMS SignedData over one TSTInfo, with one signer. 2. The TSTInfo is of exactly this message and
carries the nonce that was sent. 3. The signer's certificate is in the token or among the pinned ones. 4. The signed
attributes name this content, this digest and this certificate (RFC 5816). 5. The signature holds. 6. The certificate is
for time-stamping and nothing else (RFC 3161, 2.3). 7. It leads to a pinned certificate, all valid at the time stated.

Not looked at: revocation (an authority that lost its key has to be taken off the pinned list), name constraints and
policies. SHA-1 is refused everywhere but as the name of a certificate.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

from custody import der
from custody.der import Value, read_one, write, write_number, write_oid
from custody.errors import FormatError, SignatureInvalid

REQUEST_TYPE, RESPONSE_TYPE = "application/timestamp-query", "application/timestamp-reply"
MAX_TOKEN_BYTES = 64 * 1024
_SHA256 = write_oid("2.16.840.1.101.3.4.2.1")
_HASHES: dict[bytes, type[hashes.HashAlgorithm]] = {
    _SHA256: hashes.SHA256,
    write_oid("2.16.840.1.101.3.4.2.2"): hashes.SHA384,
    write_oid("2.16.840.1.101.3.4.2.3"): hashes.SHA512,
}
_SIGNED_DATA, _TST_INFO = write_oid("1.2.840.113549.1.7.2"), write_oid("1.2.840.113549.1.9.16.1.4")
_CONTENT_TYPE, _MESSAGE_DIGEST = write_oid("1.2.840.113549.1.9.3"), write_oid("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE = write_oid("1.2.840.113549.1.9.16.2.12")
_SIGNING_CERTIFICATE_V2 = write_oid("1.2.840.113549.1.9.16.2.47")
_RSA = write_oid("1.2.840.113549.1.1.1")
_RSA_WITH = {
    write_oid(f"1.2.840.113549.1.1.{n}"): h for n, h in ((11, hashes.SHA256), (12, hashes.SHA384), (13, hashes.SHA512))
}
_EC = write_oid("1.2.840.10045.2.1")
_EC_WITH = {
    write_oid(f"1.2.840.10045.4.3.{n}"): h for n, h in ((2, hashes.SHA256), (3, hashes.SHA384), (4, hashes.SHA512))
}
_ED25519 = write_oid("1.3.101.112")
_MAX_CHAIN = 6
_DER = serialization.Encoding.DER


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What a verified token says: at `at`, `authority` (its certificate's subject) had seen the message."""

    at: datetime
    authority: str
    serial: int


def stamped_text(note: str) -> bytes:
    """What a time-stamp of a checkpoint is over: its text and the log's own signature, without those of witnesses.

    A checkpoint that gains cosignatures later keeps its time-stamp. Raises FormatError.
    """
    text, blank, signatures = note.rpartition("\n\n")
    origin = text.partition("\n")[0]
    own = [line for line in signatures.splitlines() if line.startswith(f"\u2014 {origin} ")]
    if not blank or not own:
        raise FormatError("not a checkpoint signed by its own log")
    return f"{text}\n\n{own[0]}\n".encode()


def load_certificates(pem: bytes) -> list[x509.Certificate]:
    """The certificates to pin. Raises FormatError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise FormatError(f"not a PEM file of certificates: {error}") from None


def make_request(message: bytes, nonce: int) -> bytes:
    """A TimeStampReq over SHA-256 of `message` that asks for the certificates too."""
    imprint = write(der.SEQUENCE, write(der.SEQUENCE, _SHA256, write(der.NULL)), write(der.OCTETS, _digest(message)))
    return write(der.SEQUENCE, write_number(1), imprint, write_number(nonce), write(der.BOOLEAN, b"\xff"))


def open_response(
    raw: bytes, message: bytes, nonce: int, trusted: Sequence[x509.Certificate]
) -> tuple[bytes, Timestamp]:
    """The token of a TimeStampResp, verified. Raises FormatError when it grants none, and as `verify_token`."""
    status, *rest = read_one(raw).parts()
    code = status.parts()[0].number
    if code not in (0, 1) or len(rest) != 1:  # granted, granted with modifications
        raise FormatError(f"the authority refused, status {code}")
    return rest[0].raw, verify_token(rest[0].raw, message, trusted, nonce)


def imprint_of(token: bytes) -> bytes:
    """The SHA-256 that a token is over; nothing is verified. Raises FormatError."""
    return _tst_info(_signed(token).content).imprint


def verify_token(
    token: bytes, message: bytes, trusted: Sequence[x509.Certificate], nonce: int | None = None
) -> Timestamp:
    """What a TimeStampToken says of `message`. `nonce`: the one that was sent; None: not known any more.

    Raises FormatError for what does not read, SignatureInvalid for what does not hold.
    """
    signed = _signed(token)  # 1
    info = _tst_info(signed.content)
    if info.imprint != _digest(message) or (nonce is not None and info.nonce != nonce):  # 2
        raise SignatureInvalid("the time-stamp is of something else, or answers another request")
    beside = [made for raw in signed.certificates if (made := _certificate(raw)) is not None]
    signer = _signer(signed, (*beside, *trusted))  # 3
    _check_attributes(signed, signer)  # 4
    _check_signature(signed, signer)  # 5
    _check_purpose(signer)  # 6
    _check_chain(signer, beside, trusted, info.at)  # 7
    return Timestamp(info.at, signer.subject.rfc4514_string(), info.serial)


# --- 1, 2: what there is ---


@dataclass(frozen=True, slots=True)
class _Signed:
    content: bytes  # DER of the TSTInfo
    certificates: tuple[bytes, ...]  # DER, as they came along
    sid: Value
    digest: bytes  # OID of the digest algorithm
    attributes: Value
    algorithm: bytes  # OID of the signature algorithm
    signature: bytes


def _signed(token: bytes) -> _Signed:
    try:
        kind, wrapped = read_one(token).parts()
        [body] = wrapped.parts(der.context(0))
        version, _, content, *rest = body.parts()
        inner_kind, inner = content.parts()
        [octets] = inner.parts(der.context(0))
        [signer] = rest[-1].parts(der.SET)
        _, sid, digest, attributes, algorithm, signature, *_ = signer.parts()
        groups = [group for group in rest[:-1] if group.tag == der.context(0)]
        if (kind.raw, inner_kind.raw, version.number) != (_SIGNED_DATA, _TST_INFO, 3):
            raise FormatError("not a time-stamp token")
        return _Signed(
            octets.of(der.OCTETS).content,
            tuple(value.raw for group in groups for value in group.parts(der.context(0))),
            sid,
            digest.parts()[0].raw,
            attributes.of(der.context(0)),
            algorithm.parts()[0].raw,
            signature.of(der.OCTETS).content,
        )
    except (ValueError, IndexError) as error:
        raise FormatError(f"not a time-stamp token: {error}") from None


def _certificate(raw: bytes) -> x509.Certificate | None:
    """A certificate that came along, every part of it read: the library reads them late. None when one does not read.

    It is left out then: nothing is believed for its sake.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are longer than they should be, and the like
            # RFC 5280, 4.1.2.2: above zero; the library only warns, here and each time that the number is asked for
            warnings.filterwarnings("error", "Parsed a serial number", CryptographyDeprecationWarning)
            made = x509.load_der_x509_certificate(raw)
            _ = (made.version, made.issuer, made.subject, made.extensions, made.public_key())
            _ = (made.not_valid_before_utc, made.not_valid_after_utc, made.signature_hash_algorithm)
    except (
        ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
        CryptographyDeprecationWarning,
    ):  # fmt: skip
        return None
    return made


@dataclass(frozen=True, slots=True)
class _Info:
    imprint: bytes
    serial: int
    at: datetime
    nonce: int | None


def _tst_info(raw: bytes) -> _Info:
    try:
        version, _, imprint, serial, at, *rest = read_one(raw).parts()
        algorithm, digest = imprint.parts()
        nonces = [value.number for value in rest if value.tag == der.INTEGER]
        if version.number != 1 or algorithm.parts()[0].raw != _SHA256 or len(nonces) > 1:
            raise FormatError("a time-stamp of another version or digest")
        return _Info(digest.of(der.OCTETS).content, serial.number, _time(at), nonces[0] if nonces else None)
    except (ValueError, IndexError) as error:
        raise FormatError(f"not a time-stamp: {error}") from None


def _time(value: Value) -> datetime:
    """GeneralizedTime as RFC 3161 has it: UTC, seconds and perhaps a fraction, which has no trailing zero."""
    text = value.of(der.GENERALIZED_TIME).content.decode("ascii")
    whole, _, fraction = text.removesuffix("Z").partition(".")
    if not text.endswith("Z") or len(whole) != 14 or not whole.isdigit() or (fraction and not fraction.isdigit()):
        raise FormatError("a time out of form")
    at = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return at.replace(microsecond=int(fraction[:6].ljust(6, "0")) if fraction else 0)


# --- 3, 4, 5: who signed ---


def _signer(signed: _Signed, known: Sequence[x509.Certificate]) -> x509.Certificate:
    for certificate in known:
        if signed.sid.tag == der.SEQUENCE:
            issuer, serial = signed.sid.parts()
            if (issuer.raw, serial.number) == (certificate.issuer.public_bytes(), certificate.serial_number):
                return certificate
        elif signed.sid.tag == der.context(0, constructed=False):
            with_id = certificate.extensions
            try:
                found = with_id.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
            except x509.ExtensionNotFound:
                continue
            if found == signed.sid.content:
                return certificate
    raise SignatureInvalid("the certificate that signed the time-stamp is not at hand")


def _check_attributes(signed: _Signed, signer: x509.Certificate) -> None:
    try:
        found: dict[bytes, Value] = {}
        for attribute in signed.attributes.parts(der.context(0)):
            kind, values = attribute.parts()
            [value] = values.parts(der.SET)
            if kind.raw in found:
                raise FormatError("an attribute twice")
            found[kind.raw] = value
        if found[_CONTENT_TYPE].raw != _TST_INFO:
            raise SignatureInvalid("the time-stamp's attributes are of another content")
        if found[_MESSAGE_DIGEST].of(der.OCTETS).content != _hash(signed.digest, signed.content):
            raise SignatureInvalid("the time-stamp's attributes are of another content")
        if not _names_certificate(found, signer):
            raise SignatureInvalid("the time-stamp names another certificate than the one that signed")
    except (ValueError, KeyError, IndexError) as error:
        raise FormatError(f"the time-stamp's attributes do not read: {error}") from None


def _names_certificate(found: dict[bytes, Value], signer: x509.Certificate) -> bool:
    """ESSCertIDv2 (its hash is SHA-256 where none is named), or the older ESSCertID, whose hash is SHA-1."""
    named = False
    raw = signer.public_bytes(_DER)
    if _SIGNING_CERTIFICATE_V2 in found:
        first = found[_SIGNING_CERTIFICATE_V2].parts()[0].parts()[0].parts()
        algorithm = first.pop(0).parts()[0].raw if first[0].tag == der.SEQUENCE else _SHA256
        if first[0].of(der.OCTETS).content != _hash(algorithm, raw):
            return False
        named = True
    if _SIGNING_CERTIFICATE in found:
        first = found[_SIGNING_CERTIFICATE].parts()[0].parts()[0].parts()
        if first[0].of(der.OCTETS).content != hashlib.sha1(raw, usedforsecurity=False).digest():
            return False
        named = True
    return named


def _check_signature(signed: _Signed, signer: x509.Certificate) -> None:
    """Over the attributes as a SET, whatever tag they travel under (RFC 5652, 5.4)."""
    message = write(der.SET, signed.attributes.content)
    key, algorithm = signer.public_key(), signed.algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and (algorithm == _RSA or algorithm in _RSA_WITH):
            if key.key_size < 2048:
                raise SignatureInvalid("the time-stamp is signed with an RSA key of less than 2,048 bits")
            method = _RSA_WITH.get(algorithm) or _HASHES[signed.digest]
            key.verify(signed.signature, message, padding.PKCS1v15(), method())
        elif isinstance(key, ec.EllipticCurvePublicKey) and (algorithm == _EC or algorithm in _EC_WITH):
            method = _EC_WITH.get(algorithm) or _HASHES[signed.digest]
            key.verify(signed.signature, message, ec.ECDSA(method()))
        elif isinstance(key, ed25519.Ed25519PublicKey) and algorithm == _ED25519:
            key.verify(signed.signature, message)
        else:
            raise SignatureInvalid("the time-stamp is signed in a way that is not known here")
    except (InvalidSignature, KeyError):
        raise SignatureInvalid("the time-stamp's signature does not hold") from None


# --- 6, 7: whether to believe the signer ---


def _check_purpose(signer: x509.Certificate) -> None:
    try:
        use = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        raise SignatureInvalid("the certificate that signed is not for time-stamping") from None
    if not use.critical or list(use.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise SignatureInvalid("the certificate that signed is not for time-stamping alone")


def _check_chain(
    signer: x509.Certificate, others: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], at: datetime
) -> None:
    """From issuer to issuer; the certificates that came along only help to find the way."""
    pinned = {certificate.public_bytes(_DER) for certificate in trusted}

    def leads(certificate: x509.Certificate, depth: int) -> bool:
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            return False
        if certificate.public_bytes(_DER) in pinned:
            return True
        return depth < _MAX_CHAIN and any(
            _issued(issuer, certificate, depth) and leads(issuer, depth + 1) for issuer in (*trusted, *others)
        )

    if not leads(signer, 0):
        raise SignatureInvalid("the time-stamp's certificate does not lead to one that you trust, valid at its time")


def _issued(issuer: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
    """Whether `issuer` may issue and issued `certificate`, which has `below` authorities under it."""
    if isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        return False
    try:
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not limits.ca or (limits.path_length is not None and limits.path_length < below):
            return False
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _digest(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()


def _hash(algorithm: bytes, message: bytes) -> bytes:
    if algorithm not in _HASHES:
        raise SignatureInvalid("the time-stamp uses a digest that is not trusted here")
    digest = hashes.Hash(_HASHES[algorithm]())
    digest.update(message)
    return digest.finalize()
