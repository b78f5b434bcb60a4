"""Tiles and entry bundles of a log: C2SP tlog-tiles. Pure. See ``custody/spec/tiles.md``.

A tile is 256 consecutive hashes of one level, level L being every eighth level of the RFC 6962 tree: level 0 holds
leaves, level 1 the roots of full level-0 tiles. Only the last tile of a level is partial, and a partial tile is a
prefix of what it grows into: whoever holds the wider one can give every narrower one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from custody.digest import HASH_BYTES, CompactRange, tree_root
from custody.errors import FormatError
from custody.merkle import Subtree, range_root

TILE_BITS = 8
TILE_WIDTH = 1 << TILE_BITS
TILE_BYTES = TILE_WIDTH * HASH_BYTES
MAX_LEVEL = 63
MAX_ENTRY_BYTES = 0xFFFF  # the length prefix has 16 bits
ENTRIES = -1  # in place of a level: the entries under the level-0 tile of the same index
_MAX_TILES_HELD = 64
_MAX_INDEX = 1 << 55  # 2**63 entries; more has no tree
_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One tile, or with `level` `ENTRIES` one entry bundle. `width` is 1 to 256; 256 is a full one."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Where it is served, relative to the log's prefix: ``tile/0/x001/x234/067.p/12``."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_index_path(self.index)}{partial}"

    @property
    def start(self) -> int:
        """Index of the first entry under it."""
        return self.index << TILE_BITS * (max(self.level, 0) + 1)

    @property
    def full(self) -> Tile:
        """The tile that this one is or will be a prefix of."""
        return Tile(self.level, self.index)


def parse_tile_path(path: str) -> Tile:
    """Read what `Tile.path` writes. Raises FormatError for every other spelling: a resource has one address."""
    form = _PATH.fullmatch(path)
    if form is None:
        raise FormatError(f"not the path of a tile: {path[:100]!r}")
    level = ENTRIES if form[1] == "entries" else int(form[1])
    tile = Tile(level, int(form[2].replace("x", "").replace("/", "")), int(form[3] or TILE_WIDTH))
    if level > MAX_LEVEL or tile.index >= _MAX_INDEX or tile.path != path:
        raise FormatError(f"not the path of a tile: {path[:100]!r}")
    return tile


def _index_path(index: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups))


def tile_in(level: int, index: int, size: int) -> Tile | None:
    """The tile as it is in the tree of `size` entries: full, partial, or None when that tree has nothing of it."""
    hashes = size >> TILE_BITS * max(level, 0)
    width = min(TILE_WIDTH, hashes - index * TILE_WIDTH)
    return Tile(level, index, width) if width > 0 and index >= 0 else None


def right_edge(size: int) -> list[Tile]:
    """The last tile of each level in the tree of `size` entries, and the last entry bundle."""
    edge, level = [], 0
    while hashes := size >> TILE_BITS * level:
        index = (hashes - 1) // TILE_WIDTH
        edge.append(Tile(level, index, hashes - index * TILE_WIDTH))
        level += 1
    return [*edge, Tile(ENTRIES, edge[0].index, edge[0].width)] if edge else []


def tiles_of(size: int, *, since: int = 0) -> Iterator[Tile]:
    """Every hash tile of the tree of `size` entries that the tree of `since` has not, the lowest level first."""
    level = 0
    while hashes := size >> TILE_BITS * level:
        for index in range((since >> TILE_BITS * level) // TILE_WIDTH, -(-hashes // TILE_WIDTH)):
            tile = tile_in(level, index, size)
            if tile is not None and tile != tile_in(level, index, since):
                yield tile
        level += 1


def split_hashes(raw: bytes) -> list[bytes]:
    """The hashes of a tile apart. Raises FormatError unless `raw` is 1 to 256 whole hashes."""
    if not 0 < len(raw) <= TILE_BYTES or len(raw) % HASH_BYTES:
        raise FormatError(f"a tile holds 1 to 256 hashes of 32 bytes, not {len(raw)} bytes")
    return [raw[i : i + HASH_BYTES] for i in range(0, len(raw), HASH_BYTES)]


def tile_hash(raw: bytes) -> bytes:
    """The hash that a full tile has in the tile above it. Raises FormatError for a partial one: it has none there."""
    if len(raw) != TILE_BYTES:
        raise FormatError("only a full tile has a hash above")
    return tree_root(split_hashes(raw))


# --- entry bundles ---


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as an entry bundle. Raises FormatError for one above `MAX_ENTRY_BYTES` or more than 256 of them."""
    if len(entries) > TILE_WIDTH or any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise FormatError("a bundle holds at most 256 entries of at most 65,535 bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(raw: bytes, width: int) -> list[bytes]:
    """The `width` entries of a bundle. Raises FormatError unless it holds exactly these and nothing behind them."""
    entries, at = [], 0
    for _ in range(width):
        start = at + 2
        at = start + int.from_bytes(raw[at:start], "big")
        if start > len(raw) or at > len(raw):
            raise FormatError("an entry bundle that ends within an entry")
        entries.append(raw[start:at])
    if at != len(raw):
        raise FormatError("an entry bundle with bytes behind its last entry")
    return entries


# --- growing and proving ---


def grow(size: int, leaves: Sequence[bytes], held: Callable[[int, int], bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Level, index and new content of every tile that changes when `leaves` are added to a tree of `size`.

    `held(level, index)` gives what a partial tile holds so far. Raises FormatError when that is not its length.
    """
    level, start, hashes = 0, size, list(leaves)
    while hashes:
        first, width = divmod(start, TILE_WIDTH)
        content = (held(level, first) if width else b"") + b"".join(hashes)
        if len(content) != (width + len(hashes)) * HASH_BYTES:
            raise FormatError(f"tile {level}/{first} does not hold {width} hashes")
        parts = [content[i : i + TILE_BYTES] for i in range(0, len(content), TILE_BYTES)]
        for i, part in enumerate(parts):
            yield level, first + i, part
        hashes = [tile_hash(part) for part in parts if len(part) == TILE_BYTES]
        start, level = first, level + 1


def subtrees(read: Callable[[int, int], bytes]) -> Subtree:
    """`subtree(level, index)` for custody.merkle out of tiles: at most 255 node hashes and one `read` per call.

    `read(level, index)` gives the tile's hashes, at least as many as the tree has that is asked about. Raises
    FormatError when they are too few. What it gives is not believed here: a proof is, once it leads to a signed root.
    """
    tiles: dict[tuple[int, int], bytes] = {}

    def subtree(level: int, index: int) -> bytes:
        tile_level, inner = divmod(level, TILE_BITS)
        first = index << inner
        key = (tile_level, first // TILE_WIDTH)
        if key not in tiles:
            if len(tiles) >= _MAX_TILES_HELD:
                tiles.clear()
            tiles[key] = read(*key)
        at, width = first % TILE_WIDTH * HASH_BYTES, HASH_BYTES << inner
        part = tiles[key][at : at + width]
        if len(part) != width:
            raise FormatError(f"tile {key[0]}/{key[1]} holds too few hashes")
        return part if inner == 0 else tree_root(split_hashes(part))

    return subtree


def read_size(fetch: Callable[[Tile], bytes], size: int) -> Subtree:
    """`subtrees` over the tiles of the tree of `size`, fetched under their own names as a client does.

    Raises FormatError for a tile of another length than its name says.
    """

    def read(level: int, index: int) -> bytes:
        tile = tile_in(level, index, size)
        raw = fetch(tile) if tile else b""
        if tile is None or len(raw) != tile.width * HASH_BYTES:
            raise FormatError(f"tile {level}/{index} is not of its length")
        return raw

    return subtrees(read)


def root_of(size: int, subtree: Subtree) -> bytes:
    """The root that tiles give for the tree of `size`."""
    return range_root(0, size, subtree)


def range_of(size: int, subtree: Subtree) -> CompactRange:
    """The compact range that tiles give for the tree of `size`: what the next leaf is appended to."""
    roots, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            roots.append(subtree(level, start >> level))
            start += 1 << level
    return CompactRange(size, roots)
