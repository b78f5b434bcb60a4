"""A camera or phone that speaks PTP or MTP as a source: all its stores, read in pieces, never written.

ptpdata (bytes and facts) ─ ptpsession (commands and answers) ─ usbfs (the kernel)
ptpcamera (objects by handle) ─ ptplisting, ptpsize (what there is) ─ ptpreader (one file)

What a library for viewing pictures may skip is footage here: see ptplisting.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.errors import SourceUnreadable
from agent.ptpcamera import PtpCamera, mute
from agent.ptpdata import Malformed, Operation, StorageInfo, parse_handles, parse_storage_info
from agent.ptplisting import Listing
from agent.ptpreader import PtpReader, StreamReader
from agent.ptpsession import Refused, Session
from agent.ptpsize import SIZE_MAX
from agent.source import Entry, Finding, Reader, SourceFacts, SourceKind, TimeBasis
from agent.usbfs import UsbPipe

STORES_MAX = 64
LABEL_MAX = 64


def open_ptp(port: str) -> PtpSource:
    """Open the camera at a port (see `port_for`). Raises SourceUnreadable, SourceGone."""
    pipe = UsbPipe(port)
    try:
        return PtpSource(Session(pipe))
    except Refused as refused:
        pipe.close()
        raise mute(refused) from refused
    except BaseException:
        pipe.close()
        raise


class PtpSource:
    """An open camera. One thread at a time uses it and its readers."""

    def __init__(self, session: Session) -> None:
        """Take over an open session. Raises SourceUnreadable, SourceGone, Refused."""
        self.camera = PtpCamera(session)
        self._stores = self._read_stores()

    @property
    def facts(self) -> SourceFacts:
        """What the camera says of its stores, in the order of `store_…` folders."""
        infos = list(self._stores.values())
        capacity = sum(info.capacity_bytes for info in infos if info is not None)
        return SourceFacts(
            SourceKind.PTP,
            tuple(f"ptp {info.file_system}" if info else "ptp" for info in infos),
            tuple(info.description[:LABEL_MAX] if info else "" for info in infos),
            tuple(info.label[:LABEL_MAX] if info else "" for info in infos),
            capacity if 0 < capacity <= SIZE_MAX else None,
            TimeBasis.CAMERA_LOCAL,
        )

    def entries(self) -> Iterator[Entry | Finding]:
        """Everything in every store, folder by folder. Raises SourceGone."""
        yield from Listing(self.camera, self._stores).walk()

    def open(self, entry: Entry) -> Reader:
        """Open one listed file. Raises SourceUnreadable for this file alone, SourceGone."""
        handle = int(entry.handle.partition(":")[0], 16)
        if not self.camera.is_as_listed(handle, entry.handle):
            raise SourceUnreadable(
                "This file is no longer on the camera as it was listed. Nothing was changed. It is listed again at the "
                "next docking.",
                "该文件已与列出时不同或已不在记录仪上。未作任何改动。下次接入时将重新列出。",
            )
        if self.camera.can_read_from(entry.size_bytes):
            return PtpReader(self.camera, handle, entry)
        return StreamReader(self.camera, handle, entry)

    def close(self) -> None:
        """Close the session and give the device back; closing twice does nothing."""
        self.camera.session.close()

    def _read_stores(self) -> dict[int, StorageInfo | None]:
        try:
            ids = parse_handles(self.camera.session.ask(Operation.GET_STORAGE_IDS))
        except Malformed as error:
            raise mute(error) from error
        stores = [store for store in ids if store & 0xFFFF]  # else a slot without a card
        if not stores or len(stores) > STORES_MAX:
            raise SourceUnreadable(
                f"The camera shows {len(stores)} stores. Nothing was changed. Unlock it and allow file transfer on its "
                "screen, check its card, then dock it again.",
                f"设备显示 {len(stores)} 个存储。未作任何改动。"
                "请解锁设备并在其屏幕上允许“文件传输”，检查存储卡后重新接入。",
            )
        return {store: self._store_info(store) for store in dict.fromkeys(stores)}

    def _store_info(self, store: int) -> StorageInfo | None:
        try:
            return parse_storage_info(self.camera.session.ask(Operation.GET_STORAGE_INFO, store))
        except (Refused, Malformed):  # a name for people; the store is listed all the same
            return None
