"""A fast keyed checksum of chunks: whether the disk gave back the very bytes that were hashed.

GMAC (NIST SP 800-38D) under a key that is drawn for each run and never leaves this process. Whatever a disk does to a
chunk of 1 MiB, it goes unnoticed with a probability below 2^-111: the bound holds for any two different chunks chosen
without the key, not only for chance. A mark proves nothing to anybody else; what is stated are the SHA-256 digests.
"""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK_BYTES = 16
_NONCE = bytes(12)  # one for all: marks are compared with each other here and shown to nobody


class Marker:
    """Marks chunks; from any thread, without holding the others up."""

    def __init__(self) -> None:
        """Draw a key."""
        self._key = AESGCM(os.urandom(16))

    def mark(self, data: memoryview) -> bytes:
        """16 bytes that stand for `data` in this run."""
        return self._key.encrypt(_NONCE, b"", data)
