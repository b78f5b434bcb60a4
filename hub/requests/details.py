"""One request with what a person needs to decide on it, and what one recording's page says of its uses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from hub.access import BUREAU, Action, Actor, may
from hub.commands.queries import QUERY as COMMANDS
from hub.commands.queries import State as CommandState
from hub.commands.queries import state_of as command_state
from hub.recordings.queries import RecordingRow, load_row
from hub.requests import policy
from hub.requests.queries import QUERY, UseRow, read_request, read_rows, recordings_of
from hub.sections import recording_subjects, seen_recordings
from hub.tables import account, command, use_recording, use_request

SHOWN = 50  # recordings of a request that a page lists
OTHERS = 20  # other requests about the same recordings


@dataclass(frozen=True, slots=True)
class Asked:
    """A recording that a request is about. `officer`: number of who carried the camera, "" where that is not known."""

    row: RecordingRow
    officer: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant that an approval made: for which recording, where, and whether its station has it."""

    recording: int
    station: str
    state: CommandState


@dataclass(frozen=True, slots=True)
class Details:
    """A request. `others`: requests about any of the same recordings; `warnings`: marked messages."""

    row: UseRow
    asker_role: str | None  # of today; None: the account is not known here
    holder_role: str | None
    asked: tuple[Asked, ...]  # the first `SHOWN` that this reader may see
    lost: bool  # a restore lost which recordings they are
    others: tuple[UseRow, ...]
    grants: tuple[Grant, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordingUses:
    """What a recording's page says: requests about it, and whether the reader may ask for one."""

    recording: int
    rows: tuple[UseRow, ...]
    may_ask: bool


def load_details(connection: Connection, actor: Actor, request_id: str, now: datetime) -> Details:
    """One request. Raises NotFound, also where it is not for `actor`."""
    held = read_request(connection, actor, request_id)
    [row] = read_rows(connection, actor, QUERY.where(use_request.c.id == request_id), now)
    recordings = recordings_of(connection, request_id)
    asked = tuple(_asked(connection, index) for index in recordings[:SHOWN])
    numbers = frozenset(one.officer for one in asked if one.officer)
    seen = seen_recordings(connection, actor, [one.row.log_index for one in asked])
    return Details(
        row=row,
        asker_role=held.asker_role,
        holder_role=held.holder_role,
        asked=tuple(one for one in asked if one.row.log_index in seen),
        lost=not recordings,
        others=_others(connection, actor, request_id, now),
        grants=_grants(connection, held, recordings),
        warnings=policy.warnings(row.use, _number(connection, row.holder or row.requested_by), numbers),
    )


def recording_uses(connection: Connection, actor: Actor, recording: int, now: datetime) -> RecordingUses:
    """Requests about one recording that `actor` may see, newest first."""
    c = use_recording.c
    named = select(c.request_id).where(c.recording == recording)
    query = QUERY.where(use_request.c.id.in_(named)).order_by(use_request.c.id.desc()).limit(OTHERS)
    whose = recording_subjects(connection, [recording]).get(recording, BUREAU)
    may_ask = any(may(actor, action, whose) for action in (Action.REQUEST_VIEW, Action.REQUEST_COPY))
    return RecordingUses(recording, read_rows(connection, actor, query, now), may_ask)


def _asked(connection: Connection, index: int) -> Asked:
    row = load_row(connection, index)
    assert row is not None  # noqa: S101  a request names seals alone, and a seal stays
    return Asked(row, recording_subjects(connection, [index])[index].officer or "")


def _number(connection: Connection, name: str) -> str:
    """An account's number at the stations; "" for none."""
    return str(connection.execute(select(account.c.officer).where(account.c.name == name)).scalar_one_or_none() or "")


def _others(connection: Connection, actor: Actor, request_id: str, now: datetime) -> tuple[UseRow, ...]:
    c = use_recording.c
    same = select(c.recording).where(c.request_id == request_id)
    named = select(c.request_id).where(c.recording.in_(same), c.request_id != request_id)
    query = QUERY.where(use_request.c.id.in_(named)).order_by(use_request.c.id.desc()).limit(OTHERS)
    return read_rows(connection, actor, query, now)


def _grants(connection: Connection, held: Any, recordings: tuple[int, ...]) -> tuple[Grant, ...]:
    about = dict(zip(json.loads(held.grants or "[]"), recordings, strict=False))  # none for a copy
    rows = connection.execute(COMMANDS.where(command.c.id.in_(about))) if about else ()
    found = [Grant(about[row.id], row.station, command_state(row)) for row in rows]
    return tuple(sorted(found, key=lambda one: one.recording))
