"""Reading one file of a PTP camera, in pieces where it gives pieces, else as a stream."""

from __future__ import annotations

from agent.errors import ReadFault
from agent.ptpcamera import PtpCamera, raise_if_unreadable
from agent.ptpdata import Operation
from agent.ptpsession import Incoming, Refused
from agent.source import Entry

READ_BYTES = 1 << 20  # of one partial read; the camera may give less
FAULT_BYTES = 4096  # the finest that a camera's own file system tells


class PtpReader:
    """One file, read in pieces."""

    def __init__(self, camera: PtpCamera, handle: int, entry: Entry) -> None:
        """Opens nothing: PTP reads by handle."""
        self._camera, self._handle, self._entry = camera, handle, entry

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; 0 at the end. Raises ReadFault, SourceGone; SourceUnreadable: it was removed."""
        wanted = max(0, min(len(buffer), self._entry.size_bytes - offset))
        done = 0
        while done < wanted:
            piece = buffer[done : min(done + READ_BYTES, wanted)]
            try:
                count = self._camera.read_piece(self._handle, offset + done, piece)
            except Refused as refused:
                raise_if_unreadable(refused)
                raise ReadFault(offset + done, len(piece), exact=len(piece) <= FAULT_BYTES) from refused
            if count == 0:  # it became shorter; `changed` says so
                break
            done += count
        return done

    def changed(self) -> bool:
        """Whether the camera describes the file otherwise than when it was listed. Raises SourceGone."""
        return not self._camera.is_as_listed(self._handle, self._entry.handle)

    def close(self) -> None:
        """Nothing is open."""


class StreamReader:
    """One file of a camera that gives files only whole: read as it comes, anew when a chunk is read again."""

    def __init__(self, camera: PtpCamera, handle: int, entry: Entry) -> None:
        """Nothing is asked yet."""
        self._camera, self._handle, self._entry = camera, handle, entry
        self._incoming: Incoming | None = None
        self._at = 0
        self._broken_at: int | None = None
        self._longer = False

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; 0 at the end. Raises ReadFault, SourceGone; SourceUnreadable: it was removed."""
        wanted = max(0, min(len(buffer), self._entry.size_bytes - offset))
        if not wanted:
            return 0
        if self._broken_at is not None and offset + wanted > self._broken_at:
            raise self._fault(max(offset, self._broken_at))
        try:
            incoming = self._stand_at(offset)
            done = 0
            while done < wanted and (count := incoming.read_into(buffer[done:wanted])):
                done += count
                self._at += count
            if self._at == self._entry.size_bytes:
                self._longer = incoming.read_into(memoryview(bytearray(1))) > 0
                self._incoming = None
        except Refused as refused:
            self._incoming = None
            raise_if_unreadable(refused)
            self._broken_at = self._at  # what lies behind it can only be reached through it
            raise self._fault(self._at) from refused
        return done

    def _fault(self, offset: int) -> ReadFault:
        return ReadFault(offset, max(1, self._entry.size_bytes - offset), exact=True)

    def changed(self) -> bool:
        """Whether the file is longer than listed, or described otherwise. Raises SourceGone."""
        return self._longer or not self._camera.is_as_listed(self._handle, self._entry.handle)

    def close(self) -> None:
        """The next command ends what is still coming."""
        self._incoming = None

    def _stand_at(self, offset: int) -> Incoming:
        if self._incoming is None or self._at > offset:
            self._incoming, self._at = self._camera.session.begin(Operation.GET_OBJECT, self._handle), 0
        scratch = memoryview(bytearray(min(READ_BYTES, max(1, offset - self._at))))
        while self._at < offset and (count := self._incoming.read_into(scratch[: offset - self._at])):
            self._at += count
        return self._incoming
