"""`dock-hub init`, `keys` and `key`: a new hub, and its keys."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub import log
from hub.cli.shared import ACCOUNT_HELP, command, database_of, opened, settings_of, show, show_rows
from hub.db import Database
from hub.errors import Invalid
from hub.keychanges.command import approve_change, key_lines, rotate
from hub.keychanges.service import list_changes
from hub.keys import ROLES, HubKeys, create_keys, load_keys
from hub.migrations import migrate
from hub.settings import Settings, make_settings, write_settings
from hub.times import now_utc

APPROVE_HELP = (
    "Approve a rotation: the old key and the new one sign for each other, the log keeps it, stations are told.\n"
    "A hub that runs ends itself and is started again by its supervisor with the new key."
)


def add_to(commands: Any) -> None:
    """Declare the commands of this module."""
    init = command(commands, "init", _init, "Make a new hub: keys, database, settings.")
    init.add_argument("--database", help="postgresql://…; default: SQLite in DIR")
    init.add_argument("--id", help="name of this hub within its key names, for ever; default: from the time")

    text = "Print the hub's public key lines: to enrol stations, and on paper for whoever verifies without trusting us."
    command(commands, "keys", _show_keys, text)

    changes = commands.add_parser("key", help="rotate the hub's keys, by two people").add_subparsers(required=True)
    ask = command(changes, "rotate", _printed(rotate), "Ask for a new key; another account approves it.")
    ask.add_argument("role", choices=ROLES, help="which of the hub's keys")
    approve = command(changes, "approve", _printed(approve_change), APPROVE_HELP)
    approve.add_argument("change", metavar="CHANGE", help="as `key rotate` printed it")
    for one in (ask, approve):
        one.add_argument("--account", required=True, help=ACCOUNT_HELP)
    command(changes, "list", _list_changes, "List rotations and requests.")


def _init(arguments: argparse.Namespace) -> None:
    directory: Path = arguments.dir
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    hub_id = arguments.id or f"hub-{now_utc():%Y%m%d-%H%M%S}"
    given = {"hub_id": hub_id, "database": arguments.database}
    settings = make_settings(directory, {name: value for name, value in given.items() if value})
    try:
        # keys first: hub.toml marks a hub that is ready, so a crash in between is repeated, not half used
        keys = create_keys(settings.keys_directory, hub_id)
        if not settings.database:  # SQLite would leave its mode to the umask; what it keeps beside gets the same
            (directory / "hub.db").touch(mode=0o600)
        database = database_of(settings)
        migrate(database)
        with database.begin() as tx:
            log.create(tx, keys, now_utc())
        write_settings(settings)
    except FileExistsError as error:
        raise Invalid(f"{error.filename} exists: this directory holds a hub already; choose an empty one") from None
    show(arguments, {"hub_id": hub_id, "directory": str(directory)} | key_lines(keys))


def _show_keys(arguments: argparse.Namespace) -> None:
    settings = settings_of(arguments)
    show(arguments, key_lines(load_keys(settings.keys_directory, settings.hub_id)))


def _printed(work: Callable[[argparse.Namespace, Settings, HubKeys, Database], dict[str, Any]]) -> Any:
    return lambda arguments: show(arguments, work(arguments, *opened(arguments)))


def _list_changes(arguments: argparse.Namespace) -> None:
    show_rows(arguments, list_changes(opened(arguments)[2]), _change_line)


def _change_line(row: dict[str, Any]) -> str:
    state = f"rotated {row['rotated_at']} by {row['approved_by']}" if row["approved_by"] else "waits for approval"
    return f"{row['id']}\t{row['role']}\t{row['requested_by']}\t{state}"
