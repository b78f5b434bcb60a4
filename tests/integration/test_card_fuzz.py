"""Cards damaged at random: every listing ends, memory and output stay bounded, nothing unexpected is raised."""

import random
import tracemalloc
from pathlib import Path

import pytest

from agent.card import open_source
from agent.errors import ReadFault, SourceError, SourceUnreadable
from agent.source import Entry
from tests.integration.cards import MIB, exfat_card, fat_card, plant

TREE = {f"DCIM/{i % 3}/视频{i:04}.MP4": random.Random(i).randbytes(i * 97 % 9000) for i in range(120)}


def exercise(card: Path) -> int:
    """List a card and read every file of it; the bytes and findings that came out."""
    try:
        source = open_source(card)
    except SourceError:
        return 0
    total = 0
    buffer = memoryview(bytearray(MIB))
    for met in source.entries():
        total += 1
        if not isinstance(met, Entry):
            continue
        try:
            reader, at = source.open(met), 0
        except SourceUnreadable:
            continue
        while at < met.size_bytes:
            try:
                got = reader.read_into(buffer, at)
            except ReadFault as fault:
                got = fault.offset_bytes + fault.length_bytes - at
            assert got > 0
            at += got
            total += got
    source.close()
    return total


def damaged(original: bytes, rng: random.Random, structures: int) -> bytes:
    """A copy with bytes changed among its first `structures` bytes, as bit rot and attackers do."""
    data = bytearray(original)
    for _ in range(rng.choice([1, 5, 50, 500])):
        at = rng.randrange(structures)
        match rng.randrange(4):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xE5, 0xFF])
            case 2:
                data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\xf8\xff\xff\x0f", rng.randbytes(4)])
            case 3:
                there = rng.randrange(structures)
                data[at : at + 32] = data[there : there + 32]
    return bytes(data)


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_damaged_fat(tmp_path: Path, bits: int) -> None:
    size = {12: 2, 16: 9, 32: 35}[bits]
    card = fat_card(tmp_path / "card.img", TREE, bits, size, 1)
    original = card.read_bytes()[: 3 * MIB]
    hurt = tmp_path / "hurt.img"
    outcomes = set()
    for seed in range(120):
        hurt.write_bytes(damaged(original, random.Random(seed), min(len(original), 2 * MIB)))
        total = exercise(hurt)
        assert total < 4 * size * MIB
        outcomes.add(total)
    assert len(outcomes) > 10


@pytest.mark.needs_root
def test_damaged_exfat(tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    with exfat_card(card, size_mib=8) as folder:
        plant(folder, TREE)
    original = card.read_bytes()
    hurt = tmp_path / "hurt.img"
    outcomes = set()
    for seed in range(120):
        hurt.write_bytes(damaged(original, random.Random(seed), 3 * MIB))
        total = exercise(hurt)
        assert total < 4 * 8 * MIB
        outcomes.add(total)
    assert len(outcomes) > 10


def test_a_hundred_thousand_entries_are_streamed(tmp_path: Path) -> None:
    """Long names in four directories, written as bytes: mtools would take minutes."""
    card = fat_card(tmp_path / "card.img", {f"D{i}/x": b"" for i in range(4)}, 32, 300, 1)
    data = bytearray(card.read_bytes())
    reserved = int.from_bytes(data[14:16], "little") * 512
    table_bytes = int.from_bytes(data[36:40], "little") * 512
    heap, free = reserved + 2 * table_bytes, 1000
    for folder in range(4):
        record = data.index(b"D%d         \x10" % folder)
        clusters = 25_000 * 32 // 512 + 1
        data[record + 26 : record + 28] = free.to_bytes(2, "little")
        for cluster in range(free, free + clusters):
            link = cluster + 1 if cluster + 1 < free + clusters else 0x0FFFFFFF
            data[reserved + cluster * 4 : reserved + cluster * 4 + 4] = link.to_bytes(4, "little")
        names = (b"V%02d%05dMP4\x20" % (folder, i) + bytes(20) for i in range(25_000))
        content = b"".join(names)
        at = heap + (free - 2) * 512
        data[at : at + len(content)] = content
        free += clusters
    card.write_bytes(data)
    source = open_source(card)
    tracemalloc.start()
    count = sum(isinstance(met, Entry) for met in source.entries())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 100_000
    assert peak < 8 * MIB
