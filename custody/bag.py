"""BagIt 1.0 (RFC 8493) as bundles use it: one byte form for each file, so that every edit of one shows. Pure.

Lines are sorted by path and digests are lower-case, which RFC 8493 allows and does not ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from custody.errors import FormatError

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
BAGIT = b"bagit.txt"
BAG_INFO = b"bag-info.txt"
PAYLOAD_MANIFEST = b"manifest-sha256.txt"
TAG_MANIFEST = b"tagmanifest-sha256.txt"
DATA = b"data/"
MAX_BAG_LINE_BYTES = 1 << 14  # a path of Linux, every byte of it escaped
_LINE = re.compile(rb"([0-9a-f]{64})  ([^\r\n]+)\n")
_ESCAPES = {b"%25": b"%", b"%0A": b"\n", b"%0D": b"\r"}


def manifest_bytes(digests: Mapping[bytes, str]) -> Iterator[bytes]:
    """The lines of a manifest over these paths and SHA-256 digests (hex)."""
    for path in sorted(digests):
        escaped = path.replace(b"%", b"%25").replace(b"\n", b"%0A").replace(b"\r", b"%0D")
        yield digests[path].encode() + b"  " + escaped + b"\n"


def read_manifest(lines: Iterable[bytes]) -> Iterator[tuple[bytes, str]]:
    """Path and digest of each line. Raises FormatError, naming the line, for one out of form or out of order."""
    before = b""
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise FormatError(f"line {number} is none of a bag's manifest")
        path = re.sub(rb"%.{0,2}", _unescape, match[2])
        if path <= before:
            raise FormatError(f"line {number} is out of order")
        if path.startswith(b"/") or any(part in (b"", b".", b"..") for part in path.split(b"/")):
            raise FormatError(f"line {number} names no file of the bag")
        before = path
        yield path, match[1].decode()


def _unescape(match: re.Match[bytes]) -> bytes:
    found = _ESCAPES.get(match[0])
    if found is None:
        raise FormatError(f"{match[0][:3]!r} is no escape of a bag's manifest")
    return found


def info_lines(facts: Iterable[tuple[str, str]]) -> bytes:
    """bag-info.txt: one line a fact; a line break in a value becomes a space."""
    return "".join(f"{name}: {' '.join(value.split())}\n" for name, value in facts).encode()
