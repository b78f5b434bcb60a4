"""An open PTP camera as listing and readers need it: objects by handle, described and read, never believed twice."""

from __future__ import annotations

import hashlib

from agent.errors import SourceGone, SourceUnreadable
from agent.ptpdata import (
    UNKNOWN_LENGTH,
    Code,
    DeviceInfo,
    Malformed,
    ObjectInfo,
    Operation,
    parse_device_info,
    parse_object_info,
)
from agent.ptpsession import Refused, Session

_GONE = frozenset({Code.SESSION_NOT_OPEN, Code.STORE_NOT_AVAILABLE})


class PtpCamera:
    """A camera with an open session. One thread at a time uses it."""

    def __init__(self, session: Session) -> None:
        """Ask what it is. Raises SourceUnreadable, SourceGone, Refused."""
        self.session = session
        self.device = read_device(session)

    def info(self, handle: int) -> ObjectInfo:
        """What the camera says of an object now. Raises Refused, Malformed, SourceGone."""
        return parse_object_info(self.session.ask(Operation.GET_OBJECT_INFO, handle))

    def is_as_listed(self, handle: int, listed: str) -> bool:
        """Whether an object still has the `mark` of its listing. Raises SourceGone."""
        info = self._info_again(handle)
        return info is not None and mark(handle, info) == listed

    def can_read_from(self, end: int) -> bool:
        """Whether pieces can be read of a file that ends there."""
        operations = self.device.operations
        return Operation.GET_PARTIAL_OBJECT_64 in operations or (
            Operation.GET_PARTIAL_OBJECT in operations and end < UNKNOWN_LENGTH
        )

    def read_piece(self, handle: int, offset: int, view: memoryview) -> int:
        """Read at `offset` into `view`; fewer at the end or where the camera likes. Raises Refused, SourceGone."""
        if offset + len(view) > UNKNOWN_LENGTH or Operation.GET_PARTIAL_OBJECT not in self.device.operations:
            low, high = offset & 0xFFFFFFFF, offset >> 32
            return self.session.read_into(view, Operation.GET_PARTIAL_OBJECT_64, handle, low, high, len(view))
        return self.session.read_into(view, Operation.GET_PARTIAL_OBJECT, handle, offset, len(view))

    def _info_again(self, handle: int) -> ObjectInfo | None:
        try:
            return self.info(handle)
        except Refused as refused:
            if refused.code in _GONE:
                raise SourceGone from refused
            return None
        except Malformed:
            return None


def read_device(session: Session) -> DeviceInfo:
    """What the camera says of itself. Raises SourceUnreadable, SourceGone, Refused."""
    try:
        return parse_device_info(session.ask(Operation.GET_DEVICE_INFO))
    except Malformed as error:
        raise mute(error) from error


def mark(handle: int, info: ObjectInfo) -> str:
    """What tells one state of an object from another."""
    facts = f"{info.size_bytes}:{info.modified}:{info.name.hex()}"
    return f"{handle:x}:{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def raise_if_gone(error: Refused | Malformed) -> None:
    """Raises SourceGone for an answer that means so: the session ended, the store left."""
    if isinstance(error, Refused) and error.code in _GONE:
        raise SourceGone from error


def raise_if_unreadable(refused: Refused) -> None:
    """Raises SourceUnreadable for a file that was removed, SourceGone."""
    raise_if_gone(refused)
    if refused.code == Code.INVALID_HANDLE:
        raise SourceUnreadable(
            "This file was removed from the camera while it was read. Nothing else was changed; what the camera still "
            "holds is copied.",
            "读取过程中该文件已从设备上移除。其余内容未受影响，将继续复制。",
        ) from refused


def mute(error: Exception) -> SourceUnreadable:
    """What answers, but not as it must."""
    return SourceUnreadable(
        f"The camera answers, but not as PTP demands: {error}. Nothing was changed. Switch it off and on and dock it "
        "again; if it stays so, dock its card.",
        f"设备有应答，但不符合 PTP 规范（{error}）。未作任何改动。请重启设备后重新接入；如仍如此，请直接读取其存储卡。",
    )
