"""One file as pieces of a medium: exact about what is bad, zeros only where the file system itself says zeros."""

import bisect
from collections.abc import Callable, Iterable

from agent.errors import ReadFault
from agent.medium import Medium

ZEROS = -1  # a hole, or space reserved and never written: reads as zeros on the camera too
LOST = -2  # no cluster is known for it


class ExtentReader:
    """A `Reader` (agent/source.py) over pieces of a medium."""

    def __init__(
        self,
        medium: Medium,
        pieces: Iterable[tuple[int, int]],
        size_bytes: int,
        changed: Callable[[], bool],
    ) -> None:
        """`pieces` are (length, offset on the medium or ZEROS); what they leave of `size_bytes` is LOST."""
        self._medium = medium
        self._changed = changed
        self._size_bytes = size_bytes
        self._starts: list[int] = []
        self._places: list[int] = []
        end = 0
        for length, place in pieces:
            if end >= size_bytes:
                break
            self._starts.append(end)
            self._places.append(place)
            end += length
        if end < size_bytes:
            self._starts.append(end)
            self._places.append(LOST)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; 0 at the end. Raises ReadFault for the first bad range inside it, SourceGone."""
        wanted = max(0, min(len(buffer), self._size_bytes - offset))
        done = 0
        while done < wanted:
            done += self._read_piece(buffer[done:wanted], offset + done)
        return wanted

    def changed(self) -> bool:
        """Whether its directory entry is no longer what was listed."""
        return self._changed()

    def close(self) -> None:
        """Nothing to release: the medium belongs to the source."""

    def _read_piece(self, buffer: memoryview, offset: int) -> int:
        index = bisect.bisect_right(self._starts, offset) - 1
        end = self._starts[index + 1] if index + 1 < len(self._starts) else self._size_bytes
        room = min(len(buffer), end - offset)
        place = self._places[index]
        if place == LOST:
            raise ReadFault(offset, room, exact=True)
        if place == ZEROS:
            buffer[:room] = bytes(room)
            return room
        at = place + offset - self._starts[index]
        count = self._medium.read_into(buffer[:room], at)
        if count < room:
            bad = self._medium.bad_bytes(at + count, room - count)
            if bad:
                raise ReadFault(offset + count, bad, exact=True)
            if not count:  # it failed and now it answers: do not turn in circles over a failing card
                raise ReadFault(offset, min(room, self._medium.sector_bytes))
        return count
