"""`dock-hub log export` and `dock-hub log check`, from their words to what they do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from custody.checkpoint import parse_checkpoint
from custody.disk import reason
from hub import log
from hub.audit import mirror
from hub.audit.export import csv_parts, hand_over, jsonl_parts, state_end, state_export
from hub.audit.selection import EntryFilter, parse_filter
from hub.bundles.command import operator_account
from hub.db import Database
from hub.errors import Conflict, DomainError, Invalid
from hub.keys import HubKeys
from hub.language import Language, load_translations
from hub.problems import BadQuery
from hub.wording import Wording


class TargetFailed(DomainError):
    """The disk or pipe that an export goes to refuses it."""

    code = "target_failed"


def export(db: Database, keys: HubKeys, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """Hand out entries as the command line asks; what was done, None where it went to stdout. Raises DomainError."""
    if bool(arguments.to) == bool(arguments.tiles):
        raise Invalid("请给出 --to 或 --tiles，二者取一。 / Give --to or --tiles, one of them.")
    if arguments.tiles:
        return _tiles(db, keys, arguments.tiles.absolute())
    target = None if str(arguments.to) == "-" else arguments.to.absolute()
    if target is not None and os.path.lexists(target):
        raise Conflict(f"{target} 已存在，不会覆盖。 / {target} exists and is never overwritten.")
    if target is not None and not target.parent.is_dir():
        raise Invalid(f"{target.parent} 不存在，请先建立。 / {target.parent} does not exist; make it first.")
    stated = state_export(db, keys, operator_account(), arguments.format, _filter(arguments), first=arguments.start)
    if arguments.format == "csv":
        language = Language.EN if arguments.lang == "en" else Language.ZH
        parts = csv_parts(db, stated.indexes, Wording(language, load_translations()[language]))
    else:
        parts = jsonl_parts(db, stated.indexes)
    handed = hand_over(db, keys, stated, parts)
    try:
        _write(handed, target)
    except OSError as error:
        with suppress(OSError, StopIteration):
            handed.throw(error)  # where it waits for us: it states why it ended
        raise _failed(error) from None
    answer = {"export": stated.export_id, "entries": len(stated.indexes), "log_index": stated.log_index}
    return None if target is None else answer | {"path": str(target)}


def _filter(arguments: argparse.Namespace) -> EntryFilter:
    a = arguments
    try:
        return parse_filter(a.type, a.source, a.camera, a.recording, a.account, *(a.period or ("", "")))
    except BadQuery:
        raise Invalid("筛选条件无效，日期应为 YYYY-MM-DD。 / A filter is not valid; days are YYYY-MM-DD.") from None


def _write(parts: Iterator[bytes], target: Path | None) -> None:
    """To stdout, or to a file that is whole and durable under its name or not there at all."""
    if target is None:
        for part in parts:
            # not by sys.stdout.buffer: CPython's took a megabyte for written whose pipe was closed after the first page
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(sys.stdout.fileno(), rest) :]
        return
    made = target.with_name(f"{target.name}.part")
    with made.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    made.rename(target)
    parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _tiles(db: Database, keys: HubKeys, folder: Path) -> dict[str, Any]:
    """A mirror of the whole log; what the folder holds already is not written again."""
    since = mirror.mirrored_size(db, folder)
    with db.read() as connection:
        note = log.newest_note(connection)
    size = parse_checkpoint(note.partition("\n\n")[0] + "\n").size
    stated = state_export(db, keys, operator_account(), "tiles", EntryFilter(), first=since, size=size)
    try:
        made = mirror.write_mirror(db, folder, note, since)
    except OSError as error:
        state_end(db, keys, stated, "target_failed", 0, None)
        raise _failed(error) from None
    state_end(db, keys, stated, "complete", made.size_bytes, None)
    return {"export": stated.export_id, "log_index": stated.log_index, "path": str(folder)} | asdict(made)


def _failed(error: OSError) -> TargetFailed:
    return TargetFailed(
        f"写入失败：{reason(error)}。日志未受影响；排除故障后请重新导出。 / Writing failed: {reason(error)}. "
        "The log is untouched; export again once the fault is mended."
    )
