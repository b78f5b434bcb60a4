"""One conversation with the agent: which requests are allowed when, and what is checked before each.

`Session.open` proves, from bytes alone, that the hub and two people want these files gone and that the log holds what
was saved; `Session.delete` that a file is on the card and in the vault exactly as it was sealed. What only the agent
can know (holds, receipts, who docked) is the agent's to check (agent/release.py).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from agent.clearing.card import ClearableCard, WritableDevice, hash_copy
from agent.clearing.pins import ClearPins
from agent.clearing.protocol import DEVICE, Close, Delete, Open, Request
from agent.station import sync_directory
from custody.event import Clock
from custody.release import (
    Authorisation,
    Listed,
    ReleaseRefused,
    check_closing,
    open_authorisation,
    read_named,
)

# Refusals about one file; every other one ends the conversation, for something is not as it should be.
ABOUT_ONE_FILE = frozenset(
    {"not_on_card", "path_ambiguous", "size_differs", "content_differs", "vault_copy_missing", "card_read_fault"}
)
Now = Callable[[], tuple[datetime, Clock]]
OpenDevice = Callable[[str], WritableDevice]


class Session:
    """From connecting to hanging up. One thread. `used` is the folder that remembers which authorisations were used."""

    def __init__(self, pins: ClearPins, used: Path, now: Now, open_device: OpenDevice) -> None:
        """Nothing is open."""
        self._pins, self._used, self._now, self._open_device = pins, used, now, open_device
        self._device: WritableDevice | None = None
        self._card: ClearableCard | None = None
        self._authorisation: Authorisation | None = None
        self._files: dict[int, Listed] = {}

    def handle(self, request: Request, descriptor: int | None) -> dict[str, object]:
        """The answer to one request. Raises ReleaseRefused."""
        match request:
            case Open():
                return self._open(request, descriptor)
            case Delete():
                return self._delete(request, descriptor)
            case Close():
                return self._close(descriptor)

    def _open(self, request: Open, manifest: int | None) -> dict[str, object]:
        """1. Nothing is open yet. 2. The place is one where cards are. 3. The authorisation is the hub's, for this
        station, in time, and two people stand for it. 4. It was not used up. 5. The log holds the docking. 6. The
        manifest is the approved one. 7. The card is the one that was saved, and sound.
        """
        if self._authorisation is not None or manifest is None:  # 1
            raise ReleaseRefused("bad_request")
        self._check_place(request.device)  # 2
        pins, (now, clock) = self._pins, self._now()
        authorisation = open_authorisation(
            request.authorisation, pins.station, pins.command_key, pins.log, now, clock
        )  # 3
        if self._mark(authorisation).exists():  # 4
            raise ReleaseRefused("already_used")
        check_closing(authorisation.release, request.closed, pins.station, pins.log)  # 5
        _check_regular(manifest, "manifest_differs")
        try:
            with open(os.dup(manifest), "rb") as stream:
                stream.seek(0)
                named = read_named(authorisation.release, stream)  # 6
        except OSError as error:
            raise ReleaseRefused("manifest_differs", str(error.strerror)) from None
        self._device = self._open_device(request.device)
        self._card = ClearableCard(self._device, named.volume_ids)  # 7
        self._authorisation = authorisation
        self._files = {listed.entry: listed for listed in named.files}
        return {"ok": True, "files": len(named.files)}

    def _check_place(self, device: str) -> None:
        images = self._pins.images
        if DEVICE.fullmatch(device) or (images is not None and Path(device).resolve().parent == images):
            return
        raise ReleaseRefused("not_a_card", "not a place where cards are")

    def _delete(self, request: Delete, copy: int | None) -> dict[str, object]:
        """1. A card is open and the file is one of the authorised. 2. There still is time. 3. The vault's copy is
        whole. 4. Then the card's: see `ClearableCard.clear`.
        """
        listed = self._files.get(request.entry)
        if self._card is None or self._authorisation is None or listed is None or copy is None:  # 1
            raise ReleaseRefused("bad_request")
        now, clock = self._now()
        if clock != "synchronised" or now >= self._authorisation.header.expires_at:  # 2
            raise ReleaseRefused("expired")
        _check_regular(copy, "vault_copy_missing")
        try:
            whole = hash_copy(copy, listed)  # 3
        except OSError as error:
            raise ReleaseRefused("vault_copy_missing", str(error.strerror)) from None
        if not whole:
            raise ReleaseRefused("vault_copy_differs")
        self._card.clear(listed)  # 4
        return {"ok": True}

    def _close(self, descriptor: int | None) -> dict[str, object]:
        if self._card is None or self._authorisation is None or descriptor is not None:
            raise ReleaseRefused("bad_request")
        same = self._card.finish()
        self._mark(self._authorisation).touch(mode=0o600)
        sync_directory(self._used)
        self._card = None
        return {"ok": True, "others_same": same}

    def _mark(self, authorisation: Authorisation) -> Path:
        return self._used / authorisation.sha256

    def hang_up(self) -> None:
        """The card is read-only again, however the conversation ended."""
        self._card = None
        if self._device is not None:
            self._device.close()


def _check_regular(descriptor: int, rule: str) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ReleaseRefused(rule, "it is no file")
