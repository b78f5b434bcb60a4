"""Who holds a grant to view a recording, as the log and the station's answers tell it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from custody.commandbody import Grant, GrantRevoked
from custody.commands import read_body
from custody.envelope import parse_envelope
from custody.errors import CustodyError, FormatError
from custody.events import decode_event
from custody.hubevents import FootageMismatched
from custody.stationevents import Media, SegmentSealed
from hub import log
from hub.access import Action, Actor, may_ever
from hub.tables import account, command, command_answer, hub_subject, log_entry


@dataclass(frozen=True, slots=True)
class Footage:
    """One recording as its station sealed it."""

    recording: int  # log index of its seal
    station: str
    docking: str
    file_sha256: str
    file_name: str
    size_bytes: int
    tree_root: bytes
    duration_ms: int | None
    container: str | None
    video_codec: str | None


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant that its station has taken. `over_at`: by both of its bounds."""

    grant_id: str
    holder: str
    purpose: str
    over_at: datetime
    revoked: bool

    def is_good(self, now: datetime) -> bool:
        """Whether footage may be viewed by it now. The station decides once more, by its own clocks."""
        return not self.revoked and now < self.over_at


def load_footage(connection: Connection, recording: int) -> Footage | None:
    """The recording sealed by this log entry, as its signed bytes say, not the index; None when it is no such entry."""
    query = select(log_entry.c.envelope).where(log_entry.c.event_type == SegmentSealed.TYPE)
    raw = connection.execute(query.where(log_entry.c.idx == recording)).scalar_one_or_none()
    if raw is None:
        return None
    try:
        envelope = parse_envelope(log.stored_bytes(raw))
        seal = decode_event(envelope.payload_type, envelope.payload)
    except CustodyError:
        return None
    if not isinstance(seal, SegmentSealed):
        return None
    media, root = seal.media or Media(), bytes.fromhex(seal.tree_root)
    return Footage(
        recording, seal.source, seal.docking_id, seal.sha256, seal.path.rpartition("/")[2], seal.size_bytes, root,
        media.duration_ms, media.container, media.video_codec,
    )  # fmt: skip


def good_grant(
    connection: Connection, holder: str, footage: Footage, now: datetime, grant_id: str | None = None
) -> HeldGrant | None:
    """The good grant of `holder` to this footage that lasts longest, or `grant_id` alone; None: there is none.

    Nobody whose account was closed holds one.
    """
    open_ = select(account.c.name).where(account.c.name == holder, account.c.disabled_at.is_(None))
    if connection.execute(open_).first() is None:
        return None
    found = [one for one in _grants(connection, footage, holder) if one.is_good(now)]
    if grant_id is not None:
        found = [one for one in found if one.grant_id == grant_id]
    return max(found, key=lambda one: one.over_at, default=None)


def viewing_facts(connection: Connection, actor: Actor, recording: int, now: datetime) -> tuple[bool, tuple[int, ...]]:
    """Whether `actor` holds a good grant to this recording, and the log entries that call its footage altered."""
    footage = load_footage(connection, recording)
    held = footage is not None and good_grant(connection, actor.name, footage, now) is not None
    c = hub_subject.c
    about = (c.kind == "recording") & (c.name == str(recording)) & (c.event_type == FootageMismatched.TYPE)
    found = connection.execute(select(c.log_index).where(about).order_by(c.log_index)).scalars()
    return held and may_ever(actor, Action.VIEW_FOOTAGE), tuple(found)


def _grants(connection: Connection, footage: Footage, holder: str) -> list[HeldGrant]:
    """What stations answered counts only under the hash of the command that they answered."""
    answered = (
        (command_answer.c.station == command.c.station)
        & (command_answer.c.number == command.c.number)
        & (command_answer.c.command_sha256 == command.c.command_sha256)
        & (command_answer.c.result == "accepted")
    )
    query = (
        select(command.c.body, command_answer.c.at)
        .join_from(command, command_answer, answered)
        .where(command.c.station == footage.station, command.c.kind == Grant.KIND)
        .where(command.c.body.contains(footage.file_sha256))
    )
    rows = connection.execute(query).all()
    revoked = _revoked(connection, footage.station) if rows else frozenset()
    found = []
    for row in rows:
        grant = _read(Grant.KIND, row.body)
        if not isinstance(grant, Grant) or grant.holder != holder:
            continue
        if (grant.docking, grant.file_sha256) != (footage.docking, footage.file_sha256):
            continue
        over_at = min(grant.until, datetime.fromisoformat(row.at) + timedelta(seconds=grant.valid_seconds))
        found.append(HeldGrant(grant.grant_id, holder, grant.purpose, over_at, grant.grant_id in revoked))
    return found


def _revoked(connection: Connection, station: str) -> frozenset[str]:
    """Grants that were revoked, whether the station knows already or not: a revocation counts here at once."""
    query = select(command.c.body).where(command.c.station == station, command.c.kind == GrantRevoked.KIND)
    bodies = connection.execute(query.where(command.c.number.is_not(None), command.c.body.is_not(None))).scalars()
    read = (_read(GrantRevoked.KIND, body) for body in bodies)
    return frozenset(one.grant_id for one in read if isinstance(one, GrantRevoked))


def _read(kind: str, text: str) -> Any:
    try:
        return read_body(kind, text)
    except FormatError:  # of a later version
        return None
