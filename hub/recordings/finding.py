"""Which recordings fit a filter, out of the full-text index: one intersection of sorted lists, whatever is asked.

What is not a word of the index is first turned into words: an officer into the offloads of what they carried, words of
place, matter or case into the labellings that say them (out of the openings, where alone they stand), holds and
disputed cameras into offloads. Each such list is cut at `MAX_CHOICES`, the newest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection, select, text

from custody.stationevents import CameraDocked
from hub import search
from hub.commands.holds import load_holds
from hub.recordings.filters import ANY_MARK, DISPUTED, HELD, RecordingFilter
from hub.recordings.standing import MARKS
from hub.search import Filters, both
from hub.sections import carried_by, hidden_from
from hub.tables import camera_event, docking, segment

MAX_CHOICES = 1000
# the third kind of Art. 4 as a whole holds its three sub-kinds
_KINDS_WITHIN = {"investigation": ("investigation", "evidence_taking", "evidence_preservation", "service_of_documents")}
_SAYING = {
    "sqlite": "SELECT log_index, field FROM opening WHERE field IN ('place', 'matter', 'case_number') "
    "AND instr(lower(CAST(value AS TEXT)), :word) > 0 ORDER BY log_index DESC LIMIT :most",
    "postgresql": "SELECT log_index, field FROM opening WHERE field IN ('place', 'matter', 'case_number') "
    "AND position(:word IN lower(convert_from(value, 'UTF8'))) > 0 ORDER BY log_index DESC LIMIT :most",
}


def find_hits(
    connection: Connection, limits: RecordingFilter, before: int | None, limit: int, name: str | None
) -> list[int]:
    """Log indexes of the first `limit` that fit from `before` on, in the order of the list.

    `name`: the account that reads; where the filter describes recordings, those that it may not know are left out.
    """
    knower = name if limits.describes else None
    ask = partial(
        search.find,
        connection,
        limits.text or "",
        Filters(limits.camera, limits.station, limits.docking, (limits.label,) if limits.label else ()),
        (limits.day_from, limits.day_to),
        before=before,
        limit=limit,
        within=limits.within,
        knower=knower,
        oldest_first=limits.oldest,
    )
    groups = _groups(connection, limits)
    if limits.state != HELD:
        return ask(also=groups)
    offloads, files = _held(connection)
    found = set(ask(also=[*groups, offloads]))
    files = _known(connection, files, before, limits, knower)
    alone = replace(limits, state=None, oldest=False) == RecordingFilter()  # then no word is asked for
    found |= set(files if alone else ask(also=groups, only=files))
    return sorted(found, reverse=not limits.oldest)[:limit]


def _groups(connection: Connection, limits: RecordingFilter) -> list[Sequence[str]]:
    """Of each group a recording has one word at least."""
    groups: list[Sequence[str]] = []
    if limits.officer:
        carried = carried_by(connection, limits.officer)
        groups.append([both(connection, Filters(station=at, docking=one)) for at, one in carried])
    if limits.kind:
        groups.append([search.kind_token(kind) for kind in _KINDS_WITHIN.get(limits.kind, (limits.kind,))])
    if limits.mark:
        groups.append([search.mark_token(mark) for mark in (MARKS[1:] if limits.mark == ANY_MARK else (limits.mark,))])
    for word in (limits.about or "").split():
        said = text(_SAYING[connection.dialect.name])
        rows = connection.execute(said, {"word": word.lower(), "most": MAX_CHOICES})
        groups.append([search.labelling_token(row.field, row.log_index) for row in rows])
    if limits.state == DISPUTED:
        groups.append([both(connection, Filters(station=at, docking=one)) for at, one in _disputed(connection)])
    return groups


def _held(connection: Connection) -> tuple[list[str], list[int]]:
    """What holds keep: choices of words for cameras and offloads, and log indexes of single files.

    A hold that names a digest without its offload is found at its recording only: nothing leads from a digest there.
    """
    offloads: list[str] = []
    files: list[int] = []
    for hold in load_holds(connection)[-MAX_CHOICES:]:
        if hold.file_sha256 is None and hold.known:
            offloads.append(both(connection, Filters(hold.camera, hold.station, hold.docking)))
        elif hold.docking is not None:
            c, d = segment.c, docking.c
            ends = select(d.first_index, d.closed_index).where(d.station == hold.station, d.id == hold.docking)
            row = connection.execute(ends).one_or_none()
            if row is not None:
                last = (1 << 62) if row.closed_index is None else row.closed_index
                here = c.log_index.between(row.first_index, last), c.station == hold.station, c.docking == hold.docking
                query = select(c.log_index).where(*here, c.sha256 == hold.file_sha256)
                files += connection.execute(query).scalars().all()
    return offloads, files


def _known(
    connection: Connection, files: Sequence[int], before: int | None, limits: RecordingFilter, name: str | None
) -> list[int]:
    at = segment.c.log_index
    query = select(at).where(at.in_(files))
    if before is not None:
        query = query.where(at > before if limits.oldest else at < before)
    if name is not None:
        query = query.where(~hidden_from(name))
    return list(connection.execute(query).scalars())


def _disputed(connection: Connection) -> list[tuple[str, str]]:
    """Offloads of stays in a bay during which the camera's identity was disputed."""
    c, d = camera_event.c, docking.c
    kind = c.kind == CameraDocked.TYPE
    newest = select(c.log_index, c.station, c.camera, c.bay).where(kind, c.disputed.is_(True))
    found: list[tuple[str, str]] = []
    for row in connection.execute(newest.order_by(c.log_index.desc()).limit(MAX_CHOICES)):
        next_stay = select(c.log_index).where(kind, c.camera == row.camera, c.log_index > row.log_index)
        until = connection.execute(next_stay.order_by(c.log_index).limit(1)).scalar_one_or_none()
        here = d.station == row.station, d.camera == row.camera, d.bay == row.bay, d.first_index > row.log_index
        query = select(d.station, d.id).where(*here)
        rows = connection.execute(query if until is None else query.where(d.first_index < until))
        found += [(one.station, one.id) for one in rows]
    return found[:MAX_CHOICES]
