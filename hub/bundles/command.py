"""`dock-hub export` from its words to an order."""

from __future__ import annotations

import argparse
import os
import pwd
from pathlib import Path

from hub.bundles.selection import find_recordings
from hub.bundles.service import Exported, export_bundle
from hub.bundles.work import Order
from hub.db import Database
from hub.errors import Invalid
from hub.keys import HubKeys
from hub.problems import BadQuery
from hub.recordings.queries import parse_filter
from hub.witnesses.asking import ASK_SECONDS

WITNESS_PATIENCE_SECONDS = ASK_SECONDS + 10  # the hub asks its witnesses once in that time
_NOBODY = 0xFFFFFFFF  # login id of a process that no one has signed in for


def export(db: Database, keys: HubKeys, arguments: argparse.Namespace) -> Exported:
    """Make the bundle that the command line asks for. Raises DomainError."""
    if bool(arguments.recordings) == bool(arguments.period):
        raise Invalid("请给出录像序号或 --period，二者取一。 / Name recordings or a --period, one of them.")
    if arguments.period:
        recordings, selection = _period(db, arguments)
    else:
        recordings = sorted(set(arguments.recordings))
        selection = f"{len(recordings)} recordings named"
    order = Order(tuple(recordings), selection, arguments.recipient, arguments.reason, operator_account())
    vaults = [vault.absolute() for vault in arguments.footage]
    for vault in vaults:
        if not vault.is_dir():
            raise Invalid(f"--footage {vault} 不是目录。 / --footage {vault} is no folder.")
    if not arguments.to.absolute().parent.is_dir():
        parent = arguments.to.absolute().parent
        raise Invalid(f"{parent} 不存在，请先建立。 / {parent} does not exist; make it first.")
    return export_bundle(db, keys, order, vaults, arguments.to.absolute(), WITNESS_PATIENCE_SECONDS)


def _period(db: Database, arguments: argparse.Namespace) -> tuple[list[int], str]:
    day_from, day_to = arguments.period
    try:
        limits = parse_filter(arguments.camera, arguments.station, "", day_from, day_to, "", "")
    except BadQuery:
        raise Invalid(
            f"--period {day_from} {day_to} 不是两个先后日期（YYYY-MM-DD）。 / "
            "--period takes two days in order, YYYY-MM-DD."
        ) from None
    named = [f"{word} {name}" for word, name in (("camera", limits.camera), ("station", limits.station)) if name]
    return find_recordings(db, limits), ", ".join([f"recorded {day_from} to {day_to}", *named])


def operator_account() -> str:
    """The account of this process, and who signed in where that is another (after ``su`` or ``sudo``)."""
    account = _account(os.getuid())
    try:
        signed_in = int(Path("/proc/self/loginuid").read_text())
    except (OSError, ValueError):
        signed_in = _NOBODY
    if signed_in in (_NOBODY, os.getuid()):
        return account
    return f"{account} (signed in as {_account(signed_in)})"


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
