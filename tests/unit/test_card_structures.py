"""FAT and exFAT structures as bytes: chains against a naive walk, names, times, and anything at all."""

import calendar
import struct
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent import exfat, fat
from agent.clusters import Chain, Claims, Layout, Table, lost_heads, unclaimed_in_table
from agent.medium import Medium

END, BAD = 0x0FFFFFFF, 0x0FFFFFF7
BOOT = replace(
    fat.parse_boot(  # type: ignore[type-var]  # this one is a FAT boot sector
        b"\xeb\x58\x90mkfs.fat"
        + struct.pack("<HBHBHHBHHHII", 512, 1, 32, 2, 0, 0, 0xF8, 0, 32, 8, 0, 80_000)
        + struct.pack("<IHHI", 620, 0, 0, 2)
        + bytes(16)
        + b"\x80\0\x29"
        + struct.pack("<I", 0x1234ABCD)
        + b"CAMERA     FAT32   "
        + bytes(420),
        0,
    )
)


class Memory:
    """A device in memory."""

    sector_bytes = 512

    def __init__(self, content: bytes) -> None:
        self._content = content

    def size_bytes(self) -> int:
        return len(self._content)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        data = self._content[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    read_into_direct = read_into

    def close(self) -> None:
        pass


def table_of(links: list[int]) -> tuple[Table, Layout]:
    """A FAT32 table whose clusters 2, 3, ... hold these links."""
    data = struct.pack(f"<{len(links) + 2}I", 0x0FFFFFF8, END, *links).ljust(512, b"\0")
    layout = replace(BOOT, table_offsets=(0,), table_bytes=len(data), clusters=len(links), root_cluster=2)
    return Table(Medium(Memory(data)), layout), layout


def naive(links: list[int], first: int, most: int) -> tuple[list[int], bool]:
    """The clusters of a chain up to the first that repeats, and whether one does."""
    seen: list[int] = []
    cluster = first
    while len(seen) < most and 2 <= cluster < len(links) + 2:
        if cluster in seen:
            return seen, True
        seen.append(cluster)
        cluster = links[cluster - 2]
    return seen, False


def clusters_of(chain: Chain) -> list[int]:
    return [cluster for first, count in chain.runs for cluster in range(first, first + count)]


links = st.integers(1, 40).flatmap(
    lambda n: st.lists(st.sampled_from([0, 1, END, BAD, *range(2, n + 3)]), min_size=n, max_size=n)
)


@given(links, st.integers(0, 45), st.integers(1, 45))
def test_a_chain_is_what_a_naive_walk_finds(table: list[int], first: int, most: int) -> None:
    expected, loops = naive(table, first, most)
    reader, _ = table_of(table)
    chain = reader.chain(first, most)
    assert clusters_of(chain) == expected
    assert (chain.problem == "its cluster chain is a loop") == loops


@given(links)
def test_every_allocated_cluster_is_found_once_or_is_claimed(table: list[int]) -> None:
    reader, layout = table_of(table)
    claims = Claims(layout)
    claims.add(reader.chain(2, 45).runs)
    allocated = {i + 2 for i, link in enumerate(table) if link not in (0, BAD)}
    lost = set(unclaimed_in_table(reader, layout, claims))
    assert lost == allocated - set(clusters_of(reader.chain(2, 45)))
    heads = list(lost_heads(reader, layout, claims))
    assert set(heads) <= lost
    assert all(not any(table[other - 2] == head for other in lost) for head in heads)


def test_table_entries_of_twelve_bits() -> None:
    data = bytearray(512)
    for cluster, value in {2: 3, 3: 4, 4: 0xFFF, 5: 0x0AB}.items():
        at, shift = cluster * 3 // 2, 4 if cluster % 2 else 0
        pair = int.from_bytes(data[at : at + 2], "little") | value << shift
        data[at : at + 2] = pair.to_bytes(2, "little")
    layout = replace(BOOT, entry_bits=12, entry_mask=0xFFF, table_offsets=(0,), table_bytes=512, clusters=100)
    reader = Table(Medium(Memory(bytes(data))), layout)
    assert reader.chain(2, 10) == Chain([(2, 3)], None)
    assert reader.link(5) == 0x0AB


def record(name: bytes, attributes: int = 0x20) -> bytes:
    return name + bytes([attributes]) + bytes(10) + struct.pack("<HHHI", 0x6DBD, 0x5C61, 5, 7)


def long_records(name: str, short: bytes) -> bytes:
    total = 0
    for byte in short:
        total = ((total & 1) << 7) + (total >> 1) + byte & 0xFF
    units = (name + "\0").encode("utf-16-le", "surrogatepass")
    units += b"\xff" * (-len(units) % 26)
    parts = [units[i : i + 26] for i in range(0, len(units), 26)]
    return b"".join(
        bytes([number | (0x40 if number == len(parts) else 0)])
        + p[:10]
        + b"\x0f\0"
        + bytes([total])
        + p[10:22]
        + b"\0\0"
        + p[22:]
        for number, p in reversed([*enumerate(parts, 1)])
    )


def names(data: bytes) -> list[bytes]:
    return [node.name for node in fat.parse_directory([(0, data, len(data))], BOOT)]


@given(
    st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=100).filter(
        lambda s: len(s.encode("utf-16-le", "surrogatepass")) <= 500
    )
)
def test_every_long_name_comes_back(name: str) -> None:
    short = b"ABCDEF~1MP4"
    assert names(long_records(name, short) + record(short)) == [name.encode("utf-8", "surrogatepass")]


def test_a_lone_surrogate_is_kept() -> None:
    assert names(long_records("a\ud800b", b"ABCDEF~1MP4") + record(b"ABCDEF~1MP4")) == [b"a\xed\xa0\x80b"]


def test_a_long_name_that_is_not_ours_is_not_taken() -> None:
    right = long_records("left over.mp4", b"OTHER   MP4")
    assert names(right + record(b"ABCDEF~1MP4")) == [b"ABCDEF~1.MP4"]
    assert names(right[32:] + record(b"OTHER   MP4")) == [b"OTHER.MP4"] or len(right) == 32
    assert names(right + record(b"CAMERA     ", 0x08) + record(b"OTHER   MP4")) == [b"OTHER.MP4"]


def test_short_names() -> None:
    lower = record(b"VID00001MP4")
    lower = lower[:12] + b"\x18" + lower[13:]
    assert names(record(b"NOEXT      ") + lower + record(b"\x05BC     MP4")) == [
        b"NOEXT",
        b"vid00001.mp4",
        b"\xe5BC.MP4",
    ]


def test_an_unreadable_sector_does_not_end_a_directory() -> None:
    one, other = record(b"A       MP4") * 1, record(b"B       MP4")
    blocks = [(0, one.ljust(64, b"\xe5"), 64), (64, None, 512), (576, other, 32)]
    found = [node.name for node in fat.parse_directory(blocks, BOOT) if not node.deleted]
    assert found == [b"A.MP4", b"B.MP4"]


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 255))
def test_times(day: int, time: int, hundredths: int) -> None:
    stamp = fat.wall_time_ns(day, time, hundredths)
    if stamp is not None:
        assert calendar.timegm((1980, 1, 1, 0, 0, 0)) * 10**9 <= stamp < calendar.timegm((2108, 1, 1, 0, 0, 0)) * 10**9


@given(st.binary(max_size=2048), st.binary(min_size=512, max_size=512))
def test_anything_at_all_is_parsed_or_refused(data: bytes, boot: bytes) -> None:
    blocks = [(0, data, len(data)), (len(data), None, 512), (4096, data[::-1], len(data))]
    list(fat.parse_directory(blocks, BOOT))
    list(exfat.parse_directory(blocks, utc=True))
    exfat.parse_root(blocks)
    fat.parse_label(blocks)
    for sector in (boot, b"\xeb\x58\x90EXFAT   " + boot[11:], b"\xeb" + boot[1:11] + b"\0\x02" + boot[13:]):
        for layout in (fat.parse_boot(sector, 0), exfat.parse_boot(sector, 0)):
            assert layout is None or layout.cluster_bytes >= 512
