"""The command line's side of key rotation: who does it, and what is printed."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from hub.access import Actor
from hub.db import Database
from hub.errors import Invalid
from hub.keychanges.service import approve_rotation, request_rotation
from hub.keys import HubKeys
from hub.settings import Settings
from hub.times import now_utc


def rotate(arguments: argparse.Namespace, settings: Settings, keys: HubKeys, db: Database) -> dict[str, Any]:
    """``key rotate``: the request's id. Raises DomainError."""
    actor = person(arguments, db, keys)
    change = request_rotation(db, keys, settings.keys_directory, settings.hub_id, actor, arguments.role)
    return {"change": change, "role": arguments.role}


def approve_change(arguments: argparse.Namespace, settings: Settings, keys: HubKeys, db: Database) -> dict[str, Any]:
    """``key approve``: the key lines from now on. Raises HubError."""
    actor, place = person(arguments, db, keys), (settings.keys_directory, settings.hub_id)
    return dict(key_lines(approve_rotation(db, keys, *place, actor, arguments.change)))


def key_lines(keys: HubKeys) -> dict[str, str]:
    """The public key lines as they are printed."""
    return {f"{role.removesuffix('s')}_key": line for role, line in keys.lines.items()}


def person(arguments: argparse.Namespace, db: Database, keys: HubKeys) -> Actor:
    """Whoever says ``--account``, once password and code fit. Raises Invalid, TooManyAttempts."""
    from hub.accounts.codes import WrongCode, identify  # noqa: PLC0415 (argon2 is slow to load)
    from hub.accounts.service import WrongPassword  # noqa: PLC0415

    def read(what: str) -> str:
        if sys.stdin.isatty():
            return getpass.getpass(f"{arguments.account}, {what}: ")
        return sys.stdin.readline().rstrip("\n")

    try:
        return identify(db, keys, arguments.account, read("password"), lambda: read("code"), "command line", now_utc())
    except (WrongPassword, WrongCode):
        raise Invalid("the account, its password or its code is not right; nothing was changed") from None
