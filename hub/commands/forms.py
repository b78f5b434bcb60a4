"""Forms that order commands: what they hold becomes a command's body, or a sentence about what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from custody.pin import hash_pin
from hub.access import Action, Actor, may
from hub.commands import formrules
from hub.commands.formrules import MAX_FILES
from hub.identifiers import new_id
from hub.sections import seen_recordings, station_subject
from hub.tables import account, docking, segment

# by form: the kind that it orders, and the names of its fields beside station and sure
FORMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "hold": ("hold.v1", ("camera", "docking", "file_sha256", "reason")),
    "lift": ("hold_lifted.v1", ("hold_id", "reason")),
    "grant": ("grant.v1", ("recording", "holder", "purpose", "hours", "days")),
    "revoke": ("grant_revoked.v1", ("grant_id", "reason")),
    "disposition": ("disposition.v1", ("docking", "files", "basis")),
    "officer": ("roster.v1", ("number", "name", "pin", "disabled")),
    "policy": ("policy.v1", ("charge", "minutes", "duty")),
}
DEFAULTS = {"charge": "80", "minutes": "120", "duty": "720", "hours": "24", "days": "7"}


class FormWrong(Exception):
    """What was entered cannot be ordered; the argument is a marked message."""

    def __init__(self, message: str) -> None:
        """`message`: one of `formrules`."""
        super().__init__(message)
        self.message = message


def read_form(
    connection: Connection, actor: Actor, form: str, given: Mapping[str, str], now: datetime
) -> tuple[str, dict[str, Any]]:
    """Station and body of the command that `given` orders. What `actor` may not see is not there. Raises FormWrong."""
    if fault := formrules.fault_of(form, given):
        raise FormWrong(fault)
    name = given["station"]
    if form == "grant":  # the recording tells its station
        return _grant(connection, actor, given, now)
    theirs = station_subject(connection, name)
    if theirs is None or not may(actor, Action.SEE_COMMANDS, theirs):
        raise FormWrong(formrules.NO_STATION)
    return name, _BODIES[form](connection, given, now)


def _hold(_: Connection, given: Mapping[str, str], now: datetime) -> dict[str, Any]:
    named = {name: given[name] or None for name in ("camera", "docking", "file_sha256")}
    return named | {"hold_id": new_id(now), "reason": given["reason"]}


def _lift(_: Connection, given: Mapping[str, str], _now: datetime) -> dict[str, Any]:
    return {"hold_id": given["hold_id"], "reason": given["reason"]}


def _grant(connection: Connection, actor: Actor, given: Mapping[str, str], now: datetime) -> tuple[str, dict[str, Any]]:
    c = segment.c
    row = connection.execute(
        select(c.station, c.docking, c.sha256).where(c.log_index == int(given["recording"]))
    ).first()
    if row is None or not seen_recordings(connection, actor, [int(given["recording"])]):
        raise FormWrong(formrules.NO_RECORDING)
    holder = select(account.c.name).where(account.c.name == given["holder"], account.c.disabled_at.is_(None))
    if connection.execute(holder).first() is None:
        raise FormWrong(formrules.NO_HOLDER)
    until = (now + timedelta(days=int(given["days"]))).isoformat(timespec="seconds")
    return row.station, {
        "grant_id": new_id(now), "docking": row.docking, "file_sha256": row.sha256, "holder": given["holder"],
        "purpose": given["purpose"], "valid_seconds": int(given["hours"]) * 3600, "until": until,
    }  # fmt: skip


def _revoke(_: Connection, given: Mapping[str, str], _now: datetime) -> dict[str, Any]:
    return {"grant_id": given["grant_id"], "reason": given["reason"]}


def _disposition(connection: Connection, given: Mapping[str, str], now: datetime) -> dict[str, Any]:
    saved = _saved_files(connection, given["station"], given["docking"])
    wanted = list(dict.fromkeys(given["files"].split())) or saved
    if not saved:
        raise FormWrong(formrules.NO_OFFLOAD)
    if not set(wanted) <= set(saved):
        raise FormWrong(formrules.BAD_FILES)
    if len(wanted) > MAX_FILES:
        raise FormWrong(formrules.TOO_MANY)
    return {
        "disposition_id": new_id(now), "docking": given["docking"], "file_sha256s": wanted, "basis": given["basis"],
    }  # fmt: skip


def _saved_files(connection: Connection, name: str, docking_id: str) -> list[str]:
    """Digests of the files that a closed docking saved, each once, in its order."""
    ends = select(docking.c.first_index, docking.c.closed_index).where(
        docking.c.station == name, docking.c.id == docking_id
    )
    row = connection.execute(ends).first()
    if row is None or row.closed_index is None:
        return []
    c = segment.c  # by the log's order: its primary key, for nothing else leads to a docking's files
    within = c.log_index.between(row.first_index, row.closed_index) & (c.station == name) & (c.docking == docking_id)
    return list(dict.fromkeys(connection.execute(select(c.sha256).where(within).order_by(c.entry)).scalars()))


def _officer(_: Connection, given: Mapping[str, str], _now: datetime) -> dict[str, Any]:
    officer = {"number": given["number"], "name": given["name"], "disabled": bool(given["disabled"])}
    return {"officers": [officer | {"pin_hash": hash_pin(given["pin"]) if given["pin"] else None}]}


def _policy(_: Connection, given: Mapping[str, str], _now: datetime) -> dict[str, Any]:
    return {
        "minimum_charge_percent": int(given["charge"]), "minimum_minutes": int(given["minutes"]),
        "duty_minutes": int(given["duty"]),
    }  # fmt: skip


_BODIES: dict[str, Callable[[Connection, Mapping[str, str], datetime], dict[str, Any]]] = {
    "hold": _hold, "lift": _lift, "revoke": _revoke, "disposition": _disposition, "officer": _officer,
    "policy": _policy,
}  # fmt: skip
