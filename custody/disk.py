"""Reading a vault: listing without following links, and digesting a file with two threads. The verifier's only I/O."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import BinaryIO, Literal

from custody.digest import CHUNK_BYTES, CompactRange, leaf_hash

FileType = Literal["file", "folder", "symlink", "special"]
BUFFERS = 8
_FLAGS = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")  # Windows has only the last one
OPEN_FLAGS = os.O_RDONLY
for _name in _FLAGS:
    OPEN_FLAGS |= getattr(os, _name, 0)


class NotRegular(Exception):
    """What should be a regular file is something else."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything below a folder, by relative path, and the folders that could not be listed with the reason."""

    entries: dict[bytes, FileType]
    unreadable: tuple[tuple[bytes, str], ...]


def list_tree(folder: bytes) -> Listing:
    """List everything below `folder` without following a link."""
    entries: dict[bytes, FileType] = {}
    unreadable = []
    waiting = [b""]
    while waiting:
        relative = waiting.pop()
        try:
            for name, kind in list_folder(os.path.join(folder, relative)):
                path = relative + b"/" + name if relative else name
                entries[path] = kind
                if kind == "folder":
                    waiting.append(path)
        except OSError as error:
            unreadable.append((relative, reason(error)))
    return Listing(entries, tuple(unreadable))


def list_folder(folder: bytes) -> list[tuple[bytes, FileType]]:
    """Names and types in one folder. Raises OSError."""
    with os.scandir(folder) as entries:
        return [(entry.name, _type(entry)) for entry in entries]


def _type(entry: os.DirEntry[bytes]) -> FileType:
    if entry.is_symlink():
        return "symlink"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "special"


@contextmanager
def open_regular(path: bytes) -> Iterator[int]:
    """Descriptor of a regular file. Raises NotRegular for anything else (never blocks on it) and OSError."""
    try:
        if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path):
            raise NotRegular
        descriptor = os.open(path, OPEN_FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotRegular from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegular
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def open_stream(path: bytes) -> Iterator[BinaryIO]:
    """A regular file as a buffered stream. Raises NotRegular and OSError."""
    with open_regular(path) as descriptor, open(descriptor, "rb", buffering=1 << 16, closefd=False) as stream:
        yield stream


def read_small(path: bytes, limit: int) -> bytes:
    """A whole regular file; more than `limit` bytes are cut one byte above it. Raises NotRegular and OSError."""
    with open_stream(path) as stream:
        return stream.read(limit + 1)


def reason(error: OSError) -> str:
    """The error in words, without the path."""
    return error.strerror or type(error).__name__


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 and tree root over the first `read_bytes` bytes of a file."""

    read_bytes: int
    sha256: bytes
    tree_root: bytes


class Hasher:
    """Digests files as fast as one SHA-256 runs: a second thread does the whole-file digest, this one the leaves."""

    def __init__(self, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Start the second thread; `on_bytes` hears of progress."""
        self._on_bytes = on_bytes
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._full: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        self._done: SimpleQueue[bytes] = SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(memoryview(bytearray(CHUNK_BYTES)))
        self._thread = threading.Thread(target=self._hash_whole, name="sha256", daemon=True)
        self._thread.start()

    def __enter__(self) -> Hasher:
        """The hasher itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the second thread."""
        self._full.put(None)
        self._thread.join()

    def digest(self, descriptor: int, limit: int, on_leaf: Callable[[bytes], None]) -> Digests:
        """Digest at most `limit` bytes from here on; `on_leaf` gets each chunk's leaf. Raises OSError."""
        if limit <= CHUNK_BYTES:
            return self._digest_short(descriptor, limit, on_leaf)
        tree, total, handed_on = CompactRange(), 0, True
        try:
            while total < limit:
                buffer, handed_on = self._free.get(), False
                length = _fill(descriptor, buffer[: min(CHUNK_BYTES, limit - total)])
                self._full.put((buffer, length))  # until the next `_free.get` here, both threads only read it
                handed_on = True
                if not length:
                    break
                leaf = leaf_hash(buffer[:length])
                tree.append(leaf)
                on_leaf(leaf)
                total += length
                self._on_bytes(length)
        except BaseException:
            if not handed_on:
                self._free.put(buffer)
            self._finish()
            raise
        return Digests(total, self._finish(), tree.root())

    def _digest_short(self, descriptor: int, limit: int, on_leaf: Callable[[bytes], None]) -> Digests:
        buffer = self._free.get()
        try:
            length = _fill(descriptor, buffer[:limit])
            tree = CompactRange()
            if length:
                leaf = leaf_hash(buffer[:length])
                tree.append(leaf)
                on_leaf(leaf)
                self._on_bytes(length)
            return Digests(length, hashlib.sha256(buffer[:length]).digest(), tree.root())
        finally:
            self._free.put(buffer)

    def _finish(self) -> bytes:
        self._full.put((memoryview(b""), -1))
        return self._done.get()

    def _hash_whole(self) -> None:
        whole = hashlib.sha256()
        while (item := self._full.get()) is not None:
            buffer, length = item
            if length < 0:  # the file ends
                self._done.put(whole.digest())
                whole = hashlib.sha256()
                continue
            whole.update(buffer[:length])
            self._free.put(buffer)


def _read_into(descriptor: int, buffer: memoryview) -> int:
    if hasattr(os, "readv"):
        return os.readv(descriptor, [buffer])
    part = os.read(descriptor, len(buffer))
    buffer[: len(part)] = part
    return len(part)


def _fill(descriptor: int, buffer: memoryview) -> int:
    filled = 0
    while filled < len(buffer):
        got = _read_into(descriptor, buffer[filled:])
        if not got:
            break
        filled += got
    return filled
