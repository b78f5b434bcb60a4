"""The log as a folder: a static C2SP tlog-tiles tree that any web server can hand out and any reader can check.

See "A mirror" in ``custody/spec/tiles.md``. The checkpoint comes last, so the folder never promises what it lacks; the
same command again adds what is new. A folder that holds another history is refused: it is evidence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from custody.checkpoint import parse_checkpoint
from custody.errors import FormatError
from custody.merkle import range_root
from custody.tiles import ENTRIES, Tile, tiles_of
from hub import log
from hub.audit.tiles import load_bundle, load_tile
from hub.db import Database
from hub.errors import Conflict, Invalid

CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a folder holds after a run: `files` and `size_bytes` are those written by it."""

    size: int
    files: int
    size_bytes: int


def mirrored_size(db: Database, folder: Path) -> int:
    """Entries that an earlier run put there; 0 for a folder that is new or empty.

    Raises Conflict when it holds something else, or a history that is not the one of this log.
    """
    try:
        note = (folder / CHECKPOINT).read_text("utf-8")
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "tile").is_dir():
            raise Conflict(
                f"{folder} 不是日志镜像，也不是空目录；未写入任何内容。 / "
                f"{folder} is neither empty nor a mirror of a log; nothing was written."
            ) from None
        return 0
    except (OSError, ValueError) as error:
        raise Invalid(f"无法读取 {folder / CHECKPOINT} / {folder / CHECKPOINT} cannot be read: {error}") from None
    with db.read() as connection:
        if not _is_ours(connection, note):
            raise Conflict(
                f"{folder} 中的检查点与本日志不一致：请原样保留两者并通知审计员。未写入任何内容。 / the checkpoint in "
                f"{folder} is not one of this log: keep both as they are and tell the auditor. Nothing was written."
            )
    return parse_checkpoint(note.partition("\n\n")[0] + "\n").size


def _is_ours(connection: Connection, note: str) -> bool:
    """Whether our tiles lead to this checkpoint's root. Its signature is for readers; the root decides."""
    newest = parse_checkpoint(log.newest_note(connection).partition("\n\n")[0] + "\n")
    try:
        held = parse_checkpoint(note.partition("\n\n")[0] + "\n")
    except FormatError:
        return False
    if held.origin != newest.origin or held.size > newest.size:
        return False
    return held.size == 0 or range_root(0, held.size, log.stored_subtrees(connection)) == held.root


def write_mirror(db: Database, folder: Path, note: str, since: int) -> Mirrored:
    """Write what the tree of `note` has and the tree of `since` has not, then the checkpoint. Raises OSError.

    1. Tiles and bundles, each whole under its name or not there. 2. All of it durable. 3. The checkpoint.
    """
    size = parse_checkpoint(note.partition("\n\n")[0] + "\n").size
    files = count = 0
    folder.mkdir(parents=True, exist_ok=True)
    for tile in _wanted(size, since):  # 1
        raw = load_bundle(db, tile) if tile.level == ENTRIES else load_tile(db, tile)
        _put(folder / tile.path, raw)
        files, count = files + 1, count + len(raw)
    os.sync()  # 2: thousands of files, one call
    _put(folder / CHECKPOINT, note.encode())  # 3
    os.sync()
    return Mirrored(size, files + 1, count + len(note.encode()))


def _wanted(size: int, since: int) -> Iterator[Tile]:
    for tile in tiles_of(size, since=since):
        yield tile
        if tile.level == 0:  # the entries under it
            yield Tile(ENTRIES, tile.index, tile.width)


def _put(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.new")
    made.write_bytes(raw)
    made.rename(path)
