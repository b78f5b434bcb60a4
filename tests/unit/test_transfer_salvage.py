"""Salvage: every readable byte is kept, every other is zero and named."""

import os

from hypothesis import given
from hypothesis import strategies as st

from agent.copies import Gap, coalesce
from agent.errors import ReadFault
from agent.salvage import COARSE_BYTES, PATIENCE_FAULTS, Salvage

SECTOR = 512
CONTENT = os.urandom(256 * 1024 + 300)


class BadCard:
    """A reader whose medium refuses some sectors; `exact` as our card reader, else all or nothing."""

    def __init__(self, content: bytes, bad: set[int], *, exact: bool, most: int = 1 << 20) -> None:
        self.content, self.bad, self.exact, self.most = content, bad, exact, most
        self.faults = 0

    def read_into(self, buffer: memoryview, offset: int) -> int:
        length = min(len(buffer), self.most, len(self.content) - offset)
        if length <= 0:
            return 0
        sectors = range(offset // SECTOR, (offset + length - 1) // SECTOR + 1)
        hit = next((s for s in sectors if s in self.bad), None)
        if hit is None:
            buffer[:length] = self.content[offset : offset + length]
            return length
        self.faults += 1
        if not self.exact:
            raise ReadFault(offset, length)
        start = max(offset, hit * SECTOR)
        raise ReadFault(start, min(offset + length, hit * SECTOR + SECTOR) - start, exact=True)

    def changed(self) -> bool:
        return False

    def close(self) -> None:
        pass


def expected(content: bytes, bad: set[int]) -> tuple[bytes, tuple[Gap, ...]]:
    data = bytearray(content)
    gaps = []
    for sector in sorted(bad):
        start, end = sector * SECTOR, min(sector * SECTOR + SECTOR, len(content))
        if start < end:
            data[start:end] = bytes(end - start)
            gaps.append(Gap(start, end - start))
    return bytes(data), coalesce(gaps)


@given(
    size=st.integers(0, len(CONTENT)),
    bad=st.sets(st.integers(0, len(CONTENT) // SECTOR), max_size=20),
    exact=st.booleans(),
    most=st.sampled_from([512, 1000, 65536, 1 << 20]),
)
def test_only_bad_sectors_become_zeros(size: int, bad: set[int], exact: bool, most: int) -> None:
    content = CONTENT[:size]
    card = BadCard(content, bad, exact=exact, most=most)
    buffer = memoryview(bytearray(b"\xff" * (size + 10)))

    length, gaps = Salvage(card).read(buffer[:size], 0)

    data, named = expected(content, bad)
    assert length == size
    zeroed = {at for gap in gaps for at in range(gap.offset_bytes, gap.offset_bytes + gap.length_bytes)}
    truly = {at for gap in named for at in range(gap.offset_bytes, gap.offset_bytes + gap.length_bytes)}
    if most % SECTOR == 0:
        assert (bytes(buffer[:size]), gaps) == (data, named)
    else:  # a reader that stops within sectors moves the cuts: still nothing readable beyond a sector's worth is lost
        assert truly <= zeroed
        assert all(buffer[at] == 0 for at in zeroed)
        assert all(buffer[at] == content[at] for at in set(range(size)) - zeroed)
    assert bytes(buffer[size:]) == b"\xff" * 10


def test_a_shorter_file_ends_the_chunk() -> None:
    card = BadCard(b"x" * 700, set(), exact=True)
    buffer = memoryview(bytearray(1024))
    assert Salvage(card).read(buffer, 0) == (700, ())


def test_a_dying_card_is_given_up_in_coarse_pieces() -> None:
    """Without a bound, a dead gigabyte would hold the bay for days; every byte not read is still named."""
    content = b"x" * (8 << 20)
    card = BadCard(content, set(range(len(content) // SECTOR)), exact=False)
    salvage = Salvage(card)
    buffer = memoryview(bytearray(1 << 20))
    for offset in range(0, len(content), 1 << 20):
        assert salvage.read(buffer, offset) == (1 << 20, (Gap(offset, 1 << 20),))
    whole = len(content) // COARSE_BYTES * 2
    assert card.faults < PATIENCE_FAULTS + whole + 64
