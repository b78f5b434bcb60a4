"""The hub's four Ed25519 keys: log, receipts, events, commands. PEM files of mode 0600 in ``DIR/keys``.

Four, because they differ in what a thief could do: the log key forges history, the receipt key makes stations forget,
the event key speaks as the hub, the command key tells stations what to do. A station pins log, receipts and commands;
an outside verifier needs log and events. What to do when one is lost or stolen: ``deploy/docs/keys.md``.
"""

from __future__ import annotations

import contextlib
import hashlib
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
ROLES = ("log", "receipts", "events", "commands")


@dataclass(frozen=True, slots=True)
class HubKeys:
    """The private keys. `log.name` is the log's origin."""

    log: SigningKey
    receipts: SigningKey
    events: SigningKey
    commands: SigningKey

    @property
    def lines(self) -> dict[str, str]:
        """The public key lines by role, to hand out and to pin."""
        return {role: getattr(self, role).verify_key.line for role in ROLES}


def key_set(keys: HubKeys) -> str:
    """Digest of the four key lines: what `log_state` holds, so that a process with an old key never signs."""
    return hashlib.sha256("\n".join(keys.lines[role] for role in ROLES).encode()).hexdigest()


def make_next_key(directory: Path, hub_id: str, role: str) -> SigningKey:
    """A new key of `role` in ``ROLE.next.pem``, durable when this returns; one that was never used is replaced."""
    path = directory / f"{role}.next.pem"
    path.unlink(missing_ok=True)
    write_new(path, _new_pem(), 0o600)
    return _load(path, f"{NAME_ROOT}/{hub_id}/{role}")


def load_next_key(directory: Path, hub_id: str, role: str) -> SigningKey | None:
    """The key that shall follow, or None where none was made. Raises KeysUnusable."""
    path = directory / f"{role}.next.pem"
    return _load(path, f"{NAME_ROOT}/{hub_id}/{role}") if path.exists() else None


def use_next_key(directory: Path, role: str) -> None:
    """Let ``ROLE.next.pem`` take the old file's place, durably. The old private key is gone then."""
    os.replace(directory / f"{role}.next.pem", directory / f"{role}.pem")
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def create_keys(directory: Path, hub_id: str) -> HubKeys:
    """Make the four files, durable when this returns. Raises FileExistsError rather than replace a key."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for role in ROLES:
        write_new(directory / f"{role}.pem", _new_pem(), 0o600)
    return load_keys(directory, hub_id)


def load_keys(directory: Path, hub_id: str) -> HubKeys:
    """Read the four files. Raises KeysUnusable, naming the file.

    A hub of a version that gave no commands has no key for them: it is made here, once the other three can be read.
    """

    def load(role: str) -> SigningKey:
        return _load(directory / f"{role}.pem", f"{NAME_ROOT}/{hub_id}/{role}")

    keys, commands = (load("log"), load("receipts"), load("events")), directory / "commands.pem"
    if not commands.exists():
        with contextlib.suppress(FileExistsError):  # another process was faster: its key is the one
            write_new(commands, _new_pem(), 0o600)
    return HubKeys(*keys, load("commands"))


def _new_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


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
