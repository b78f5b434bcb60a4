"""How long a file of a PTP camera really is: tried where its content ends, not believed."""

from __future__ import annotations

from agent.ptpcamera import PtpCamera, raise_if_gone
from agent.ptpdata import UNKNOWN_LENGTH, Code, Malformed, Operation, Property, parse_number
from agent.ptpsession import Refused

SIZE_MAX = 2**53 - 1  # the greatest that an event may state


def measure(camera: PtpCamera, handle: int, listed: int | None) -> tuple[int | None, str]:
    """The size to copy, None where there is none to be had, and what is doubtful about it (empty: nothing).

    `listed`: what ObjectInfo says; None: more than its 32 bits hold. Raises SourceGone.
    """
    if listed is None:
        listed = _property(camera, handle)
    if listed is None and Operation.GET_PARTIAL_OBJECT_64 not in camera.device.operations:
        return None, (
            "longer than 4 GiB, and the camera neither tells its size nor gives its parts: it was not copied. Dock its "
            "card instead"
        )
    search = _Search(camera, handle, UNKNOWN_LENGTH if listed is None else listed)
    size = search.end(UNKNOWN_LENGTH) if listed is None else search.true_size()
    if listed is not None and size != listed:
        return size, f"its listing says {listed} bytes, the camera gives {size}: what it gives is copied"
    if search.met_fault:
        return size, f"its size had to be tried and a place failed to read: it is copied as {size} bytes, may be longer"
    return size, ""


def _property(camera: PtpCamera, handle: int) -> int | None:
    """MTP's 64 bits of size."""
    if Operation.GET_OBJECT_PROPERTY not in camera.device.operations:
        return None
    try:
        return parse_number(camera.session.ask(Operation.GET_OBJECT_PROPERTY, handle, Property.OBJECT_SIZE))
    except (Refused, Malformed) as error:
        raise_if_gone(error)
        return None


class _Search:
    """Looks for the end of one file."""

    def __init__(self, camera: PtpCamera, handle: int, listed: int) -> None:
        self._camera, self._handle, self._listed = camera, handle, listed
        self.met_fault = False  # the search stood on an answer that may have been a bad place and not the end

    def true_size(self) -> int:
        """What is listed, when the last byte is there and none behind it; else where reading ends."""
        listed = self._listed
        if not self._camera.can_read_from(listed + 1) or listed > SIZE_MAX:
            return listed  # only the copy itself will tell
        last = max(listed - 1, 0)
        try:
            count = self._camera.read_piece(self._handle, last, memoryview(bytearray(2 if listed else 1)))
        except Refused as refused:
            raise_if_gone(refused)
            # A bad place at the end, or firmware that refuses to read past it: what is listed may be right.
            return listed if not listed or self._has(last) else self.end(0)
        if count == min(listed, 1):
            return listed
        return self.end(listed + 1 if count else 0)

    def end(self, low: int) -> int:
        """Where reading ends; there is a byte at each place before `low`. Two questions for each bit of the size."""
        reach = max(low, 1) * 2
        while self._camera.can_read_from(reach) and reach < SIZE_MAX and self._has(reach - 1):
            low, reach = reach, reach * 2
        while low < reach:
            middle = (low + reach) // 2
            if self._has(middle):
                low = middle + 1
            else:
                reach = middle
        return low

    def _has(self, offset: int) -> bool:
        """Whether there is a byte. A place that fails to read is there where it is listed, else doubtful."""
        if not self._camera.can_read_from(offset + 1):
            return False
        try:
            return self._camera.read_piece(self._handle, offset, memoryview(bytearray(1))) == 1
        except Refused as refused:
            raise_if_gone(refused)
            if refused.code == Code.INVALID_PARAMETER:
                return False
            self.met_fault = self.met_fault or offset >= self._listed
            return offset < self._listed
