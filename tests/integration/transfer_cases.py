"""What the transfer tests share: sources at the I/O edge, items, and the one judge of a vault."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.copies import Copied, CopyItem
from agent.errors import ReadFault, SourceGone
from agent.folder import FolderSource
from agent.source import Entry, Finding, Reader, SourceFacts
from custody.digest import CHUNK_BYTES, EMPTY_ROOT

MIB = 1 << 20


def item_of(n: int, entry: Entry, known_leaf: bytes | None = None) -> CopyItem:
    """The order that the pipeline would give for an entry."""
    path = b"/".join(entry.path)
    key = hashlib.sha256(repr((entry.path, entry.size_bytes, entry.modified_ns)).encode()).hexdigest()[:32]
    leaves = b"cam/.custody/leaves/" + path + b".leaves" if entry.size_bytes > CHUNK_BYTES else None
    return CopyItem(n, entry, key, b"cam/" + path, leaves, known_leaf)


def items_of(source: FolderSource) -> list[CopyItem]:
    """An order for every file of a folder, numbered from 0."""
    entries = [met for met in source.entries() if isinstance(met, Entry)]
    return [item_of(n, entry) for n, entry in enumerate(entries)]


def naive_root(content: bytes) -> bytes:
    """RFC 6962 root by the recursive definition, written without our code."""

    def root(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return leaves[0]
        split = 1
        while split * 2 < len(leaves):
            split *= 2
        return hashlib.sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()

    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
    return root([hashlib.sha256(b"\x00" + chunk).digest() for chunk in chunks]) if chunks else EMPTY_ROOT


def judge(vault: Path, item: CopyItem, copied: Copied, content: bytes) -> None:
    """Fail unless what was announced is true of the vault, byte for byte. The tests' only measure of a copy."""
    path = vault / os.fsdecode(item.target)
    assert path.read_bytes() == content
    assert copied.sha256 == hashlib.sha256(content).digest()
    assert copied.tree_root == naive_root(content)
    assert copied.size_bytes == len(content)
    assert copied.chunk_count == -(-len(content) // CHUNK_BYTES)
    status = path.stat()
    assert status.st_mode & 0o777 == 0o400
    assert status.st_mtime_ns == item.entry.modified_ns
    leaves = [
        hashlib.sha256(b"\x00" + content[at : at + CHUNK_BYTES]).digest() for at in range(0, len(content), CHUNK_BYTES)
    ]
    assert copied.first_leaf == (leaves[0] if leaves else b"")
    if item.leaves_target is not None:
        leaves_path = vault / os.fsdecode(item.leaves_target)
        assert leaves_path.read_bytes() == b"".join(leaves)
        assert leaves_path.stat().st_mode & 0o777 == 0o400


def staged(vault: Path) -> set[str]:
    """Names left in staging."""
    return {path.name for path in (vault / ".staging").iterdir()}


def write_files(folder: Path, sizes: list[int], seed: bytes = b"") -> dict[bytes, bytes]:
    """Files with content that no two chunks share, some in sub-folders; path to content."""
    contents = {}
    for number, size in enumerate(sizes):
        content = hashlib.shake_128(b"%d" % number + seed).digest(size)
        path = folder / f"d{number % 3}" / f"f{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(10**18 + number, 10**18 + number))
        contents[os.fsencode(path.relative_to(folder))] = content
    return contents


class EdgeReader:
    """A reader over bytes that calls back before each read and before `changed`."""

    def __init__(self, source: "EdgeSource", entry: Entry) -> None:
        self._source, self._entry = source, entry

    def read_into(self, buffer: memoryview, offset: int) -> int:
        self._source.before_read(self._entry, offset)
        content = self._source.contents[self._entry.handle]
        for start, length in self._source.bad:
            if start < offset + len(buffer) and offset < start + length:
                first = max(start, offset)
                raise ReadFault(first, min(start + length, offset + len(buffer)) - first, exact=True)
        piece = content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def changed(self) -> bool:
        self._source.before_changed(self._entry)
        return self._entry.handle in self._source.altered

    def close(self) -> None:
        pass


class EdgeSource:
    """A source in memory at the I/O edge: says when it fails, and lets a test act at known moments."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.bad: list[tuple[int, int]] = []
        self.altered: set[str] = set()
        self.gone_at: tuple[str, int] | None = None
        self.on_changed: Callable[[Entry], None] = lambda entry: None
        self.reads = 0

    @property
    def facts(self) -> SourceFacts:
        raise AssertionError("the transfer does not ask for facts")

    def entries(self) -> Iterator[Entry | Finding]:
        for name, content in self.contents.items():
            yield Entry((name.encode(),), len(content), 10**18, name)

    def items(self) -> list[CopyItem]:
        return [item_of(n, entry) for n, entry in enumerate(self.entries()) if isinstance(entry, Entry)]

    def open(self, entry: Entry) -> Reader:
        return EdgeReader(self, entry)

    def before_read(self, entry: Entry, offset: int) -> None:
        self.reads += 1
        if self.gone_at is not None and (entry.handle, offset) >= self.gone_at:
            raise SourceGone

    def before_changed(self, entry: Entry) -> None:
        self.on_changed(entry)

    def close(self) -> None:
        pass
