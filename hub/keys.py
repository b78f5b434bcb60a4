"""The hub's three Ed25519 keys: log, receipts, events. PEM files of mode 0600 in ``DIR/keys``.

Three, because they differ in what a thief could do: the log key forges history, the receipt key makes stations forget,
the event key speaks as the hub. A station pins the first two; an outside verifier needs the first and the third.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.checkpoint import SigningKey
from hub.errors import KeysUnusable
from hub.settings import write_new

NAME_ROOT = "custodock.example"
ROLES = ("log", "receipts", "events")


@dataclass(frozen=True, slots=True)
class HubKeys:
    """The private keys. `log.name` is the log's origin."""

    log: SigningKey
    receipts: SigningKey
    events: SigningKey

    @property
    def lines(self) -> dict[str, str]:
        """The public key lines by role, to hand out and to pin."""
        return {role: getattr(self, role).verify_key.line for role in ROLES}


def create_keys(directory: Path, hub_id: str) -> HubKeys:
    """Make the three files, durable when this returns. Raises FileExistsError rather than replace a key."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for role in ROLES:
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_new(directory / f"{role}.pem", pem, 0o600)
    return load_keys(directory, hub_id)


def load_keys(directory: Path, hub_id: str) -> HubKeys:
    """Read the three files. Raises KeysUnusable, naming the file."""
    return HubKeys(*(_load(directory / f"{role}.pem", f"{NAME_ROOT}/{hub_id}/{role}") for role in ROLES))


def _load(path: Path, name: str) -> SigningKey:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(fd, "rb") as file:
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            if mode & 0o077:
                raise KeysUnusable(f"{path} is open to others (mode {mode:04o}); if it was always so, make new keys")
            private = serialization.load_pem_private_key(file.read(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeysUnusable(f"{path} cannot be read as a private key: {error}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeysUnusable(f"{path} is not an Ed25519 key")
    return SigningKey(name, private)
