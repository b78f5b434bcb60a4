"""Commands to stations: each function is one transaction and one event in the log.

A command is requested, approved by a second person where its kind needs one, issued (numbered, signed, logged), and
sent until the station's answer is in the log. A kind for two people is issued in a transaction after its approval,
because it carries the proof that request and approval are in the log; `issue_approved` does it, and does it again
after a crash in between. The approval itself is in `hub.commands.approving`.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, desc, insert, select, true, update

from custody.approval import Approval
from custody.checkpoint import SigningKey
from custody.commandbody import Body, Disposition, Grant
from custody.commands import KINDS, CommandHead, Header, body_sha256, body_text, seal_command
from custody.errors import FormatError
from custody.event import Sha256Hex
from custody.fields import dump_json, read_fields
from custody.hubevents import CommandIssued, CommandRequested, CommandWithdrawn
from custody.tlogproof import LogProof
from custody.witness import size_of
from hub import log
from hub.access import Action, Actor, Role, may, may_ever
from hub.commands import policy
from hub.commands.queries import read_command, subject_of
from hub.commands.releases import cosigned_by
from hub.db import Database
from hub.errors import Conflict, DomainError, Invalid, NotFound
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.problems import NotAllowed, NotOpenAnyMore
from hub.sections import file_subject, station_subject
from hub.tables import account, command, command_answer, log_entry
from hub.times import now_utc, to_text

MAX_BODY_BYTES = 36 * 1024  # as a command's JSON holds it: with approval and base64 it stays below an envelope's limit
HUB_ACCOUNT = "hub"  # who orders the commands that tell stations: nobody asks for them
OWN_VALID = timedelta(days=366)
logger = logging.getLogger("hub.commands")


def request_command(db: Database, keys: HubKeys, actor: Actor, name: str, body: Body) -> str:
    """Ask station `name` to do something and return the command's id; a kind for one person is issued at once.

    Raises NotAllowed, NotFound for a station that is not enrolled, Invalid for a body that no station would take.
    """
    rule, now = policy.rule_of(body.KIND), now_utc()
    try:
        text = body_text(body)
    except FormatError as error:
        raise Invalid(str(error)) from None
    if len(dump_json(text)) > MAX_BODY_BYTES:
        raise Invalid("this is too much for one command; give it in several")
    row = {
        "id": new_id(now), "station": name, "kind": body.KIND, "body": text, "body_sha256": body_sha256(text),
        "valid_seconds": int(rule.valid.total_seconds()), "requested_by": actor.name, "requested_at": to_text(now),
    }  # fmt: skip
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        theirs = station_subject(tx, name)
        if theirs is not None and isinstance(body, Grant):  # footage may lie at another section's station
            theirs = file_subject(tx, name, body.docking, body.file_sha256)
        if theirs is None or not may(actor, Action.SEE_COMMANDS, theirs):
            raise NotFound(f"no station {name} is enrolled")
        policy.check_request(actor, body.KIND, theirs)
        _check_holder(tx, body)
        if rule.approve is None:
            tx.execute(insert(command).values(**row))
            issue(tx, entries, keys.commands, row, None, now)
        else:
            index = entries.record(
                CommandRequested, command_id=row["id"], station=name, kind=body.KIND,
                body_sha256=row["body_sha256"], requested_by=actor.name,
            )  # fmt: skip
            tx.execute(insert(command).values(**row, request_index=index))
    return str(row["id"])


def withdraw_command(db: Database, keys: HubKeys, actor: Actor, command_id: str) -> None:
    """End a request that nobody has approved. Raises NotFound, NotOpenAnyMore, NotAllowed."""
    now = now_utc()
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        row = open_request(tx, actor, command_id)
        if not policy.may_withdraw(actor, row.kind, subject_of(row)):
            raise NotAllowed
        entries.record(CommandWithdrawn, command_id=command_id, withdrawn_by=actor.name)
        tx.execute(
            update(command)
            .where(command.c.id == command_id)
            .values(withdrawn_by=actor.name, withdrawn_at=to_text(now), body=None)
        )


def issue_approved(db: Database, keys: HubKeys) -> int:
    """Issue every command that was approved and not yet issued, each in a transaction; how many there were."""
    # without a body: it was lost with the hub's database, and only its digest came back
    ready = command.c.approved_by.is_not(None) & command.c.number.is_(None) & command.c.body.is_not(None)
    with db.read() as connection:
        found = connection.execute(select(command).where(ready).order_by(command.c.id)).all()
        waiting = [row.id for row in found if _proof_stands_on(connection, row) is not None]
    for command_id in waiting:
        now = now_utc()
        try:
            with db.begin() as tx, log.appending(tx, keys, now) as entries:
                row = tx.execute(select(command).where(ready, command.c.id == command_id)).one_or_none()
                stands = None if row is None else _proof_stands_on(tx, row)
                if row is not None and stands is not None:  # another process may have been faster
                    issue(tx, entries, keys.commands, dict(row._mapping), _approval(tx, row, *stands), now)
        except DomainError:  # of a kind that this older version does not know: it waits for the newer one
            logger.exception("command_not_issued id=%s", command_id)
    return len(waiting)


def note_sent(db: Database, sent: list[tuple[str, int]]) -> None:
    """Remember for people that these commands (station, number) were handed to the broker, if they were not before."""
    with db.begin() as tx:
        for name, number in sent:
            unsent = (command.c.station == name) & (command.c.number == number) & command.c.sent_at.is_(None)
            tx.execute(
                update(command).where(unsent, command.c.envelope.is_not(None)).values(sent_at=to_text(now_utc()))
            )


def forget_answered(db: Database) -> int:
    """Drop the bytes of answered rosters, which name people; what they were stays provable by the logged digests."""
    answered = (
        select(command_answer.c.log_index)
        .where(command_answer.c.station == command.c.station, command_answer.c.number == command.c.number)
        .exists()
    )
    named = (command.c.kind == "roster.v1") & command.c.envelope.is_not(None)
    with db.read() as connection:
        if connection.execute(select(command.c.id).where(named, answered).limit(1)).first() is None:
            return 0
    with db.begin() as tx:
        return tx.execute(update(command).where(named, answered).values(body=None, envelope=None)).rowcount


def _check_holder(tx: Connection, body: Body) -> None:
    """Raise Invalid for a grant to somebody who sees no footage, or to nobody; which of these is not told."""
    if not isinstance(body, Grant):
        return
    open_ = account.c.name == body.holder, account.c.disabled_at.is_(None)
    role = tx.execute(select(account.c.role).where(*open_)).scalar_one_or_none()
    holder = Actor(body.holder, Role(role), must_change_password=False) if role else None
    if holder is None or not may_ever(holder, Action.VIEW_FOOTAGE):
        raise Invalid("footage cannot be granted to this account")


def open_request(tx: Connection, actor: Actor, command_id: str) -> Any:
    """A request that waits for its second person: for as long as the log's lock is held, where the caller holds it.

    Raises NotFound, NotOpenAnyMore.
    """
    row = read_command(tx, actor, command_id)
    if row.number is not None or row.approved_by is not None or row.withdrawn_by is not None:
        raise NotOpenAnyMore
    return row


def issue(
    tx: Connection,
    entries: log.Appender,
    key: SigningKey,
    row: dict[str, Any],
    approval: Approval | None,
    now: datetime,
) -> None:
    """Give a command that is in its table its number, sign it, log it, inside the caller's transaction.

    The log's lock is what makes the number the next one.
    """
    head, expires_at = _head(tx, row["station"]), now + timedelta(seconds=row["valid_seconds"])
    header = Header(
        id=row["id"], station=row["station"], number=head.number + 1, previous=head.sha256, issued_at=now,
        expires_at=expires_at, kind=row["kind"], body=row["body"], approval=approval,
    )  # fmt: skip
    try:
        raw = seal_command(header, key)
    except (FormatError, KeyError) as error:
        raise Conflict(f"this command cannot be issued by this version: {error}") from None
    sha256 = body_sha256(raw.decode())
    tx.execute(
        update(command)
        .where(command.c.id == row["id"])
        .values(
            number=header.number, command_sha256=sha256, envelope=raw, issued_at=to_text(now),
            expires_at=to_text(expires_at),
        )
    )  # fmt: skip
    entries.record(
        CommandIssued, command_id=row["id"], station=row["station"], number=header.number, kind=row["kind"],
        body_sha256=row["body_sha256"], command_sha256=sha256, expires_at=expires_at,
        requested_by=row["requested_by"], approved_by=row.get("approved_by"),
    )  # fmt: skip


def issue_own(tx: Connection, entries: log.Appender, key: SigningKey, name: str, body: Body, now: datetime) -> None:
    """Tell a station something that follows from what people decided elsewhere; nobody asks for it as a command."""
    text = body_text(body)
    order = {
        "id": new_id(now), "station": name, "kind": body.KIND, "body": text, "body_sha256": body_sha256(text),
        "valid_seconds": int(OWN_VALID.total_seconds()), "requested_by": HUB_ACCOUNT, "requested_at": to_text(now),
    }  # fmt: skip
    tx.execute(insert(command).values(**order))
    issue(tx, entries, key, order, None, now)


def _head(tx: Connection, name: str) -> CommandHead:
    """Where the station's chain of commands stands: what was issued last, or what the station says it answered last.

    They differ when this hub was restored from a backup: then the station knows commands that the hub forgot, and
    answers nothing before the number that follows its own. A command whose bytes were lost then, unanswered, counts
    not: it can never be sent, and the station would wait for its number for ever. Should the station have it after
    all, its answer tells, and the one that was given the number meanwhile is shown as lost.
    """
    heads = []
    for table, stands in ((command, command.c.envelope.is_not(None)), (command_answer, true())):
        query = select(table.c.number, table.c.command_sha256).where(table.c.station == name, stands)
        row = tx.execute(query.order_by(desc(table.c.number)).limit(1)).one_or_none()
        heads.append(CommandHead() if row is None else CommandHead(row.number, Sha256Hex(row.command_sha256)))
    issued, answered = heads
    return answered if answered.number >= issued.number else issued


def _proof_stands_on(connection: Connection, row: Any) -> tuple[str, int] | None:
    """The checkpoint, with its size, under which the approval is proved; None while there is none.

    The newest committed one. For a disposition one that its station has itself cosigned: under any other it lets
    nothing leave its vault, so the command waits until the station has confirmed the log with the approval in it.
    """
    if row.kind == Disposition.KIND:
        cosigned = cosigned_by(connection, row.station)
        return cosigned if cosigned is not None and cosigned[1] > row.approval_index else None
    note = log.newest_note(connection)
    return note, size_of(note)


def _approval(tx: Connection, row: Any, note: str, size: int) -> Approval:
    """The log's proof of request and approval in the tree of `size`, whose checkpoint is `note`."""
    found = []
    for index in (row.request_index, row.approval_index):
        raw = tx.execute(select(log_entry.c.envelope).where(log_entry.c.idx == index)).scalar_one()
        proof = LogProof(index, tuple(log.prove_inclusion(tx, index, size)), note)
        found += [log.stored_bytes(raw).decode(), proof.text]
    return Approval(request=found[0], request_proof=found[1], approval=found[2], approval_proof=found[3])


def make_body(kind: str, facts: Any) -> Body:
    """The body that a program or form gave. Raises Invalid."""
    policy.rule_of(kind)
    if kind not in KINDS:
        raise Invalid(f"this version gives no command of kind {kind!r}")
    try:
        body: Body = read_fields(KINDS[kind], facts, kind)
        body.check()
    except FormatError as error:
        raise Invalid(str(error)) from None
    return body
