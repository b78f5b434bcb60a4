"""What the commands of `dock-hub` share: how they are declared, open the hub, and print."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from custody.inert import inert_json, inert_lines
from hub.cli.commandhelp import complete
from hub.db import Database, open_database
from hub.errors import Invalid
from hub.keychanges.service import finish_changes
from hub.keys import HubKeys
from hub.mark import look_outside
from hub.migrations import check_schema
from hub.settings import Settings, load_settings

EXIT_CODES = """exit codes:
  0  done
  1  the request cannot be met; nothing was changed
  2  the command line is wrong
  3  settings, keys or database cannot be used
  4  the log cannot be trusted; nothing was signed
  5  the log is sound, but index rows do not follow from it: `dock-hub reindex`
  6  the log is read-only, behind what others hold of it: `dock-hub restore status`
"""

ACCOUNT_HELP = "who does it; password and code are asked for, or read from standard input, one a line"


def command(group: Any, name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    """A command with what all of them take; its help begins with the first line of `text`."""
    raw = argparse.RawDescriptionHelpFormatter
    made: argparse.ArgumentParser = group.add_parser(
        name, help=text.partition("\n")[0], description=text, formatter_class=raw, epilog=EXIT_CODES
    )
    made.add_argument("--dir", type=Path, required=True, help="the hub's directory: hub.toml, keys, database")
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    made.set_defaults(run=run)
    complete(made)
    return made


def settings_of(arguments: argparse.Namespace) -> Settings:
    """What hub.toml says, and what the words given overrule. Raises SettingsInvalid."""
    names = ("database", "host", "port", "mqtt", "mqtt_ca", "mqtt_cert", "mqtt_key")
    given = {name: getattr(arguments, name, None) for name in names}
    if replica := getattr(arguments, "replica", None):
        given |= {"replica": True, "mqtt_client_id": replica}
    return load_settings(arguments.dir, **given)


def opened(arguments: argparse.Namespace, *, trusted: bool = True) -> tuple[Settings, HubKeys, Database]:
    """Settings, keys and a database of exactly this version's schema.

    A log that is older than this hub's newest checkpoint is closed first; unless `trusted`, for the check finds out.
    """
    settings = settings_of(arguments)
    database = database_of(settings)
    with database.read() as connection:
        check_schema(connection)
    keys = finish_changes(database, settings.keys_directory, settings.hub_id)
    if trusted:
        look_outside(settings, database, keys, keep=False)
    return settings, keys, database


def database_of(settings: Settings) -> Database:
    """The database, whatever its schema. Raises Invalid."""
    try:
        return open_database(settings.database_url)
    except ValueError as error:
        raise Invalid(str(error)) from None


def show(arguments: argparse.Namespace, answer: dict[str, Any]) -> None:
    """Print a result: as JSON, or one line a field."""
    if arguments.json:
        print(inert_json(answer))
    else:
        for name, value in answer.items():
            print(inert_lines([f"{name}: {value}"]))


def show_rows(
    arguments: argparse.Namespace, rows: Sequence[dict[str, Any]], line: Callable[[dict[str, Any]], str]
) -> None:
    """Print a list: as JSON, or one line a row."""
    if arguments.json:
        print(inert_json(rows))
    else:
        for row in rows:
            print(inert_lines(line(row).split("\n")))
