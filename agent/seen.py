"""A set of 64-bit numbers at 12 to 24 bytes each: what a docking must remember of every file listed."""

import secrets
from array import array

_BITS = 64
_FIRST_BITS = 10


class Seen:
    """Open addressing in one array. Places are drawn by a secret factor: no card can make its names meet in one."""

    def __init__(self) -> None:
        self._factor = secrets.randbits(_BITS) | 1
        self._shift = _BITS - _FIRST_BITS
        self._slots = array("Q", bytes(8 << _FIRST_BITS))  # 0: free
        self._count = 0

    def add(self, number: int) -> bool:
        """Whether it is new."""
        number = number or 1
        at = self._place(number)
        if self._slots[at]:
            return False
        self._slots[at] = number
        self._count += 1
        if self._count * 3 > len(self._slots) * 2:
            self._grow()
        return True

    def __contains__(self, number: int) -> bool:
        return self._slots[self._place(number or 1)] != 0

    def _place(self, number: int) -> int:
        """Where it stands, or the free place where it would."""
        slots, last = self._slots, len(self._slots) - 1
        at = (number * self._factor & (1 << _BITS) - 1) >> self._shift
        while slots[at] and slots[at] != number:
            at = (at + 1) & last
        return at

    def _grow(self) -> None:
        numbers, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
        self._shift -= 1
        for number in numbers:
            if number:
                self._slots[self._place(number)] = number
