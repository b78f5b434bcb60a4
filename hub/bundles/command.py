"""`dock-hub export` from its words to an order."""

from __future__ import annotations

import argparse
import os
import pwd
from pathlib import Path
from typing import Any

from custody.commandbody import MAX_GRANT_SECONDS
from hub.bundles.selection import find_recordings
from hub.bundles.service import Exported, export_bundle
from hub.bundles.work import check_order
from hub.db import Database
from hub.errors import Conflict, Invalid
from hub.keychanges.command import person
from hub.keys import HubKeys
from hub.problems import BadQuery
from hub.recordings.filters import parse_filter
from hub.requests.exporting import approved_order
from hub.requests.policy import Wanted
from hub.requests.service import request_use
from hub.times import now_utc
from hub.timestamps import Authority, token_for
from hub.witnesses.asking import ASK_SECONDS

WITNESS_PATIENCE_SECONDS = ASK_SECONDS + 10  # the hub asks its witnesses once in that time
_NOBODY = 0xFFFFFFFF  # login id of a process that no one has signed in for


def export(db: Database, keys: HubKeys, arguments: argparse.Namespace, authority: Authority | None = None) -> Exported:
    """Make the bundle of an approved request. Raises DomainError."""
    if not arguments.approved:
        raise Invalid(
            "导出须先申请，并由另一人在网页“录像借阅”中批准：先用 --request（或在网页）申请，"
            "再用 --approved 编号 导出。"
            " / "
            "an export is asked for and approved by another person first: run this with --request, or ask on the page "
            "“Use of footage”; then run it with --approved REQUEST."
        )
    if arguments.to is None or not arguments.footage:
        raise Invalid("请给出 --footage 和 --to。 / --footage and --to are needed.")
    with db.read() as connection:
        order = approved_order(connection, arguments.approved, operator_account())
    if (arguments.recordings or arguments.period) and tuple(_selected(db, arguments)[0]) != order.recordings:
        raise Conflict("所选录像与批准的不一致。 / these recordings are not what was approved; nothing was exported.")
    vaults = [vault.absolute() for vault in arguments.footage]
    for vault in vaults:
        if not vault.is_dir():
            raise Invalid(f"--footage {vault} 不是目录。 / --footage {vault} is no folder.")
    if not arguments.to.absolute().parent.is_dir():
        parent = arguments.to.absolute().parent
        raise Invalid(f"{parent} 不存在，请先建立。 / {parent} does not exist; make it first.")
    return export_bundle(
        db,
        keys,
        order,
        vaults,
        arguments.to.absolute(),
        WITNESS_PATIENCE_SECONDS,
        lambda note: token_for(db, authority, note, now_utc()),
    )


def ask(db: Database, keys: HubKeys, arguments: argparse.Namespace) -> dict[str, Any]:
    """``export --request``: the request's id and how many recordings it names. Raises DomainError."""
    if not arguments.account:
        raise Invalid("请用 --account 给出您的账号。 / --account is needed: who asks.")
    recordings, selection = _selected(db, arguments)
    check_order(tuple(recordings), arguments.recipient, arguments.reason)
    wanted = Wanted(
        use=arguments.use, recordings=tuple(recordings), selection=selection, holder=None,
        recipient=arguments.recipient.strip(), case_number=arguments.case.strip(), reason=arguments.reason.strip(),
        valid_seconds=MAX_GRANT_SECONDS,
    )  # fmt: skip
    request_id = request_use(db, keys, person(arguments, db, keys), wanted, now_utc())
    return {"request": request_id, "recordings": len(recordings)}


def _selected(db: Database, arguments: argparse.Namespace) -> tuple[list[int], str]:
    if bool(arguments.recordings) == bool(arguments.period):
        raise Invalid("请给出录像序号或 --period，二者取一。 / Name recordings or a --period, one of them.")
    if arguments.period:
        return _period(db, arguments)
    recordings = sorted(set(arguments.recordings))
    return recordings, f"{len(recordings)} recordings named"


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
