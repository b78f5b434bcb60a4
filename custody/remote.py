"""Reading a log over HTTP: its newest checkpoint, and from its tiles the proof that it extends an older one.

Nothing that comes back is believed here: a checkpoint by its signature, tiles once they lead to its root.
"""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from custody.checkpoint import MAX_NOTE_BYTES
from custody.errors import CustodyError
from custody.merkle import consistency_proof
from custody.tiles import Tile, read_size

TIMEOUT_SECONDS = 15.0
_MAX_TILE_BYTES = 8192


class Unreachable(CustodyError):
    """The log did not answer, or not with what was asked for."""

    code = "log_unreachable"


class RemoteLog:
    """A log at `url`, the prefix below which ``checkpoint`` and ``tile/…`` lie."""

    def __init__(self, url: str, ca: Path | None = None) -> None:
        """`ca`: PEM of an authority of one's own. Raises Unreachable for an address that is none."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise Unreachable(f"日志地址应为 http(s)://…/log。 / a log's address is http(s)://…/log, not {url[:80]!r}")
        self._url = url.rstrip("/")
        context = ssl.create_default_context(cafile=ca)
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    def read_newest(self) -> str:
        """The newest checkpoint, as it comes. Raises Unreachable."""
        return self._get("checkpoint", MAX_NOTE_BYTES).decode(errors="replace")

    def prove(self, old: int, new: int) -> list[bytes]:
        """The consistency proof between two sizes, as the log's tiles give it. Raises Unreachable, FormatError."""

        def fetch(tile: Tile) -> bytes:
            return self._get(tile.path, _MAX_TILE_BYTES)

        return consistency_proof(old, new, read_size(fetch, new)) if 0 < old < new else []

    def give(self, cosigned_note: str) -> None:
        """Hand a cosigned checkpoint back to the hub. Raises Unreachable."""
        self._open(
            urllib.request.Request(  # noqa: S310 - the scheme was checked
                f"{self._url}/cosignatures", cosigned_note.encode(), {"content-type": "text/plain; charset=utf-8"}
            ),
            1024,
        )

    def _get(self, path: str, most: int) -> bytes:
        raw = self._open(urllib.request.Request(f"{self._url}/{path}"), most + 1)  # noqa: S310 - as above
        if len(raw) > most:
            raise Unreachable(f"{self._url}/{path}: 应答过长。 / too long an answer.")
        return raw

    def _open(self, request: Any, most: int) -> bytes:
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                raw: bytes = response.read(most)
        except (OSError, HTTPException, ValueError) as error:
            raise Unreachable(f"{request.full_url}: {error}") from None
        return raw
