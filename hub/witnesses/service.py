"""Who witnesses the log, and what witnesses answered: one function, one transaction.

People accept witnesses: a station states its witness key in its own signed chain (`witness.offered.v1`), and the key
counts only after somebody with an account on the hub's computer compared and accepted it. What a witness answers is
believed as far as it proves itself: a cosignature by the witness's key, a checkpoint by our own.
"""

from __future__ import annotations

import logging
from datetime import datetime
from hashlib import sha256
from typing import Literal, cast
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select, update

from custody.checkpoint import parse_checkpoint
from custody.cosignature import WitnessKey, parse_witness_line, take_cosignature
from custody.errors import CustodyError, KeyInvalid
from custody.event import Sha256Hex
from custody.hubevents import WitnessAdded, WitnessPolicySet, WitnessRefused
from custody.witness import Code, body_of, size_of
from hub import log
from hub.db import Database, upsert_rows
from hub.errors import Conflict, Invalid, NotFound
from hub.keys import HubKeys
from hub.tables import cosignature, station, witness, witness_policy, witness_state
from hub.times import now_utc, to_text
from hub.witnesses.queries import in_force, note_at

logger = logging.getLogger("hub.witnesses")

Alarm = Literal["fork", "rollback", "bad_proof", "stopped"]
MAX_URL = 300


def accept_station(db: Database, keys: HubKeys, name: str, operator: str) -> str:
    """Accept the key that a station offered; its key line. Raises NotFound when it offered none, Conflict."""
    with db.read() as connection:
        offered = connection.execute(select(station.c.witness_key).where(station.c.id == name)).scalar_one_or_none()
    if offered is None:
        raise NotFound(
            f"采集站 {name} 未登记，或尚未提供见证公钥。 / station {name} is not enrolled, or has offered no witness "
            "key yet"
        )
    return add_witness(db, keys, offered, operator, of_station=name)


def add_witness(
    db: Database, keys: HubKeys, key_line: str, operator: str, *, of_station: str | None = None, url: str | None = None
) -> str:
    """Accept a witness and say so in the log; its key line. The same witness again changes nothing.

    Raises Invalid for a malformed key line or address, Conflict for a name that is in force with another key.
    """
    try:
        key = parse_witness_line(key_line)
    except KeyInvalid as error:
        raise Invalid(str(error)) from None
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or len(url) > MAX_URL or url.endswith("/")):
        raise Invalid(
            f"见证方地址应为 http(s)://…，末尾不带斜杠。 / a witness's address is http(s)://… without a slash at its "
            f"end: {url[:80]!r}"
        )
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        held = tx.execute(select(witness).where(witness.c.name == key.name)).one_or_none()
        if held is not None and held.removed_at is None:
            if (held.key_line, held.station, held.url) == (key.line, of_station, url):
                return key.line
            raise Conflict(
                f"见证方 {key.name} 已登记；请先移除。 / witness {key.name} is in force already; remove it first"
            )
        tx.execute(delete(witness).where(witness.c.name == key.name))
        heard_as = [name for name in (key.name, of_station) if name]  # a station that was no witness: by its id
        tx.execute(delete(witness_state).where(witness_state.c.witness.in_(heard_as)))
        facts = {"key_line": key.line, "station": of_station, "url": url}
        tx.execute(insert(witness).values(name=key.name, added_at=to_text(now), **facts))
        entries.record(WitnessAdded, witness=key.name, operator=operator, **facts)
    return key.line


def set_policy(db: Database, keys: HubKeys, needed: int, operator: str) -> None:
    """Set how many witnesses make a checkpoint witnessed, and say so in the log. Raises Invalid."""
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        labels = tuple(parse_witness_line(one.key_line).label for one in in_force(tx))
        if not 1 <= needed <= len(labels):
            raise Invalid(
                f"所需见证方数量应为 1 至 {len(labels)}（现有见证方数）。 / the number needed is 1 to {len(labels)}, "
                "as many as there are witnesses"
            )
        upsert_rows(tx, witness_policy, ("id", "needed", "set_at"), [(1, needed, to_text(now))])
        entries.record(WitnessPolicySet, needed=needed, witnesses=labels, operator=operator)


def keep_cosignature(db: Database, name: str, lines: str, size: int) -> bool:
    """Verify and keep a witness's cosignature of our checkpoint of `size`; whether there was a good one.

    A second one of the same checkpoint keeps the first. Any answer that verifies ends the witness's alarm.
    """
    now = now_utc()
    with db.begin() as tx:
        key, note = _key_of(tx, name), note_at(tx, size)
        if key is None or note is None:
            return False
        try:
            line, at = take_cosignature(note, lines, key)
        except CustodyError as error:
            logger.warning("cosignature_refused witness=%s size=%d why=%s", name, size, error)
            return False
        held = (cosignature.c.size == size) & (cosignature.c.witness == name)
        if tx.execute(select(cosignature.c.size).where(held)).first() is None:
            row = {"size": size, "witness": name, "line": line, "cosigned_at": to_text(at), "received_at": to_text(now)}
            tx.execute(insert(cosignature).values(**row))
        _keep_state(tx, name, now, known_size=size, alarm=None, alarm_size=None, alarm_sha256=None, alarm_note=None)
    return True


def take_cosigned_note(db: Database, note: str) -> bool:
    """Keep what cosignatures of witnesses in force a checkpoint of this log carries; whether there was one."""
    try:
        size = size_of(note)
    except CustodyError:
        return False
    with db.read() as connection:
        names = [one.name for one in in_force(connection)]
        own = note_at(connection, size)
    if own is None or body_of(own) != body_of(note):
        return False
    lines = note.rpartition("\n\n")[2]
    said = [name for name in names if f"\u2014 {name} " in lines]
    return sum(keep_cosignature(db, name, lines, size) for name in said) > 0


def keep_heard(db: Database, name: str, known_size: int) -> None:
    """Remember where a witness stands, as it says."""
    with db.begin() as tx:
        _keep_state(tx, name, now_utc(), known_size=min(known_size, (1 << 53) - 1))


def keep_alarm(db: Database, keys: HubKeys, name: str, code: Alarm, note: str) -> None:
    """Keep that a witness contradicts us, and say so in the log, each finding once.

    `note`: the largest checkpoint that it showed and our own key signed; empty: it showed none.
    """
    now, digest = now_utc(), Sha256Hex(sha256(note.encode()).hexdigest()) if note else None
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        held = tx.execute(select(witness_state).where(witness_state.c.witness == name)).one_or_none()
        if held is not None and (held.alarm, held.alarm_sha256) == (code, digest):
            return
        if held is not None and held.alarm and code in ("bad_proof", "stopped"):
            return  # only claimed: it replaces nothing that was proven, and states nothing twice
        size = size_of(note)
        state = {"alarm": code, "alarm_size": size, "alarm_sha256": digest, "alarm_note": note or None}
        _keep_state(tx, name, now, **state, alarm_at=to_text(now))
        facts = {"witness_size": size, "witness_sha256": digest, "own_size": entries.size}
        entries.record(WitnessRefused, witness=name, code=code, **facts)
    logger.critical("log_contradicted witness=%s code=%s witness_size=%d", name, code, size)


def end_alarm(db: Database, name: str) -> None:
    """A witness that contradicted us shows what our log gives."""
    with db.begin() as tx:
        held = (witness_state.c.witness == name) & witness_state.c.alarm.is_not(None)
        tx.execute(update(witness_state).where(held).values(alarm=None, alarm_note=None))


def alarm_of(code: str) -> Alarm | None:
    """The alarm that a witness's refusal is; None for one that is only a step of the protocol."""
    found = {Code.FORK: "fork", Code.ROLLBACK: "rollback", Code.BAD_PROOF: "bad_proof", Code.STOPPED: "stopped"}
    return cast(Alarm | None, found.get(cast(Code, code)))


def _key_of(tx: Connection, name: str) -> WitnessKey | None:
    query = select(witness.c.key_line).where(witness.c.name == name, witness.c.removed_at.is_(None))
    line = tx.execute(query).scalar_one_or_none()
    return None if line is None else parse_witness_line(line)


def _keep_state(tx: Connection, name: str, now: datetime, **values: object) -> None:
    held = witness_state.c.witness == name
    values["heard_at"] = to_text(now)
    if tx.execute(update(witness_state).where(held).values(**values)).rowcount == 0:
        tx.execute(insert(witness_state).values(**{"witness": name, "known_size": 0} | values))


def root_in(note: str) -> bytes:
    """The root that a checkpoint names whose signature was checked already."""
    return parse_checkpoint(body_of(note)).root
