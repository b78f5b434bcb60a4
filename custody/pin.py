"""How a PIN is kept: scrypt, RFC 7914, with 16 MiB and about 50 ms; a Pi takes a few times as long."""

from __future__ import annotations

import hashlib
import os

_N, _R, _P = 1 << 14, 8, 1


def hash_pin(pin: str, salt: bytes | None = None) -> str:
    """``scrypt$salt$hash`` in hex; a new salt of 16 bytes unless one is given."""
    salt = os.urandom(16) if salt is None else salt
    raw = hashlib.scrypt(pin.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=32, maxmem=1 << 26)
    return f"scrypt${salt.hex()}${raw.hex()}"
