"""Tiles grown in any steps are those of the tree, and they prove what a naive tree proves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.digest import HASH_BYTES, leaf_hash, tree_root
from custody.errors import CustodyError, FormatError
from custody.merkle import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from custody.tiles import (
    ENTRIES,
    TILE_BYTES,
    Tile,
    decode_bundle,
    encode_bundle,
    grow,
    parse_tile_path,
    range_of,
    read_size,
    root_of,
    split_hashes,
    subtrees,
    tile_hash,
    tile_in,
    tiles_of,
)

MANY = 66_000  # one full tile of level 1, and a beginning of level 2
LEAVES = [leaf_hash(n.to_bytes(4, "big")) for n in range(MANY)]


class Store:
    """Tiles as a log keeps them: the widest of each."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], bytes] = {}
        self.size = 0

    def append(self, count: int) -> None:
        leaves = LEAVES[self.size : self.size + count]
        for level, index, content in list(grow(self.size, leaves, lambda *key: self.held[key])):
            assert content.startswith(self.held.get((level, index), b"")), "a tile only ever grows"
            self.held[level, index] = content
        self.size += len(leaves)

    def fetch(self, tile: Tile) -> bytes:
        return self.held[tile.level, tile.index][: tile.width * HASH_BYTES]


@pytest.fixture(scope="module")
def big() -> Store:
    store = Store()
    for step in (1, 254, 1, 1, 65_279, MANY):
        store.append(step)
    assert store.size == MANY
    return store


@given(st.lists(st.integers(1, 700), max_size=6))
def test_tiles_grown_in_any_steps_are_those_of_the_tree(steps: list[int]) -> None:
    store = Store()
    for step in steps:
        before = store.size
        store.append(step)
        changed = set(tiles_of(store.size, since=before))
        assert changed == {tile for tile in tiles_of(store.size) if tile not in set(tiles_of(before))}
    assert {(t.level, t.index): t.width * HASH_BYTES for t in tiles_of(store.size)} == {
        key: len(content) for key, content in store.held.items()
    }
    for tile in tiles_of(store.size):
        unit = 256**tile.level
        hashes = [tree_root(LEAVES[(first := tile.start + i * unit) : first + unit]) for i in range(tile.width)]
        assert store.fetch(tile) == b"".join(hashes)


@given(st.integers(1, MANY), st.data())
def test_proofs_out_of_tiles_hold(big: Store, size: int, data: st.DataObject) -> None:
    subtree, whole = read_size(big.fetch, size), subtrees(lambda level, index: big.held[level, index])
    root = root_of(size, subtree)
    assert root == range_of(size, whole).root()
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    verify_inclusion(LEAVES[index], index, size, inclusion_proof(index, size, subtree), root)
    verify_consistency(old, root_of(old, whole), size, root, consistency_proof(old, size, subtree))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 513, 65_535, 65_536, 65_537, MANY])
def test_the_root_out_of_tiles_is_the_trees(big: Store, size: int) -> None:
    assert root_of(size, read_size(big.fetch, size)) == tree_root(LEAVES[:size])


def test_a_tile_of_another_length_is_refused(big: Store) -> None:
    for bend in (lambda raw: raw[:-1], lambda raw: raw + b"\0" * 32, lambda raw: b""):
        with pytest.raises(FormatError):
            root_of(70, read_size(lambda tile, bend=bend: bend(big.fetch(tile)), 70))
    with pytest.raises(FormatError):
        subtrees(lambda level, index: b"\0" * 32)(0, 1)
    with pytest.raises(FormatError):
        list(grow(3, LEAVES[3:4], lambda level, index: b"\0" * 64))
    for raw in (b"", b"\0" * 31, b"\0" * (TILE_BYTES + 32)):
        with pytest.raises(FormatError):
            split_hashes(raw)
    with pytest.raises(FormatError):
        tile_hash(b"\0" * 32)


@given(st.sampled_from([ENTRIES, 0, 1, 63]) | st.integers(0, 63), st.integers(0, 1 << 50), st.integers(1, 256))
def test_a_path_gives_its_tile_back(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert parse_tile_path(tile.path) == tile
    assert parse_tile_path(tile.full.path) == Tile(level, index)


@given(st.text("tile/entries0123456789x.p-", max_size=30) | st.text(max_size=30))
def test_any_other_text_is_no_path(text: str) -> None:
    try:
        assert parse_tile_path(text).path == text
    except CustodyError as error:
        assert error.code == "bad_format"  # noqa: PT017 (either outcome is right; a third one is not)


@given(st.lists(st.binary(max_size=300), max_size=20) | st.just([b"x" * 65_535]))
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.binary(max_size=40), st.integers(0, 5))
def test_arbitrary_bytes_are_a_bundle_of_themselves_or_none(raw: bytes, width: int) -> None:
    try:
        assert encode_bundle(decode_bundle(raw, width)) == raw
    except CustodyError as error:
        assert error.code == "bad_format"  # noqa: PT017 (either outcome is right; a third one is not)


def test_what_a_bundle_cannot_hold_is_refused() -> None:
    for entries in ([b"x" * 65_536], [b""] * 257):
        with pytest.raises(FormatError):
            encode_bundle(entries)


def test_a_tree_has_no_tile_beyond_its_end() -> None:
    assert tile_in(0, 0, 0) is None
    assert tile_in(0, 1, 256) is None
    assert tile_in(0, -1, 256) is None
    assert tile_in(ENTRIES, 1, 300) == Tile(ENTRIES, 1, 44)
    assert tile_in(1, 0, 255) is None
