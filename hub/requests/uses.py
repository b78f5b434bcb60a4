"""What was done with approved requests, as the log states it: when, by whom, and where in the log."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select

from hub.bundles.selection import export_endings, exports_in_log
from hub.tables import use_recording, use_request, viewing


@dataclass(frozen=True, slots=True)
class Used:
    """One use. `made`: it used the request up, as the one whole bundle of a copy does."""

    what: Literal["begun", "made", "viewed"]
    at: datetime
    by: str
    log_index: int

    @property
    def made(self) -> bool:
        """Whether nothing more can be done with the request."""
        return self.what == "made"


def uses_by_request(connection: Connection, requests: Iterable[str]) -> dict[str, tuple[Used, ...]]:
    """The uses of these requests, in the order of the log."""
    wanted, found = set(requests), defaultdict(list)
    if not wanted:
        return {}
    whole = {ending.bundle_id for ending in export_endings(connection) if ending.complete}
    for index, export in exports_in_log(connection):
        if export.request_id in wanted and export.part == 1:
            what: Literal["begun", "made"] = "made" if export.bundle_id in whole else "begun"
            found[export.request_id].append(Used(what, export.at, export.operator, index))
    for request_id, viewed in _viewings(connection, wanted):
        found[request_id].append(viewed)
    return {key: tuple(uses) for key, uses in found.items()}


def _viewings(connection: Connection, requests: set[str]) -> Iterator[tuple[str, Used]]:
    """Viewings by the grants of these requests, with the request of each; rows follow from footage.view_started.v1."""
    c, held = use_request.c, use_recording.c
    views = connection.execute(select(c.id, c.grants).where(c.id.in_(requests), c.use == "view", c.approved)).all()
    about = {grant: row.id for row in views for grant in json.loads(row.grants)}
    named = select(held.recording).where(held.request_id.in_([row.id for row in views]))
    columns = viewing.c.grant_id, viewing.c.started_at, viewing.c.account, viewing.c.started_index
    query = select(*columns).where(viewing.c.recording.in_(named)).order_by(viewing.c.started_index)
    for row in connection.execute(query) if about else ():
        if row.grant_id in about:
            at = datetime.fromisoformat(row.started_at)
            yield about[row.grant_id], Used("viewed", at, row.account, row.started_index)
