"""How the hub knows the station's TLS key without trusting the network: the station states the certificate's digest.

The statement is an event of its own signed chain, so it is in the log, and a key that was revoked states nothing more.
"""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.station import Station, sign_events, write_durably
from agent.store import Store
from custody.event import Sha256Hex
from custody.stationevents import ViewingOffered

CERTIFICATE_FILE = "viewing.pem"  # private key and certificate; only its owner reads it
_VALID = timedelta(days=3650)  # nothing looks at it: the digest is what counts


def load_or_create_certificate(directory: Path, station: str) -> tuple[Path, Sha256Hex]:
    """The file with key and certificate, made at the first use, and the certificate's SHA-256. Raises OSError, and
    ValueError for a file that holds none."""
    path = directory / CERTIFICATE_FILE
    if not path.exists():
        write_durably(path, _make(station), 0o600)
    pem = path.read_text("ascii")
    der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE-----") :])
    return path, Sha256Hex(hashlib.sha256(der).hexdigest())


def state_offer(store: Store, station: Station, address: str, certificate_sha256: Sha256Hex | None) -> None:
    """State where footage is served, unless that is what was stated last; nowhere at all is not stated at first."""
    with store.begin():
        last = store.execute("SELECT address, certificate_sha256 FROM viewing_offer ORDER BY seq DESC").fetchone()
        if (last or ("", None)) == (address, certificate_sha256):
            return

        def offer(common: dict[str, Any]) -> ViewingOffered:
            return ViewingOffered(**common, address=address, certificate_sha256=certificate_sha256)

        [seq] = sign_events(store, station, [offer])
        store.execute("INSERT INTO viewing_offer VALUES (?, ?, ?)", (seq, address, certificate_sha256))


def _make(station: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, station[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
