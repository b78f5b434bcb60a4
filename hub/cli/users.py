"""`dock-hub user`: accounts of people."""

from __future__ import annotations

import argparse
from typing import Any

from hub.access import Role
from hub.cli.shared import command, opened, show
from hub.errors import Conflict


def add_to(commands: Any) -> None:
    """Declare the commands of this module."""
    users = commands.add_parser("user", help="accounts of people").add_subparsers(required=True)
    user = command(users, "add", _user_add, "Create an account and print its first password, to be changed at once.")
    user.add_argument("name", metavar="NAME", help="with which the person signs in")
    user.add_argument("--admin", action="store_true", help="an administrator, who runs the hub and sees no footage")
    user.add_argument("--role", default="officer", help=f"{', '.join(Role)} (default officer)")

    text = (
        "Print the one-time code that makes the first administrator on the page /first, while nobody has an account.\n"
        "Whoever reads it first runs this hub: hand it to nobody. It is void once somebody has an account."
    )
    command(users, "first", _user_first, text)

    text = "Give an account a new first password and end its sessions. Needed after a restore: no log holds passwords."
    command(users, "password", _user_password, text).add_argument("name", metavar="NAME", help="the account")


def _user_add(arguments: argparse.Namespace) -> None:
    from hub.accounts.service import create_account  # noqa: PLC0415

    _, keys, database = opened(arguments)
    role = "administrator" if arguments.admin else arguments.role
    password = create_account(database, keys, arguments.name, role)
    show(arguments, {"account": arguments.name, "role": role, "password": password})


def _user_first(arguments: argparse.Namespace) -> None:
    from hub.accounts.firstrun import first_code, is_open  # noqa: PLC0415

    settings, keys, database = opened(arguments)
    with database.read() as connection:
        if not is_open(connection):
            raise Conflict(
                "this hub has accounts: its first page is closed for ever; `dock-hub user add` adds one more"
            )
    code = first_code(keys)
    show(arguments, {"page": f"http://{settings.host}:{settings.port}/first?code={code}", "code": code})


def _user_password(arguments: argparse.Namespace) -> None:
    from hub.accounts.service import give_first_password  # noqa: PLC0415

    _, _, database = opened(arguments)
    show(arguments, {"account": arguments.name, "password": give_first_password(database, arguments.name)})
