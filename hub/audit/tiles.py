"""The log as C2SP tlog-tiles: what any program needs to check it without us. See ``custody/spec/tiles.md``.

Hash tiles are for everybody, as the checkpoint is. Entry bundles hold envelopes, which name cameras and paths: they are
for signed-in people who may see the log and for log readers. Whatever is served here never changes; a tile that is not
there yet is 404 and may not be kept by anybody.
"""

from __future__ import annotations

import gzip
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy import select
from starlette.responses import Response

from custody.digest import HASH_BYTES
from custody.errors import FormatError
from custody.tiles import ENTRIES, Tile, encode_bundle, parse_tile_path
from hub import log
from hub.access import Action
from hub.accounts.gate import allowed, signed_in
from hub.audit.queries import count_entries
from hub.audit.readers import is_reader
from hub.db import Database
from hub.problems import BadAddress, EntryDamaged, NotFound, NotSignedIn
from hub.site import site_of
from hub.tables import log_entry

router = APIRouter(include_in_schema=False)
open_router = APIRouter(include_in_schema=False)

PREFIX = "/log/"
_TYPE = "application/octet-stream"
_YEAR = "max-age=31536000, immutable"


def entry_reader(request: Request) -> bool:
    """Whether a log reader asks, not a person. Raises NotSignedIn, PasswordChangeDue, NotAllowed."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        allowed(Action.SEE_LOG)(signed_in(request))
        return False
    if scheme.lower() != "bearer" or not is_reader(site_of(request).db, token.strip()):
        raise NotSignedIn
    return True


@router.get("/log/tile/entries/{rest:path}")
def get_bundle(request: Request, by_token: Annotated[bool, Depends(entry_reader)]) -> Response:
    """An entry bundle. A browser that several people use must not keep it; a reader's own machine may."""
    raw = load_bundle(site_of(request).db, _asked(request))
    headers = {"cache-control": f"private, {_YEAR}" if by_token else "no-store", "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        raw, headers["content-encoding"] = gzip.compress(raw, 1, mtime=0), "gzip"
    return Response(raw, media_type=_TYPE, headers=headers)


@open_router.get("/log/tile/{rest:path}")
def get_tile(request: Request) -> Response:
    """A tile of hashes."""
    raw = load_tile(site_of(request).db, _asked(request))
    return Response(raw, media_type=_TYPE, headers={"cache-control": f"public, {_YEAR}"})


def load_tile(db: Database, tile: Tile) -> bytes:
    """The hashes of a tile, as wide as asked for. Raises NotFound when the log has not that many."""
    with db.read() as connection:
        held = log.find_tile(connection, tile.level, tile.index) or b""
    wanted = tile.width * HASH_BYTES
    if len(held) < wanted:
        raise NotFound
    return held[:wanted]


def load_bundle(db: Database, bundle: Tile) -> bytes:
    """An entry bundle, as wide as asked for. Raises NotFound when the log has not that many, EntryDamaged."""
    start, end = bundle.start, bundle.start + bundle.width
    with db.read() as connection:
        if count_entries(connection) < end:
            raise NotFound
        rows = connection.execute(
            select(log_entry.c.envelope)
            .where(log_entry.c.idx >= start, log_entry.c.idx < end)
            .order_by(log_entry.c.idx)
        )
        entries = [bytes(raw) for raw in rows.scalars()]
    if len(entries) != bundle.width:
        raise EntryDamaged
    try:
        return encode_bundle(entries)
    except FormatError:
        raise EntryDamaged from None


def _asked(request: Request) -> Tile:
    """The tile of this request's address, as it was written: percent signs have no place in it."""
    path = request.scope.get("raw_path") or request.url.path.encode()
    try:
        tile = parse_tile_path(path.decode("ascii", "replace").removeprefix(PREFIX))
    except FormatError:
        raise BadAddress from None
    if (tile.level == ENTRIES) != request.url.path.startswith("/log/tile/entries/"):
        raise BadAddress
    return tile
