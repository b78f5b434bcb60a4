"""A time-stamping authority as the world has them: `openssl ts -reply` behind a small HTTP server.

Faults: how its next answers are wrong, by name; see `FAULTS`.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
CONFIG = """
[ tsa ]
default_tsa = a
[ a ]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/{name}.pem
certs = {folder}/chain.pem
signer_key = {folder}/{name}.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = {ess}
"""


class Pki:
    """A root, an authority under it, and certificates to sign time-stamps with, good ones and bad ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "serial").write_text("01\n")
        now = datetime.now(UTC)
        self.now = now
        root_key, middle_key = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
        self.root = self._make("根 root", root_key, None, root_key, ca=True)
        self.middle = self._make("middle", middle_key, self.root, root_key, ca=True)
        self.stranger = self._make("stranger", root_key, None, root_key, ca=True)
        self._under = (self.middle, middle_key)
        (folder / "chain.pem").write_bytes(pem(self.middle))
        self.leaf("rsa", rsa.generate_private_key(65537, 2048))
        self.leaf("ec", ec.generate_private_key(ec.SECP384R1()))
        self.leaf("expired", ec.generate_private_key(ec.SECP256R1()), until=now - timedelta(days=1))
        self.leaf("of-another-root", ec.generate_private_key(ec.SECP256R1()), under=(self.stranger, root_key))

    def leaf(
        self, name: str, key: Key, *, until: datetime | None = None, under: tuple[x509.Certificate, Key] | None = None
    ) -> None:
        issuer, issuer_key = under or self._under
        certificate = self._make(name, key, issuer, issuer_key, ca=False, until=until)
        (self.folder / f"{name}.pem").write_bytes(pem(certificate))
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def with_purposes(self, purposes: str | None) -> x509.Certificate:
        """A certificate that is not, or not only, or not bindingly, for time-stamping."""
        stamping, code = ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CODE_SIGNING
        listed = {"code": [code], "both": [stamping, code], "not critical": [stamping]}.get(purposes or "")
        key = ec.generate_private_key(ec.SECP256R1())
        extra = (x509.ExtendedKeyUsage(listed), purposes != "not critical") if listed else None
        return self._make("odd", key, None, key, ca=bool(extra is None), extra=extra)

    def _make(
        self, name: str, key: Key, issuer: x509.Certificate | None, issuer_key: Key, *, ca: bool,
        until: datetime | None = None, extra: tuple[x509.ExtendedKeyUsage, bool] | None = None,
    ) -> x509.Certificate:  # fmt: skip
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=300))
            .not_valid_after(until or self.now + timedelta(days=300))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if not ca:
            use, critical = extra or (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True)
            builder = builder.add_extension(use, critical=critical)
        return builder.sign(issuer_key, hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def reply(pki: Pki, query: bytes, name: str = "rsa", ess: str = "sha256") -> bytes:
    """What `openssl ts` answers to a request."""
    config, asked, said = (pki.folder / f"{name}-{kind}" for kind in ("config", "query", "reply"))
    config.write_text(CONFIG.format(folder=pki.folder, name=name, ess=ess))
    asked.write_bytes(query)
    subprocess.run(
        ["openssl", "ts", "-reply", "-config", config, "-section", "a", "-queryfile", asked, "-out", said],
        check=True,
        capture_output=True,
    )
    return said.read_bytes()


class Served:
    """The authority behind HTTP. `mode`: good, refuses, garbage, other (answers an earlier request), away (503)."""

    def __init__(self, pki: Pki) -> None:
        self.pki, self.mode, self.asked = pki, "good", 0
        self._first = b""

    def answer(self, query: bytes) -> tuple[int, bytes]:
        self.asked += 1
        if self.mode == "away":
            return 503, b""
        if self.mode == "garbage":
            return 200, b"\x30\x82\xff\xff not a time-stamp"
        if self.mode == "refuses":
            return 200, bytes.fromhex("30053003020102")
        if self.mode == "other":
            return 200, self._first
        made = reply(self.pki, query)
        self._first = self._first or made
        return 200, made


@contextmanager
def served(pki: Pki) -> Iterator[tuple[Served, str]]:
    """A running authority and its address."""
    authority = Served(pki)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = authority.answer(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield authority, f"http://127.0.0.1:{server.server_address[1]}/tsa"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
