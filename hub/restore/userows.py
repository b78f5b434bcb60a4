"""Rows of requests to use footage, written again from the hub's own events when a lost part of the log comes back."""

from __future__ import annotations

from sqlalchemy import Connection, update

from custody.hubevents import ExportRequested, UseRequested
from hub.db import upsert_rows
from hub.requests.rows import UseEvent, row_of
from hub.requests.service import list_recordings
from hub.tables import use_request


def write_use_rows(tx: Connection, event: UseEvent, received_at: str) -> None:
    """What the hub wrote when it stated `event`.

    Which recordings an `export.requested.v1` of an earlier version named the log holds by digest alone: an approved one
    whose list was lost is good for nothing (`hub.requests.exporting`), and is asked for again.
    """
    row = row_of(event, received_at)
    if isinstance(event, ExportRequested | UseRequested):
        upsert_rows(tx, use_request, tuple(row), [tuple(row.values())])
        if isinstance(event, UseRequested):
            list_recordings(tx, event.request_id, event.recordings)
    else:
        tx.execute(update(use_request).where(use_request.c.id == event.request_id).values(**row))
