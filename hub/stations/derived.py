"""What the rows of `station_request` must say, derived again from the hub's own events. Used by `hub.indexcheck`."""

from __future__ import annotations

from typing import Any

from custody.hubevents import (
    KeyRevocationRequested,
    KeyRevoked,
    StationEnrolled,
    StationEnrolledV2,
    StationEnrolmentRefused,
    StationEnrolmentRequested,
    StationFrozen,
)
from hub.db import Row
from hub.tables import station_request

AboutStation = (
    StationEnrolled
    | StationEnrolledV2
    | StationEnrolmentRequested
    | StationEnrolmentRefused
    | StationFrozen
    | KeyRevocationRequested
    | KeyRevoked
)
REQUEST = tuple(station_request.c.keys())


class StationRequests:
    """Feed it the hub's events about enrolment, in the order of the log."""

    def __init__(self) -> None:
        """Nothing was asked for."""
        self._rows: dict[str, dict[str, Any]] = {}

    def take(
        self, event: StationEnrolmentRequested | StationEnrolmentRefused | StationEnrolledV2, received_at: str
    ) -> None:
        """One event; `received_at` as its entry says. One without a request came by the command line."""
        if isinstance(event, StationEnrolmentRequested):
            self._rows[event.request_id] = dict.fromkeys(REQUEST) | {
                "id": event.request_id, "station": event.station, "key_line": event.key_line,
                "requested_by": event.requested_by, "requested_at": received_at,
            }  # fmt: skip
        elif event.request_id is not None:
            self._rows.get(event.request_id, {}).update(decision(event, received_at))

    def rows(self) -> dict[str, Row]:
        """The rows by id."""
        return {key: tuple(row.values()) for key, row in self._rows.items()}


def asked_for(event: KeyRevocationRequested, received_at: str) -> dict[str, Any]:
    """The columns of `station_revocation` that a request sets."""
    names = ("station", "key_line", "from_seq", "reason", "requested_by")
    return {"id": event.change_id, "requested_at": received_at} | {name: getattr(event, name) for name in names}


def carried_out(event: KeyRevoked, index: int, received_at: str) -> dict[str, Any]:
    """The columns of `station_revocation` that an approval sets."""
    return {"approved_by": event.approved_by, "revoked_at": received_at, "revoked_index": index}


def decision(event: StationEnrolmentRefused | StationEnrolledV2, received_at: str) -> dict[str, Any]:
    """The columns that a decision sets."""
    approved = isinstance(event, StationEnrolledV2)
    by = event.approved_by if isinstance(event, StationEnrolledV2) else event.decided_by
    return {"decided_by": by, "decided_at": received_at, "approved": approved}
