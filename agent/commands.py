"""Commands of the hub: opened, carried out and answered, all in one commit.

Number used up, effect and signed answer are durable together or not at all. So a crash leaves a command untouched, and
it comes again, or answered, and the answer waits in the outbox. A command that comes again after that does nothing.
See ``custody/spec/commands.md``.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256

from agent.duty import forget_openings
from agent.errors import AgentError
from agent.grants import keep_grant, read_uptime, revoke_grant
from agent.officers import keep_officer
from agent.policies import order_policy
from agent.station import Station, sign_events
from agent.store import Store
from custody.approval import NotApproved, check_approval
from custody.checkpoint import VerifyKey, parse_key_line
from custody.commandbody import (
    Body,
    Disposition,
    Grant,
    GrantRevoked,
    Hold,
    HoldLifted,
    KeyChange,
    OpeningsForgotten,
    PolicyChange,
    Roster,
)
from custody.commands import Command, CommandHead, CommandRefused, body_sha256, open_command
from custody.errors import CustodyError
from custody.event import Clock, Sha256Hex
from custody.keyrotation import open_rotation
from custody.stationevents import CommandAnswered

log = logging.getLogger("agent.commands")


class EffectRefused(Exception):
    """A handler cannot carry a command out; whatever it wrote is undone. `code` is answered to the hub."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


# Carries one kind out inside the caller's transaction. Raises EffectRefused.
Handler = Callable[[Store, Command, datetime], None]


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom commands are believed, and who carries out the kinds that this module does not."""

    command_key: VerifyKey
    log_key: VerifyKey
    handlers: Mapping[str, Handler]  # by kind: without one, `release_off` or `disposition_off` is answered
    receipt_key: VerifyKey | None = None


def trust_now(store: Store, trust: Trust) -> Trust:
    """`trust`, as enrolment pinned it, with the keys that followed by rotation."""
    rows = store.execute("SELECT role, line FROM hub_key ORDER BY number")
    newest = {role: parse_key_line(line) for role, line in rows}
    return Trust(
        newest.get("commands", trust.command_key),
        newest.get("log", trust.log_key),
        trust.handlers,
        newest.get("receipts", trust.receipt_key),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command. `seq`: of the answer's envelope."""

    number: int
    kind: str
    result: str
    reason: str
    seq: int


def take_command(
    store: Store, station: Station, trust: Trust, raw: bytes, now: datetime, clock: Clock
) -> Answer | None:
    """Carry one command out and answer it, durable when this returns; None for one that is not the next.

    Runs its own transaction. What is not the next is logged and changes nothing; an answered one that comes again is no
    fault: its answer is in the outbox.
    """
    with store.begin():
        trust = trust_now(store, trust)
        try:
            command = open_command(raw, station.id, trust.command_key, command_head(store), now, clock)
        except CommandRefused as refused:
            if refused.head is None:
                _report(store, raw, refused)
                return None
            result = "expired" if refused.code == "expired" else "refused"
            return _answer(store, station, raw, refused.head, refused.kind, result, refused.code, now)
        reason = _carry_out(store, trust, command, now)
        result = "accepted" if reason == "done" else "refused"
        return _answer(store, station, raw, command.head, command.header.kind, result, reason, now)


def command_head(store: Store) -> CommandHead:
    """Where this station's chain of commands stands."""
    row = store.execute("SELECT number, sha256 FROM command ORDER BY number DESC LIMIT 1").fetchone()
    return CommandHead() if row is None else CommandHead(row[0], Sha256Hex(row[1].hex()))


def _carry_out(store: Store, trust: Trust, command: Command, now: datetime) -> str:
    """``done``, or the code of why not; then nothing is left of what was begun."""
    header, body = command.header, command.body
    if body.APPROVED:
        try:
            check_approval(
                header.approval, header.id, header.station, header.kind, body_sha256(header.body), trust.log_key
            )
        except NotApproved as error:
            log.warning("command_not_approved number=%d why=%s", header.number, error)
            return error.code
    if isinstance(body, KeyChange):
        handler: Handler = partial(_follow_rotation, trust)
    else:
        handler = _OWN.get(type(body)) or trust.handlers.get(header.kind, _off)
    store.execute("SAVEPOINT effect")
    try:
        handler(store, command, now)
    except EffectRefused as refused:
        return _undone(store, refused.code)
    except (sqlite3.Error, AgentError):
        raise  # our disk: nothing is answered, and the command comes again
    except Exception:  # a fault of ours in one kind must not stop the station, for ever and again
        log.exception("command_failed number=%d kind=%s", header.number, header.kind)
        return _undone(store, "internal")
    store.execute("RELEASE effect")
    return "done"


def _undone(store: Store, code: str) -> str:
    store.execute("ROLLBACK TO effect")
    store.execute("RELEASE effect")
    return code


def _answer(
    store: Store, station: Station, raw: bytes, head: CommandHead, kind: str, result: str, reason: str, now: datetime
) -> Answer:
    facts = {"number": head.number, "kind": kind, "command_sha256": head.sha256, "result": result, "reason": reason}
    [seq] = sign_events(store, station, [lambda common: CommandAnswered(**common, **facts)])  # type: ignore[arg-type]
    kept = None if kind == Roster.KIND else raw
    store.execute(
        "INSERT INTO command VALUES (?,?,?,?,?,?,?,?)",
        (head.number, bytes.fromhex(head.sha256), kind, kept, result, reason, seq, now.isoformat()),
    )
    return Answer(head.number, kind, result, reason, seq)


def _report(store: Store, raw: bytes, refused: CommandRefused) -> None:
    digest = sha256(raw).digest()
    if store.execute("SELECT 1 FROM command WHERE sha256 = ?", (digest,)).fetchone() is None:
        log.warning("command_refused code=%s sha256=%s why=%s", refused.code, digest.hex(), refused)


# --- the kinds that every station carries out ---


def _roster(store: Store, command: Command, now: datetime) -> None:
    assert isinstance(command.body, Roster)  # noqa: S101 - by `_OWN`
    for entry in command.body.officers:
        if not keep_officer(store, entry, now):
            raise EffectRefused("pin_missing")


def _policy(store: Store, command: Command, _now: datetime) -> None:
    assert isinstance(command.body, PolicyChange)  # noqa: S101
    order_policy(store, command.header.number, command.body)


def _hold(store: Store, command: Command, _now: datetime) -> None:
    body = command.body
    assert isinstance(body, Hold)  # noqa: S101
    store.execute(
        "INSERT INTO hold (number, hold_id, camera, docking, file_sha256, reason) VALUES (?,?,?,?,?,?)",
        (command.header.number, body.hold_id, body.camera, body.docking, body.file_sha256, body.reason),
    )


def _lift(store: Store, command: Command, _now: datetime) -> None:
    assert isinstance(command.body, HoldLifted)  # noqa: S101
    lifted = store.execute(
        "UPDATE hold SET lifted_by = ? WHERE hold_id = ? AND lifted_by IS NULL",
        (command.header.number, command.body.hold_id),
    )
    if lifted.rowcount == 0:
        raise EffectRefused("hold_unknown")


def _grant(store: Store, command: Command, _now: datetime) -> None:
    assert isinstance(command.body, Grant)  # noqa: S101
    if not keep_grant(store, command.header.number, command.body, read_uptime()):
        raise EffectRefused("grant_known")


def _revoke(store: Store, command: Command, _now: datetime) -> None:
    assert isinstance(command.body, GrantRevoked)  # noqa: S101
    revoke_grant(store, command.header.number, command.body.grant_id)


def _forget(store: Store, command: Command, _now: datetime) -> None:
    assert isinstance(command.body, OpeningsForgotten)  # noqa: S101
    forget_openings(store, command.body.seqs)


def _follow_rotation(trust: Trust, store: Store, command: Command, _now: datetime) -> None:
    """From here on another key of the hub counts: the log proves it, and the pinned key has signed for it."""
    assert isinstance(command.body, KeyChange)  # noqa: S101
    try:
        rotation = open_rotation(command.body.rotation, command.body.proof, trust.log_key)
    except CustodyError as error:
        log.warning("rotation_refused number=%d why=%s", command.header.number, error)
        raise EffectRefused("bad_rotation") from None
    pinned = {"log": trust.log_key, "receipts": trust.receipt_key, "commands": trust.command_key}.get(rotation.role)
    if pinned is None or pinned.line not in (rotation.old.line, rotation.new.line):
        raise EffectRefused("bad_rotation")
    row = (command.header.number, rotation.role, rotation.new.line)
    store.execute("INSERT INTO hub_key (number, role, line) VALUES (?,?,?)", row)


def _off(_store: Store, command: Command, _now: datetime) -> None:
    """Nothing here clears cameras or the vault unless a handler was set up for it."""
    raise EffectRefused("disposition_off" if isinstance(command.body, Disposition) else "release_off")


_OWN: dict[type[Body], Handler] = {
    Roster: _roster, PolicyChange: _policy, Hold: _hold, HoldLifted: _lift, Grant: _grant, GrantRevoked: _revoke,
    OpeningsForgotten: _forget,
}  # fmt: skip
