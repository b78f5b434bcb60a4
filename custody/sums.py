"""SHA256SUMS as GNU sha256sum writes and reads it; names as bytes."""

from __future__ import annotations

import re

_LINE = re.compile(rb"(\\?)[0-9a-f]{64} [ *]([^\n]+)\n")
_ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


def checksum_line(sha256_hex: str, path: bytes) -> bytes:
    """One line: a leading backslash announces an escaped name."""
    escaped = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != path else b"") + sha256_hex.encode() + b"  " + escaped + b"\n"


def checksum_path(line: bytes) -> bytes | None:
    """The name in a line; None for a line that is none."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    return re.sub(rb"\\[\\nr]", lambda m: _ESCAPES[m[0]], match[2]) if match[1] else match[2]
