"""Chunks of a saved file with their proofs, out of the vault. Memory: a chunk, and 64 bytes for each of the file's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.store import Store
from agent.viewing.decision import FileFacts
from custody.digest import HASH_BYTES, node_hash
from custody.merkle import inclusion_proof
from custody.viewing import ViewingRefused, chunk_count, chunk_length

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def find_file(store: Store, docking: str, file_sha256: str) -> FileFacts | None:
    """The file that this docking saved with this digest; None when there is none."""
    row = store.execute(
        "SELECT target, leaves_target, saved_bytes FROM entry WHERE docking = ? AND sha256 = ? "
        "AND state IN ('sealed', 'changed') ORDER BY n LIMIT 1",
        (docking, bytes.fromhex(file_sha256)),
    ).fetchone()
    return None if row is None or row[2] is None else FileFacts(row[0], row[1], row[2])


class FileTree:
    """The tree over a file's leaves, level by level as proofs need them."""

    def __init__(self, leaves: bytes) -> None:
        """`leaves` as a leaves file holds them."""
        self._levels = [leaves]
        self.size = len(leaves) // HASH_BYTES

    def proof(self, index: int) -> list[bytes]:
        """That leaf `index` is in the tree."""
        return inclusion_proof(index, self.size, self._subtree)

    def _subtree(self, level: int, index: int) -> bytes:
        while len(self._levels) <= level:
            below = self._levels[-1]
            pairs = range(0, len(below) - HASH_BYTES, 2 * HASH_BYTES)
            halves = ((below[at : at + HASH_BYTES], below[at + HASH_BYTES : at + 2 * HASH_BYTES]) for at in pairs)
            self._levels.append(b"".join(node_hash(left, right) for left, right in halves))
        return self._levels[level][index * HASH_BYTES : (index + 1) * HASH_BYTES]


def load_tree(vault: Path, file: FileFacts) -> FileTree | None:
    """The tree of a file of several chunks; None for a shorter one, whose only leaf is its root.

    Raises ViewingRefused when the leaves beside the file are gone or too few. That they are the sealed ones the hub
    finds out.
    """
    if file.leaves_target is None or chunk_count(file.size_bytes) < 2:
        return None
    try:
        with _opened(vault, file.leaves_target) as fd:
            leaves = os.pread(fd, chunk_count(file.size_bytes) * HASH_BYTES + 1, 0)
    except OSError as error:
        raise ViewingRefused("not_saved", f"its leaves cannot be read: {error.strerror}") from None
    if len(leaves) != chunk_count(file.size_bytes) * HASH_BYTES:
        raise ViewingRefused("altered", "its leaves are not as many as its chunks")
    return FileTree(leaves)


class OpenFile:
    """One file of the vault, held open while chunks of it are read."""

    def __init__(self, vault: Path, file: FileFacts) -> None:
        """Raises ViewingRefused when it is gone or has another size than it was sealed with."""
        self._file = file
        try:
            self._fd = os.open(os.path.join(os.fsencode(vault), file.target), _FLAGS)
        except OSError as error:
            raise ViewingRefused("not_saved", f"the vault cannot give it: {error.strerror}") from None
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size_bytes:
            self.close()
            raise ViewingRefused("altered", "it has not the size that was sealed")

    def read(self, index: int) -> bytes:
        """Chunk `index`. Raises OSError, also where the file became shorter."""
        wanted, offset = chunk_length(index, self._file.size_bytes), index << 20
        pieces = []
        while wanted:
            piece = os.pread(self._fd, wanted, offset)
            if not piece:
                raise OSError("the file became shorter")
            pieces.append(piece)
            wanted, offset = wanted - len(piece), offset + len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._fd)


@contextmanager
def _opened(vault: Path, path: bytes) -> Iterator[int]:
    fd = os.open(os.path.join(os.fsencode(vault), path), _FLAGS)
    try:
        yield fd
    finally:
        os.close(fd)
