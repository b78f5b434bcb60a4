"""Counting free space against naive counting, and with structures that lie."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.freespace import Space, bitmap_space, ext_space
from agent.medium import Medium
from tests.unit.test_card_structures import Memory


@settings(deadline=None)
@given(st.lists(st.binary(max_size=4) | st.integers(0, 3), max_size=5), st.integers(0, 120))
def test_a_bitmap_against_counting_bit_by_bit(pieces: list[bytes | int], clusters: int) -> None:
    given_pieces = [(None, p) if isinstance(p, int) else (p, len(p)) for p in pieces]
    bits: list[bool] = []  # whether used
    for piece in pieces:
        data = b"\xff" * piece if isinstance(piece, int) else piece
        bits += [bool(byte >> n & 1) for byte in data for n in range(8)]
    bits = (bits + [True] * clusters)[:clusters]
    space = bitmap_space(given_pieces, clusters, 512)
    assert (space.total_bytes, space.free_bytes) == (clusters * 512, bits.count(False) * 512)


def superblock(**fields: int) -> bytes:
    """A small ext2 superblock at its place, and one group descriptor with 7 free blocks."""
    block = bytearray(1024)
    values = {"blocks": 64, "free": 9, "first": 1, "shift": 0, "per_group": 8192, "incompatible": 0} | fields
    struct.pack_into("<I4xI", block, 4, values["blocks"], values["free"])
    struct.pack_into("<II", block, 20, values["first"], values["shift"])
    struct.pack_into("<I", block, 32, values["per_group"])
    struct.pack_into("<I", block, 96, values["incompatible"])
    return bytes(1024) + bytes(block) + struct.pack("<12xH18x", 7).ljust(62 * 1024, b"\0")


def test_ext_by_its_descriptors() -> None:
    assert ext_space(Medium(Memory(superblock())), 0) == Space(65536, 7 * 1024, exact=True)
    recovering = ext_space(Medium(Memory(superblock(incompatible=0x4))), 0)
    assert recovering == Space(65536, 7 * 1024, exact=False)
    assert ext_space(Medium(Memory(superblock(incompatible=0x10))), 0).free_bytes == 9 * 1024  # META_BG


@settings(deadline=None)
@given(st.binary(min_size=120, max_size=120))
def test_any_superblock_gives_a_space_within_the_volume(raw: bytes) -> None:
    head = superblock()
    space = ext_space(Medium(Memory(head[:1024] + raw + head[1144:])), 0)
    assert space.free_bytes is None or 0 <= space.free_bytes <= space.total_bytes


@settings(deadline=None)
@given(st.fixed_dictionaries({
    "blocks": st.sampled_from([0, 1, 64, 2**32 - 1]), "first": st.sampled_from([0, 1, 63, 64, 2**32 - 1]),
    "per_group": st.sampled_from([0, 1, 8192, 2**32 - 1]), "shift": st.integers(0, 8),
    "incompatible": st.sampled_from([0, 0x10, 0x80]), "free": st.sampled_from([0, 9, 2**32 - 1]),
}))  # fmt: skip
def test_superblocks_that_lie(fields: dict[str, int]) -> None:
    space = ext_space(Medium(Memory(superblock(**fields))), 0)
    assert space.free_bytes is None or 0 <= space.free_bytes <= space.total_bytes <= 65536
