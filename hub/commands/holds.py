"""Holds as the hub ordered them: which are in force at a station, as far as the hub knows. The station knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from custody.commandbody import Hold, HoldLifted
from hub.commands.queries import QUERY, state_of
from hub.tables import command

_NEVER = ("withdrawn", "refused", "lost")  # of a hold: it is not in force


@dataclass(frozen=True, slots=True)
class HoldFacts:
    """A hold that was ordered and not lifted. Every field that is set must fit what it keeps (hold.v1).

    `known` is False after a restore that lost its content: only the station knows then what it names.
    """

    hold_id: str
    station: str
    camera: str | None
    docking: str | None
    file_sha256: str | None
    reason: str
    known: bool = True

    def fits(self, camera: str, docking: str, file_sha256: str | None) -> bool:
        """Whether this names the docking as a whole (`file_sha256` None), or this file of it."""
        if not self.known or (self.file_sha256 is not None and self.file_sha256 != file_sha256):
            return False
        return self.camera in (None, camera) and self.docking in (None, docking)


def load_holds(connection: Connection, station: str | None = None) -> tuple[HoldFacts, ...]:
    """Every hold of a station, or of all, that is ordered or in force, oldest first; one to be lifted still counts."""
    kinds = command.c.kind.in_((Hold.KIND, HoldLifted.KIND))
    query = QUERY.where(kinds) if station is None else QUERY.where(command.c.station == station, kinds)
    rows = connection.execute(query.order_by(command.c.id)).all()
    lifted = {_body(row).get("hold_id") for row in rows if row.kind == HoldLifted.KIND and state_of(row) == "accepted"}
    found = (_facts(row) for row in rows if row.kind == Hold.KIND and state_of(row) not in _NEVER)
    return tuple(one for one in found if one.hold_id not in lifted)


def _facts(row: Any) -> HoldFacts:
    body = _body(row)
    if not body:
        return HoldFacts("", row.station, None, None, None, "", known=False)
    camera, docking, file_sha256 = (body.get(name) for name in ("camera", "docking", "file_sha256"))
    return HoldFacts(body["hold_id"], row.station, camera, docking, file_sha256, body["reason"])


def _body(row: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(row.body) if row.body else {}
    return body
