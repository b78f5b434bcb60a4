"""Reading one chunk from a medium that may refuse parts of it: only what is unreadable becomes zeros, and is named."""

from agent.copies import Gap, coalesce
from agent.errors import ReadFault
from agent.source import Reader

BLOCK_BYTES = 4096
SECTOR_BYTES = 512
# A failing card answers a bad sector after seconds. Once a file has cost this many failed reads, what still fails is
# given up in coarse pieces, so that a dying card gives its readable files today; the gaps say what was not read.
PATIENCE_FAULTS = 4096
COARSE_BYTES = 64 * 1024


class Salvage:
    """Reads the chunks of one file and counts how much trouble it made."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._faults = 0

    def read(self, view: memoryview, offset: int) -> tuple[int, tuple[Gap, ...]]:
        """Fill `view` from `offset`; the bytes there are, and the gaps among them. Raises SourceGone."""
        gaps: list[Gap] = []
        length = self._range(view, offset, gaps)
        return length, coalesce([gap for gap in gaps if gap.offset_bytes < offset + length])

    def _range(self, view: memoryview, offset: int, gaps: list[Gap]) -> int:
        """Bytes filled; fewer than len(view) only at the end of the file."""
        filled = 0
        while filled < len(view):
            try:
                got = self._reader.read_into(view[filled:], offset + filled)
            except ReadFault as fault:
                got = self._around(fault, view[filled:], offset + filled, gaps)
            if got == 0:
                break
            filled += got
        return filled

    def _around(self, fault: ReadFault, view: memoryview, offset: int, gaps: list[Gap]) -> int:
        """Fill `view` up to the end of what `fault` names, or less at the end of the file."""
        self._faults += 1
        before = max(0, min(fault.offset_bytes - offset, len(view) - 1))
        if before:  # readable, says the fault; asked for alone it fills the buffer or names another stretch
            return self._range(view[:before], offset, gaps)
        length = max(1, min(fault.offset_bytes + fault.length_bytes - offset, len(view)))
        finest = COARSE_BYTES if self._faults > PATIENCE_FAULTS else SECTOR_BYTES
        if fault.exact or length <= finest:
            view[:length] = bytes(length)
            gaps.append(Gap(offset, length))
            return length
        cut = _middle(offset, length)
        first = self._range(view[:cut], offset, gaps)
        return first if first < cut else cut + self._range(view[cut:length], offset + cut, gaps)


def _middle(start: int, length: int) -> int:
    """Where to cut: near the middle, on a boundary of blocks, of sectors within a block."""
    step = BLOCK_BYTES if length > BLOCK_BYTES else SECTOR_BYTES
    middle = (start + length // 2) // step * step - start
    return middle if 0 < middle < length else min(length - 1, step - start % step)
