"""`dock-hub witness`: who witnesses the log, and how many are enough."""

from __future__ import annotations

import argparse
from typing import Any

from hub.cli.shared import ACCOUNT_HELP, command, opened, show
from hub.keychanges.command import person

WITNESS_HELP = """\
Accept witnesses of the audit log, and set how many make a checkpoint witnessed.

A witness cosigns what it was proven to extend everything it saw before. Stations witness by themselves: each states its
witness key in its own signed chain, and `witness list` shows it. Compare it with what `dock-agent witness --dir DIR`
prints on the station itself, then accept it. A leader's or auditor's computer runs `custody witness`; take its key line
from that person, not from the network. Put at least one witness where the hub's administrator has no account.

  dock-hub witness list --dir DIR
  dock-hub witness accept dock-7 --dir DIR                          a station's key, as it offered it
  dock-hub witness add KEYLINE --url http://10.1.2.3:8450 --dir DIR   a computer that the hub asks
  dock-hub witness add KEYLINE --dir DIR                            a computer that asks the hub (custody witness pull)
  dock-hub witness policy 2 --dir DIR                               two of them make a checkpoint witnessed"""


def add_to(commands: Any) -> None:
    """Declare the commands of this module."""
    raw = argparse.RawDescriptionHelpFormatter
    witnesses = commands.add_parser(
        "witness", help="accept witnesses of the log", description=WITNESS_HELP, formatter_class=raw
    ).add_subparsers(required=True, dest="what")
    command(witnesses, "list", _witness_list, "List witnesses, keys that stations offer, and alarms.")
    text = "Accept the witness key that a station offered in its own chain."
    command(witnesses, "accept", _witness_change, text).add_argument(
        "station", metavar="STATION", help="whose key, as `dock-hub witness list` shows it"
    )
    add = command(witnesses, "add", _witness_change, "Accept a witness by the key line that its keeper gave you.")
    add.add_argument("key", metavar="KEYLINE", help="name+hash+base64, as `custody witness init` printed it")
    add.add_argument("--url", help="where `custody witness run` answers; without it, the witness asks by itself")
    text = "Ask that a witness's key count no more, because it was lost or stolen; another account approves it."
    remove = command(witnesses, "remove", _witness_remove, text)
    remove.add_argument("name", metavar="NAME", help="as `dock-hub witness list` shows it")
    remove.add_argument("--reason", required=True, help="goes into the audit log; no names of people")
    text = "Approve the removal of a witness: its cosignatures count no more for checkpoints from here on."
    approve = command(witnesses, "approve-removal", _witness_approve, text)
    approve.add_argument("change", metavar="CHANGE", help="as `witness remove` printed it")
    for one in (remove, approve):
        one.add_argument("--account", required=True, help=ACCOUNT_HELP)
    policy = command(witnesses, "policy", _witness_change, "Set how many witnesses make a checkpoint witnessed.")
    policy.add_argument("needed", metavar="N", type=int, help="so many witnesses; 0: none is asked for")


def _witness_list(arguments: argparse.Namespace) -> None:
    from hub.witnesses.command import list_witnesses  # noqa: PLC0415

    list_witnesses(opened(arguments)[2], arguments)


def _witness_remove(arguments: argparse.Namespace) -> None:
    from hub.witnesses.removal import request_removal  # noqa: PLC0415

    _, keys, database = opened(arguments)
    actor = person(arguments, database, keys)
    change = request_removal(database, keys, actor, arguments.name, arguments.reason)
    show(arguments, {"change": change, "witness": arguments.name})


def _witness_approve(arguments: argparse.Namespace) -> None:
    from hub.witnesses.removal import approve_removal  # noqa: PLC0415

    _, keys, database = opened(arguments)
    name = approve_removal(database, keys, person(arguments, database, keys), arguments.change)
    show(arguments, {"witness": name, "removed": True})


def _witness_change(arguments: argparse.Namespace) -> None:
    from hub.witnesses.command import change  # noqa: PLC0415

    _, keys, database = opened(arguments)
    show(arguments, change(database, keys, arguments))
