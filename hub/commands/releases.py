"""What a release of a docking says: composed from the log, so that a station can check every word of it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from custody.event import Sha256Hex
from custody.releasebody import EntryRange, Release
from hub import log
from hub.errors import Conflict, NotFound
from hub.tables import cosignature, docking, log_entry
from hub.witnesses.queries import cosigned_note


def compose_release(
    connection: Connection,
    station: str,
    docking_id: str,
    ranges: Sequence[tuple[int, int]] = (),
    reason: str | None = None,
) -> Release:
    """The body of a release of all files of a docking, or of these ranges of entries.

    It stands on the newest checkpoint that the station itself has cosigned, with all its cosignatures: under one that
    was never proved to it a station clears nothing. Raises NotFound for a docking that the hub does not know, Conflict
    for one that is not complete, or not under such a checkpoint yet.
    """
    rows = docking.c.station == station, docking.c.id == docking_id
    row = connection.execute(select(docking).where(*rows)).one_or_none()
    if row is None:
        raise NotFound(f"no docking {docking_id} of {station}")
    cosigned = cosigned_by(connection, station)
    note, size = cosigned or ("", 0)
    if cosigned is None or not row.complete or not row.listed or row.closed_index is None or row.closed_index >= size:
        raise Conflict("this docking is not complete, or not under the checkpoint that the station has cosigned yet")
    digest = connection.execute(select(log_entry.c.envelope_sha256).where(log_entry.c.idx == row.closed_index))
    proof = log.prove_inclusion(connection, row.closed_index, size)
    return Release(
        camera_id=row.camera,
        docking_id=docking_id,
        manifest_sha256=row.manifest_sha256,
        closed_sha256=Sha256Hex(digest.scalar_one()),
        closed_index=row.closed_index,
        checkpoint=note,
        proof=tuple(Sha256Hex(one.hex()) for one in proof),
        entries=tuple(EntryRange(first=first, last=last) for first, last in ranges or [(1, row.listed)]),
        reason=reason,
    )


def cosigned_by(connection: Connection, station: str) -> tuple[str, int] | None:
    """The newest checkpoint that this station's witness key cosigned, and its size."""
    mine = cosignature.c.witness == f"{station}/witness"
    size = connection.execute(select(func.max(cosignature.c.size)).where(mine)).scalar_one()
    note = None if size is None else cosigned_note(connection, size)
    return None if note is None else (note, int(size))
