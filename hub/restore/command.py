"""``dock-hub restore begin|add|status|finish``: parse, call, print."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from custody.inert import inert_json, inert_lines
from hub.db import Database
from hub.errors import Conflict, Invalid
from hub.keys import HubKeys
from hub.restore.absorb import Absorber
from hub.restore.beginning import begin
from hub.restore.completing import complete
from hub.restore.scratch import Scratch, drop_scratch
from hub.restore.status import read_status, status_lines
from hub.settings import Settings

Opened = Callable[[argparse.Namespace], tuple[Settings, HubKeys, Database]]
Show = Callable[[argparse.Namespace, dict[str, Any]], None]


def read_passphrase(path: Path | None) -> bytes | None:
    """The first line of a passphrase file. Raises Invalid when it is empty or cannot be read."""
    if path is None:
        return None
    try:
        passphrase = path.read_bytes().partition(b"\n")[0]
    except OSError as error:
        raise Invalid(f"the passphrase cannot be read: {error}") from None
    if len(passphrase) < 12:
        raise Invalid(f"{path}: a passphrase has at least 12 characters")
    return passphrase


def begin_restore(arguments: argparse.Namespace, show: Show) -> None:
    """``dock-hub restore begin``."""
    begun = begin(
        arguments.backup,
        arguments.dir.absolute(),
        keys_from=arguments.keys,
        passphrase=read_passphrase(arguments.passphrase_file),
        database=arguments.database,
    )
    show(arguments, dataclasses.asdict(begun))


def add_to_restore(arguments: argparse.Namespace, opened: Opened, show: Show) -> None:
    """``dock-hub restore add``: checkpoints and mirrors from files."""
    settings, keys, db = opened(arguments)
    _refuse_open(settings, keys, db)
    scratch = Scratch(settings.directory)
    try:
        with db.read() as connection:
            absorber = Absorber(connection, keys, scratch)
        for path in arguments.checkpoint:
            try:
                absorber.checkpoint(str(path), path.read_text("utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise Invalid(f"{path} cannot be read: {error}") from None
        entries = sum(absorber.mirror(folder) for folder in arguments.entries)
    finally:
        scratch.close()
    status, _ = read_status(db, keys, settings.directory)
    show(arguments, {"entries": entries, "target_size": status.target_size, "lacking": status.lacking_entries})


def show_restore(arguments: argparse.Namespace, opened: Opened) -> None:
    """``dock-hub restore status``."""
    settings, keys, db = opened(arguments)
    status, _ = read_status(db, keys, settings.directory)
    if arguments.json:
        print(inert_json(status.json()))
    else:
        print(inert_lines(status_lines(status)))


def finish_restore(arguments: argparse.Namespace, opened: Opened, show: Show) -> None:
    """``dock-hub restore finish``."""
    settings, keys, db = opened(arguments)
    _refuse_open(settings, keys, db)
    scratch = Scratch(settings.directory)
    try:
        with scratch.begin():
            without = scratch.without() | set(arguments.without)
            scratch.set_fact("without", json.dumps(sorted(without)))
        status, plan = read_status(db, keys, settings.directory)
        unknown = without - {one.station for one in status.stations}
        if unknown:
            raise Invalid(f"no such station: {', '.join(sorted(unknown))}")
        if plan is None or not status.complete:
            raise Conflict("\n".join(status_lines(status)))
        size = complete(db, keys, scratch, plan, settings.utc_offset_minutes)
    finally:
        scratch.close()
    drop_scratch(settings.directory)
    show(arguments, {"base_size": plan.base_size, "restored_size": plan.size, "size": size})


def _refuse_open(settings: Settings, keys: HubKeys, db: Database) -> None:
    if read_status(db, keys, settings.directory)[0].reason is None:
        raise Conflict("日志可写，没有恢复在进行 / the log is open: no restore is under way")
