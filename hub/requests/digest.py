"""How an export's request names its recordings in the log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from custody.event import Sha256Hex


def recordings_sha256(recordings: Iterable[int]) -> Sha256Hex:
    """SHA-256 over the log indexes, rising, each in decimal with a newline (export.requested.v1)."""
    return Sha256Hex(hashlib.sha256("".join(f"{index}\n" for index in sorted(recordings)).encode()).hexdigest())
