"""Commands as pages and the sender need them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, and_, desc, func, or_, select, true

from custody.commandbody import Disposition
from hub.access import Action, Actor, Subject, may
from hub.commands.policy import may_approve, may_withdraw
from hub.db import Database
from hub.errors import NotFound
from hub.sections import scope_of
from hub.tables import command, command_answer, disposition, station, station_state
from hub.times import from_text

PAGE_ROWS = 50
MAX_PAGE_ROWS = 200
# approved: the second person agreed and it is about to be issued; lost: the station has answered another command under
# this number, so it will never answer this one (this hub was restored from a backup)
# under_way, disposed, partly: of a disposition, which its station takes first and then decides on by itself
State = Literal[
    "requested", "approved", "withdrawn", "waiting", "delivered", "accepted", "refused", "expired", "lost", "under_way",
    "disposed", "partly",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class CommandRow:
    """One command. `reason`: the station's code, "" before it answered. `may_approve` etc.: this reader.

    `disposed`, `kept`: of a disposition that ended, how many files left the vault and how many stayed.
    """

    id: str
    station: str
    kind: str
    state: State
    reason: str
    number: int | None
    requested_by: str
    requested_at: datetime | None
    request_index: int | None
    approved_by: str | None
    approved_at: datetime | None
    approval_index: int | None
    withdrawn_by: str | None
    issued_at: datetime | None
    expires_at: datetime | None
    answered_at: datetime | None
    answer_index: int | None
    body: str | None
    body_sha256: str
    command_sha256: str | None
    may_approve: bool
    may_withdraw: bool
    disposed: int | None = None
    kept: int | None = None


@dataclass(frozen=True, slots=True)
class CommandPage:
    """A page of commands, newest first; `next_cursor` is None on the last one."""

    rows: tuple[CommandRow, ...]
    next_cursor: str | None


_ANSWER = and_(command_answer.c.station == command.c.station, command_answer.c.number == command.c.number)
_ENDED = and_(disposition.c.station == command.c.station, disposition.c.command_sha256 == command.c.command_sha256)
QUERY = (
    select(
        command,
        station.c.section,
        command_answer.c.log_index,
        command_answer.c.result,
        command_answer.c.reason,
        command_answer.c.at.label("answered_at"),
        command_answer.c.command_sha256.label("answered_sha256"),
        disposition.c.outcome,
        disposition.c.rule,
        disposition.c.disposed,
        disposition.c.kept,
    )
    .join_from(command, station, station.c.id == command.c.station)
    .join(command_answer, _ANSWER, isouter=True)
    .join(disposition, _ENDED, isouter=True)
)


def load_commands(
    db: Database,
    actor: Actor,
    station_id: str = "",
    cursor: str | None = None,
    limit: int = PAGE_ROWS,
    *,
    kind: str = "",
    naming: str = "",
) -> CommandPage:
    """Commands that `actor` may see, newest first, of one station or of all.

    `cursor` is the id of the last one of the page before; `kind` and `naming` limit them to one kind, and to those
    whose body holds this text.
    """
    query = QUERY.order_by(desc(command.c.id)).limit(limit + 1)  # ids sort by time
    if station_id:
        query = query.where(command.c.station == station_id)
    if kind:
        query = query.where(command.c.kind == kind)
    if naming:
        query = query.where(command.c.body.contains(naming, autoescape=True))
    if cursor:
        query = query.where(command.c.id < cursor)
    with db.read() as connection:
        rows = connection.execute(query.where(_seen_by(connection, actor))).all()
    shown = tuple(_row(row, actor) for row in rows[:limit])
    return CommandPage(shown, shown[-1].id if len(rows) > limit else None)


def load_waiting(db: Database, actor: Actor, limit: int = PAGE_ROWS) -> tuple[CommandRow, ...]:
    """Requests that nobody has decided on and `actor` may see, oldest first."""
    with db.read() as connection:
        return read_waiting(connection, actor, limit)


def read_waiting(connection: Connection, actor: Actor, limit: int = PAGE_ROWS) -> tuple[CommandRow, ...]:
    """As `load_waiting`, within a view of the database."""
    undecided = command.c.number.is_(None) & command.c.approved_by.is_(None) & command.c.withdrawn_by.is_(None)
    query = QUERY.where(undecided, _seen_by(connection, actor)).order_by(command.c.id).limit(limit)
    return tuple(_row(row, actor) for row in connection.execute(query).all())


def load_command(db: Database, actor: Actor, command_id: str) -> CommandRow:
    """One command. Raises NotFound, also where `actor` may not see it."""
    with db.read() as connection:
        return _row(read_command(connection, actor, command_id), actor)


def read_command(connection: Connection, actor: Actor, command_id: str) -> Any:
    """The row of a command with its station's section and its answer. Raises NotFound as `load_command` does."""
    row = connection.execute(QUERY.where(command.c.id == command_id)).first()
    if row is None or not may(actor, Action.SEE_COMMANDS, subject_of(row)):
        raise NotFound("there is no such command")
    return row


def subject_of(row: Any) -> Subject:
    """Whose a command of `read_command` is."""
    return Subject(frozenset({row.section}), requested_by=row.requested_by)


def _seen_by(connection: Connection, actor: Actor) -> ColumnElement[bool]:
    scope = scope_of(connection, actor, Action.SEE_COMMANDS)
    if scope.stations is None:
        return true()
    return or_(command.c.station.in_(scope.stations), command.c.requested_by == actor.name)


def load_station_ids(db: Database, actor: Actor) -> tuple[str, ...]:
    """Every enrolled station whose commands `actor` may see, for forms."""
    with db.read() as connection:
        scope = scope_of(connection, actor, Action.SEE_COMMANDS)
        found = connection.execute(select(station.c.id).order_by(station.c.id)).scalars()
        return tuple(name for name in found if scope.stations is None or name in scope.stations)


def waiting_numbers(db: Database, limit: int) -> dict[str, list[int]]:
    """The first unanswered numbers, rising, of every station that is online; stations that wait for nothing are there
    with none. A station answers in order, so what follows its last answer is unanswered."""
    answered = select(command_answer.c.station, func.max(command_answer.c.number).label("last"))
    last = answered.group_by(command_answer.c.station).subquery()
    query = (
        select(command.c.station, command.c.number)
        .join(station_state, station_state.c.station == command.c.station)
        .join(last, last.c.station == command.c.station, isouter=True)
        .where(
            station_state.c.online,
            command.c.envelope.is_not(None),
            command.c.number > func.coalesce(last.c.last, 0),
        )
        .order_by(command.c.station, command.c.number)
    )
    found: dict[str, list[int]] = {}
    with db.read() as connection:
        for name, number in connection.execute(query):
            numbers = found.setdefault(name, [])
            if len(numbers) < limit:
                numbers.append(number)
    return found


def load_envelopes(db: Database, wanted: list[tuple[str, int]]) -> list[tuple[str, int, bytes]]:
    """The exact bytes of commands by (station, number), in the order asked for; those that are gone are left out."""
    found: list[tuple[str, int, bytes]] = []
    with db.read() as connection:
        for name, number in wanted:
            query = select(command.c.envelope).where(command.c.station == name, command.c.number == number)
            raw = connection.execute(query.where(command.c.envelope.is_not(None))).scalar_one_or_none()
            if raw is not None:
                found.append((name, number, bytes(raw)))
    return found


def _row(row: Any, actor: Actor) -> CommandRow:
    state = state_of(row)
    open_ = state == "requested"
    return CommandRow(
        row.id, row.station, row.kind, state, row.rule or row.reason or "", row.number, row.requested_by,
        from_text(row.requested_at), row.request_index, row.approved_by, from_text(row.approved_at),
        row.approval_index, row.withdrawn_by,
        from_text(row.issued_at), from_text(row.expires_at), from_text(row.answered_at), row.log_index, row.body,
        row.body_sha256, row.command_sha256,
        open_ and may_approve(actor, row.kind, subject_of(row)),
        open_ and may_withdraw(actor, row.kind, subject_of(row)),
        None if row.disposed is None else len(json.loads(row.disposed)), row.kept,
    )  # fmt: skip


def state_of(row: Any) -> State:
    """What became of a command, from a row of `QUERY`."""
    if row.withdrawn_by is not None:
        return "withdrawn"
    if row.number is None:
        return "requested" if row.approved_by is None else "approved"
    if row.result is None:
        return "waiting" if row.sent_at is None else "delivered"
    if row.answered_sha256 != row.command_sha256:
        return "lost"
    result: State = row.result
    if row.kind == Disposition.KIND and result == "accepted":
        result = row.outcome or "under_way"
    return result
