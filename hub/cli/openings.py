"""`dock-hub opening`: remove personal detail from beside the log, by two people."""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from typing import Any, get_args

from custody.hubevents import RemovalReason
from hub.cli.shared import ACCOUNT_HELP, command, opened, show, show_rows
from hub.errors import Invalid
from hub.keychanges.command import person
from hub.openings.service import Choice, approve_removal, list_removals, request_removal
from hub.times import to_text

REMOVE_HELP = (
    "Ask to remove an officer's number from beside the log: retention is over, or the person asked for it.\n"
    "Nothing is removed before another person approves. At most the 1,000 oldest entries at once; ask again for more."
)
APPROVE_HELP = (
    "Approve a removal: the values are gone for good, every entry and proof stays.\n"
    "Backups made before still hold them: delete those too. Stations are told to drop them too."
)


def add_to(commands: Any) -> None:
    """Declare the commands of this module."""
    text = "remove personal detail from beside the log, by two people"
    kinds = commands.add_parser("opening", help=text).add_subparsers(required=True)
    ask = command(kinds, "remove", _remove, REMOVE_HELP)
    ask.add_argument("--officer", metavar="NUMBER", help="only entries that name this officer")
    ask.add_argument("--before", metavar="YYYY-MM-DD", help="only entries that the hub received before this day, UTC")
    ask.add_argument("--entries", metavar="INDEX", type=int, nargs="+", help="only these entries of the log")
    ask.add_argument("--reason", required=True, choices=get_args(RemovalReason), help="why; the log keeps it")
    approve = command(kinds, "approve", _approve, APPROVE_HELP)
    approve.add_argument("removal", metavar="REMOVAL", help="what `opening remove` printed")
    for one in (ask, approve):
        one.add_argument("--account", required=True, help=ACCOUNT_HELP)
    command(kinds, "list", _list, "List removals, asked for and done; none says whose detail it was.")


def _remove(arguments: argparse.Namespace) -> None:
    _, keys, database = opened(arguments)
    entries = None if arguments.entries is None else tuple(arguments.entries)
    choice = Choice("officer", arguments.officer, _before(arguments.before), entries)
    actor = person(arguments, database, keys)
    removal_id, count = request_removal(database, keys, actor, choice, arguments.reason)
    show(arguments, {"removal": removal_id, "entries": count})


def _approve(arguments: argparse.Namespace) -> None:
    _, keys, database = opened(arguments)
    actor = person(arguments, database, keys)
    show(arguments, {"removed": approve_removal(database, keys, actor, arguments.removal)})


def _list(arguments: argparse.Namespace) -> None:
    show_rows(arguments, list_removals(opened(arguments)[2]), _removal_line)


def _removal_line(row: dict[str, Any]) -> str:
    state = f"removed {row['removed_at']} by {row['approved_by']}" if row["approved_by"] else "waits for approval"
    return f"{row['id']}\t{len(json.loads(row['entries']))}\t{row['reason']}\t{row['requested_by']}\t{state}"


def _before(day: str | None) -> str | None:
    try:
        return None if day is None else to_text(datetime.fromisoformat(f"{day}T00:00:00+00:00"))
    except ValueError:
        raise Invalid("--before takes a day as YYYY-MM-DD") from None
