"""Rolling hash: one pass over a file gives its SHA-256, its chunk leaves and its RFC 6962 tree root.

A file is cut into chunks of 1 MiB. Each chunk gives the leaf ``SHA-256(0x00 || chunk)``; the leaves form an
RFC 6962 tree whose root rolls forward with a compact range. See ``custody/spec/rolling-hash.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Buffer = bytes | bytearray | memoryview


def leaf_hash(data: Buffer) -> bytes:
    """``SHA-256(0x00 || data)``, RFC 6962 section 2.1. Releases the GIL for data above 2 KiB."""
    h = hashlib.sha256(b"\x00")
    h.update(data)
    return h.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """``SHA-256(0x01 || left || right)``, RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class CompactRange:
    """The roots of the perfect subtrees over the leaves seen so far: O(log n) state of a growing tree.

    Invariant: `roots` holds one root per set bit of `size`, the largest subtree first.
    """

    __slots__ = ("roots", "size")

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        """Continue a range of `size` leaves from its stored roots; a new one by default."""
        self.size = size
        self.roots = list(roots)
        if len(self.roots) != size.bit_count() or any(len(r) != HASH_BYTES for r in self.roots):
            raise ValueError(f"a range of {size} leaves has {size.bit_count()} roots of 32 bytes")

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash (32 bytes)."""
        index, node = self.size, leaf
        while index & 1:
            node = node_hash(self.roots.pop(), node)
            index >>= 1
        self.roots.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Root of the tree over all leaves so far; ``SHA-256("")`` for none."""
        if not self.roots:
            return EMPTY_ROOT
        node = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            node = node_hash(left, node)
        return node


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What one pass over a file proves about it. `chunk_count` is the number of leaves."""

    size_bytes: int
    sha256: bytes
    tree_root: bytes
    chunk_count: int


class RollingHash:
    """Feed a file chunk by chunk, in order; every chunk but the last has exactly `CHUNK_BYTES`."""

    __slots__ = ("_closed", "_sha256", "size_bytes", "tree")

    def __init__(self) -> None:
        """Start at the first byte of a file."""
        self._sha256 = hashlib.sha256()
        self.tree = CompactRange()
        self.size_bytes = 0
        self._closed = False

    def update(self, chunk: Buffer) -> bytes:
        """Add the next chunk and return its leaf. Raises ValueError for a chunk of a wrong length."""
        length = len(chunk)
        if self._closed or not 0 < length <= CHUNK_BYTES:
            raise ValueError("chunks are 1 MiB; only the last one may be shorter")
        self._closed = length < CHUNK_BYTES
        self._sha256.update(chunk)
        leaf = leaf_hash(chunk)
        self.tree.append(leaf)
        self.size_bytes += length
        return leaf

    def digest(self) -> FileDigest:
        """The digests over everything fed so far."""
        return FileDigest(self.size_bytes, self._sha256.digest(), self.tree.root(), self.tree.size)


def read_chunks(stream: BinaryIO) -> Iterator[memoryview]:
    """The stream in chunks of `CHUNK_BYTES`, the last one shorter; the view is valid until the next step."""
    buffer = memoryview(bytearray(CHUNK_BYTES))
    while True:
        filled = 0
        while filled < CHUNK_BYTES:
            got = stream.readinto(buffer[filled:])  # type: ignore[attr-defined]  # BinaryIO lacks it; every raw file has it
            if not got:
                break
            filled += got
        if filled:
            yield buffer[:filled]
        if filled < CHUNK_BYTES:
            return


def digest_stream(stream: BinaryIO) -> FileDigest:
    """Digest a whole stream; memory stays at one chunk whatever its length."""
    rolling = RollingHash()
    for chunk in read_chunks(stream):
        rolling.update(chunk)
    return rolling.digest()


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """RFC 6962 root over leaf hashes."""
    tree = CompactRange()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()
