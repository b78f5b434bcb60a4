"""Rotations of the hub's keys: requested by one account, approved by another, told to every station.

Four steps, each durable before the next, each found again after a crash: 1. the new key lies in ``ROLE.next.pem`` and
its request is in the log; 2. the rotation is in the log, signed by both keys, and `log_state` admits only the new set
of keys; 3. every station has a command that proves it, signed with the command key that it still knows; 4. the new file
takes the old one's place, and the old private key is gone. `finish_changes` does 3 and 4, at every start.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, desc, insert, select, update

from custody.checkpoint import SigningKey
from custody.commandbody import KeyChange
from custody.hubevents import KeyRole, KeyRotated, KeyRotationRequested
from custody.keyrotation import sign_rotation
from custody.merkle import inclusion_proof
from custody.tlogproof import LogProof
from hub import log
from hub.access import BUREAU, Action, Actor, Subject, may
from hub.commands.service import issue_own
from hub.db import Database
from hub.errors import Conflict, KeysUnusable, NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys, key_set, load_keys, load_next_key, make_next_key, use_next_key
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.tables import checkpoint, key_change, log_entry, log_state, station
from hub.times import now_utc, to_text


def request_rotation(db: Database, keys: HubKeys, directory: Path, hub_id: str, actor: Actor, role: KeyRole) -> str:
    """Make the key that shall follow and ask for the rotation; its id. An open request of the same role is replaced.

    Raises NotAllowed. A crash between key and commit leaves a key that nobody asked for: the next request replaces it.
    """
    if not may(actor, Action.REQUEST_KEYS, BUREAU):
        raise NotAllowed
    old, new, now = getattr(keys, role).verify_key.line, make_next_key(directory, hub_id, role), now_utc()
    facts = {"role": role, "old_line": old, "new_line": new.verify_key.line, "requested_by": actor.name}
    change_id = new_id(now)
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        entries.record(KeyRotationRequested, change_id=change_id, **facts)
        tx.execute(insert(key_change).values(id=change_id, requested_at=to_text(now), **facts))
    return change_id


def approve_rotation(
    db: Database, keys: HubKeys, directory: Path, hub_id: str, actor: Actor, change_id: str
) -> HubKeys:
    """Be the second person, rotate, and tell every station; the keys from now on. Raises as `record_rotation` does."""
    record_rotation(db, keys, directory, hub_id, actor, change_id)
    return finish_changes(db, directory, hub_id)


def record_rotation(db: Database, keys: HubKeys, directory: Path, hub_id: str, actor: Actor, change_id: str) -> None:
    """Step 2: state the rotation that a second person approves; from the next commit on only the new key signs.

    Raises NotFound, NotOpenAnyMore, SecondPersonNeeded, NotAllowed, KeysUnusable. A hub that runs beside this ends
    itself rather than sign with the old key (KeysChanged), and starts with the new one.
    """
    now = now_utc()
    with db.begin() as tx:
        with log.appending(tx, keys, now) as entries:
            row = _open_request(tx, change_id)
            if actor.name == row.requested_by:
                raise SecondPersonNeeded
            if not may(actor, Action.APPROVE_KEYS, Subject(requested_by=row.requested_by)):
                raise NotAllowed
            old: SigningKey = getattr(keys, row.role)
            new = load_next_key(directory, hub_id, row.role)
            if new is None or (old.verify_key.line, new.verify_key.line) != (row.old_line, row.new_line):
                raise KeysUnusable(f"{directory}/{row.role}.next.pem is not the key that was asked for; ask again")
            signatures = sign_rotation(row.role, old, new)
            index = entries.record(
                KeyRotated, change_id=change_id, role=row.role, old_line=row.old_line, new_line=row.new_line,
                old_signature=signatures[0], new_signature=signatures[1], requested_by=row.requested_by,
                approved_by=actor.name,
            )  # fmt: skip
            done = {"approved_by": actor.name, "rotated_at": to_text(now), "rotated_index": index}
            tx.execute(update(key_change).where(key_change.c.id == change_id).values(**done))
        # after the old key has signed this commit's checkpoint: whoever appends next holds the new key
        admitted = key_set(dataclasses.replace(keys, **{row.role: new}))
        tx.execute(update(log_state).values(key_set=admitted))


def finish_changes(db: Database, directory: Path, hub_id: str) -> HubKeys:
    """Steps 3 and 4 of a rotation that was approved, as far as they are not done; the keys that may sign."""
    keys = load_keys(directory, hub_id)
    with db.read() as connection:
        row = connection.execute(
            select(key_change).where(key_change.c.rotated_index.is_not(None)).order_by(desc(key_change.c.rotated_index))
        ).first()
    if row is None:
        return keys
    following = load_next_key(directory, hub_id, row.role)
    after = keys
    if following is not None and following.verify_key.line == row.new_line:
        after = dataclasses.replace(keys, **{row.role: following})
    if row.announced_at is None:
        # signed with what the stations know: for a rotation of the command key itself, the old one
        _announce(db, after, keys.commands, row)
    if after is not keys:
        use_next_key(directory, row.role)
    return after


def list_changes(db: Database) -> list[dict[str, Any]]:
    """All rotations and requests, oldest first."""
    with db.read() as connection:
        return [dict(row._mapping) for row in connection.execute(select(key_change).order_by(key_change.c.id))]


def _open_request(tx: Connection, change_id: str) -> Any:
    row = tx.execute(select(key_change).where(key_change.c.id == change_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such request")
    newest = select(key_change.c.id).where(key_change.c.role == row.role).order_by(desc(key_change.c.id)).limit(1)
    if row.approved_by is not None or tx.execute(newest).scalar_one() != change_id:
        raise NotOpenAnyMore
    unfinished = key_change.c.rotated_index.is_not(None) & key_change.c.announced_at.is_(None)
    if tx.execute(select(key_change.c.id).where(unfinished)).first() is not None:
        raise Conflict("a rotation is not finished yet; run `dock-hub keys show`, which finishes it")
    return row


def _announce(db: Database, keys: HubKeys, signer: SigningKey, row: Any) -> None:
    """3. One transaction: a command to every station, and the mark that it was done. Events are no station's key."""
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if row.role != "events":
            proof = _proof_of(tx, row.rotated_index)
            for name in tx.execute(select(station.c.id).order_by(station.c.id)).scalars().all():
                issue_own(tx, entries, signer, name, proof, now)
        tx.execute(update(key_change).where(key_change.c.id == row.id).values(announced_at=to_text(now)))


def _proof_of(tx: Connection, index: int) -> KeyChange:
    """The rotation's entry and its proof under the checkpoint of its own commit, which the old log key signed."""
    raw = tx.execute(select(log_entry.c.envelope).where(log_entry.c.idx == index)).scalar_one()
    own = select(checkpoint.c.size, checkpoint.c.note).where(checkpoint.c.size > index).order_by(checkpoint.c.size)
    size, note = tx.execute(own.limit(1)).one()
    hashes = inclusion_proof(index, size, log.stored_subtrees(tx))
    return KeyChange(rotation=log.stored_bytes(raw).decode(), proof=LogProof(index, tuple(hashes), note).text)
